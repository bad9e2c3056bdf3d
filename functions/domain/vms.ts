// What happens to a VM's record: start, stop, delete, and how its guest ends. Whoever starts it makes a new copy under
// a higher token; a guest that ended is never started again unasked.
import type { CopyRef } from "../../schemas/ids.ts";
import type { VmDefinition } from "../../schemas/vm.ts";
import type { CopyDuty, CopyEnd, EventDraft, VmRecord } from "./records.ts";
import { firstToken, nextToken } from "./tokens.ts";

export function newVm(definition: VmDefinition, by: string, at: number, restoreEpoch: number): VmRecord {
  return {
    vmId: definition.vm,
    spec: definition.spec,
    wantedRunState: "stopped",
    runState: "stopped",
    stoppedBecause: null,
    owner: null,
    fencingToken: firstToken(restoreEpoch),
    migrationId: null,
    deleteRequested: false,
    deleted: false,
    createdAt: at,
    createdBy: by,
  };
}

/** Its guest is no more; there is nothing left to stop. */
export function hasEnded(vm: VmRecord): boolean {
  return vm.runState === "stopped" || vm.runState === "guest-lost";
}

export function startVm(vm: VmRecord, owner: CopyRef, restoreEpoch: number): VmRecord {
  return beginGuest({ ...vm, fencingToken: nextToken(vm.fencingToken, restoreEpoch) }, owner);
}

/** A new copy begins from the VM's disk, under the token that the VM has. */
export function beginGuest(vm: VmRecord, owner: CopyRef): VmRecord {
  const begun = { wantedRunState: "running", runState: "starting", stoppedBecause: null, owner } as const;
  return { ...withoutLate(vm), ...begun, resets: 0, resetsMade: 0 };
}

/** It runs, or is to: whoever comes back late has been left behind. */
export function withoutLate({ mayBeLate: _ended, ...vm }: VmRecord): VmRecord {
  return vm;
}

/** The guest goes on in another copy, which makes only those resets that the one before has not. */
export function arriveGuest(vm: VmRecord, resetsMade: number): VmRecord {
  return { ...vm, resets: Math.max(0, (vm.resets ?? 0) - resetsMade), resetsMade: 0 };
}

/** A wish about a guest that is there: none is taken once it is to stop. */
export type RunWish = "pause" | "resume" | "reset";

export function mayWish(vm: VmRecord): boolean {
  return !hasEnded(vm) && vm.wantedRunState !== "stopped";
}

/** Carried out by whoever owns the guest: the source until the gate, then the owner when the migration is over. */
export function wishFor(vm: VmRecord, wish: RunWish): VmRecord {
  switch (wish) {
    case "pause":
      return { ...vm, wantedRunState: "paused" };
    case "resume":
      return { ...vm, wantedRunState: "running" };
    case "reset":
      return { ...vm, resets: (vm.resets ?? 0) + 1 };
  }
}

export function isResetPending(vm: VmRecord): boolean {
  return mayWish(vm) && (vm.resets ?? 0) > (vm.resetsMade ?? 0);
}

/** With a migration in the way the run state stays what it is: the stop follows whoever comes to own the guest. */
export function stopVm(vm: VmRecord): VmRecord {
  if (hasEnded(vm)) return vm;
  return { ...vm, wantedRunState: "stopped", runState: vm.migrationId === null ? "stopping" : vm.runState };
}

export function deleteVm(vm: VmRecord, restoreEpoch: number): VmRecord {
  const intended: VmRecord = { ...stopVm(vm), deleteRequested: true };
  return hasEnded(vm) && vm.migrationId === null ? buryVm(intended, restoreEpoch) : intended;
}

/** The tombstone's token is above every copy's, so that late ones are told to go. */
function buryVm(vm: VmRecord, restoreEpoch: number): VmRecord {
  return { ...vm, deleted: true, owner: null, fencingToken: nextToken(vm.fencingToken, restoreEpoch) };
}

export type GuestEnd = CopyEnd | "ended" | "guest-lost" | "table-restored";
const lostEnds: ReadonlySet<GuestEnd> = new Set(["killed", "host-rebooted", "host-declared-lost", "guest-lost"]);
/** Why a guest counts as lost whose host an operator declared lost. */
export const hostLost = "host-declared-lost";

