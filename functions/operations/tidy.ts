// The last net, for a timer that comes by: what any request would have done in passing.
import type { VmRecord } from "../domain/records.ts";
import { mayWish } from "../domain/vms.ts";
import type { Ports } from "../ports/ports.ts";
import { admitNext, admitQueued } from "./admit-next.ts";
import { listClusterIds } from "./clusters.ts";
import { keys } from "./keys.ts";
import { tidyLostHosts } from "./lost-hosts.ts";
import { readCluster, readOne, readQueue } from "./read.ts";
import { isRecovering } from "./recovery.ts";
import { reopen } from "./reopen.ts";

export async function tidy(ports: Ports, clusterId: string): Promise<void> {
  if (await isRecovering(ports, clusterId)) {
    await reopen(ports, clusterId);
    return;
  }
  for (const entry of await readQueue(ports, clusterId)) {
    const vm = await readOne<VmRecord>(ports, keys.vm(clusterId, entry.value.vmId));
    if (!vm.value || !mayWish(vm.value)) await admitQueued(ports, clusterId, entry.value.migrationId);
  }
  const { value: cluster } = await readCluster(ports, clusterId);
  await tidyLostHosts(ports, clusterId, cluster?.hosts ?? []);
  await admitNext(ports, clusterId);
}

export async function tidyAll(ports: Ports): Promise<void> {
  for (const clusterId of await listClusterIds(ports)) await tidy(ports, clusterId);
}
