// What an operator says of hosts that cannot be heard: that they are lost, truthfully or not, and what is to become of
// their guests (functions/operations/lost-hosts.ts, force-vm.ts). And what such a host does when it comes back.
import type { CopyDuty, Session } from "../../../functions/domain/records.ts";
import { dutyOf, hasEnded, isOwner } from "../../../functions/domain/vms.ts";
import { feedSource } from "../world/agents.ts";
import { context, motionOf, putMotion, seeAtRest } from "../world/control-plane.ts";
import { endCopy } from "../world/copies.ts";
import { isShut, mayDecide } from "../world/table.ts";
import {
  blame,
  type Copy,
  guestAt,
  type Host,
  hostAt,
  hostIds,
  hostOf,
  machineOf,
  moveAt,
  type Owed,
  putGuest,
  putHost,
  putQueue,
  type Side,
  sidesAt,
  vmAt,
  type World,
} from "../world/world.ts";
import { startFromDisk } from "./guests.ts";
import { restartAgent } from "./hosts.ts";
import { sideOf } from "./messages.ts";
import type { Adders } from "./steps.ts";
import { startsOf } from "./wishes.ts";

const statement = "lost";

export function operatorSteps(adders: Adders): void {
  const { before, add, options } = adders;
  for (const [h, host] of before.hosts.entries()) {
    if (host.agent === "gone" && options.features.has("returns")) {
      add(`${hostIds[h]} is switched on again`, "wish", (world) => putHost(world, h, { agent: "down" }));
    }
    const isTold = host.agent === "up" && host.isDeclaredLost && !host.isAway && !host.isNewLife;
    if (isTold && before.rules.habits.takesANewLife) {
      add(`${hostIds[h]} hears that its incarnation has ended, and goes on under a new one`, "plain", (world) =>
        restartAgent(world, h),
      );
    }
  }
  for (let v = 0; v < before.vms.length; v += 1)
    for (const owed of guestAt(before, v).owed ?? []) oweStep(adders, v, owed);
  // While the cluster recovers, other things follow from it (steps/restores.ts), and nothing is forced.
  if (!options.features.has("operator") || (before.table && before.table.state !== "served")) return;
  for (const [h, host] of before.hosts.entries()) {
    const isOff = host.agent === "gone" || (options.features.has("lies") && host.isAway);
    if (!isOff || host.isDeclaredLost || !isInvolved(before, h)) continue;
    add(`an operator declares ${hostIds[h]} lost`, "plain", (world) => declareLost(world, h));
  }
  for (let v = 0; v < before.vms.length; v += 1) forceSteps(adders, v);
}

function isInvolved(world: World, h: number): boolean {
  return sidesAt(world, h).length > 0 || world.vms.some(({ owner }) => owner?.hostId === hostIds[h]);
}

/** The session of a host as far as the operator's word goes. */
export function sessionOf({ isDeclaredLost }: Host): Session {
  const incarnation = "life";
  const lost = isDeclaredLost ? { incarnation, reason: statement, by: "u", at: 0 } : null;
  return { incarnation, incarnationNumber: 1, counter: 0, leaseExpiresAt: null, lost };
}

/** From now on nothing counts that this incarnation says; its part in a migration ends, its guests are lost with it. */
function declareLost(world: World, h: number): void {
  putHost(world, h, { isDeclaredLost: true });
  for (const v of world.vms.keys()) noteOwed(world, v, h);
  const { slot } = hostAt(world, h);
  if (slot)
    putMotion(world, slot.move, world.rules.loseHost(motionOf(world, slot.move), slot.side, "", context(null, world)));
  for (const v of world.vms.keys()) {
    const vm = vmAt(world, v);
    const migration = world.moves.find(({ record }) => record.id === vm.migrationId)?.record ?? null;
    const after = world.rules.lostWithHost(vm, hostIds[h] as string, sessionOf(hostAt(world, h)), migration, 0);
    if (after) world.vms[v] = after;
  }
  countAsLost(world, h);
}

/** An operator answers for what executes on it meanwhile, and nothing counts any more that it has sent. */
export function countAsLost(world: World, h: number): void {
  for (const v of world.vms.keys()) {
    const { copies } = guestAt(world, v);
    const isThere = (copy: Copy) => copy.host === h && copy.machine !== "ended";
    if (!copies.some(isThere)) continue;
    putGuest(world, v, { copies: copies.map((copy) => (isThere(copy) ? { ...copy, isDisowned: true } : copy)) });
  }
  if (!world.rules.habits.refusesTheLost) return;
  for (const { m, side } of sidesAt(world, h)) {
    const { late } = moveAt(world, m).queue;
    putQueue(world, m, { late: late.filter((report) => sideOf(moveAt(world, m), report) !== side) });
  }
}

