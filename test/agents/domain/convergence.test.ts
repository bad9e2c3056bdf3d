import assert from "node:assert/strict";
import { test } from "node:test";
import { expectedDowntimeMs, judgeRound, type RoundJudgement } from "../../../agents/domain/convergence.ts";

const mebibyte = 1024 * 1024;
const judgement = (changes: Partial<RoundJudgement["sample"]>, rest: Partial<RoundJudgement> = {}): RoundJudgement => ({
  sample: {
    round: 1,
    bytes: 4 * mebibyte,
    durationMs: 20,
    remainingBytes: mebibyte / 2,
    dirtyBytesPerSecond: 10 * mebibyte,
    bandwidthBytesPerSecond: 200 * mebibyte,
    throttlePercent: 0,
    ...changes,
  },
  previousRemainingBytes: 4 * mebibyte,
  limits: {
    downtimeLimitMs: 100,
    downtimeCeilingMs: 500,
    roundLimit: 30,
    bandwidthLimitBytesPerSecond: null,
    throttleCeilingPercent: 90,
  },
  downtimeLimitMs: 100,
  excusedRounds: 0,
  fixedDowntimeMs: 30,
  ...rest,
});

test("the guest is paused once the remainder fits the promised downtime", () => {
  assert.deepEqual(judgeRound(judgement({})), { kind: "switchover", expectedDowntimeMs: 33 });
});

test("the commit's round trip counts as downtime", () => {
  const sample = judgement({}).sample;
  assert.equal(expectedDowntimeMs(sample, 90) - expectedDowntimeMs(sample, 10), 80);
});

test("a remainder that still halves is worth another round, though it would fit already", () => {
  const outcome = judgeRound(judgement({ round: 0, remainingBytes: 4 * mebibyte }, { previousRemainingBytes: null }));
  assert.deepEqual(outcome, { kind: "another-round" });
});

test("a remainder that does not fit goes on for as long as it shrinks", () => {
  const outcome = judgeRound(judgement({ remainingBytes: 40 * mebibyte }, { previousRemainingBytes: 60 * mebibyte }));
  assert.deepEqual(outcome, { kind: "another-round" });
});

test("a guest that writes as fast as it is copied gets a longer pause first, within the ceiling", () => {
  const outcome = judgeRound(judgement({ remainingBytes: 40 * mebibyte }, { previousRemainingBytes: 40 * mebibyte }));
  assert.deepEqual(outcome, {
    kind: "remedy",
    downtimeLimitMs: 230,
    throttlePercent: 0,
    cause: "dirtied-faster-than-sent",
  });
});

test("beyond the ceiling the guest is slowed, step by step", () => {
  const big = { remainingBytes: 200 * mebibyte };
  const stuck = { previousRemainingBytes: 200 * mebibyte };
  const throttleAfter = (throttlePercent: number) => {
    const outcome = judgeRound(judgement({ ...big, throttlePercent }, stuck));
    return outcome.kind === "remedy" ? outcome.throttlePercent : outcome.kind;
  };
  assert.deepEqual([0, 50, 70, 90].map(throttleAfter), [50, 70, 90, "stalled"]);
});

test("a policy that forbids throttling ends in a stall with its cause", () => {
  const limits = { ...judgement({}).limits, throttleCeilingPercent: 0 };
  const outcome = judgeRound(
    judgement({ remainingBytes: 200 * mebibyte }, { previousRemainingBytes: 200 * mebibyte, limits }),
  );
  assert.deepEqual(outcome, { kind: "stalled", cause: "dirtied-faster-than-sent" });
});

test("rounds spent waiting for the control plane do not count towards the limit", () => {
  const limits = { ...judgement({}).limits, throttleCeilingPercent: 0 };
  const late = { round: 29, remainingBytes: 150 * mebibyte };
  const shrinking = { previousRemainingBytes: 300 * mebibyte, limits };
  assert.equal(judgeRound(judgement(late, shrinking)).kind, "stalled");
  assert.equal(judgeRound(judgement(late, { ...shrinking, excusedRounds: 5 })).kind, "another-round");
});

