// The shared volume is out of reach while a guest changes its host: its lock file can be neither given up nor taken.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startCluster } from "../support/cluster.ts";

const moments = [
  ["source", "holding"],
  ["source", "deciding"],
  ["destination", "intending"],
  ["destination", "committing"],
  ["destination", "starting"],
] as const;

for (const [role, stage] of moments) {
  test(`the volume is gone when the ${role} comes to "${stage}": the guest runs once, and the next move succeeds`, async () => {
    let isGone = false;
    const cluster = await startCluster({
      hosts: 2,
      onLog: (_hostId, { event, ...entry }) => {
        if (isGone || event !== `${role}-stage` || (entry as { to?: string }).to !== stage) return;
        isGone = true;
        cluster.locks.unreachable = true;
      },
    });
    try {
      await cluster.runVm("vm-1", "host-a");
      const { id } = await cluster.request("vm-1", "host-b");
      await cluster.until(() => isGone);
      await cluster.world.clock.sleep(1500);
      assert.ok(cluster.executing("vm-1").length <= 1);
      cluster.locks.unreachable = false;
      const ended = await cluster.ended(id);
      await cluster.until(() => cluster.executing("vm-1").length === 1);
      const [host = "nobody"] = cluster.executing("vm-1");
      assert.equal(host, ended.phase === "completed" ? "host-b" : "host-a", JSON.stringify(ended));
      await cluster.until(async () => (await cluster.vm("vm-1")).migration === null);
      const again = await cluster.migrate("vm-1", host === "host-a" ? "host-b" : "host-a");
      assert.equal(again.phase, "completed", JSON.stringify(again));
      assert.deepEqual(cluster.faults, []);
    } finally {
      await cluster.stop();
    }
  });
}
