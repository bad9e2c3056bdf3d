// Every host has told what it has, or was declared lost: the records are drawn from that (domain/recovery.ts), one commit
// for each VM, and one last commit opens the cluster. Nothing else writes meanwhile, so a crash on the way, or another
// who does the same, is answered by doing it again: a VM that bears this epoch's token is done.
import type { Assignment } from "../../schemas/agent.ts";
import type { HostInventory, VmInventory } from "../domain/last-run.ts";
import type { CopyDuty, MigrationState, QueueEntry, RecoveryRecord, VmRecord } from "../domain/records.ts";
import { recoveredEvents, recoverSlot, recoverVm, type VmStanding } from "../domain/recovery.ts";
import { endRecovery, isDeclaredLost } from "../domain/session.ts";
import { firstToken } from "../domain/tokens.ts";
import { vmEvents } from "../domain/vms.ts";
import type { Ports } from "../ports/ports.ts";
import type { CommitOutcome } from "../ports/table.ts";
import { ringAll } from "./agent-call.ts";
import { countsNow, type InventoryPage } from "./inventories.ts";
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

const changesAtOnce = 50;

/** @returns whether the cluster is open again by this */
export async function reopen(ports: Ports, clusterId: string): Promise<boolean> {
  const recovery = await readRecovery(ports, clusterId);
  if (!recovery.value || recovery.value.kind === "went-back") return false;
  // A control plane that was not told of the restore does not decide it.
  if (recovery.value.restoreEpoch !== ports.settings.restoreEpoch) return false;
  const { value: cluster } = await readCluster(ports, clusterId);
  const hosts = await readHosts(ports, clusterId, cluster?.hosts ?? []);
  if (recovery.value.kind === "open") {
    await settleLateHosts(ports, clusterId, hosts);
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
  const known = new Map((await readAll<VmRecord>(ports, vmsPartition(clusterId))).map((vm) => [vm.value.vmId, vm]));
  const named = told.flatMap(({ value }) => [
    ...value.copies.map(({ vmId }) => vmId),
    ...value.parts.map(({ assignment }) => assignment.vmId),
  ]);
  await readMigrations(ports, recovering, [...known.values()]);
  return [...new Set([...known.keys(), ...named])].sort().map((vmId) => {
    const place: Place<VmRecord> = known.get(vmId) ?? { key: keys.vm(clusterId, vmId), revision: 0, value: null };
    const inventory = inventoryOf(told, lost, vmId);
    const isUnderWay = ({ id, stage }: MigrationState) =>
      stage !== "ended" || inventory.parts.some(({ over, assignment }) => !over && assignment.migrationId === id);
    const migrations = [...recovering.migrations.values()].flatMap(({ value }) => (value ? [value] : []));
    return {
      vmId,
      place,
      vm: place.value,
      migrations: migrations.filter((migration) => migration.vmId === vmId && isUnderWay(migration)),
      inventory,
      highestToken: highestTokenOf(told, vmId),
    };
  });
}

/** Those that anything names which could be under way. */
async function readMigrations(ports: Ports, recovering: Recovering, vms: Stored<VmRecord>[]): Promise<void> {
  const { clusterId, hosts, told, queue, migrations } = recovering;
  const ids = new Set<string>([
    ...vms.flatMap(({ value }) => (value.migrationId ? [value.migrationId] : [])),
    ...hosts.flatMap(({ slot }) => (slot.value.migration ? [slot.value.migration.migrationId] : [])),
    ...queue.map(({ value }) => value.migrationId),
    ...told.flatMap(({ value }) => value.parts.map(({ assignment }) => assignment.migrationId)),
  ]);
  const wanted = [...ids].map((id) => keys.migration(clusterId, id));
  for (const place of await readPlaces<MigrationState>(ports, wanted)) migrations.set(place.key.sort, place);
}

export function inventoryOf(
  told: readonly { value: HostInventory }[],
  lostHosts: ReadonlySet<string>,
  vmId: string,
): VmInventory {
  return {
    copies: told.flatMap(({ value }) =>
      value.copies.filter((copy) => copy.vmId === vmId).map((copy) => ({ ...copy, hostId: value.hostId })),
    ),
    parts: told.flatMap(({ value }) =>
      value.parts
        .filter(({ assignment }) => assignment.vmId === vmId)
        .map((part) => ({ ...part, hostId: value.hostId })),
    ),
    lostHosts,
  };
}

export function highestTokenOf(told: readonly { value: HostInventory }[], vmId: string): number {
  const tokens = told.flatMap(({ value }) => [
    ...value.tokens.filter((seen) => seen.vmId === vmId).map(({ fencingToken }) => fencingToken),
    ...value.copies.filter((copy) => copy.vmId === vmId).map(({ lockToken }) => lockToken ?? 0),
    ...value.parts
      .filter(({ assignment }) => assignment.vmId === vmId)
      .map(({ assignment, recordToken }) => Math.max(assignment.fencingToken, recordToken)),
  ]);
  return tokens.reduce((highest, token) => Math.max(highest, token), 0);
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
  await forgetInventories(ports, recovering);
  await ringAll(
    ports,
    hosts.map(({ hostId }) => ({ clusterId, hostId })),
  );
  return true;
}

/** They count no more; more of them may be there than one commit takes. */
async function forgetInventories(ports: Ports, { clusterId, lost, at }: Recovering): Promise<void> {
  const inventories = await readAll<InventoryPage>(ports, inventoriesPartition(clusterId));
  const done = inventories.filter(({ value }) => !lost.has(value.hostId));
  for (let start = 0; start < done.length; start += changesAtOnce) {
    const batch = new Batch({ clusterId, by: "restore", at });
    for (const place of done.slice(start, start + changesAtOnce)) batch.remove(place);
    await hasCommitted(commitStep(ports, "inventories-forgotten", batch.changes));
  }
}

async function readUnderWay(
  ports: Ports,
  { clusterId, hosts, told, migrations }: Recovering,
): Promise<{ migration: MigrationState; assignment: Assignment }[]> {
  const assignments = new Map<string, Assignment>();
  for (const { slot } of hosts) {
    if (slot.value.migration) assignments.set(slot.value.migration.migrationId, slot.value.migration.assignment);
  }
  for (const { value } of told) {
    for (const { assignment } of value.parts) assignments.set(assignment.migrationId, assignment);
  }
  const ids = [...migrations.keys()];
  const places = await readPlaces<MigrationState>(
    ports,
    ids.map((id) => keys.migration(clusterId, id)),
  );
  return places.flatMap(({ value: migration }) => {
    const assignment = migration && assignments.get(migration.id);
    return migration && assignment && migration.stage !== "ended" ? [{ migration, assignment }] : [];
  });
}

/** @returns false where others were quicker, or nobody can say: whoever comes by next does it again */
async function hasCommitted(committing: Promise<CommitOutcome>): Promise<boolean> {
  try {
    return (await committing).kind === "committed";
  } catch {
    return false;
  }
}
