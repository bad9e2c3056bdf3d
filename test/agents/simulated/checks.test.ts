// What simulations rest on: the same seed gives the same run, faults come on demand, and the log sees what must not be.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSimulatedClock } from "../../../agents/adapters/simulated/clock.ts";
import { createExecutionLog } from "../../../agents/adapters/simulated/execution-log.ts";
import { SimulatedHost } from "../../../agents/adapters/simulated/host.ts";
import { createSimulatedHypervisor } from "../../../agents/adapters/simulated/hypervisor.ts";
import { createSimulatedNetwork } from "../../../agents/adapters/simulated/network.ts";
import type { Machine, MachineEvent } from "../../../agents/ports/hypervisor.ts";
import type { VmSpec } from "../../../schemas/vm.ts";
import { seededRandom } from "../../support/seeded-random.ts";

const spec: VmSpec = {
  hypervisor: "simulated",
  image: "selftest",
  memoryMiB: 16,
  dirtyMiBPerSecond: 20,
  workingSetMiB: 4,
};
const addresses = { a: "127.0.0.11", b: "127.0.0.12" };

function makeCluster(seed = 1) {
  const clock = createSimulatedClock();
  const network = createSimulatedNetwork({ clock });
  const random = seededRandom(seed);
  const log = createExecutionLog();
  const host = (hostId: string) => new SimulatedHost({ clock, network, random, log, hostId });
  const hosts = { a: host("host-a"), b: host("host-b") };
  const hypervisors = { a: createSimulatedHypervisor(hosts.a), b: createSimulatedHypervisor(hosts.b) };
  const events: string[] = [];
  const machines = new Map<string, Machine>();

  /** Fires timers until `done`; each after all that is promised at its instant. */
  async function play(done: () => boolean): Promise<void> {
    for (let steps = 0; !done(); steps++) {
      assert.ok(steps < 100_000, "it never comes to this");
      await new Promise(setImmediate);
      clock.step();
    }
  }
  async function after<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const mark = () => {
      settled = true;
    };
    promise.then(mark, mark);
    await play(() => settled);
    return promise;
  }
  async function launch(on: "a" | "b", copyId: string, arriving = false): Promise<Machine> {
    const machine = await hypervisors[on].launch({ vmId: "vm-1", copyId, spec, directory: "/simulated", arriving });
    machine.listen((event) => events.push(`${clock.monotonicMs()} ${copyId} ${JSON.stringify(event)}`));
    machines.set(copyId, machine);
    return machine;
  }
  const has = (copyId: string, kind: MachineEvent["kind"]) =>
    events.some((told) => told.includes(` ${copyId} `) && told.includes(`"kind":"${kind}"`));

  async function connect(source: Machine, from: "a" | "b" = "a"): Promise<Machine> {
    const to = from === "a" ? "b" : "a";
    const destination = await launch(to, `copy-${to}`, true);
    const key = new Uint8Array(32);
    const migrationId = "mig_01KB0000000000000000000000";
    const endpoint = await destination.receive({
      address: addresses[to],
      peerAddress: addresses[from],
      key,
      migrationId,
    });
    const limits = { bandwidthLimitBytesPerSecond: null };
    await after(source.send({ endpoint, localAddress: addresses[from], key, migrationId, limits }));
    return destination;
  }
  async function move(source: Machine): Promise<Machine> {
    const destination = await connect(source);
    await play(() => has("copy-a", "sampled"));
    await source.stop();
    await source.finish();
    await play(() => has("copy-a", "sent") && has("copy-b", "loaded"));
    return destination;
  }
  return { clock, network, log, hosts, events, play, after, launch, connect, move, has };
}

