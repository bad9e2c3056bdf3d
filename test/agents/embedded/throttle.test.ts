import assert from "node:assert/strict";
import { test } from "node:test";
import { Throttle } from "../../../agents/adapters/embedded/throttle.ts";

/** A guest that wants `busyMs` of every `periodMs`, under a throttle.
 *  @returns the share of the time that it executed */
function share(throttle: Throttle, busyMs: number, periodMs: number, forMs: number, startMs = 0): number {
  let nowMs = startMs;
  let executedMs = 0;
  while (nowMs < startMs + forMs) {
    const sleepMs = throttle.after(nowMs, nowMs + busyMs, periodMs - busyMs);
    executedMs += busyMs;
    nowMs += busyMs + sleepMs;
  }
  return executedMs / (nowMs - startMs);
}

for (const [name, busyMs, periodMs] of [
  ["busy", 1, 1],
  ["half idle", 1, 2],
  ["mostly idle", 1, 10],
] as const)
  test(`a ${name} guest loses the share of its own time that it is throttled by`, () => {
    const throttle = new Throttle();
    const free = share(throttle, busyMs, periodMs, 5000);
    for (const percent of [20, 50, 80]) {
      throttle.set(percent);
      const slowed = share(throttle, busyMs, periodMs, 20_000, 10_000 * percent);
      const wanted = free * (1 - percent / 100);
      assert.ok(Math.abs(slowed - wanted) / wanted < 0.25, `${percent} %: ${slowed} instead of ${wanted}`);
    }
    throttle.set(0);
    assert.equal(throttle.after(1e7, 1e7 + busyMs, periodMs - busyMs), periodMs - busyMs, "lifted at once");
  });

test("a guest is never put to sleep for long at a time", () => {
  const throttle = new Throttle();
  throttle.set(99);
  for (let nowMs = 0; nowMs < 10_000; ) {
    const sleepMs = throttle.after(nowMs, nowMs + 50, 0);
    assert.ok(sleepMs <= 100);
    nowMs += 50 + sleepMs;
  }
});
