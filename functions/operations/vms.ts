// VMs as operators define, start, pause, resume, reset, stop and delete them. A stop or a delete with a migration in the way is an intent:
// it ends the migration where nothing has begun, asks the agents to where it has, and else follows the new owner.
import type { Problem } from "../../schemas/problems.ts";
import type { Vm, VmDefinition, VmStart } from "../../schemas/vm.ts";
import { supersededDuty } from "../domain/lost-host.ts";
import { bumpSlot, decideMotion, type Motion, requestCancel, settle } from "../domain/motion.ts";
import { hostObstacles, nameObstacles } from "../domain/obstacles.ts";
import type { CopyDuty, QueueEntry, Slot, VmRecord } from "../domain/records.ts";
import { isSame } from "../domain/same.ts";
import {
  deleteVm,
  dutyOf,
  hasEnded,
  mayWish,
  newVm,
  type RunWish,
  startVm,
  stopVm,
  vmEvents,
  wishFor,
} from "../domain/vms.ts";
import type { HostAddress } from "../ports/doorbell.ts";
import type { Ports } from "../ports/ports.ts";
import { admitNext } from "./admit-next.ts";
import type { Batch, Stored } from "./items.ts";
import { copyPrefix, hostPartition, keys, vmsPartition } from "./keys.ts";
import {
  bothEnds,
  bumpHost,
  hasFreedSlot,
  hasSourceClaimed,
  type MotionPlaces,
  motionOf,
  putMotion,
  readMotionById,
} from "./moving.ts";
import { type Answer, type Operator, type OperatorDecision, type Outcome, operate } from "./operate.ts";
import {
  clusterUnknown,
  readAll,
  readCluster,
  readOne,
  readPlaces,
  readStanding,
  showVm,
  showVms,
  vmDeleted,
  vmUnknown,
} from "./read.ts";
import { refuse } from "./refusals.ts";
import { viewVm } from "./views.ts";

export function defineVm(
  ports: Ports,
  operator: Operator,
  clusterId: string,
  definition: VmDefinition,
): Promise<Outcome> {
  return operate(ports, operator, clusterId, async (batch, at) => {
    if (!(await readCluster(ports, clusterId)).value) return refuse(clusterUnknown(clusterId));
    const place = await readOne<VmRecord>(ports, keys.vm(clusterId, definition.vm));
    if (place.value) {
      const detail = `VM "${definition.vm}" exists or existed in this cluster; choose another name.`;
      return refuse({ code: "vm-exists", detail, errors: [{ pointer: "/vm", detail: "is taken" }] });
    }
    const vm = newVm(definition, operator.keyId, at, ports.settings.restoreEpoch);
    const revision = batch.put(place, vm);
    batch.events(vmEvents(null, vm), { vm: place });
    return { kind: "accept", batch, answer: { status: 201, body: { ...shown(vm, revision, at) } } };
  });
}

const shown = (vm: VmRecord, revision: number, at: number): Vm =>
  viewVm(vm, revision, { guest: null, alarms: [], motion: null }, at);

export async function listVms(ports: Ports, clusterId: string): Promise<Vm[] | Problem> {
  if (!(await readCluster(ports, clusterId)).value) return clusterUnknown(clusterId);
  const vms = await readAll<VmRecord>(ports, vmsPartition(clusterId));
  return showVms(
    ports,
    clusterId,
    vms.filter(({ value }) => !value.deleted),
  );
}

export async function getVm(ports: Ports, clusterId: string, vmId: string): Promise<Vm | Problem> {
  const found = await findVm(ports, clusterId, vmId);
  return "code" in found ? found : showVm(ports, clusterId, found);
}

export async function findVm(ports: Ports, clusterId: string, vmId: string): Promise<Stored<VmRecord> | Problem> {
  const [cluster, vm] = await readPlaces<unknown>(ports, [keys.cluster(clusterId), keys.vm(clusterId, vmId)]);
  if (!cluster?.value) return clusterUnknown(clusterId);
  if (!vm?.value) return vmUnknown(vmId);
  const place = vm as Stored<VmRecord>;
  return place.value.deleted ? vmDeleted(vmId) : place;
}

/** A new copy under a higher token, on the host that was named. */
export function startVmOnHost(
  ports: Ports,
  operator: Operator,
  clusterId: string,
  vmId: string,
  { host }: VmStart,
): Promise<Outcome> {
  const copyId = `copy_${ports.newId()}`;
  return operate(ports, operator, clusterId, async (batch, at) => {
    const place = await findVm(ports, clusterId, vmId);
    if ("code" in place) return refuse(place);
    const barred = startBarred(place.value);
    if (barred) return refuse(barred);
    const obstacle = await takeRoom(ports, batch, { clusterId, hostId: host }, "/host", place.value.spec, at);
    if (obstacle) return refuse(obstacle);
    const vm = startVm(place.value, { hostId: host, copyId }, ports.settings.restoreEpoch);
    const revision = batch.put(place, vm);
    batch.put<CopyDuty>({ key: keys.copy(clusterId, host, copyId), revision: 0, value: null }, dutyOf(vm, copyId));
    batch.events(vmEvents(place.value, vm), { vm: place });
    await supersedeOwner(ports, batch, { clusterId, hostId: host }, place.value, vm);
    const rings = [{ clusterId, hostId: host }];
    return { kind: "accept", batch, rings, answer: { status: 202, body: { ...shown(vm, revision, at) } } };
  });
}

