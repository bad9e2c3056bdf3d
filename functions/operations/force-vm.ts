// An operator's way out for a VM whose owner's host was declared lost: started from its disk on a host that is named, or
// taken back by the source of a commit whose destination was lost before it ran the guest.
import type { Problem } from "../../schemas/problems.ts";
import type { VmForce } from "../../schemas/vm.ts";
import { forceAtRest, lostEnds, wishTakeBack } from "../domain/force.ts";
import { bumpSlot, decideMotion } from "../domain/motion.ts";
import { hostObstacles, nameObstacles } from "../domain/obstacles.ts";
import type { CopyDuty, EventDraft, MigrationState, Session, VmRecord } from "../domain/records.ts";
import { isDeclaredLost } from "../domain/session.ts";
import type { Lost } from "../domain/verdict.ts";
import { dutyOf, hasEnded, vmEvents } from "../domain/vms.ts";
import type { Ports } from "../ports/ports.ts";
import { admitNext } from "./admit-next.ts";
import type { Batch, Place, Stored } from "./items.ts";
import { keys } from "./keys.ts";
import { loseGuest } from "./lost-hosts.ts";
import {
  bothEnds,
  bumpHost,
  hasFreedSlot,
  type MotionPlaces,
  motionOf,
  putMotion,
  readMotionById,
  roles,
} from "./moving.ts";
import { type Operator, type OperatorDecision, type Outcome, operate } from "./operate.ts";
import { readOne, readPlaces, readStanding } from "./read.ts";
import { refusal, refuse } from "./refusals.ts";
import { findVm, shownAs, supersedeOlder, supersedeOwner, takeRoom } from "./vms.ts";

type Start = Extract<VmForce["action"], { kind: "start-from-disk" }>;

export async function forceVm(
  ports: Ports,
  operator: Operator,
  clusterId: string,
  vmId: string,
  { reason, action }: VmForce,
): Promise<Outcome> {
  const copyId = `copy_${ports.newId()}`;
  await loseWithOwner(ports, clusterId, vmId);
  return operate(ports, operator, clusterId, async (batch, at): Promise<OperatorDecision> => {
    const vm = await findVm(ports, clusterId, vmId);
    if ("code" in vm) return refuse(vm);
    const { migrationId } = vm.value;
    const places = migrationId ? await readMotionById(ports, clusterId, migrationId) : null;
    const forcing = { ports, clusterId, batch, at, vm, reason };
    if (action.kind === "take-back") return takeBack(forcing, places);
    const owner = { hostId: action.host, copyId };
    return places ? startInMotion(forcing, places, action, owner) : startAtRest(forcing, action, owner);
  });
}

/** A guest that its host's declaration left undone is not to be refused for that. */
async function loseWithOwner(ports: Ports, clusterId: string, vmId: string): Promise<void> {
  const { value: vm } = await readOne<VmRecord>(ports, keys.vm(clusterId, vmId));
  if (!vm?.owner || vm.deleted || hasEnded(vm)) return;
  const session = await readOne<Session>(ports, keys.session(clusterId, vm.owner.hostId));
  if (isDeclaredLost(session.value)) await loseGuest(ports, clusterId, vm.owner.hostId, vmId);
}

type Forcing = {
  ports: Ports;
  clusterId: string;
  batch: Batch;
  at: number;
  vm: Stored<VmRecord>;
  reason: string;
};

async function takeBack({ ports, clusterId, batch, at, vm, reason }: Forcing, places: MotionPlaces | null) {
  if (!places) return refuse(notCommitted(vm.value));
  const migration = places.migration.value;
  const lost = await whoIsLost(ports, clusterId, batch, places);
  const context = { clusterId, at, restoreEpoch: ports.settings.restoreEpoch, actor: null };
  const wished = wishTakeBack(motionOf(places), lost, reason, context);
  switch (wished.kind) {
    case "not-committed":
      return refuse(notCommitted(vm.value));
    case "destination-not-lost":
      return refuse(notLost(vm.value, migration.destination.hostId));
    case "source-lost": {
      const detail = `Host "${migration.source.hostId}" was declared lost as well, and the copy with it; start the VM from its disk.`;
      return refuse({ code: "destination-may-have-run", detail });
    }
    case "wish":
      putMotion(batch, places, wished.motion);
      return {
        kind: "accept",
        batch,
        rings: bothEnds(clusterId, wished.motion.migration),
        answer: await shownAs(ports, clusterId, vm.value, vm.revision),
      } as const;
  }
}

