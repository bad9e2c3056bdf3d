// From the gate on, the agent's silence is what lets the supervisor act alone.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createSimulatedClock, type SimulatedClock } from "../../../agents/adapters/simulated/clock.ts";
import { SilenceWatch } from "../../../agents/supervisor/silence-watch.ts";

/** Lets time pass, timer by timer. */
function passTo(clock: SimulatedClock, atMs: number): void {
  for (let next = clock.nextAtMs(); next !== null && next <= atMs; next = clock.nextAtMs()) clock.step();
  clock.after(atMs - clock.monotonicMs(), () => {});
  clock.step();
}

function makeWatch() {
  const clock = createSimulatedClock(100);
  const watch = new SilenceWatch(clock);
  const heardAtMs: number[] = [];
  return { clock, watch, heardAtMs, onSilence: () => heardAtMs.push(clock.monotonicMs()) };
}

test("silence counts from what was heard last, and at first from the beginning", () => {
  const { clock, watch } = makeWatch();
  passTo(clock, 299);
  assert.deepEqual([watch.isSilentFor(199), watch.isSilentFor(200)], [true, false]);
  watch.seen();
  assert.deepEqual([watch.isSilentFor(0), watch.isSilentFor(1)], [true, false]);
  passTo(clock, 399);
  assert.deepEqual([watch.isSilentFor(100), watch.isSilentFor(101)], [true, false]);
});

test("silence is told once, when it has lasted and what came meanwhile was read", () => {
  const { clock, watch, heardAtMs, onSilence } = makeWatch();
  watch.begin(1000, onSilence);
  passTo(clock, 1149);
  assert.deepEqual(heardAtMs, []);
  passTo(clock, 60_000);
  assert.deepEqual(heardAtMs, [1150]);
  assert.equal(clock.nextAtMs(), null, "nothing is waited for any more");
});

test("an agent that speaks is not silent: it is waited for from its last word", () => {
  const { clock, watch, heardAtMs, onSilence } = makeWatch();
  watch.begin(1000, onSilence);
  passTo(clock, 1120);
  watch.seen(); // after the silence had lasted, before it was told
  passTo(clock, 2169);
  assert.deepEqual(heardAtMs, []);
  passTo(clock, 2170);
  assert.deepEqual(heardAtMs, [2170]);
});

test("an agent that has been silent for longer already is given the time to be read, no more", () => {
  const { clock, watch, heardAtMs, onSilence } = makeWatch();
  passTo(clock, 5000);
  watch.begin(1000, onSilence);
  passTo(clock, 5049);
  assert.deepEqual(heardAtMs, []);
  passTo(clock, 5050);
  assert.deepEqual(heardAtMs, [5050]);
});

test("a watch that was ended, or begun anew, tells nothing more", () => {
  const { clock, watch, heardAtMs, onSilence } = makeWatch();
  watch.end(); // none is begun
  watch.begin(1000, () => assert.fail("the watch before is replaced"));
  watch.begin(2000, onSilence);
  passTo(clock, 1500);
  assert.deepEqual(heardAtMs, []);
  watch.end();
  watch.end();
  passTo(clock, 60_000);
  assert.deepEqual(heardAtMs, []);
});
