// Two barriers keep a second copy of a guest from executing: the record, and the lock file. Each is taken away here in
// turn, and the other must do alone; with both away, the checker must see it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { lostStatement } from "../../schemas/host.ts";
import { quickSettings } from "./faults/operator.ts";
import { NoLocks, withoutLies } from "./no-locks.ts";
import { playAll } from "./scenarios.ts";
import { BrokenPromise, Simulation, type WatchedLocks } from "./simulation.ts";

test("with no lock files at all, the record alone keeps every promise", async () => {
  let migrations = 0;
  for (let seed = 801; seed <= 900; seed++) {
    const { migrations: asked } = await playAll(seed, seed, {
      plan: withoutLies,
      simulation: { locks: new NoLocks() },
    });
    migrations += asked;
  }
  assert.ok(migrations > 50, String(migrations));
});

/** vm-1 runs on host-a, which only cannot be heard; an operator says that it is off, and has it started on host-b.
 *  @returns whether the checker saw two copies execute */
async function lieAbout(seed: number, locks: WatchedLocks | null): Promise<boolean> {
  const simulation = new Simulation({
    seed,
    hosts: 2,
    settings: quickSettings,
    ...(locks ? { locks } : {}),
  });
  let isForced = false;
  const story = async () => {
    const { cluster, scheduler } = simulation;
    await scheduler.settle(cluster.runVm("vm-1", "host-a"));
    await scheduler.pass((seed * 37) % 3000);
    const host = cluster.host("host-a");
    host.isCutOff = true;
    await scheduler.pass(6000);
    simulation.declaredLost(host);
    const { incarnation } = host;
    const loss = { incarnation, reason: "for a test", statement: lostStatement };
    await scheduler.settle(cluster.call("POST", cluster.path("hosts/host-a/declare-lost"), loss));
    const action = { kind: "start-from-disk", host: "host-b" };
    await scheduler.settle(cluster.call("POST", cluster.path("vms/vm-1/force"), { reason: "for a test", action }));
    isForced = true;
    await scheduler.pass(20_000);
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
  };
  try {
    await simulation.run(story);
    return false;
  } catch (error) {
    if (!(error instanceof BrokenPromise)) throw error;
    assert.ok(isForced);
    assert.match(error.message, /execut/);
    return true;
  }
}

test("with the record told a lie, the lock file alone lets no second copy execute: 100 of 100", async () => {
  for (let seed = 1; seed <= 100; seed++) assert.equal(await lieAbout(seed, null), false, `seed ${seed}`);
});

test("with both barriers away, the checker sees it: 100 of 100", async () => {
  for (let seed = 1; seed <= 100; seed++) assert.equal(await lieAbout(seed, new NoLocks()), true, `seed ${seed}`);
});
