// The shared volume is out of reach while a guest changes its host: its lock file can be neither given up nor taken.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryLockVolume } from "../../agents/adapters/memory-lock-file.ts";
import type { ClusterOptions } from "../support/cluster.ts";
import { withCluster } from "../support/with-cluster.ts";

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
    const locks = new MemoryLockVolume();
    const options: ClusterOptions = {
      hosts: 2,
      locks,
      onLog: (_hostId, { event, ...entry }) => {
        if (isGone || event !== `${role}-stage` || (entry as { to?: string }).to !== stage) return;
        isGone = true;
        locks.unreachable = true;
      },
    };
    await withCluster(options, async (cluster) => {
      await cluster.runVm("vm-1", "host-a");
      const { id } = await cluster.request("vm-1", "host-b");
      await cluster.until(() => isGone);
      await cluster.world.clock.sleep(1500);
      assert.ok(cluster.executing("vm-1").length <= 1);
      locks.unreachable = false;
      const ended = await cluster.ended(id);
      await cluster.until(() => cluster.executing("vm-1").length === 1);
      const [host = "nobody"] = cluster.executing("vm-1");
      assert.equal(host, ended.phase === "completed" ? "host-b" : "host-a", JSON.stringify(ended));
      await cluster.until(async () => (await cluster.vm("vm-1")).migration === null);
      const again = await cluster.migrate("vm-1", host === "host-a" ? "host-b" : "host-a");
      assert.equal(again.phase, "completed", JSON.stringify(again));
    });
  });
}
