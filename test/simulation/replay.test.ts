import assert from "node:assert/strict";
import { test } from "node:test";
import { findOverlaps } from "./history.ts";
import { Simulation } from "./simulation.ts";

async function thereAndBack(seed: number): Promise<string> {
  const simulation = new Simulation({ seed, hosts: 3, keeping: "hash" });
  await simulation.run(async ({ cluster, scheduler }) => {
    await scheduler.settle(cluster.runVm("vm-1", "host-a"));
    for (const host of ["host-b", "host-a"]) {
      const migration = await scheduler.settle(cluster.migrate("vm-1", host));
      assert.deepEqual([migration.phase, migration.verdict], ["completed", "committed"], JSON.stringify(migration));
    }
    await scheduler.pass(60_000);
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
  });
  assert.deepEqual(simulation.violations, []);
  assert.deepEqual(findOverlaps(simulation.cluster.executions.intervals), []);
  return simulation.history.digest();
}

test("one seed gives one history, to the last bit; another seed another", async () => {
  const first = await thereAndBack(1);
  assert.equal(await thereAndBack(1), first);
  assert.notEqual(await thereAndBack(2), first);
});
