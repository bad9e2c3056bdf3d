// A migration in motion, read and written as one: its record, its VM, both hosts' slots.
import { bumpSlot, type Motion, motionEvents } from "../domain/motion.ts";
import type { EventDraft, MigrationState, Role, Slot, VmRecord } from "../domain/records.ts";
import { isSame } from "../domain/same.ts";
import type { HostAddress } from "../ports/doorbell.ts";
import type { Ports } from "../ports/ports.ts";
import type { Batch, Place, Stored } from "./items.ts";
import { keys } from "./keys.ts";
import { readOne, readPlaces } from "./read.ts";

export type MotionPlaces = {
  migration: Stored<MigrationState>;
  vm: Stored<VmRecord>;
  slots: { [R in Role]: Stored<Slot> | null };
};

export const roles = ["source", "destination"] as const;

export function motionOf(places: MotionPlaces): Motion {
  return {
    migration: places.migration.value,
    vm: places.vm.value,
    slots: { source: places.slots.source?.value ?? null, destination: places.slots.destination?.value ?? null },
  };
}

/** Puts what changed, and an event for every change. */
export function putMotion(batch: Batch, places: MotionPlaces, after: Motion): void {
  const drafts = motionEvents(motionOf(places), after);
  batch.put(places.migration, after.migration);
  batch.put(places.vm, after.vm);
  const slots: { [hostId: string]: Stored<Slot> } = {};
  for (const role of roles) {
    const place = places.slots[role];
    const slot = after.slots[role];
    if (!place || !slot) continue;
    batch.put(place, slot);
    if (!isSame(place.value, slot)) slots[after.migration[role].hostId] = place;
  }
  for (const draft of drafts) batch.event(draft, causeOf(draft, places, slots));
}

function causeOf(draft: EventDraft, { migration, vm }: MotionPlaces, slots: { [hostId: string]: Stored<Slot> }) {
  if (draft.subject.kind === "vm") return vm;
  return (draft.subject.kind === "host" ? slots[draft.subject.id] : null) ?? migration;
}

/** Everything about a migration, and its VM's; null when there is no such migration. */
export async function readMotion(
  ports: Ports,
  clusterId: string,
  migration: Place<MigrationState>,
): Promise<MotionPlaces | null> {
  if (!migration.value) return null;
  const { vmId, source, destination } = migration.value;
  const [vm, sourceSlot, destinationSlot] = (await readPlaces<unknown>(ports, [
    keys.vm(clusterId, vmId),
    keys.slot(clusterId, source.hostId),
    keys.slot(clusterId, destination.hostId),
  ])) as [Place<VmRecord>, Place<Slot>, Place<Slot>];
  if (!vm.value || !sourceSlot.value || !destinationSlot.value) {
    throw new Error(`migration ${migration.value.id} names a VM or a host that is not there`);
  }
  return { migration, vm, slots: { source: sourceSlot, destination: destinationSlot } };
}

export async function readMotionById(ports: Ports, clusterId: string, id: string): Promise<MotionPlaces | null> {
  return readMotion(ports, clusterId, await readOne<MigrationState>(ports, keys.migration(clusterId, id)));
}

/** A host whose part is in no motion at hand looks at its duties again. */
export async function bumpHost(ports: Ports, batch: Batch, { clusterId, hostId }: HostAddress): Promise<void> {
  const slot = await readOne<Slot>(ports, keys.slot(clusterId, hostId));
  if (slot.value) batch.put(slot, bumpSlot(slot.value));
}

export function bothEnds(clusterId: string, migration: MigrationState): HostAddress[] {
  return roles.map((role) => ({ clusterId, hostId: migration[role].hostId }));
}

/** The source has begun: only where its slot still holds the migration unclaimed is it known that it has not. */
export function hasSourceClaimed({ migration, slots }: Motion): boolean {
  if (migration.stage !== "admitted") return false;
  const held = slots.source?.migration;
  return !(held?.migrationId === migration.id && !held.claimed);
}

export function hasFreedSlot(before: MigrationState, after: MigrationState): boolean {
  return roles.some((role) => before.holds[role] && !after.holds[role]);
}