describe("simulated hypervisor: what simulations rest on", () => {
  test("one seed gives one run, event for event; another seed gives another", async () => {
    const play = async (seed: number) => {
      const cluster = makeCluster(seed);
      const source = await cluster.launch("a", "copy-a");
      await source.run();
      await (await cluster.move(source)).run();
      await cluster.play(() => cluster.has("copy-b", "guest-reported"));
      return cluster.events;
    };
    assert.deepEqual(await play(7), await play(7));
    assert.notDeepEqual(await play(7), await play(8));
  });

  test("a clean move leaves intervals that touch but never overlap, and no fault", async () => {
    const cluster = makeCluster();
    const source = await cluster.launch("a", "copy-a");
    await source.run();
    const destination = await cluster.move(source);
    await destination.run();
    const [first, second] = cluster.log.intervals;
    assert.equal(cluster.log.intervals.length, 2);
    assert.equal(first?.fresh, true);
    assert.equal(second?.fresh, false);
    assert.ok(first?.ceasedAtMs !== null && first && second && first.ceasedAtMs <= second.beganAtMs);
    assert.deepEqual(cluster.log.faults, []);
    assert.deepEqual(
      cluster.log.executing("vm-1").map(({ copyId }) => copyId),
      ["copy-b"],
    );
  });

  test("two copies that execute at once are seen", async () => {
    const cluster = makeCluster();
    const source = await cluster.launch("a", "copy-a");
    await source.run();
    const destination = await cluster.move(source);
    await source.run();
    await destination.run();
    assert.deepEqual(
      cluster.log.faults.map(({ kind }) => kind),
      ["two-at-once", "stale-memory"],
    );
  });

  test("a stale copy that executes is seen, also when the other has stopped", async () => {
    const cluster = makeCluster();
    const source = await cluster.launch("a", "copy-a");
    await source.run();
    const destination = await cluster.move(source);
    await destination.run();
    await destination.stop();
    await source.run();
    assert.deepEqual(
      cluster.log.faults.map(({ kind, copyId }) => [kind, copyId]),
      [["stale-memory", "copy-a"]],
    );
  });

  test("a stale copy of a guest that was reset is seen", async () => {
    const cluster = makeCluster();
    const source = await cluster.launch("a", "copy-a");
    await source.run();
    const destination = await cluster.move(source);
    await source.run();
    await source.reset();
    await source.stop();
    await destination.run();
    assert.deepEqual(
      cluster.log.faults.map(({ kind }) => kind),
      ["stale-memory"],
    );
  });

  test("a host that loses its power tells nobody there, its guests are gone, and its peer's stream fails", async () => {
    const cluster = makeCluster();
    const source = await cluster.launch("a", "copy-a");
    await source.run();
    const destination = await cluster.connect(source);
    cluster.hosts.b.losePower();
    await cluster.play(() => cluster.has("copy-a", "stream-failed"));
    assert.equal(cluster.has("copy-b", "ended"), false);
    assert.equal(await destination.state(), "ended");
    assert.equal(cluster.hosts.b.processes().length, 0);
    assert.equal(await source.state(), "running");
  });

  test("a silent cut is noticed by both ends only after a while; the guest runs on", async () => {
    const cluster = makeCluster();
    const source = await cluster.launch("a", "copy-a");
    await source.run();
    await cluster.connect(source);
    const cutAtMs = cluster.clock.monotonicMs();
    cluster.network.cut(addresses.a, addresses.b, { silent: true });
    await cluster.play(() => cluster.has("copy-a", "stream-failed") && cluster.has("copy-b", "stream-failed"));
    assert.ok(cluster.clock.monotonicMs() - cutAtMs >= 5000);
    assert.equal(await source.state(), "running");
  });

  test("a cut in the last handshake leaves the source in doubt: sent nothing it knows of, while the other is loaded", async () => {
    const cluster = makeCluster();
    const source = await cluster.launch("a", "copy-a");
    await source.run();
    const destination = await cluster.connect(source);
    await cluster.play(() => cluster.has("copy-a", "sampled"));
    await source.stop();
    await source.finish();
    await cluster.play(() => cluster.has("copy-b", "loaded"));
    cluster.network.cut(addresses.a, addresses.b);
    await cluster.play(() => cluster.has("copy-a", "stream-failed"));
    assert.equal(cluster.has("copy-a", "sent"), false);
    assert.equal(await source.state(), "stopped");
    assert.equal(await destination.state(), "loaded");
  });

  test("a slower network makes rounds longer", async () => {
    const durationOfRound0 = async (bandwidthBytesPerSecond: number) => {
      const cluster = makeCluster();
      cluster.network.setConditions(addresses.a, addresses.b, { bandwidthBytesPerSecond });
      const source = await cluster.launch("a", "copy-a");
      await source.run();
      await cluster.connect(source);
      const done = () => cluster.events.find((told) => told.includes('"roundDone":true'));
      await cluster.play(() => done() !== undefined);
      return Number(/"durationMs":([\d.]+)/.exec(done() ?? "")?.[1]);
    };
    assert.ok((await durationOfRound0(50_000_000)) > 9 * (await durationOfRound0(500_000_000)));
  });

  test("a throttled guest does less in the same time", async () => {
    const heartbeats = async (percent: number) => {
      const cluster = makeCluster();
      const guest = await cluster.launch("a", "copy-a");
      await guest.run();
      await guest.throttle(percent);
      await cluster.after(cluster.clock.sleep(10_000));
      const last = cluster.events.findLast((told) => told.includes("guest-reported"));
      return Number(/"heartbeats":(\d+)/.exec(last ?? "")?.[1]);
    };
    assert.equal(Math.floor((await heartbeats(0)) / 10), await heartbeats(90));
  });

  test("faults come on demand, once: a launch that fails, a run refused, a run whose outcome nobody knows", async () => {
    const { hosts, launch, log } = makeCluster();
    hosts.a.expectFault({ kind: "launch-fails", detail: "no memory left" });
    await assert.rejects(launch("a", "copy-a"), /no memory left/);
    const guest = await launch("a", "copy-a");

    hosts.a.expectFault({ kind: "run-refused", detail: "disk is locked" });
    assert.deepEqual(await guest.run(), { kind: "refused", detail: "disk is locked" });
    hosts.a.expectFault({ kind: "run-outcome-unknown", executes: false });
    await assert.rejects(guest.run());
    assert.equal(await guest.state(), "held");
    assert.equal(log.intervals.length, 0, "nothing has executed");

    hosts.a.expectFault({ kind: "run-outcome-unknown", executes: true });
    await assert.rejects(guest.run());
    assert.equal(await guest.state(), "running");
    assert.equal(log.executing("vm-1").length, 1);
  });

  test("a guest can switch itself off or crash, and its machine says which", async () => {
    for (const how of ["powered-off", "crashed"] as const) {
      const cluster = makeCluster();
      const guest = await cluster.launch("a", "copy-a");
      await guest.run();
      cluster.hosts.a.processOf("copy-a")?.endGuest(how, "as the test wished");
      assert.ok(cluster.events.at(-1)?.includes(`"how":"${how}"`));
      assert.equal(await guest.state(), "ended");
      assert.deepEqual(cluster.log.executing("vm-1"), []);
    }
  });
});