/** What is forced stands only for as long as the sessions and the slot it was decided on. */
async function whoIsLost(ports: Ports, clusterId: string, batch: Batch, places: MotionPlaces): Promise<Lost> {
  const motion = motionOf(places);
  const { migration } = motion;
  const [source, destination] = (await readPlaces<Session>(ports, [
    keys.session(clusterId, migration.source.hostId),
    keys.session(clusterId, migration.destination.hostId),
  ])) as [Place<Session>, Place<Session>];
  const lost = lostEnds(motion, { source: source.value, destination: destination.value });
  if (lost.source) batch.check(source);
  if (lost.destination) batch.check(destination);
  if (lost.destination && places.slots.destination) batch.check(places.slots.destination);
  return lost;
}

async function startInMotion(
  forcing: Forcing,
  places: MotionPlaces,
  action: Start,
  owner: { hostId: string; copyId: string },
): Promise<OperatorDecision> {
  const { ports, clusterId, batch, at, vm, reason } = forcing;
  const { migration } = places;
  const role = roles.find((end) => migration.value[end].hostId === action.host);
  const obstacle = await (role ? roomObstacle : takeRoomFor)(forcing, action.host);
  if (obstacle) return refuse(obstacle);
  const lost = await whoIsLost(ports, clusterId, batch, places);
  const context = { clusterId, at, restoreEpoch: ports.settings.restoreEpoch, actor: null };
  const before = motionOf(places);
  const decision = decideMotion(before, { kind: "operator-forces", owner, lost, statement: reason }, context);
  if (decision.kind === "refuse") {
    if (decision.problem === "host-may-decide") return refuse(mayDecide(migration.value));
    return refuse(refusal(decision.problem, `Migration ${migration.value.id}`));
  }
  if (decision.kind === "unchanged") throw new Error("a copy that is new cannot have been forced before");
  const after = decision.motion;
  putDuty(batch, clusterId, after.vm, owner, action);
  const ownSlot = role && after.slots[role];
  if (role && ownSlot) after.slots = { ...after.slots, [role]: bumpSlot(ownSlot) };
  putMotion(batch, places, after);
  if (!role) await supersedeOlder(ports, batch, { clusterId, hostId: action.host }, after.vm);
  batch.event(forcedEvent(forcing, action), vm);
  return {
    kind: "accept",
    batch,
    rings: [...bothEnds(clusterId, after.migration), { clusterId, hostId: action.host }],
    answer: await shownAs(ports, clusterId, after.vm, vm.revision + 1),
    afterwards: async () => {
      if (hasFreedSlot(before.migration, after.migration)) await admitNext(ports, clusterId);
      return null;
    },
  };
}

/** A start like any other, but that the lock file may be overridden. */
async function startAtRest(
  forcing: Forcing,
  action: Start,
  owner: { hostId: string; copyId: string },
): Promise<OperatorDecision> {
  const { ports, clusterId, batch, vm } = forcing;
  const { restoreEpoch } = ports.settings;
  const forced = forceAtRest(vm.value, owner, {
    overridesLockFile: action.overrideLockFile !== undefined,
    restoreEpoch,
  });
  if (forced.kind === "override-lock-file") return overrideWaitingStart(forcing, action);
  if (forced.kind === "starting-elsewhere") {
    const detail = `VM "${vm.value.vmId}" is starting on host "${vm.value.owner?.hostId}": override its lock file there, or stop it first.`;
    return refuse({ code: "host-not-lost", detail });
  }
  if (forced.kind === "not-lost") return refuse(notLost(vm.value, vm.value.owner?.hostId ?? "(none)"));
  const obstacle = await takeRoomFor(forcing, action.host);
  if (obstacle) return refuse(obstacle);
  const after = forced.vm;
  const revision = batch.put(vm, after);
  batch.events(vmEvents(vm.value, after), { vm });
  batch.event(forcedEvent(forcing, action), vm);
  putDuty(batch, clusterId, after, owner, action);
  await supersedeOwner(ports, batch, { clusterId, hostId: action.host }, vm.value, after);
  return {
    kind: "accept",
    batch,
    rings: [{ clusterId, hostId: action.host }],
    answer: await shownAs(ports, clusterId, after, revision),
  };
}

