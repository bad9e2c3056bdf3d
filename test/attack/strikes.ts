// Attacks of one sort after the other, what each came to, and the report of all of them.
import { showDuration, showTable } from "../../cli/units.ts";
import type { Direction, Fault } from "../support/fault-proxy.ts";
import { unitsOf } from "../support/wire-units.ts";
import { nothingLeftOpen } from "./sockets.ts";
import { inParallel } from "./spread.ts";

export type Ended = {
  /** migrated: what was to arrive did, unaltered. aborted: nothing was accepted, and both ends are free again. */
  outcome: "migrated" | "aborted";
  /** Why it was aborted, in the words of the end that told it. */
  why: string | null;
  durationMs: number;
  /** The place of the attack was reached. */
  hit: boolean;
};

export type Strike = {
  name: string;
  way: Direction;
  faults: readonly Fault[];
  /** Each must have ended by itself, or by its agents' patience, within so much. */
  limitMs: number;
  /** Other processes are attacked: whoever plays it looks after what they leave open, and has sockets of its own. */
  isElsewhere?: boolean;
  /** Nobody is harmed for good: it must migrate. */
  mustMigrate?: boolean;
  play(fault: Fault, worker: number): Promise<Ended>;
};

type Row = { name: string; way: string; runs: number; migrated: number; missed: number; longestMs: number };

/** The machine is shared: so much more is allowed than what is promised. */
const slackMs = 10_000;
export const ways: readonly Direction[] = ["forth", "back"];

export class Strikes {
  readonly #rows: Row[] = [];
  readonly #reasons = new Map<string, number>();

  /** @param atOnce workers, each with what it needs of its own
   *  @throws at the first attack after which something does not hold */
  async carryOut(
    { name, way, faults, limitMs, mustMigrate = false, isElsewhere = false, play }: Strike,
    atOnce: number,
  ): Promise<void> {
    const row: Row = {
      name,
      way: way === "forth" ? "to the destination" : "to the source",
      runs: 0,
      migrated: 0,
      missed: 0,
      longestMs: 0,
    };
    this.#rows.push(row);
    const waiting = [...faults];
    const worker = (number: number) => async () => {
      for (let fault = waiting.shift(); fault; fault = waiting.shift()) {
        try {
          const ended = await play(fault, number);
          if (ended.durationMs > limitMs + slackMs)
            throw new Error(`it ended after ${Math.round(ended.durationMs)} ms, and must within ${limitMs} ms`);
          if (mustMigrate && ended.outcome !== "migrated") throw new Error(`it was aborted: ${ended.why}`);
          this.#count(row, ended);
        } catch (error) {
          throw new Error(`${name}, ${row.way}: ${describeFault(fault)}`, { cause: error });
        }
      }
    };
    await inParallel(
      Array.from({ length: atOnce }, (_, number) => worker(number)),
      atOnce,
    );
    if (!isElsewhere) await nothingLeftOpen(0);
    process.stderr.write(`${row.runs} × ${name}, ${row.way}: ${outcomesOf(row).join(", ")}\n`);
  }

  #count(row: Row, { outcome, why, durationMs, hit }: Ended): void {
    row.runs++;
    if (outcome === "migrated") row.migrated++;
    if (!hit) row.missed++;
    row.longestMs = Math.max(row.longestMs, durationMs);
    if (outcome === "migrated") return;
    const reason = (why ?? "").replace(/ to \d+\.\d+\.\d+\.\d+|\d+\.\d+\.\d+\.\d+ /g, "").replace(/ \(.*\)$/, "");
    this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + 1);
  }

  /** Inputs that were read or refused, as they should be. */
  fed(name: string, runs: number, durationMs: number): void {
    this.#rows.push({ name, way: "hostile input", runs, migrated: 0, missed: 0, longestMs: durationMs });
    process.stderr.write(`${runs} × ${name}: none accepted that should not be\n`);
  }

  get runs(): number {
    return this.#rows.reduce((sum, row) => sum + row.runs, 0);
  }

  /** Two tables: what was done and what it came to, and the reasons. */
  report(): string {
    const rows = this.#rows.map((row) => {
      const outcomes = row.way === "hostile input" ? "bounds kept" : outcomesOf(row).join(", ");
      return [row.name, row.way, String(row.runs), outcomes, showDuration(row.longestMs)];
    });
    const reasons = [...this.#reasons].sort(([, one], [, other]) => other - one);
    return [
      showTable([["attack", "on the way", "runs", "outcome", "longest"], ...rows], ""),
      showTable([["aborted because", "times"], ...reasons.map(([why, times]) => [why, String(times)])], ""),
    ].join("\n\n");
  }
}

function outcomesOf({ runs, migrated, missed }: Row): string[] {
  const told: [number, string][] = [
    [migrated, "migrated"],
    [runs - migrated, "aborted"],
    [missed, "of them not reached"],
  ];
  return told.flatMap(([count, what]) => (count > 0 ? [`${count} ${what}`] : []));
}

function describeFault(fault: Fault): string {
  return JSON.stringify(fault.kind === "insert" ? { ...fault, bytes: `${fault.bytes.length} bytes` } : fault);
}

/** How many bytes the first lines and records are. */
export const lengthOfUnits = (bytes: Buffer, count: number): number =>
  unitsOf(bytes)
    .slice(0, count)
    .reduce((sum, unit) => sum + unit.length, 0);

/** Faults that strike at a byte, at each of these. */
export const at = (
  kind: "cut" | "reset" | "hold" | "half-open",
  positions: readonly number[],
): { kind: typeof kind; at: number }[] => positions.map((position) => ({ kind, at: position }));

export const flips = (positions: readonly number[]): Fault[] =>
  positions.map((position) => ({ kind: "flip", at: position, bit: position % 8 }));
