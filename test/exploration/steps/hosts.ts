// Hosts and their agents: they claim, die, come back, reboot, are cut off, and may be gone for good.
import { hasEnded } from "../../../functions/domain/vms.ts";
import {
  accept,
  beginAtDestination,
  beginAtSource,
  breakLink,
  dropRole,
  feedDestination,
  feedSource,
  hear,
  noteRecord,
  raiseToken,
  recoverRole,
} from "../world/agents.ts";
import { recordNow } from "../world/control-plane.ts";
import { breakStream, endCopy } from "../world/copies.ts";
import { beAcknowledged, isShut, mayDecide } from "../world/table.ts";
import {
  guestAt,
  hostAt,
  hostIds,
  isUnfinished,
  type Journal,
  machineOf,
  moveAt,
  putGuest,
  putHost,
  putMove,
  putQueue,
  putWire,
  type Side,
  sidesAt,
  vmOf,
  type World,
} from "../world/world.ts";
import { excuseLoss } from "./guests.ts";
import { sideOf } from "./messages.ts";
import { beHeardAgain } from "./operators.ts";
import type { Adders } from "./steps.ts";

export function hostSteps(adders: Adders): void {
  for (const [h, host] of adders.before.hosts.entries()) {
    if (host.agent === "up") {
      claimSteps(adders, h);
      downSteps(adders, h);
      if (adders.options.features.has("forgets")) forgetSteps(adders, h);
    }
    if (host.agent === "down") adders.add(`${hostIds[h]}'s agent is back`, "plain", (world) => comeBack(world, h));
    cutSteps(adders, h);
  }
}

/** A heartbeat or a ring finds something new; a claim brings what the host is to do, and the record along. */
function claimSteps({ before, add, fault }: Adders, h: number): void {
  const { slot, isAway, isDeclaredLost, isFrozen } = hostAt(before, h);
  if (!slot || isAway || isDeclaredLost || isShut(before, h) || isFrozen) return;
  const { move: m, side } = slot;
  const move = moveAt(before, m);
  const role = move[side];
  const journal = move.wire.journal[side];
  if (role) {
    const record = recordNow(before, m);
    if (record.verdict === "open" && !record.cancelRequested) return;
    if (role.record && isSameRecord(role.record, record)) return;
    add(`M${m} ${side}'s claim brings the record`, "plain", (world) => noteRecord(world, m, side, record));
    return;
  }
  if (journal) return;
  const isOpen = move.record.verdict.kind === "open";
  const isLower = move.record.openedUnderToken < (hostAt(before, h).tokens[vmOf(move)] ?? 0);
  if (isOpen && isLower && before.rules.habits.refusesLowerTokens) return;
  add(`M${m} ${side} claims`, "plain", (world) => claim(world, h, m, side));
  if (!slot.isClaimed) {
    fault("requests", `M${m} ${side} claims, answer lost`, (world) =>
      putHost(world, h, { slot: { ...slot, isClaimed: true, lostClaim: true } }),
    );
  }
}

function isSameRecord(
  one: { verdict: string; confirmed: boolean; cancelRequested: unknown; takeBackRequested?: boolean | undefined },
  other: typeof one,
): boolean {
  return (
    one.verdict === other.verdict &&
    one.confirmed === other.confirmed &&
    one.cancelRequested === other.cancelRequested &&
    one.takeBackRequested === other.takeBackRequested
  );
}

