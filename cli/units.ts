// Amounts as people read them.
import { printable } from "../schemas/text.ts";

const MiB = 2 ** 20;

export function showBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < MiB) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / MiB).toFixed(1)} MiB`;
}

export const showRate = (bytesPerSecond: number): string => `${(bytesPerSecond / MiB).toFixed(1)} MiB/s`;

export function showDuration(milliseconds: number): string {
  if (milliseconds >= 10_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  return `${milliseconds.toFixed(milliseconds < 100 ? 1 : 0)} ms`;
}

/** Columns side by side; the first is flush left, the others flush right. */
export function showTable(table: string[][], indent = ""): string {
  const rows = table.map((row) => row.map(printable));
  const widths: number[] = [];
  for (const row of rows)
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  return rows
    .map((row) => {
      const cells = row.map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      );
      return `${indent}${cells.join("   ")}`.trimEnd();
    })
    .join("\n");
}

/** A name and what there is of it on each line, both flush left. */
export function showFields(fields: string[][]): string {
  const rows = fields.map((row) => row.map(printable));
  const width = Math.max(0, ...rows.map(([name = ""]) => name.length));
  return rows.map(([name = "", value = ""]) => `${name.padEnd(width)}   ${value}`.trimEnd()).join("\n");
}

/** What a round sent, over the time it took. */
export function showSending({ bytes, durationMs }: { bytes: number; durationMs: number }): string {
  return showRate(durationMs > 0 ? (bytes / durationMs) * 1000 : 0);
}

type Alarm = { code: string; since: string; detail: string };

export const showAlarm = ({ code, since, detail }: Alarm): string => `${code} since ${since}: ${detail}`;

/** A line for each; one that stands for none. */
export const alarmLines = (alarms: Alarm[]): string[] => (alarms.length === 0 ? ["-"] : alarms.map(showAlarm));