/** The items of the host's copies stay as they were: of its owner's, and of a source's that was committed away. */
function noteOwed(world: World, v: number, h: number): void {
  const vm = vmAt(world, v);
  const migration = world.moves.find(({ record }) => record.id === vm.migrationId)?.record;
  const hostId = hostIds[h] as string;
  const isArriving = migration?.destination.copyId === vm.owner?.copyId;
  const duties: CopyDuty[] = [];
  if (vm.owner?.hostId === hostId && !isArriving && !hasEnded(vm)) duties.push(dutyOf(vm, vm.owner.copyId));
  else if (migration?.source.hostId === hostId) {
    duties.push({ ...dutyOf(vm, migration.source.copyId), fencingToken: migration.openedUnderToken, hasRun: true });
  }
  putOwed(world, v, [
    ...(guestAt(world, v).owed ?? []),
    ...duties.map((duty) => ({ copyId: duty.copyId, host: h, duty })),
  ]);
}

export function putOwed(world: World, v: number, owed: Owed[]): void {
  const { owed: _before, ...guest } = guestAt(world, v);
  world.guests[v] = owed.length > 0 ? { ...guest, owed } : guest;
}

/** A later incarnation speaks: its duties are brought to what became of its copies meanwhile. */
export function beHeardAgain(world: World, h: number): void {
  if (!hostAt(world, h).isDeclaredLost) return;
  putHost(world, h, { isDeclaredLost: false });
  // While it is to tell what it has, its duties wait for that.
  if (isShut(world, h)) return;
  const { slot } = hostAt(world, h);
  for (const v of world.vms.keys()) {
    const owed = guestAt(world, v).owed ?? [];
    const revised = owed.map((one) => {
      const isHeld = slot && moveAt(world, slot.move).record[slot.side].copyId === one.copyId;
      if (one.host !== h || isHeld) return one;
      return { ...one, duty: world.rules.revisedDuty(one.duty, vmAt(world, v), hostIds[h] as string) };
    });
    putOwed(world, v, revised);
  }
}

/** Its host was not lost after all, and the record still names it. */
export function ownAgain(world: World, v: number, copyId: string): void {
  if (!guestAt(world, v).copies.some(({ id, isDisowned }) => id === copyId && isDisowned)) return;
  putGuest(world, v, {
    copies: guestAt(world, v).copies.map((copy) => {
      if (copy.id !== copyId) return copy;
      const { isDisowned: _before, ...own } = copy;
      return own;
    }),
  });
}

/** A host that is back does what its duty says of a copy that its record may have left behind. */
function oweStep({ before, add }: Adders, v: number, owed: Owed): void {
  const { copyId, host: h, duty } = owed;
  const host = hostAt(before, h);
  if (host.agent !== "up" || host.isAway || host.isDeclaredLost || !mayDecide(before, h)) return;
  const vm = vmAt(before, v);
  const copy = guestAt(before, v).copies.find(({ id }) => id === copyId);
  const isThere = copy && copy.machine !== "ended";
  const name = `${hostIds[h]}, back,`;
  const done = (world: World): void =>
    putOwed(
      world,
      v,
      (guestAt(world, v).owed ?? []).filter((one) => one.copyId !== copyId),
    );
  const role = sidesAt(before, h).find(
    ({ m, side }) => moveAt(before, m)[side] && moveAt(before, m).record[side].copyId === copyId,
  );
  if (role) {
    const { source } = moveAt(before, role.m);
    if (duty.wantedRunState !== "stopped" || role.side !== "source" || source?.stage !== "resuming") return;
    add(`M${role.m} source hears that its copy is superseded`, "plain", (world) =>
      feedSource(world, role.m, { kind: "superseded", fencingToken: duty.fencingToken }),
    );
    return;
  }
  const isOwners = isOwner(vm, { hostId: hostIds[h] as string, copyId });
  if (isOwners && !hasEnded(vm)) {
    // The claim that brings the duty brings the migration as well.
    const isToClaim = host.slot && moveAt(before, host.slot.move).record[host.slot.side].copyId === copyId;
    if (isToClaim) return;
    add(`${name} owns ${copyId} as ever`, "plain", (world) => {
      // In motion its loss is still what the migration has seen of it.
      if (vm.migrationId === null) ownAgain(world, v, copyId);
      done(world);
    });
    return;
  }
  if (duty.wantedRunState === "stopped") {
    if (isThere && !copy.isWatched) return;
    add(`${name} ends what another has superseded`, "plain", (world) => {
      const now = vmAt(world, v);
      if (isThere && now.owner?.copyId === copyId && now.wantedRunState !== "stopped") {
        blame(world, "rule 8: the owner's copy is ended");
      }
      if (isThere) endCopy(world, v, copyId);
      done(world);
    });
    return;
  }
  if (!isOwners) {
    // What its migration's record says of it is for its part in the migration to do.
    if (!isThere) add(`${name} has nothing left of ${copyId}`, "plain", done);
    return;
  }
  if (isThere && copy.machine === "running") {
    add(`${name} says that ${copyId} runs after all`, "plain", (world) => {
      seeAtRest(world, v, "running", "ordered");
      // In motion its loss is still what the migration has seen of it.
      if (vm.migrationId === null) ownAgain(world, v, copyId);
      done(world);
    });
    return;
  }
  if (isThere) return;
  if (copy || duty.hasRun) add(`${name} says that ${copyId} is gone`, "plain", done);
  else add(`${name} starts it from disk`, "plain", (world) => startFromDisk(world, v, h, copyId, duty.fencingToken));
}