/** A host that was declared lost and is back already may have the copy before: it is to go (rule 8). Where its host is
 *  still away, the host's return says the same. */
export async function supersedeOwner(
  ports: Ports,
  batch: Batch,
  startsOn: HostAddress,
  before: VmRecord,
  after: VmRecord,
): Promise<void> {
  const { clusterId } = startsOn;
  await supersedeOlder(ports, batch, startsOn, after);
  if (!before.owner || before.owner.hostId === startsOn.hostId) return;
  const { hostId, copyId } = before.owner;
  const duty = await readOne<CopyDuty>(ports, keys.copy(clusterId, hostId, copyId));
  if (!duty.value) return;
  batch.put<CopyDuty>(duty, supersededDuty(duty.value, after));
  await bumpHost(ports, batch, { clusterId, hostId });
}

/** Copies of the same guest that this host is still to end, from before the last owner: under a token that is lower than the
 *  new copy's it would do nothing about them any more.
 *  @param spoken the copy that its host speaks of just now
 *  @returns whether there are any */
export async function supersedeOlder(
  ports: Ports,
  batch: Batch,
  { clusterId, hostId }: HostAddress,
  after: VmRecord,
  spoken: string | null = null,
): Promise<boolean> {
  const duties = await readAll<CopyDuty>(ports, hostPartition(clusterId, hostId), copyPrefix);
  const isOlder = ({ value: { vmId, copyId } }: Stored<CopyDuty>) =>
    vmId === after.vmId && copyId !== after.owner?.copyId && copyId !== spoken;
  const older = duties.filter(isOlder);
  for (const duty of older) batch.put<CopyDuty>(duty, supersededDuty(duty.value, after));
  return older.length > 0;
}

/** What stands against a guest's start on this host. When nothing does, the slot is written with the start: of two that
 *  counted on the same memory one finds it changed. So it is read before the standing.
 *  @param pointer where the request names the host */
export async function takeRoom(
  ports: Ports,
  batch: Batch,
  { clusterId, hostId }: HostAddress,
  pointer: string,
  spec: VmRecord["spec"],
  at: number,
): Promise<Problem | null> {
  const slot = await readOne<Slot>(ports, keys.slot(clusterId, hostId));
  const standing = await readStanding(ports, clusterId, hostId);
  const obstacle = nameObstacles(hostObstacles(hostId, pointer, spec, standing, at));
  if (!obstacle && slot.value) batch.put(slot, bumpSlot(slot.value));
  return obstacle;
}

function startBarred(vm: VmRecord): Problem | null {
  if (vm.migrationId) {
    const detail = `Migration ${vm.migrationId} of VM "${vm.vmId}" is not over; wait until it is.`;
    return { code: "vm-already-migrating", detail, holder: vm.migrationId };
  }
  if (hasEnded(vm)) return null;
  const where = vm.owner ? ` on host "${vm.owner.hostId}"` : "";
  return { code: "vm-not-stopped", detail: `VM "${vm.vmId}" is ${vm.runState}${where}; stop it first.` };
}

export function stopVmWhereItIs(ports: Ports, operator: Operator, clusterId: string, vmId: string): Promise<Outcome> {
  return endVm(ports, operator, clusterId, vmId, stopVm);
}

export function deleteVmWhereItIs(ports: Ports, operator: Operator, clusterId: string, vmId: string): Promise<Outcome> {
  return endVm(ports, operator, clusterId, vmId, (vm) => deleteVm(vm, ports.settings.restoreEpoch));
}

/** Pause, resume and reset are told to whoever owns the guest. Its host carries them out at once where it may; from the
 *  gate on they wait until the migration is confirmed or over. */
export function wishVmWhereItIs(
  ports: Ports,
  operator: Operator,
  clusterId: string,
  vmId: string,
  wish: RunWish,
): Promise<Outcome> {
  return operate(ports, operator, clusterId, async (batch, at): Promise<OperatorDecision> => {
    const place = await findVm(ports, clusterId, vmId);
    if ("code" in place) return refuse(place);
    if (!mayWish(place.value)) return refuse(notThere(place.value, wish));
    const vm = wishFor(place.value, wish);
    const places = await readMotionOf(ports, clusterId, place.value);
    const revision = place.revision + (isSame(vm, place.value) ? 0 : 1);
    if (!places) {
      batch.put(place, vm);
      batch.events(vmEvents(place.value, vm), { vm: place });
      const rings = await putDuty(batch, ports, clusterId, vm, null);
      return { kind: "accept", batch, rings, answer: await shownAs(ports, clusterId, vm, revision) };
    }
    const context = { clusterId, at, restoreEpoch: ports.settings.restoreEpoch, actor: null };
    const after = settle({ ...motionOf(places), vm }, context);
    const rings = await putDuty(batch, ports, clusterId, after.vm, { places, after });
    putMotion(batch, places, after);
    return { kind: "accept", batch, rings, answer: await shownAs(ports, clusterId, after.vm, revision) };
  });
}

