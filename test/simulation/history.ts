// Who did what, and when. Kept for whoever reads it after a failure, and summed up in one hash, so that two runs of one
// seed can be compared to the last bit.
import { createHash } from "node:crypto";
import type { RunInterval } from "../../agents/adapters/simulated/execution-log.ts";

/** none: nothing is composed. hash: summed up, not kept. kept: both. */
export type Keeping = "none" | "hash" | "kept";

export class History {
  readonly lines: string[] = [];
  readonly #keeping: Keeping;
  readonly #hash = createHash("sha256");
  readonly #nowMs: () => number;

  constructor(keeping: Keeping, nowMs: () => number) {
    this.#keeping = keeping;
    this.#nowMs = nowMs;
  }

  /** @param tell composed only when somebody keeps it */
  note(who: string, tell: () => string): void {
    if (this.#keeping === "none") return;
    const line = `${clockText(this.#nowMs())} ${who.padEnd(14)} ${tell()}`;
    this.#hash.update(line).update("\n");
    if (this.#keeping === "kept") this.lines.push(line);
  }

  digest(): string {
    return this.#hash.copy().digest("hex");
  }
}

/** 1:02:03.456789 */
export function clockText(milliseconds: number): string {
  const seconds = milliseconds / 1000;
  const minutes = Math.floor(seconds / 60);
  const rest = (seconds % 60).toFixed(6).padStart(9, "0");
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

/** The independent check: of one VM no two copies ever executed at one time, by the recorded intervals alone.
 *  @returns one sentence per overlap */
export function findOverlaps(intervals: readonly RunInterval[]): string[] {
  const byVm = new Map<string, RunInterval[]>();
  for (const interval of intervals) {
    const of = byVm.get(interval.vmId) ?? [];
    byVm.set(interval.vmId, of);
    of.push(interval);
  }
  const overlaps: string[] = [];
  for (const [vmId, of] of byVm) {
    let before: RunInterval | null = null;
    for (const interval of of.toSorted((one, other) => one.beganAtMs - other.beganAtMs)) {
      if (before && (before.ceasedAtMs === null || before.ceasedAtMs > interval.beganAtMs)) {
        overlaps.push(
          `${vmId}: ${before.copyId} on ${before.hostId} from ${before.beganAtMs} to ${before.ceasedAtMs ?? "the end"}, ` +
            `${interval.copyId} on ${interval.hostId} from ${interval.beganAtMs}`,
        );
      }
      const isLater = !before || (interval.ceasedAtMs ?? Infinity) > (before.ceasedAtMs ?? Infinity);
      if (isLater) before = interval;
    }
  }
  return overlaps;
}