/** Before a start: the copy before it is to go. */
export function supersedeOwner(world: World, v: number, before: { owner: { copyId: string } | null }): void {
  const { owed } = guestAt(world, v);
  if (!owed) return;
  putOwed(
    world,
    v,
    owed.map((one) =>
      one.copyId === before.owner?.copyId
        ? { ...one, duty: world.rules.supersededDuty(one.duty, vmAt(world, v)) }
        : one,
    ),
  );
}

function forceSteps(adders: Adders, v: number): void {
  const { before, add, options } = adders;
  const vm = vmAt(before, v);
  const m = before.moves.findIndex(({ record }) => record.id === vm.migrationId);
  const copyId = `copy_${vm.vmId}_${startsOf(before, v)}`;
  const mayStart = startsOf(before, v) < options.startsPerVm;
  for (const [h, host] of before.hosts.entries()) {
    if (!mayStart || host.agent !== "up" || host.isAway || host.isDeclaredLost) continue;
    const owner = { hostId: hostIds[h] as string, copyId };
    const name = `an operator forces ${vm.vmId} to start from disk on ${hostIds[h]}`;
    if (m >= 0) {
      const lost = lostEndsOf(before, m);
      const event = { kind: "operator-forces", owner, lost, statement } as const;
      const decision = before.rules.decideMotion(motionOf(before, m), event, context(null, before));
      if (decision.kind !== "move") continue;
      add(name, "plain", (world) => {
        checkForce(world, m);
        putMotion(world, m, decision.motion);
        putGuest(world, v, { isExcused: true });
      });
      continue;
    }
    const forced = before.rules.forceAtRest(vm, owner, { overridesLockFile: false, restoreEpoch: 0 });
    if (forced.kind !== "start") continue;
    add(name, "plain", (world) => {
      world.vms[v] = forced.vm;
      supersedeOwner(world, v, vm);
      putGuest(world, v, { isExcused: true });
    });
  }
  if (m < 0 || (moveAt(before, m).record.takeBack && moveAt(before, m).record.takeBack?.refused === null)) return;
  const wished = before.rules.wishTakeBack(
    motionOf(before, m),
    lostEndsOf(before, m),
    statement,
    context(null, before),
  );
  if (wished.kind !== "wish") return;
  add(`M${m} an operator asks the source to take its copy back`, "plain", (world) => {
    checkForce(world, m);
    putMotion(world, m, wished.motion);
  });
}

/** V8: who may still decide is neither declared lost nor a source that has nothing left. */
function checkForce(world: World, m: number): void {
  const { record } = moveAt(world, m);
  const mayDecide = (side: Side): boolean =>
    !hostAt(world, hostOf(moveAt(world, m), side)).isDeclaredLost &&
    !(side === "source" && ["ended", "none"].includes(machineOf(world, m, side)));
  if (mayDecide("destination") || (record.verdict.kind === "open" && mayDecide("source")))
    blame(world, "force: a verdict is forced over a host that may still decide");
}

function lostEndsOf(world: World, m: number) {
  const { record } = moveAt(world, m);
  const of = (hostId: string) => sessionOf(hostAt(world, hostIds.indexOf(hostId)));
  return world.rules.lostEnds(motionOf(world, m), {
    source: of(record.source.hostId),
    destination: of(record.destination.hostId),
  });
}
