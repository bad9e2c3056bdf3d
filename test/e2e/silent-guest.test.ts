// A guest that stands still for real: its process, or its supervisor's, is stopped by a signal.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { silentAfterMs } from "../../agents/domain/guest-pulse.ts";
import { type Cluster, clusterName, startCluster } from "../../cli/cluster/cluster.ts";
import { startGuest } from "../../cli/demo/guests.ts";
import type { Migration } from "../../schemas/migration.ts";
import type { Vm } from "../../schemas/vm.ts";
import { DroverProcess } from "./processes.ts";

const skip = existsSync("/proc/self/environ") ? false : "a local cluster needs /proc";

/** The process of this VM's guest, or of its supervisor, on the host. */
function processOf(cluster: Cluster, copyId: string, program: string): number {
  const folder = join(cluster.folder, "host-a", "data", "copies", copyId);
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      if (readlinkSync(`/proc/${name}/cwd`) !== folder) continue;
      if (readFileSync(`/proc/${name}/cmdline`, "utf8").includes(program)) return Number(name);
    } catch {} // It has ended, or is another user's.
  }
  throw new Error(`no process ${program} of ${copyId}`);
}

async function until(cluster: Cluster, vm: string, isSo: (vm: Vm) => boolean): Promise<Vm> {
  let found = await cluster.api.getVm(clusterName, vm);
  for (let waitedMs = 0; !isSo(found) && waitedMs < 60_000; waitedMs += 100) {
    await delay(100);
    found = await cluster.api.getVm(clusterName, vm);
  }
  assert.ok(isSo(found), `never came true: ${JSON.stringify(found)}\n${await cluster.logTails()}`);
  return found;
}

async function ended(cluster: Cluster, id: string): Promise<Migration> {
  let migration = await cluster.api.getMigration(clusterName, id);
  for (let waits = 0; migration.endedAt === null && waits < 60; waits++) {
    migration = await cluster.api.waitMigration(clusterName, id, migration.revision, 10_000);
  }
  return migration;
}

const isSilent = ({ alarms }: Vm): boolean => alarms.some(({ code }) => code === "guest-silent");

test("a guest that stands still is an alarm by name, since it fell silent, until it goes on; nothing is healed", {
  skip,
}, async () => {
  const options = { hosts: 2, table: "sqlite", doorbell: "embedded", guestMemoryMiB: 256 } as const;
  const cluster = await startCluster({ ...options, heartbeatMs: 500, leaseMs: 5000 });
  try {
    const { api } = cluster;
    for (const vm of ["vm-1", "vm-2", "vm-3"]) await startGuest(api, clusterName, vm, "host-a", { memoryMiB: 16 });
    await api.pauseVm(clusterName, "vm-3");
    const { owner } = await api.getVm(clusterName, "vm-1");
    const copyId = owner?.copyId ?? "";

    for (const program of ["drover-guest vm-1 ", "drover-supervisor vm-1 "]) {
      const pid = processOf(cluster, copyId, program);
      const stoppedAt = Date.now();
      process.kill(pid, "SIGSTOP");
      const standing = await until(cluster, "vm-1", isSilent);
      const alarm = standing.alarms.find(({ code }) => code === "guest-silent");
      const offMs = Date.parse(alarm?.since ?? "") - stoppedAt;
      assert.ok(Date.now() - stoppedAt >= silentAfterMs - 2000, "not before its time");
      assert.ok(offMs > -2000 && offMs < 2000, `it stands since it fell silent, not ${offMs} ms off`);
      assert.match(alarm?.detail ?? "", /heartbeat stands at \d+, and its process does not answer/);
      assert.deepEqual([standing.runState, standing.owner?.copyId], ["running", copyId]);

      const list = new DroverProcess(["vm", "list"], {
        environment: { DROVER_API: api.url, DROVER_KEY_FILE: cluster.keyFile, DROVER_CLUSTER: clusterName },
      });
      await list.ended;
      assert.match(list.stdout, /vm-1 .*guest-silent/);
      await list.dispose();

      await delay(2000);
      const later = (await api.getVm(clusterName, "vm-1")).alarms.find(({ code }) => code === "guest-silent");
      assert.equal(later?.since, alarm?.since);
      assert.equal((await api.getHost(clusterName, "host-a")).alive, true, "its host keeps its lease");
      for (const other of ["vm-2", "vm-3"]) assert.deepEqual((await api.getVm(clusterName, other)).alarms, [], other);

      const moving = await api.requestMigration(clusterName, { vm: "vm-1", destination: "host-b" });
      const { phase, reason, detail } = await ended(cluster, moving.id);
      assert.deepEqual([phase, reason], ["failed", "preparation-failed"]);
      assert.match(detail ?? "", /has not answered for 5 s.*guest-silent/);
      const still = (await api.getVm(clusterName, "vm-1")).alarms.find(({ code }) => code === "guest-silent");
      assert.equal(still?.since, alarm?.since, "a migration does not take the alarm back");

      process.kill(pid, "SIGCONT");
      const again = await until(cluster, "vm-1", (vm) => vm.alarms.length === 0);
      const heartbeats = again.guest?.heartbeats ?? 0;
      await until(cluster, "vm-1", ({ guest }) => (guest?.heartbeats ?? 0) > heartbeats);
      assert.equal((await api.getVm(clusterName, "vm-1")).owner?.copyId, copyId);
    }
  } finally {
    await cluster.stop();
  }
});
