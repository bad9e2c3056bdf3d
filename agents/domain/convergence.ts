// Is another pre-copy round worth it? The guest writes while its memory is sent, so every round leaves a remainder.
// We pause the guest once sending the remainder fits the downtime it was promised and another round would win little.
import type { MigrationLimits, Round } from "../../schemas/migration.ts";

export type RoundOutcome =
  | { kind: "another-round" }
  | { kind: "switchover"; expectedDowntimeMs: number }
  /** Worth another try under a changed limit: a longer pause, or a slower guest. */
  | { kind: "remedy"; downtimeLimitMs: number; throttlePercent: number; cause: StallCause }
  | { kind: "stalled"; cause: StallCause };

export type StallCause = "round-limit" | "dirtied-faster-than-sent";

export type RoundJudgement = {
  /** The round just done. */
  sample: Round;
  /** What the round before it left; null after round 0. */
  previousRemainingBytes: number | null;
  limits: MigrationLimits;
  /** The limit in force: it may have grown from `limits.downtimeLimitMs` towards the ceiling. */
  downtimeLimitMs: number;
  /** Rounds that were spent waiting for the control plane: they are nobody's fault. */
  excusedRounds: number;
  /** Milliseconds of the pause that do not depend on the remainder: device state, the commit at its measured p99. */
  fixedDowntimeMs: number;
};

/** Below this remainder another round costs more pause in bookkeeping than it wins. */
const smallRemainderBytes = 1024 * 1024;

/** The pause that stopping now would cost: the remainder at the measured bandwidth, and what is always there. */
export function expectedDowntimeMs(sample: Round, fixedDowntimeMs: number): number {
  const bandwidth = Math.max(1, sample.bandwidthBytesPerSecond);
  return Math.ceil((sample.remainingBytes / bandwidth) * 1000 + fixedDowntimeMs);
}

export function judgeRound(judgement: RoundJudgement): RoundOutcome {
  const { sample, previousRemainingBytes, limits, downtimeLimitMs, excusedRounds, fixedDowntimeMs } = judgement;
  const expectedMs = expectedDowntimeMs(sample, fixedDowntimeMs);
  const rounds = sample.round + 1 - excusedRounds;

  if (expectedMs <= downtimeLimitMs) {
    const stillHalving = sample.remainingBytes * 2 < (previousRemainingBytes ?? Number.POSITIVE_INFINITY);
    const worthAnother = stillHalving && sample.remainingBytes > smallRemainderBytes && rounds < limits.roundLimit;
    return worthAnother ? { kind: "another-round" } : { kind: "switchover", expectedDowntimeMs: expectedMs };
  }
  const isOutrun = sample.round > 0 && sample.remainingBytes >= (previousRemainingBytes ?? 0) * 0.95;
  if (rounds < limits.roundLimit && !isOutrun) return { kind: "another-round" };
  const cause: StallCause = rounds >= limits.roundLimit ? "round-limit" : "dirtied-faster-than-sent";
  return nextRemedy(sample, limits, downtimeLimitMs, expectedMs, cause, rounds);
}

/** The ladder: a longer pause up to its ceiling, then a slower guest up to its ceiling, then nothing more. */
function nextRemedy(
  sample: Round,
  limits: MigrationLimits,
  downtimeLimitMs: number,
  expectedMs: number,
  cause: StallCause,
  rounds: number,
): RoundOutcome {
  const { throttlePercent } = sample;
  if (expectedMs <= limits.downtimeCeilingMs) {
    return { kind: "remedy", downtimeLimitMs: expectedMs, throttlePercent, cause };
  }
  // A slowed guest needs rounds to show the effect, so the round limit alone does not end it here.
  const slower = Math.min(limits.throttleCeilingPercent, throttlePercent === 0 ? 50 : throttlePercent + 20);
  if (slower > throttlePercent && rounds < limits.roundLimit * 2) {
    return { kind: "remedy", downtimeLimitMs, throttlePercent: slower, cause };
  }
  return { kind: "stalled", cause };
}
