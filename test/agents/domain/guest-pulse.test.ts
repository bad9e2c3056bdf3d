import assert from "node:assert/strict";
import { test } from "node:test";
import {
  describeSilence,
  feel,
  type Pulse,
  rest,
  silenceOf,
  silentAfterMs,
} from "../../../agents/domain/guest-pulse.ts";
import type { GuestReport } from "../../../schemas/vm.ts";

const says = (heartbeats: number, bootId = "b1"): GuestReport => ({
  bootId,
  heartbeats,
  memoryErrors: 0,
  longestGapMs: 10,
  uptimeMs: heartbeats * 10,
  dirtyMiBPerSecond: 1,
});

test("a guest whose heartbeat advances is never silent", () => {
  let pulse: Pulse = rest(null, 0);
  for (let nowMs = 0; nowMs < 100_000; nowMs += 1000) {
    pulse = feel(pulse, says(nowMs / 10), nowMs);
    assert.equal(silenceOf(pulse, nowMs + 999), null);
  }
});

test("a heartbeat that stands is silence, whether it is repeated or not heard at all, since it advanced last", () => {
  for (const isRepeated of [true, false]) {
    let pulse = feel(null, says(70), 1000);
    for (let nowMs = 2000; isRepeated && nowMs < 20_000; nowMs += 1000) pulse = feel(pulse, says(70), nowMs);
    assert.equal(silenceOf(pulse, 1000 + silentAfterMs - 1), null);
    assert.equal(silenceOf(pulse, 1000 + silentAfterMs), silentAfterMs);
    assert.equal(silenceOf(pulse, 61_000), 60_000);
    assert.equal(silenceOf(feel(pulse, says(71), 62_000), 63_000), null, "it clears by itself");
  }
});

test("a reset begins to count anew, and is a sign of life", () => {
  const pulse = feel(feel(null, says(70), 0), says(70, "b2"), 9000);
  assert.equal(silenceOf(pulse, 12_000), null);
});

test("a guest that was to stand is given its time once it is to execute again", () => {
  const pulse = rest(feel(null, says(70), 0), 600_000);
  assert.equal(silenceOf(pulse, 600_000 + silentAfterMs - 1), null);
  assert.equal(silenceOf(pulse, 600_000 + silentAfterMs), silentAfterMs);
});

test("what it repeats after it was to stand is no sign of life", () => {
  const pulse = feel(rest(feel(null, says(70), 0), 5000), says(70), 8000);
  assert.equal(silenceOf(pulse, 5000 + silentAfterMs), silentAfterMs);
});

test("what is told names the heartbeat and what the process says; a guest that never speaks may be silent", () => {
  const heard = feel(null, says(70), 0);
  assert.match(describeSilence(heard, null) ?? "", /stands at 70, and its process does not answer/);
  assert.match(describeSilence(heard, "running") ?? "", /stands at 70, and its process answers that it is running/);
  assert.match(describeSilence(rest(null, 0), null) ?? "", /was not heard yet, and its process does not answer/);
  assert.equal(describeSilence(rest(null, 0), "running"), null);
});