function notThere(vm: VmRecord, wish: RunWish): Problem {
  const state = hasEnded(vm) ? vm.runState : "to be stopped";
  const detail = `VM "${vm.vmId}" is ${state}; only a guest that is there can be made to ${wish}. Start it first.`;
  return { code: "vm-not-running", detail, errors: [{ pointer: "/vm", detail: "must be running or paused" }] };
}

async function readMotionOf(ports: Ports, clusterId: string, { migrationId }: VmRecord): Promise<MotionPlaces | null> {
  return migrationId ? readMotionById(ports, clusterId, migrationId) : null;
}

function endVm(
  ports: Ports,
  operator: Operator,
  clusterId: string,
  vmId: string,
  change: (vm: VmRecord) => VmRecord,
): Promise<Outcome> {
  return operate(ports, operator, clusterId, async (batch, at): Promise<OperatorDecision> => {
    const place = await findVm(ports, clusterId, vmId);
    if ("code" in place) return refuse(place);
    const places = await readMotionOf(ports, clusterId, place.value);
    if (!places) {
      const vm = change(place.value);
      const revision = batch.put(place, vm);
      batch.events(vmEvents(place.value, vm), { vm: place });
      const rings = await putDuty(batch, ports, clusterId, vm, null);
      return { kind: "accept", batch, rings, answer: await shownAs(ports, clusterId, vm, revision) };
    }
    const context = { clusterId, at, restoreEpoch: ports.settings.restoreEpoch, actor: null };
    const after = withdraw(motionOf(places), context, change);
    if (places.migration.value.stage === "queued" && after.migration.stage === "ended") {
      batch.remove(await readOne<QueueEntry>(ports, keys.queued(clusterId, after.migration.id)));
    }
    const isFreed = hasFreedSlot(places.migration.value, after.migration);
    const rings = await putDuty(batch, ports, clusterId, after.vm, { places, after });
    putMotion(batch, places, after);
    const revision = place.revision + (isSame(after.vm, place.value) ? 0 : 1);
    return {
      kind: "accept",
      batch,
      rings: [...bothEnds(clusterId, after.migration), ...rings],
      answer: await shownAs(ports, clusterId, after.vm, revision),
      afterwards: async () => {
        if (isFreed) await admitNext(ports, clusterId);
        return null;
      },
    };
  });
}

/** Ends the migration that stands in the way, or asks for its end, and puts the wish on the VM. */
function withdraw(
  motion: Motion,
  context: Parameters<typeof requestCancel>[2],
  change: (vm: VmRecord) => VmRecord,
): Motion {
  if (motion.migration.verdict.kind === "open" && !hasSourceClaimed(motion)) {
    const reason = "vm-stopped";
    const detail = "the VM was to be stopped before the migration had begun";
    const ended = decideMotion(
      motion,
      { kind: "control-plane-aborts", sourceHasClaimed: false, reason, detail },
      context,
    );
    if (ended.kind === "move") return { ...ended.motion, vm: change(ended.motion.vm) };
  }
  const cancelled = requestCancel(motion, "vm-stopped", context);
  return { ...cancelled, vm: change(cancelled.vm) };
}

/** The owner's host is told what is wanted of its copy; a copy that is not its owner's yet gets its duty when it is. */
async function putDuty(
  batch: Batch,
  ports: Ports,
  clusterId: string,
  vm: VmRecord,
  moving: { places: MotionPlaces; after: Motion } | null,
): Promise<HostAddress[]> {
  if (!vm.owner) return [];
  const { hostId, copyId } = vm.owner;
  const duty = await readOne<CopyDuty>(ports, keys.copy(clusterId, hostId, copyId));
  const renewed = dutyOf(vm, copyId);
  if (!duty.value || isSame(duty.value, renewed)) return [];
  batch.put(duty, renewed);
  const role = moving && moving.after.migration.source.hostId === hostId ? "source" : "destination";
  const inMotion = moving?.after.slots[role];
  if (moving && inMotion) {
    moving.after.slots = { ...moving.after.slots, [role]: bumpSlot(inMotion) };
  } else {
    await bumpHost(ports, batch, { clusterId, hostId });
  }
  return [{ clusterId, hostId }];
}

export async function shownAs(ports: Ports, clusterId: string, vm: VmRecord, revision: number): Promise<Answer> {
  const place = { key: keys.vm(clusterId, vm.vmId), revision, value: vm };
  return { status: 202, body: { ...(await showVm(ports, clusterId, place)) } };
}
