// Every host has told what it has, or was declared lost: the records are drawn from that (domain/recovery.ts), one commit
// for each VM, and one last commit opens the cluster. Nothing else writes meanwhile, so a crash on the way, or another
// who does the same, is answered by doing it again: a VM that bears this epoch's token is done.
import type { HostInventory } from "../domain/last-run.ts";
import type { CopyDuty, MigrationState, QueueEntry, RecoveryRecord, VmRecord } from "../domain/records.ts";
import { recoveredEvents, recoverSlot, recoverVm, type UnderWay, type VmStanding } from "../domain/recovery.ts";
import { endRecovery, isDeclaredLost } from "../domain/session.ts";
import { migrationsNamed, standingsOf, underWay } from "../domain/standings.ts";
import { firstToken } from "../domain/tokens.ts";
import { vmEvents } from "../domain/vms.ts";
import type { Ports } from "../ports/ports.ts";
import type { CommitOutcome } from "../ports/table.ts";
import { admitNext } from "./admit-next.ts";
import { ringAll } from "./agent-call.ts";
import { countsNow, forgetInventories, type InventoryPage } from "./inventories.ts";
import { Batch, type Place, type Stored } from "./items.ts";
import { copyPrefix, hostPartition, inventoriesPartition, keys, queuePartition, vmsPartition } from "./keys.ts";
import { type HostPlaces, readAll, readCluster, readHosts, readPlaces } from "./read.ts";
import { awaitedOf, readRecovery } from "./recovery.ts";
import { commitStep } from "./retry.ts";
import { settleLateHosts } from "./settle-late-host.ts";

type Recovering = {
  clusterId: string;
  recovery: Stored<RecoveryRecord>;
  hosts: HostPlaces[];
  told: Stored<HostInventory>[];
  lost: ReadonlySet<string>;
  duties: { hostId: string; place: Stored<CopyDuty> }[];
  queue: Stored<QueueEntry>[];
  migrations: Map<string, Place<MigrationState>>;
  at: number;
};

/** @returns whether the cluster is open again by this */
export async function reopen(ports: Ports, clusterId: string): Promise<boolean> {
  const recovery = await readRecovery(ports, clusterId);
  if (!recovery.value || recovery.value.kind === "went-back") return false;
  // A control plane that was not told of the restore does not decide it.
  if (recovery.value.restoreEpoch !== ports.settings.restoreEpoch) return false;
  const { value: cluster } = await readCluster(ports, clusterId);
  const hosts = await readHosts(ports, clusterId, cluster?.hosts ?? []);
  if (recovery.value.kind === "open") {
    if (await settleLateHosts(ports, clusterId, hosts)) await admitNext(ports, clusterId);
    return false;
  }
  if (awaitedOf(hosts).length > 0) return false;
  const recovering = await readRecovering(ports, clusterId, recovery, hosts);
  for (const standing of await readVms(ports, recovering)) {
    if (standing.place.value && standing.place.value.fencingToken > firstToken(ports.settings.restoreEpoch)) continue;
    if (!(await recoverOne(ports, recovering, standing))) return false; // Others do the same, or it is tried again.
  }
  return open(ports, recovering);
}

async function readRecovering(
  ports: Ports,
  clusterId: string,
  recovery: Stored<RecoveryRecord>,
  hosts: HostPlaces[],
): Promise<Recovering> {
  const lost = new Set(hosts.filter(({ session }) => isDeclaredLost(session.value)).map(({ hostId }) => hostId));
  const recoveries = new Map(hosts.map(({ hostId, session }) => [hostId, session.value.recovery]));
  const inventories = await readAll<InventoryPage>(ports, inventoriesPartition(clusterId));
  const told = inventories.filter(
    ({ value }) => !lost.has(value.hostId) && countsNow(value, recoveries.get(value.hostId)),
  );
  const duties: Recovering["duties"] = [];
  for (const { hostId } of hosts) {
    for (const place of await readAll<CopyDuty>(ports, hostPartition(clusterId, hostId), copyPrefix)) {
      duties.push({ hostId, place });
    }
  }
  const at = ports.clock.nowMs();
  const queue = await readAll<QueueEntry>(ports, queuePartition(clusterId));
  return { clusterId, recovery, hosts, told, lost, duties, queue, migrations: new Map(), at };
}

type Standing = VmStanding & { place: Place<VmRecord> };

async function readVms(ports: Ports, recovering: Recovering): Promise<Standing[]> {
  const { clusterId, told, lost } = recovering;
  const vms = await readAll<VmRecord>(ports, vmsPartition(clusterId));
  await readMigrations(
    ports,
    recovering,
    vms.map(({ value }) => value),
  );
  const migrations = [...recovering.migrations.values()].flatMap(({ value }) => (value ? [value] : []));
  const standings = standingsOf(
    vms.map(({ value }) => value),
    migrations,
    told.map(({ value }) => value),
    lost,
  );
  const places = new Map(vms.map((place) => [place.value.vmId, place]));
  return standings.map((standing) => {
    const place = places.get(standing.vmId);
    return { ...standing, place: place ?? { key: keys.vm(clusterId, standing.vmId), revision: 0, value: null } };
  });
}

