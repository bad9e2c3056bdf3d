// A host that was declared lost while its cluster recovered comes back: it tells what it has first, and its duties are
// brought to what the records say by now. A copy that another one has superseded is told to go (rule 8), and nothing
// else is.

import type { HostInventory } from "../domain/last-run.ts";
import { recoverLate, staysOwed } from "../domain/late-host.ts";
import type { CopyDuty, MigrationState, Slot, VmRecord } from "../domain/records.ts";
import { recoveredEvents, recoverSlot } from "../domain/recovery.ts";
import { isDeclaredLost } from "../domain/session.ts";
import { inventoryOf } from "../domain/standings.ts";
import { vmEvents } from "../domain/vms.ts";
import type { Ports } from "../ports/ports.ts";
import { readInventory } from "./inventories.ts";
import { Batch, type Place } from "./items.ts";
import { copyPrefix, hostPartition, keys } from "./keys.ts";
import { type HostPlaces, readAll, readOne, readPlaces } from "./read.ts";
import { retryConflicts } from "./retry.ts";

type Told = Awaited<ReturnType<typeof readInventory>>;
/** What one of them has is judged by what all of them tell, and by who is lost to this moment. */
type Others = { told: HostInventory[]; lost: ReadonlySet<string> };

export async function settleLateHosts(ports: Ports, clusterId: string, hosts: readonly HostPlaces[]): Promise<void> {
  const hasNotTold = ({ session: { value } }: HostPlaces) =>
    isDeclaredLost(value) || (value.recovery?.kind === "recovering" && value.recovery.reportedAt === null);
  const lost = new Set(hosts.filter(hasNotTold).map(({ hostId }) => hostId));
  const late = hosts.filter(({ session: { value } }) => {
    return value.recovery?.kind === "recovering" && value.recovery.reportedAt !== null;
  });
  const inventories = new Map<HostPlaces, Told>();
  for (const host of late) {
    lost.delete(host.hostId);
    inventories.set(host, await readInventory(ports, clusterId, host));
  }
  for (const [host, inventory] of inventories) {
    inventories.delete(host);
    const told = [...inventories.values()].flatMap((other) => (other.told ? [other.told] : []));
    const isSettled = await settleLateHost(ports, clusterId, host, inventory, { told, lost });
    if (!isSettled) return; // The others are not judged without its word; the next heartbeat tries again.
  }
}

/** @returns false where it could not be brought to an end now */

async function settleLateHost(
  ports: Ports,
  clusterId: string,
  { hostId }: HostPlaces,
  { told, places }: Told,
  others: Others,
): Promise<boolean> {
  if (!told) return true;
  const vmIds = new Set([
    ...told.copies.map(({ vmId }) => vmId),
    ...told.parts.map(({ assignment }) => assignment.vmId),
  ]);
  for (const vmId of vmIds) {
    const retried = await retryConflicts<null>(ports, "late-host-settled", () =>
      settleVm(ports, clusterId, told, vmId, others),
    );
    if (retried.kind === "busy") return false;
  }
  const heard = await retryConflicts<null>(ports, "late-host-heard", async () => {
    const session = await readOne<HostPlaces["session"]["value"]>(ports, keys.session(clusterId, hostId));
    const slot = await readOne<Slot>(ports, keys.slot(clusterId, hostId));
    if (!session.value?.recovery || !slot.value) return { kind: "done", result: null };
    const batch = new Batch({ clusterId, by: "control-plane", at: ports.clock.nowMs() });
    batch.put(session, { ...session.value, recovery: null, lost: null });
    batch.put(slot, recoverSlot(clusterId, hostId, slot.value, await readUnderWay(ports, clusterId, told)));
    for (const place of places) batch.remove(place);
    return { kind: "commit", changes: batch.changes, result: null };
  });
  return heard.kind === "done";
}

async function readUnderWay(ports: Ports, clusterId: string, { parts }: HostInventory) {
  const places = await readPlaces<MigrationState>(
    ports,
    parts.map(({ assignment }) => keys.migration(clusterId, assignment.migrationId)),
  );
  return parts.flatMap(({ over, assignment }, index) => {
    const migration = places[index]?.value;
    return migration && !over && migration.stage !== "ended" ? [{ migration, assignment }] : [];
  });
}

async function settleVm(
  ports: Ports,
  clusterId: string,
  told: HostInventory,
  vmId: string,
  { told: alsoTold, lost: lostHosts }: Others,
) {
  const { hostId } = told;
  const at = ports.clock.nowMs();
  const vm = await readOne<VmRecord>(ports, keys.vm(clusterId, vmId));
  const { copies, parts: allParts } = inventoryOf([told], lostHosts, vmId);
  const parts = allParts.filter(({ over }) => !over);
  const others = inventoryOf(alsoTold, lostHosts, vmId);
  const migrations = new Map<string, Place<MigrationState>>();
  for (const { assignment } of parts) {
    const { migrationId } = assignment;
    migrations.set(migrationId, await readOne<MigrationState>(ports, keys.migration(clusterId, migrationId)));
  }
  const known = [...migrations.values()].flatMap(({ value }) => (value ? [value] : []));
  const context = { clusterId, restoreEpoch: ports.settings.restoreEpoch, at };
  const late = recoverLate(
    { hostId, vmId, vm: vm.value, migrations: known, copies, parts, others, lostHosts },
    context,
  );
  const batch = new Batch({ clusterId, by: "control-plane", at });
  batch.check(vm);
  if (late.vm) {
    batch.put<VmRecord>(vm, late.vm);
    batch.events(vmEvents(vm.value, late.vm), { vm });
  }
  for (const migration of late.migrations) {
    const place = migrations.get(migration.id);
    if (!place) continue;
    const revision = batch.put<MigrationState>(place, migration);
    if (revision !== place.revision) batch.events(recoveredEvents(place.value, migration), { migration: place });
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
