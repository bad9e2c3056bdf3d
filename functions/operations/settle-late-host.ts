// A host that was declared lost while its cluster recovered comes back: it tells what it has first, and its duties are
// brought to what the records say by now. A copy that another one has superseded is told to go (rule 8), and nothing
// else is.

import type { HostInventory } from "../domain/last-run.ts";
import { recoverLate, staysOwed } from "../domain/late-host.ts";
import { settleSlot } from "../domain/motion.ts";
import type { CopyDuty, MigrationState, Session, Slot, VmRecord } from "../domain/records.ts";
import { recoveredEvents, recoverSlot, type UnderWay } from "../domain/recovery.ts";
import { hasTold, isAwaited, isDeclaredLost } from "../domain/session.ts";
import { inventoryOf, migrationsNamed, underWayOf } from "../domain/standings.ts";
import { vmEvents } from "../domain/vms.ts";
import type { Ports } from "../ports/ports.ts";
import { forgetInventories, type InventoryPage, readInventory } from "./inventories.ts";
import { Batch, type Place } from "./items.ts";
import { copyPrefix, hostPartition, inventoriesPartition, keys, vmsPartition } from "./keys.ts";
import { type HostPlaces, readAll, readOne, readPlaces } from "./read.ts";
import { retryConflicts } from "./retry.ts";

/** What one of them has is judged by what all of them tell, and by who is lost to this moment. */
type Others = {
  told: HostInventory[];
  /** What those had told that have taken up their work since. */
  settled: HostInventory[];
  lost: ReadonlySet<string>;
};

/** @returns whether any of them takes up its work by this */
export async function settleLateHosts(ports: Ports, clusterId: string, hosts: readonly HostPlaces[]): Promise<boolean> {
  const isHere = ({ session: { value } }: HostPlaces) => value.recovery?.kind !== "recovering";
  const isLate = ({ session }: HostPlaces) => hasTold(session.value);
  const isLost = ({ session: { value } }: HostPlaces) => isDeclaredLost(value) || isAwaited(value);
  const lost = new Set(hosts.filter(isLost).map(({ hostId }) => hostId));
  const inventories = new Map<string, HostInventory | null>();
  for (const host of hosts.filter(isLate)) {
    inventories.set(host.hostId, await readInventory(ports, clusterId, host));
  }
  if (inventories.size === 0) return false;
  let isAny = false;
  const settled = await readSettled(ports, clusterId, new Set(hosts.filter(isHere).map(({ hostId }) => hostId)));
  for (const [hostId, inventory] of inventories) {
    inventories.delete(hostId);
    const told = [...inventories.values()].filter((other) => other !== null);
    const isSettled = await settleLateHost(ports, clusterId, hostId, inventory, { told, settled, lost });
    if (!isSettled) return isAny; // The others are not judged without its word; the next heartbeat tries again.
    if (inventory) settled.push(inventory);
    isAny = true;
  }
  if (hosts.every((host) => isHere(host) || isLate(host))) await forgetInventories(ports, clusterId);
  return isAny;
}

async function readSettled(ports: Ports, clusterId: string, here: ReadonlySet<string>): Promise<HostInventory[]> {
  const { restoreEpoch } = ports.settings;
  const pages = await readAll<InventoryPage>(ports, inventoriesPartition(clusterId));
  return pages
    .map(({ value }) => value)
    .filter((page) => here.has(page.hostId) && (page.restoreEpoch ?? restoreEpoch) === restoreEpoch);
}

/** @returns false where it could not be brought to an end now */
async function settleLateHost(
  ports: Ports,
  clusterId: string,
  hostId: string,
  told: HostInventory | null,
  others: Others,
): Promise<boolean> {
  if (!told) return false;
  const vmIds = new Set([
    ...told.copies.map(({ vmId }) => vmId),
    ...told.parts.map(({ assignment }) => assignment.vmId),
    ...(await readUnknown(ports, clusterId, told, others)),
  ]);
  for (const vmId of vmIds) {
    const retried = await retryConflicts<null>(ports, "late-host-settled", () =>
      settleVm(ports, clusterId, told, vmId, others),
    );
    if (retried.kind === "busy") return false;
  }
  const heard = await retryConflicts(ports, "late-host-heard", async () => {
    const session = await readOne<Session>(ports, keys.session(clusterId, hostId));
    const slot = await readOne<Slot>(ports, keys.slot(clusterId, hostId));
    if (!session.value || !hasTold(session.value) || !slot.value) return { kind: "done", result: false };
    const batch = new Batch({ clusterId, by: "control-plane", at: ports.clock.nowMs() });
    batch.put(session, { ...session.value, recovery: null, lost: null });
    const underWay = await readUnderWay(ports, clusterId, told, slot.value);
    batch.put(slot, recoverSlot(clusterId, hostId, slot.value, underWay));
    return { kind: "commit", changes: batch.changes, result: true };
  });
  return heard.kind === "done" && heard.result;
}

