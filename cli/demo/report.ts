// The demo's report in words and tables.
import { styleText } from "node:util";
import { showRounds } from "../rounds.ts";
import { showBytes, showDuration, showTable } from "../units.ts";
import type { DemoDocument, DemoMigration } from "./document.ts";

const roundTablesUpTo = 4;

/** @param stream where it is to be shown: a terminal gets its headings in bold */
export function showReport(document: DemoDocument, stream: NodeJS.WriteStream): string {
  const bold = (text: string) => styleText("bold", text, { stream });
  const lines: string[] = [];
  const say = (text = "") => lines.push(text);
  const { migrations, guests } = document;

  if (migrations.length <= roundTablesUpTo) {
    for (const migration of migrations) {
      say();
      say(bold(`${migration.vm}: ${migration.source} → ${migration.destination}`));
      say(showRounds(migration.rounds, "  "));
    }
  }
  say();
  say(bold(`Migrations (${document.hypervisor} hypervisor, ${document.table} table)`));
  say(migrationTable(migrations));
  if (migrations.length > 2) {
    say(
      `  median: total ${showDuration(median(migrations, "totalMs"))}, downtime ${showDuration(median(migrations, "downtimeMs"))}, ` +
        `gap ${showDuration(median(migrations, "guestGapMs"))}; at most ${mostAtOnce(migrations)} at once`,
    );
  }
  say();
  say(bold("Guests, as they say of themselves"));
  for (const guest of guests) {
    const boot = guest.bootIdUnchanged ? "never rebooted" : "REBOOTED";
    say(
      `  ${guest.vm}: ${boot}, ${guest.memoryErrors} memory errors, ${guest.heartbeats} heartbeats, ` +
        `${guest.memoryMiB} MiB written to at ${guest.dirtyMiBPerSecond.toFixed(1)} MiB/s`,
    );
  }
  return `${lines.join("\n")}\n`;
}

function migrationTable(migrations: DemoMigration[]): string {
  const head = ["vm", "from", "to", "ended", "total", "downtime", "guest's gap", "sent", "rounds", "encrypted"];
  const rows = migrations.map((migration) => [
    migration.vm,
    migration.source,
    migration.destination,
    migration.phase,
    showDuration(migration.totalMs),
    showDuration(migration.downtimeMs),
    showDuration(migration.guestGapMs),
    showBytes(migration.bytes),
    String(migration.rounds.length),
    migration.encrypted ? "yes" : "NO",
  ]);
  return showTable([head, ...rows], "  ");
}

function median(migrations: DemoMigration[], figure: "totalMs" | "downtimeMs" | "guestGapMs"): number {
  const sorted = migrations.map((migration) => migration[figure]).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** How many held their hosts' slots at the same time. */
export function mostAtOnce(migrations: Pick<DemoMigration, "startedAt" | "endedAt">[]): number {
  const times = migrations.map(({ startedAt, endedAt }) => ({ from: Date.parse(startedAt), to: Date.parse(endedAt) }));
  return Math.max(0, ...times.map(({ from }) => times.filter((other) => other.from <= from && from < other.to).length));
}