function claim(world: World, h: number, m: number, side: Side): void {
  const { slot } = hostAt(world, h);
  if (!slot) return;
  const { record, wire } = moveAt(world, m);
  const isOpen = record.verdict.kind === "open";
  // A verdict stands already, or this host has begun it before: a missing journal is a lost one.
  const isLost = (slot.isClaimed && !slot.lostClaim) || !isOpen;
  putHost(world, h, { slot: { ...slot, isClaimed: true } });
  putWire(world, m, { journal: { ...wire.journal, [side]: newJournal(world, side, isLost) } });
  raiseToken(world, h, vmOf(moveAt(world, m)), record.openedUnderToken);
  if (isLost) {
    recoverRole(world, m, side);
    return;
  }
  if (side === "source") putMove(world, m, { source: beginAtSource(world, m) });
  else putMove(world, m, { destination: beginAtDestination(world, m) });
  const known = accept(world, m, side, recordNow(world, m));
  if (known) hear(world, m, side, { kind: "record-known", record: known });
  // A guest that had ended before anybody listened says so no more.
  if (side === "source" && ["ended", "none"].includes(machineOf(world, m, "source"))) {
    feedSource(world, m, { kind: "guest-ended", how: "killed", detail: "" });
  } else if (side === "source") feedSource(world, m, { kind: "started", isExpired: false });
  else feedDestination(world, m, { kind: "started", isExpired: false });
}

/** Of what both hosts are done with nothing is asked any more, unless the table goes back (agents/agent.ts). */
function forgetSteps({ before, add }: Adders, h: number): void {
  if (hostAt(before, h).isAway || !mayDecide(before, h)) return;
  for (const { m, side } of sidesAt(before, h)) {
    const { record, wire } = moveAt(before, m);
    if (!wire.journal[side]?.isOver) continue;
    if (record.stage !== "ended" && before.rules.habits.keepsUntilBothAreDone) continue;
    add(`M${m} ${side} forgets what is over`, "plain", (world) =>
      putWire(world, m, { journal: { ...wire.journal, [side]: null }, ...(side === "source" ? { gate: null } : {}) }),
    );
  }
}

function newJournal(world: World, side: Side, isLost: boolean): NonNullable<Journal[Side]> {
  if (side === "source") return { isOver: false, hasAsked: false, isLost };
  const { worstCase } = world.rules;
  return {
    isOver: false,
    commitSent: isLost && worstCase.commitSent,
    runIntent: isLost ? worstCase.runIntent : 0,
    runRefused: 0,
    relinquished: false,
  };
}

function downSteps({ before, fault }: Adders, h: number): void {
  const name = hostIds[h];
  const hasWork = sidesAt(before, h).some(({ m, side }) => isUnfinished(moveAt(before, m), side));
  const hasCopies = before.guests.some(({ copies }) =>
    copies.some((copy) => copy.host === h && copy.machine !== "ended"),
  );
  if (hasWork) {
    fault("agents", `${name}'s agent dies`, (world) => stopAgent(world, h));
    fault("journals", `${name}'s agent dies and its journal is lost`, (world) => {
      stopAgent(world, h);
      wipe(world, h, false);
    });
  }
  const isToStart = before.vms.some((vm) => vm.owner?.hostId === name && !hasEnded(vm));
  if (hasWork || hasCopies || isToStart) {
    fault("losses", `${name} is gone`, (world) => {
      reboot(world, h);
      putHost(world, h, { agent: "gone", isAway: false, isUnplugged: false });
    });
  }
  if (!hasWork && !hasCopies) return;
  fault("reboots", `${name} reboots`, (world) => reboot(world, h));
  fault("wipes", `${name} reboots and has lost its journal`, (world) => {
    reboot(world, h);
    wipe(world, h, true);
  });
}

/** It goes on under a new incarnation, and its guests with it. */
export function restartAgent(world: World, h: number): void {
  stopAgent(world, h);
  putHost(world, h, { isNewLife: true });
}

function stopAgent(world: World, h: number): void {
  const host = hostAt(world, h);
  putHost(world, h, { agent: "down", slot: host.slot && { ...host.slot, lostClaim: false } });
  for (const { m, side } of sidesAt(world, h)) if (moveAt(world, m)[side]) dropRole(world, m, side);
}

export function reboot(world: World, h: number): void {
  stopAgent(world, h);
  putHost(world, h, { isNewLife: true });
  for (const v of world.guests.keys()) {
    for (const copy of guestAt(world, v).copies) {
      if (copy.host !== h || copy.machine === "ended") continue;
      excuseLoss(world, v, copy);
      endCopy(world, v, copy.id, "killed");
    }
  }
  for (const { m } of sidesAt(world, h)) {
    breakStream(world, m);
    breakLink(world, m);
  }
}