/** VMs that are held by a migration of this host, open because nobody knew anything of it, and nobody does: both its
 *  hosts are back, and have told of no part in it. */
async function readUnknown(ports: Ports, clusterId: string, told: HostInventory, others: Others): Promise<string[]> {
  const parts = [told, ...others.told, ...others.settled].flatMap((host) => host.parts);
  const vms = await readAll<VmRecord>(ports, vmsPartition(clusterId));
  const held = vms.flatMap(({ value }) => (value.mayBeLate && value.migrationId ? [value.migrationId] : []));
  const migrations = await readPlaces<MigrationState>(
    ports,
    held.map((migrationId) => keys.migration(clusterId, migrationId)),
  );
  return migrations.flatMap(({ value }) => {
    if (value?.verdict.kind !== "open") return [];
    const hosts = [value.source.hostId, value.destination.hostId];
    const isUnknown =
      hosts.includes(told.hostId) &&
      !hosts.some((hostId) => others.lost.has(hostId)) &&
      !parts.some(({ over, assignment }) => !over && assignment.migrationId === value.id);
    return isUnknown ? [value.vmId] : [];
  });
}

async function readUnderWay(ports: Ports, clusterId: string, told: HostInventory, slot: Slot): Promise<UnderWay[]> {
  const named = migrationsNamed({ vms: [], slots: [slot], queue: [], told: [told] });
  const places = await readPlaces<MigrationState>(
    ports,
    named.map((migrationId) => keys.migration(clusterId, migrationId)),
  );
  const migrations = places.flatMap(({ value }) => value ?? []);
  return underWayOf(migrations, slot, told);
}

async function settleVm(
  ports: Ports,
  clusterId: string,
  told: HostInventory,
  vmId: string,
  { told: alsoTold, settled: settledTold, lost: lostHosts }: Others,
) {
  const { hostId } = told;
  const at = ports.clock.nowMs();
  const session = await readOne<Session>(ports, keys.session(clusterId, hostId));
  // Another life of it may have begun, which is to tell anew, or it was declared lost again.
  if (!session.value || !hasTold(session.value)) return { kind: "done", result: null } as const;
  const vm = await readOne<VmRecord>(ports, keys.vm(clusterId, vmId));
  const { copies, parts } = inventoryOf([told], lostHosts, vmId);
  const others = inventoryOf(alsoTold, lostHosts, vmId);
  const settled = inventoryOf(settledTold, lostHosts, vmId);
  const migrations = new Map<string, Place<MigrationState>>();
  const underWay = [...parts, ...others.parts, ...settled.parts].filter(({ over }) => !over);
  const named = [vm.value?.migrationId ?? [], underWay.map(({ assignment }) => assignment.migrationId)].flat(2);
  for (const migrationId of new Set(named)) {
    migrations.set(migrationId, await readOne<MigrationState>(ports, keys.migration(clusterId, migrationId)));
  }
  const known = [...migrations.values()].flatMap(({ value }) => (value ? [value] : []));
  const context = { clusterId, restoreEpoch: ports.settings.restoreEpoch, at };
  const late = recoverLate(
    { hostId, vmId, vm: vm.value, migrations: known, copies, parts, others, settled, lostHosts },
    context,
  );
  const batch = new Batch({ clusterId, by: "control-plane", at });
  batch.check(session);
  batch.check(vm);
  if (late.vm) {
    batch.put<VmRecord>(vm, late.vm);
    batch.events(vmEvents(vm.value, late.vm), { vm });
  }
  for (const migration of late.migrations) {
    const place = migrations.get(migration.id);
    if (!place) continue;
    const revision = batch.put<MigrationState>(place, migration);
    if (revision === place.revision) continue;
    batch.events(recoveredEvents(place.value, migration), { migration: place });
    // Its own slot is drawn once all is settled.
    const role = migration.source.hostId === hostId ? "destination" : "source";
    const slot = await readOne<Slot>(ports, keys.slot(clusterId, migration[role].hostId));
    const slotAfter = settleSlot(slot.value, migration, role, { ...context, actor: null });
    if (slotAfter) batch.put<Slot>(slot, slotAfter);
  }
  const stood = await readAll<CopyDuty>(ports, hostPartition(clusterId, hostId), copyPrefix);
  for (const duty of late.duties) {
    const place: Place<CopyDuty> = stood.find(({ value }) => value.copyId === duty.copyId) ?? {
      key: keys.copy(clusterId, hostId, duty.copyId),
      revision: 0,
      value: null,
    };
    batch.put<CopyDuty>(place, duty);
  }
  for (const place of stood) {
    const { value } = place;
    if (value.vmId === vmId && !staysOwed({ hostId, copyId: value.copyId }, copies, late)) batch.remove(place);
  }
  return batch.isEmpty
    ? ({ kind: "done", result: null } as const)
    : ({ kind: "commit", changes: batch.changes, result: null } as const);
}