/** The owner's copy is gone. Killed or lost with its host is not the same as ended by itself or as wished. */
export function endGuest(vm: VmRecord, because: GuestEnd, restoreEpoch: number): VmRecord {
  const isLost = lostEnds.has(because);
  const ended: VmRecord = {
    ...vm,
    wantedRunState: "stopped",
    runState: isLost ? "guest-lost" : "stopped",
    stoppedBecause: because,
  };
  return vm.deleteRequested && !vm.deleted ? buryVm(ended, restoreEpoch) : ended;
}

/** What the owner's host says of a copy that is there. */
export function observeGuest(vm: VmRecord, state: "running" | "paused" | "frozen"): VmRecord {
  // The operator's word was wrong, and nothing was started elsewhere since: its owner has it.
  if (vm.stoppedBecause === hostLost && !vm.deleted) {
    const wantedRunState = state === "paused" ? state : "running";
    const found: VmRecord = { ...withoutLate(vm), wantedRunState, runState: state, stoppedBecause: null };
    return vm.deleteRequested ? stopVm(found) : found; // Its user wanted it gone meanwhile.
  }
  if (hasEnded(vm)) return vm;
  if (state === "frozen") return { ...vm, runState: "frozen" };
  return { ...vm, runState: vm.wantedRunState === "stopped" && vm.migrationId === null ? "stopping" : state };
}

/** Which of the resets asked for were made; a host that counts more than were asked for is not believed. */
export function noteResets(vm: VmRecord, made = 0): VmRecord {
  const { resets = 0, resetsMade = 0 } = vm;
  return made > resetsMade && made <= resets ? { ...vm, resetsMade: made } : vm;
}

export function isOwner(vm: VmRecord, copy: CopyRef): boolean {
  return !vm.deleted && vm.owner?.hostId === copy.hostId && vm.owner.copyId === copy.copyId;
}

/** What the owner's host is to do about its copy. */
export function dutyOf(vm: VmRecord, copyId: string): CopyDuty {
  const { vmId, fencingToken, spec, wantedRunState, runState, resets = 0 } = vm;
  return { vmId, copyId, fencingToken, spec, wantedRunState, hasRun: runState !== "starting", resets };
}

/** Every change of a VM's record has its event. */
export function vmEvents(before: VmRecord | null, after: VmRecord): EventDraft[] {
  const events: EventDraft[] = [];
  const say = (kind: EventDraft["kind"], data: EventDraft["data"] = {}) =>
    events.push({ kind, subject: { kind: "vm", id: after.vmId }, data: { ...data, fencingToken: after.fencingToken } });
  if (!before) {
    say("vm-defined", { memoryMiB: after.spec.memoryMiB });
    return events;
  }
  if (after.deleteRequested && !before.deleteRequested) say("vm-delete-requested");
  if (after.deleted && !before.deleted) say("vm-deleted");
  if (after.wantedRunState !== before.wantedRunState && !hasEnded(after)) {
    say(wishEvent(before, after), { host: after.owner?.hostId ?? null });
  }
  if (isSameCopy(before, after)) {
    if ((after.resets ?? 0) > (before.resets ?? 0)) say("vm-reset-requested", { number: after.resets ?? 0 });
    if ((after.resetsMade ?? 0) > (before.resetsMade ?? 0)) say("vm-reset", { number: after.resetsMade ?? 0 });
  }
  if (!isSameCopy(before, after)) {
    say("vm-owner-changed", { host: after.owner?.hostId ?? null, copyId: after.owner?.copyId ?? null });
  }
  if (after.runState !== before.runState) {
    say("vm-run-state-changed", { runState: after.runState, because: after.stoppedBecause });
  }
  return events;
}

function wishEvent(before: VmRecord, after: VmRecord): EventDraft["kind"] {
  if (after.wantedRunState === "stopped") return "vm-stop-requested";
  if (after.wantedRunState === "paused") return "vm-pause-requested";
  return before.wantedRunState === "paused" && isSameCopy(before, after) ? "vm-resume-requested" : "vm-start-requested";
}

function isSameCopy(before: VmRecord, after: VmRecord): boolean {
  return before.owner?.copyId === after.owner?.copyId && before.owner?.hostId === after.owner?.hostId;
}