/** @param hasLostGates the gates lie in a folder of their own */
function wipe(world: World, h: number, hasLostGates: boolean): void {
  for (const { m, side } of sidesAt(world, h)) {
    // Rule 6: a missing journal counts as "may have run", so a commit that was sent may cost the guest; where the table
    // went back, nobody knows that none was.
    const { wire } = moveAt(world, m);
    const { destination } = wire.journal;
    const isUnknown = world.table !== null && destination !== null;
    const mayHaveRun = isUnknown || (destination?.commitSent && isUnfinished(moveAt(world, m), side));
    if (side === "destination" && mayHaveRun) {
      putGuest(world, vmOf(moveAt(world, m)), { isExcused: true });
    }
  }
  putHost(world, h, { tokens: hostAt(world, h).tokens.map(() => 0), isFrozen: false });
  for (const { m, side } of sidesAt(world, h)) {
    const { wire } = moveAt(world, m);
    // Where the slot is free nothing will ever be asked of that journal.
    const mayBeAsked = hostAt(world, h).slot?.move === m || world.table !== null;
    const journal = { ...wire.journal, [side]: mayBeAsked ? null : overJournal(wire.journal[side]) };
    putWire(world, m, { journal, ...(side === "source" && hasLostGates ? { gate: null } : {}) });
  }
}
const overJournal = <J extends Journal[Side]>(journal: J): J => journal && { ...journal, isOver: true };

function comeBack(world: World, h: number): void {
  if (hostAt(world, h).isNewLife) {
    // What an older incarnation sent is not heard any more.
    for (const { m, side } of sidesAt(world, h)) {
      const move = moveAt(world, m);
      const late = move.queue.late.filter((report) => sideOf(move, report) !== side);
      putQueue(world, m, { late });
    }
    if (!hostAt(world, h).isAway) beHeardAgain(world, h);
  }
  const { isDeclaredLost, isNewLife, isFrozen, told } = hostAt(world, h);
  // What an earlier life told may not hold any more.
  putHost(world, h, { agent: "up", isNewLife: isDeclaredLost, told: isNewLife ? null : told });
  beAcknowledged(world, h);
  if (isFrozen && world.rules.habits.staysFrozen) return;
  if (isNewLife && !world.rules.habits.goesOnAfterReboot) return;
  for (const { m, side } of sidesAt(world, h)) {
    if (isUnfinished(moveAt(world, m), side)) recoverRole(world, m, side);
  }
}

/** Cut off for as long as it takes. */
function cutSteps({ before, add, fault, options }: Adders, h: number): void {
  const { isAway, isUnplugged } = hostAt(before, h);
  const name = hostIds[h];
  const hasWork = sidesAt(before, h).some(({ m, side }) => isUnfinished(moveAt(before, m), side));
  const owns = before.vms.some((vm) => vm.owner?.hostId === name && !hasEnded(vm));
  const mayBeCalledLost = options.features.has("lies") && owns;
  if (isAway) {
    add(`${name} reaches the control plane again`, "plain", (world) => {
      putHost(world, h, { isAway: false });
      beAcknowledged(world, h);
      if (hostAt(world, h).isDeclaredLost && hostAt(world, h).isNewLife && hostAt(world, h).agent === "up") {
        beHeardAgain(world, h);
        putHost(world, h, { isNewLife: false });
      }
    });
  } else if ((hasWork || mayBeCalledLost) && before.hosts[h]?.agent !== "gone")
    fault("cuts", `${name} is cut off from the control plane`, (world) => putHost(world, h, { isAway: true }));
  if (isUnplugged) {
    add(`${name} reaches the migration network again`, "plain", (world) => putHost(world, h, { isUnplugged: false }));
  } else if (hasWork) {
    fault("unplugs", `${name} is cut off from the migration network`, (world) => {
      putHost(world, h, { isUnplugged: true });
      for (const { m } of sidesAt(world, h)) {
        breakStream(world, m);
        breakLink(world, m);
      }
    });
  }
}
