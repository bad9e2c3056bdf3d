import assert from "node:assert/strict";
import { test } from "node:test";
import { createFaultyDoorbell, type RingFault } from "../../../functions/adapters/faulty-doorbell.ts";
import type { Doorbell, HostAddress } from "../../../functions/ports/doorbell.ts";

const host: HostAddress = { clusterId: "c", hostId: "h" };

function faulty(fault: RingFault) {
  let rings = 0;
  const counting: Doorbell = {
    async ring() {
      rings++;
    },
    install: async () => ({ kind: "long-poll" }),
    wait: async () => true,
    close: async () => {},
  };
  return { doorbell: createFaultyDoorbell(counting, () => fault), rings: () => rings };
}

test("rings are passed on, lost and repeated as decided", async () => {
  const expected: [RingFault, number][] = [
    [{ kind: "none" }, 1],
    [{ kind: "lost" }, 0],
    [{ kind: "repeated", times: 3 }, 3],
  ];
  for (const [fault, times] of expected) {
    const { doorbell, rings } = faulty(fault);
    await doorbell.ring(host);
    assert.equal(rings(), times, fault.kind);
  }
});

test("a late ring keeps nobody, and rings when its time has come", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { doorbell, rings } = faulty({ kind: "late", late: () => promise });
  await doorbell.ring(host);
  assert.equal(rings(), 0);
  resolve();
  await promise;
  assert.equal(rings(), 1);
});

test("everything but ringing is the doorbell's own", async () => {
  const { doorbell } = faulty({ kind: "lost" });
  assert.deepEqual(await doorbell.install(host), { kind: "long-poll" });
  assert.equal(await doorbell.wait?.(host, 1, new AbortController().signal), true);
});