/** A start that waits for a lock file which nobody will ever free: its own copy is told that it may replace the file.
 *  Another copy, on another host, might come to run beside it. */
async function overrideWaitingStart(forcing: Forcing, action: Start): Promise<OperatorDecision> {
  const { ports, clusterId, batch, vm } = forcing;
  const { owner } = vm.value;
  if (!owner) throw new Error(`VM ${vm.value.vmId} is starting, and nobody owns it`);
  const duty = await readOne<CopyDuty>(ports, keys.copy(clusterId, owner.hostId, owner.copyId));
  if (!duty.value) return refuse(notLost(vm.value, owner.hostId));
  batch.check(vm);
  batch.put<CopyDuty>(duty, { ...duty.value, replaceLockFile: true });
  if (!batch.isEmpty) {
    batch.event(forcedEvent(forcing, action), duty);
    await bumpHost(ports, batch, { clusterId, hostId: action.host });
  }
  return {
    kind: "accept",
    batch,
    rings: [{ clusterId, hostId: action.host }],
    answer: await shownAs(ports, clusterId, vm.value, vm.revision),
  };
}

/** Who said so, and when, is in every event. */
function forcedEvent({ vm, reason }: Forcing, { kind, host, overrideLockFile }: Start): EventDraft {
  const data = { reason, action: kind, host, overrideLockFile: overrideLockFile ?? null };
  return { kind: "vm-forced", subject: { kind: "vm", id: vm.value.vmId }, data };
}

function takeRoomFor({ ports, clusterId, batch, vm, at }: Forcing, hostId: string): Promise<Problem | null> {
  return takeRoom(ports, batch, { clusterId, hostId }, "/action/host", vm.value.spec, at);
}

/** For a host of the migration itself, whose slot was read with it and is written with it. */
async function roomObstacle({ ports, clusterId, vm, at }: Forcing, hostId: string): Promise<Problem | null> {
  const standing = await readStanding(ports, clusterId, hostId);
  return nameObstacles(hostObstacles(hostId, "/action/host", vm.value.spec, standing, at));
}

function putDuty(
  batch: Batch,
  clusterId: string,
  vm: VmRecord,
  { hostId, copyId }: { hostId: string; copyId: string },
  { overrideLockFile }: Start,
): void {
  const duty = dutyOf(vm, copyId);
  const key = keys.copy(clusterId, hostId, copyId);
  batch.put<CopyDuty>({ key, revision: 0, value: null }, overrideLockFile ? { ...duty, replaceLockFile: true } : duty);
}

function notLost(vm: VmRecord, hostId: string): Problem {
  const detail = `VM "${vm.vmId}" is ${vm.runState}, owned on host "${hostId}", which is not declared lost; declare it lost first, once it is off.`;
  return { code: "host-not-lost", detail };
}

function notCommitted({ vmId }: VmRecord): Problem {
  const detail = `VM "${vmId}" is in no committed migration whose destination has yet to run it.`;
  return { code: "not-committed", detail };
}

function mayDecide({ id, verdict, source, destination }: MigrationState): Problem {
  const who =
    verdict.kind === "open"
      ? `its destination "${destination.hostId}" or its source "${source.hostId}"`
      : `its destination "${destination.hostId}"`;
  const detail = `Migration ${id} is ${verdict.kind}: ${who} was not declared lost and may still decide; wait for it, or declare it lost once it is off.`;
  return { code: "host-may-decide", detail, holder: id };
}
