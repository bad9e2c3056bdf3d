import assert from "node:assert/strict";
import { test } from "node:test";
import { createLongPollDoorbell } from "../../../functions/adapters/long-poll-doorbell.ts";
import { doorbellContract } from "../../contract/doorbell.ts";

const host = { clusterId: "c", hostId: "h" };
const never = new AbortController().signal;

doorbellContract("long poll", async () => {
  const doorbell = createLongPollDoorbell();
  return {
    doorbell,
    async waitFor(address) {
      assert.deepEqual(await doorbell.install(address), { kind: "long-poll" });
      return (timeoutMs, signal) => doorbell.wait(address, timeoutMs, signal);
    },
    close: () => doorbell.close(),
  };
});

/** Timers that fire when the test says so. */
function manualTimers() {
  const timers = new Map<() => void, number>();
  const after = (milliseconds: number, action: () => void) => {
    timers.set(action, milliseconds);
    return () => void timers.delete(action);
  };
  const fire = () => {
    const due = [...timers.keys()];
    timers.clear();
    for (const action of due) action();
  };
  return { after, fire, delays: () => [...timers.values()] };
}

test("the second ring is set for 3 s, and wakes who has come to wait since", async () => {
  const timers = manualTimers();
  const doorbell = createLongPollDoorbell({ after: timers.after });
  await doorbell.ring(host);
  assert.equal(await doorbell.wait(host, 9, never), true);
  assert.deepEqual(timers.delays(), [3000]);
  const waiting = doorbell.wait(host, 9, never);
  const [, timeout] = timers.delays();
  assert.equal(timeout, 9);
  timers.fire();
  assert.equal(await waiting, true);
  assert.deepEqual(timers.delays(), [], "no timer is left");
});

test("a ring wakes everybody who waits for the host: one of them may be a dead connection", async () => {
  const doorbell = createLongPollDoorbell();
  const waits = [1, 2].map(() => doorbell.wait(host, 60_000, never));
  await doorbell.ring(host);
  assert.deepEqual(await Promise.all(waits), [true, true]);
  await doorbell.close();
});

test("a ring in the same moment as the abort is kept for the next wait", async () => {
  const doorbell = createLongPollDoorbell();
  const abort = new AbortController();
  const waiting = doorbell.wait(host, 60_000, abort.signal);
  const ringing = doorbell.ring(host);
  abort.abort();
  assert.equal(await waiting, false);
  await ringing;
  assert.equal(await doorbell.wait(host, 60_000, never), true);
  await doorbell.close();
});

test("closing ends every wait and every timer", async () => {
  const timers = manualTimers();
  const doorbell = createLongPollDoorbell({ after: timers.after });
  await doorbell.ring({ ...host, hostId: "other" });
  const waiting = doorbell.wait(host, 60_000, never);
  await doorbell.close();
  assert.equal(await waiting, false);
  assert.deepEqual(timers.delays(), []);
  assert.equal(await doorbell.wait(host, 60_000, never), false);
});
