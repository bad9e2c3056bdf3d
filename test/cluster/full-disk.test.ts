import assert from "node:assert/strict";
import { test } from "node:test";
import type { Host } from "../../schemas/host.ts";
import { startCluster, type TestCluster } from "../support/cluster.ts";

const host = (cluster: TestCluster, hostId: string) => cluster.call<Host>("GET", cluster.path(`hosts/${hostId}`));

test("a host that cannot journal says so, is given no migration, serves its other guests, and mends by itself", async () => {
  const cluster = await startCluster({ hosts: 3 });
  try {
    const [hostA, hostB] = cluster.hosts;
    if (!hostA || !hostB) throw new Error("no hosts");
    await cluster.runVm("vm-1", "host-a");
    await cluster.runVm("vm-2", "host-b");
    hostB.disk.failing = true;
    // Only the first migration finds it out.
    const begun = await cluster.request("vm-1", "host-b");
    await cluster.until(async () => (await host(cluster, "host-b")).alarms.length === 1);
    const [alarm] = (await host(cluster, "host-b")).alarms;
    assert.equal(alarm?.code, "cannot-journal");
    assert.match(alarm?.detail ?? "", /^cannot journal: the journal cannot be written/);

    // What its user wishes of a guest there needs no journal.
    await cluster.call("POST", cluster.path("vms/vm-2/pause"));
    await cluster.until(async () => (await cluster.vm("vm-2")).runState === "paused");
    await cluster.call("POST", cluster.path("vms/vm-2/resume"));
    await cluster.until(async () => (await cluster.vm("vm-2")).runState === "running");

    for (const [vm, destination] of [["vm-2", "host-c"]] as const) {
      const { status, body } = await cluster.tryCall("POST", cluster.path("migrations"), { vm, destination });
      assert.deepEqual([status, (body as { code: string }).code], [409, "host-cannot-journal"]);
      assert.match((body as { detail: string }).detail, /host-b.*cannot journal/);
    }

    hostB.disk.failing = false;
    await cluster.until(async () => (await host(cluster, "host-b")).alarms.length === 0);
    await cluster.ended(begun.id);
    assert.equal((await cluster.migrate("vm-2", "host-c")).phase, "completed");
    assert.deepEqual(cluster.faults, []);
  } finally {
    await cluster.stop();
  }
});
