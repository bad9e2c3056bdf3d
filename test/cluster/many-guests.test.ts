import assert from "node:assert/strict";
import { test } from "node:test";
import type { Host } from "../../schemas/host.ts";
import type { Vm } from "../../schemas/vm.ts";
import type { ClusterOptions } from "../support/cluster.ts";
import { withCluster } from "../support/with-cluster.ts";

test("a host with more guests than one heartbeat could tell of keeps its lease, and all of them are seen", async () => {
  const guests = 300;
  const refused: object[] = [];
  const options: ClusterOptions = {
    hosts: 1,
    memoryMiB: guests * 16,
    settings: { heartbeatMs: 500, leaseMs: 5000 },
    onLog: (_, entry) => {
      if (entry.event === "heartbeat-refused") refused.push(entry);
    },
  };
  await withCluster(options, async (cluster) => {
    const spec = { hypervisor: "simulated", memoryMiB: 16, workingSetMiB: 1 };
    for (let index = 0; index < guests; index++) {
      await cluster.call("POST", cluster.path("vms"), { vm: `vm-${index}`, spec });
      await cluster.call("POST", cluster.path(`vms/vm-${index}/start`), { host: "host-a" });
    }
    const seen = async () => {
      const { items } = await cluster.call<{ items: Vm[] }>("GET", cluster.path("vms"));
      return items.filter(({ runState, guest }) => runState === "running" && guest !== null).length === guests;
    };
    await cluster.until(seen);
    assert.equal((await cluster.call<Host>("GET", cluster.path("hosts/host-a"))).alive, true);
    assert.deepEqual(refused, []);
  });
});