/** At 1,000 bytes/s without anything fixed: so many bytes are so many milliseconds. */
const slow = (
  remainingBytes: number,
  rest: Partial<RoundJudgement> = {},
  sample: Partial<RoundJudgement["sample"]> = {},
) =>
  judgeRound(
    judgement(
      { remainingBytes, bandwidthBytesPerSecond: 1000, ...sample },
      { fixedDowntimeMs: 0, previousRemainingBytes: remainingBytes, ...rest },
    ),
  );

test("a stream that carries nothing has a bandwidth of one byte a second, not of none", () => {
  const { sample } = judgement({ remainingBytes: 3, bandwidthBytesPerSecond: 0 });
  assert.equal(expectedDowntimeMs(sample, 5), 3005);
});

test("the limit itself is within the limit, a millisecond more is not", () => {
  assert.deepEqual(slow(100), { kind: "switchover", expectedDowntimeMs: 100 });
  assert.equal(slow(101).kind, "remedy");
  const ceiling = { kind: "remedy", downtimeLimitMs: 500, throttlePercent: 0, cause: "dirtied-faster-than-sent" };
  assert.deepEqual(slow(500), ceiling, "the ceiling itself is within the ceiling");
  const beyond = slow(501, { limits: { ...judgement({}).limits, throttleCeilingPercent: 0 } });
  assert.equal(beyond.kind, "stalled");
});

test("another round is worth it only where more than a MiB is left, less than half of before, and rounds are left", () => {
  const fast = { bandwidthBytesPerSecond: 1e12 };
  const kind = (remainingBytes: number, previousRemainingBytes: number | null, rest: Partial<RoundJudgement> = {}) =>
    judgeRound(judgement({ remainingBytes, ...fast }, { previousRemainingBytes, ...rest })).kind;
  const [left, half] = [2 * mebibyte, 4 * mebibyte];
  assert.equal(kind(left, half + 1), "another-round");
  assert.equal(kind(left, half), "switchover", "half is not less than half");
  assert.equal(kind(mebibyte + 1, half), "another-round");
  assert.equal(kind(mebibyte, half), "switchover");
  const last = { limits: { ...judgement({}).limits, roundLimit: 3 } };
  assert.equal(kind(left, half + 1, last), "another-round", "the second round of three");
  assert.equal(kind(left, half + 1, { limits: { ...last.limits, roundLimit: 2 } }), "switchover");
});

test("a guest outruns its stream when a round leaves 95 % of the one before; the first round says nothing yet", () => {
  assert.equal(slow(949, { previousRemainingBytes: 1000 }).kind, "another-round");
  assert.equal(slow(950, { previousRemainingBytes: 1000 }).kind, "remedy");
  assert.equal(slow(950, { previousRemainingBytes: 1000 }, { round: 0 }).kind, "another-round");
  assert.equal(slow(950, { previousRemainingBytes: null }).kind, "remedy", "nothing was left before");
});

test("a remedy says what it is for: rounds that ran out, or a guest that outruns its stream", () => {
  const cause = (round: number, previousRemainingBytes: number) => {
    const outcome = slow(400, { previousRemainingBytes }, { round });
    return outcome.kind === "remedy" || outcome.kind === "stalled" ? outcome.cause : outcome.kind;
  };
  assert.equal(cause(28, 400), "dirtied-faster-than-sent");
  assert.equal(cause(28, 1000), "another-round");
  assert.equal(cause(29, 1000), "round-limit");
  assert.equal(cause(29, 400), "round-limit");
});

test("a guest that is slowed is given as many rounds again to show it, and its pause stays as long as it was", () => {
  const outcome = (round: number) => slow(1000, {}, { round });
  assert.deepEqual(outcome(58), { kind: "remedy", downtimeLimitMs: 100, throttlePercent: 50, cause: "round-limit" });
  assert.deepEqual(outcome(59), { kind: "stalled", cause: "round-limit" });
  const limits = { ...judgement({}).limits, throttleCeilingPercent: 60 };
  const slower = slow(1000, { limits }, { throttlePercent: 50 });
  assert.equal(slower.kind === "remedy" && slower.throttlePercent, 60, "no further than its ceiling");
});