async function readMigrations(ports: Ports, recovering: Recovering, vms: readonly VmRecord[]): Promise<void> {
  const { clusterId, hosts, told, queue, migrations } = recovering;
  const ids = migrationsNamed({
    vms,
    slots: hosts.map(({ slot }) => slot.value),
    queue: queue.map(({ value }) => value),
    told: told.map(({ value }) => value),
  });
  const wanted = ids.map((id) => keys.migration(clusterId, id));
  for (const place of await readPlaces<MigrationState>(ports, wanted)) migrations.set(place.key.sort, place);
}

async function recoverOne(ports: Ports, recovering: Recovering, standing: Standing): Promise<boolean> {
  const { clusterId, at, migrations, duties, queue } = recovering;
  const { restoreEpoch } = ports.settings;
  const recovered = recoverVm(standing, { clusterId, restoreEpoch, at });
  if (!recovered) return true;
  const { place } = standing;
  const batch = new Batch({ clusterId, by: "restore", at });
  batch.check(recovering.recovery);
  batch.put(place, recovered.vm);
  batch.events(vmEvents(place.value, recovered.vm), { vm: place });
  for (const after of recovered.migrations) {
    const before = migrations.get(after.id) ?? { key: keys.migration(clusterId, after.id), revision: 0, value: null };
    const revision = batch.put<MigrationState>(before, after);
    migrations.set(after.id, { key: before.key, revision, value: after });
    if (revision === before.revision) continue;
    batch.events(recoveredEvents(before.value, after), { migration: before });
    for (const entry of queue) if (entry.value.migrationId === after.id) batch.remove(entry);
  }
  const wanted = new Map(recovered.duties.map(({ hostId, duty }) => [`${hostId} ${duty.copyId}`, { hostId, duty }]));
  for (const { hostId, place: stood } of duties) {
    if (stood.value.vmId !== standing.vmId || recovering.lost.has(hostId)) continue; // A lost host's wait for it.
    const name = `${hostId} ${stood.value.copyId}`;
    const next = wanted.get(name);
    if (next) batch.put(stood, next.duty);
    else batch.remove(stood);
    wanted.delete(name);
  }
  for (const { hostId, duty } of wanted.values()) {
    batch.put<CopyDuty>({ key: keys.copy(clusterId, hostId, duty.copyId), revision: 0, value: null }, duty);
  }
  return hasCommitted(commitStep(ports, "vm-recovered", batch.changes));
}

async function open(ports: Ports, recovering: Recovering): Promise<boolean> {
  const { clusterId, recovery, hosts, at } = recovering;
  const batch = new Batch({ clusterId, by: "restore", at });
  const { restoreEpoch } = ports.settings;
  batch.put<RecoveryRecord>(recovery, { kind: "open", at, by: "restore", restoreEpoch });
  const lost = hosts.filter(({ session }) => isDeclaredLost(session.value)).map(({ hostId }) => hostId);
  const data = { restoreEpoch, hosts: hosts.length, lost: lost.join(", ") };
  batch.event({ kind: "recovery-ended", subject: { kind: "cluster", id: clusterId }, data }, recovery);
  const underWay = await readUnderWay(ports, recovering);
  for (const { hostId, session, slot } of hosts) {
    batch.put(session, endRecovery(session.value));
    batch.put(slot, recoverSlot(clusterId, hostId, slot.value, underWay));
  }
  if (!(await hasCommitted(commitStep(ports, "cluster-reopened", batch.changes)))) return false;
  // Those who come back late are judged by them as well.
  if (recovering.lost.size === 0) await forgetInventories(ports, clusterId);
  await ringAll(
    ports,
    hosts.map(({ hostId }) => ({ clusterId, hostId })),
  );
  return true;
}

async function readUnderWay(ports: Ports, { clusterId, hosts, told, migrations }: Recovering): Promise<UnderWay[]> {
  const places = await readPlaces<MigrationState>(
    ports,
    [...migrations.keys()].map((id) => keys.migration(clusterId, id)),
  );
  return underWay(
    places.flatMap(({ value }) => (value ? [value] : [])),
    hosts.map(({ slot }) => slot.value),
    told.map(({ value }) => value),
  );
}

/** @returns false where others were quicker, or nobody can say: whoever comes by next does it again */
async function hasCommitted(committing: Promise<CommitOutcome>): Promise<boolean> {
  try {
    return (await committing).kind === "committed";
  } catch {
    return false;
  }
}
