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
