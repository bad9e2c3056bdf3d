import assert from "node:assert/strict";
import { test } from "node:test";
import { LocalCopyHost } from "../../../agents/adapters/local-copies.ts";
import { MemoryGate } from "../../../agents/adapters/memory-gate.ts";
import { MemoryLockVolume } from "../../../agents/adapters/memory-lock-file.ts";
import { createSimulatedClock } from "../../../agents/adapters/simulated/clock.ts";
import { createExecutionLog } from "../../../agents/adapters/simulated/execution-log.ts";
import { SimulatedHost } from "../../../agents/adapters/simulated/host.ts";
import { createSimulatedHypervisor } from "../../../agents/adapters/simulated/hypervisor.ts";
import { createSimulatedNetwork } from "../../../agents/adapters/simulated/network.ts";
import { type CopiesHost, copiesContract, eventOf, look } from "../../contract/copies.ts";
import { spec, ulid } from "../../support/assignments.ts";
import { seededRandom } from "../../support/seeded-random.ts";

function makeWorld() {
  const clock = createSimulatedClock();
  const network = createSimulatedNetwork({ clock });
  const log = createExecutionLog();
  const locks = new MemoryLockVolume();
  const makeHost = (hostId: string, address: string) => {
    const simulated = new SimulatedHost({ clock, network, log, hostId, random: seededRandom(1) });
    const gate = new MemoryGate();
    const host = new LocalCopyHost({ hypervisor: createSimulatedHypervisor(simulated), locks, gate, clock });
    return { simulated, gate, host, address };
  };
  const stop = clock.runFreely();
  return { clock, log, locks, a: makeHost("host-a", "127.0.0.11"), b: makeHost("host-b", "127.0.0.12"), stop };
}

copiesContract("in one process, simulated hypervisor", async () => {
  const world = makeWorld();
  const hostOf = ({ simulated, host, address }: typeof world.a): CopiesHost => ({
    address,
    openAgent: async () => {
      host.agentDied();
      return host.openAgent();
    },
    killAgent: async () => host.agentDied(),
    killSupervisor: async (copyId) => host.supervisorDied(copyId),
    killGuest: async (copyId) => simulated.processOf(copyId)?.vanish("killed", "killed"),
  });
  return {
    hosts: [hostOf(world.a), hostOf(world.b)],
    spec,
    sleep: (milliseconds) => world.clock.sleep(milliseconds),
    close: async () => {
      world.stop();
      assert.deepEqual(world.log.faults, [], "nobody executed what another did, or a memory left behind");
    },
  };
});

const copyId = ulid("copy", 1);
const request = { vmId: "vm-1", copyId, spec, arriving: false, migrationId: null };

test("a supervisor that cannot retake the lock file of a running guest raises an alarm and never stops the guest", async () => {
  const { a, locks, clock, stop } = makeWorld();
  try {
    const copy = await a.host.openAgent().launch(request);
    await copy.run(5);
    const events: string[] = [];
    copy.listen((event) => {
      if (event.kind === "lock-alarm") events.push(event.standing ? "alarm" : "over");
    });
    locks.unreachable = true;
    a.host.supervisorDied(copyId);
    await clock.sleep(5000);
    const { machine, lock } = await copy.status();
    assert.deepEqual({ machine, lock, events }, { machine: "running", lock: "free", events: ["alarm"] });

    const over = eventOf(copy, (event) => event.kind === "lock-alarm" && !event.standing);
    locks.unreachable = false;
    await over;
    assert.equal((await copy.status()).lock, "held");
  } finally {
    stop();
  }
});

test("a guest whose start had no answer keeps its lock file: it may execute", async () => {
  const { a, stop } = makeWorld();
  try {
    const copy = await a.host.openAgent().launch(request);
    a.simulated.expectFault({ kind: "run-outcome-unknown", executes: true });
    await assert.rejects(copy.run(5), /lost/);
    assert.equal((await copy.status()).lock, "held");
    assert.deepEqual(await copy.run(5), { kind: "granted" });
  } finally {
    stop();
  }
});

test("a hypervisor that refuses a resumed guest at the gate is asked again until it resumes", async () => {
  const { a, b, clock, stop } = makeWorld();
  try {
    const copy = await a.host.openAgent().launch(request);
    await copy.run(5);
    const arriving = { ...request, copyId: ulid("copy", 2), arriving: true };
    const destination = await b.host.openAgent().launch(arriving);
    const migrationId = ulid("mig", 1);
    const key = new Uint8Array(32);
    const endpoint = await destination.receive({ address: b.address, peerAddress: a.address, key, migrationId });
    const limits = { bandwidthLimitBytesPerSecond: null };
    await copy.send({ endpoint, localAddress: a.address, key, migrationId, limits });
    await copy.holdAtGate(60_000);
    a.simulated.expectFault({ kind: "run-refused", detail: "busy" });
    await assert.rejects(copy.cancelAtGate(), /busy/);
    await clock.sleep(3000);
    assert.deepEqual(await look(copy), { machine: "running", lock: "held", ended: null, gate: "cancelled" });
  } finally {
    stop();
  }
});

test("a gate that cannot be written decides nothing: the guest stands at it until it can", async () => {
  const { a, b, clock, stop } = makeWorld();
  try {
    const copy = await a.host.openAgent().launch(request);
    await copy.run(5);
    const arriving = { ...request, copyId: ulid("copy", 2), arriving: true };
    const destination = await b.host.openAgent().launch(arriving);
    const migrationId = ulid("mig", 1);
    const key = new Uint8Array(32);
    const endpoint = await destination.receive({ address: b.address, peerAddress: a.address, key, migrationId });
    const limits = { bandwidthLimitBytesPerSecond: null };
    await copy.send({ endpoint, localAddress: a.address, key, migrationId, limits });
    await copy.holdAtGate(1000);
    a.gate.failing = true;
    await assert.rejects(copy.passGate(), /cannot be written/);
    assert.equal((await copy.status()).lock, "held");
    a.host.agentDied();
    await clock.sleep(5000);
    a.gate.failing = false;
    await clock.sleep(5000);
    const [again] = await a.host.openAgent().list();
    assert.deepEqual(await look(again), { machine: "running", lock: "held", ended: null, gate: "cancelled" });
  } finally {
    stop();
  }
});
