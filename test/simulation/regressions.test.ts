// Defects that the simulation found, each as the shortest story that shows it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Simulation } from "./simulation.ts";

async function play(seed: number, story: (simulation: Simulation) => Promise<void>): Promise<void> {
  const simulation = new Simulation({ seed, hosts: 2 });
  await simulation.run(async () => {
    await simulation.scheduler.settle(simulation.cluster.runVm("vm-1", "host-a"));
    await story(simulation);
  });
}

test("a journal that could not be marked as over is forgotten once the disk takes writes again", () =>
  play(1, async ({ cluster, scheduler }) => {
    const host = cluster.host("host-b");
    const { id } = await scheduler.settle(cluster.request("vm-1", "host-b"));
    await scheduler.settle(cluster.until(async () => (await cluster.migration(id)).confirmed));
    host.disk.failing = true;
    await scheduler.pass(10_000);
    assert.equal((await scheduler.settle(cluster.migration(id))).phase, "completed");
    host.disk.failing = false;
    await scheduler.pass(30_000);
    assert.deepEqual([...host.disk.entries.keys()], []);
  }));

test("a destination whose agent was away leaves no journal at its source for long", () =>
  play(2, async ({ cluster, scheduler }) => {
    const [source, destination] = [cluster.host("host-a"), cluster.host("host-b")];
    const { id } = await scheduler.settle(cluster.request("vm-1", "host-b"));
    await scheduler.settle(cluster.until(async () => (await cluster.migration(id)).confirmed));
    destination.killAgent();
    await scheduler.pass(20_000);
    await scheduler.settle(destination.startAgent());
    await scheduler.pass(30_000);
    assert.deepEqual([source.disk.entries.size, source.gate.size, destination.disk.entries.size], [0, 0, 0]);
  }));

test("a guest whose process is killed long after the boot is not said to have ended by it", () =>
  play(3, async (simulation) => {
    const { cluster, scheduler } = simulation;
    const [guest] = cluster.host("host-a").simulated.processes();
    assert.ok(guest);
    simulation.willLose(guest);
    guest.vanish("killed", "killed");
    await scheduler.pass(5000);
    const vm = await scheduler.settle(cluster.vm("vm-1"));
    assert.deepEqual([vm.runState, vm.stoppedBecause], ["guest-lost", "killed"]);
  }));

test("what a launch at the destination had begun when its supervisor died is not left behind", () =>
  play(4, async (simulation) => {
    const { cluster, scheduler, supervisors } = simulation;
    const known = new Set(supervisors.keys());
    const { id } = await scheduler.settle(cluster.request("vm-1", "host-b"));
    await scheduler.settle(
      cluster.until(() => {
        const fresh = [...supervisors].find(([copyId]) => !known.has(copyId));
        fresh?.[1].end();
        return fresh !== undefined;
      }),
    );
    await scheduler.settle(cluster.ended(id, 90_000));
    await scheduler.pass(60_000);
    const owner = (await scheduler.settle(cluster.vm("vm-1"))).owner?.copyId;
    const there = cluster.hosts.flatMap((host) => host.copyHost.copyIds());
    assert.deepEqual(there, [owner]);
  }));
