// One migration in motion: its record, its VM and the two hosts' slots, which change together or not at all.
//   M1  The VM's owner and token are the verdict's.
//   M2  A slot frees on its own host's report alone; where that host never claimed, an abort frees it.
//   M3  The VM takes its next migration when its owner was seen in the wanted run state (or as ended).
//   M4  A host is told of every change that it did not make itself.
//   M5  A copy whose host was declared lost counts as gone. Its host's slot stays until the migration is settled, so
//       that a host that returns before is told what its copy is.
import type { EndReason } from "../../schemas/migration.ts";
import type { ProblemCode } from "../../schemas/problems.ts";
import { confirmationOf, isConfirmed, isSettled, reasonOf, recordOf } from "./migrations.ts";
import type { EventDraft, MigrationState, Role, Seen, Slot, VmRecord } from "./records.ts";
import { isSame } from "./same.ts";
import { decideVerdict, ownerBy, type TakeBack, type VerdictEvent } from "./verdict.ts";
import { arriveGuest, beginGuest, endGuest, hostLost, observeGuest, stopVm, vmEvents } from "./vms.ts";

/** A slot that is null is not at hand, and not touched. */
export type Motion = { migration: MigrationState; vm: VmRecord; slots: { [R in Role]: Slot | null } };
export const noSlots: Motion["slots"] = { source: null, destination: null };
export type Context = { clusterId: string; at: number; restoreEpoch: number; actor: Role | null };

export type MotionDecision =
  | { kind: "move"; motion: Motion }
  | { kind: "unchanged" }
  | { kind: "refuse"; problem: ProblemCode };

export function decideMotion(motion: Motion, event: VerdictEvent, context: Context): MotionDecision {
  const { migration, vm } = motion;
  const decision = decideVerdict(migration.verdict, event, migration);
  if (decision.kind !== "move") return decision;
  // The verdict is conditional on the VM as well: held by this migration, under this verdict's token.
  const isHeld = vm.migrationId === migration.id && vm.fencingToken === migration.verdict.token;
  if (!isHeld && event.kind !== "control-plane-aborts") return { kind: "refuse", problem: "stale-fencing-token" };
  return {
    kind: "move",
    motion: settle({ ...motion, migration: { ...migration, verdict: decision.verdict } }, context),
  };
}

/** A wish that the agents act on; it decides nothing by itself. */
export function requestCancel(motion: Motion, reason: EndReason, context: Context): Motion {
  const { migration } = motion;
  if (migration.verdict.kind !== "open" || migration.cancelRequested) return motion;
  return settle({ ...motion, migration: { ...migration, cancelRequested: reason } }, context);
}

/** M5: an operator's word ends the part of a host's incarnation. */
export function loseHost(motion: Motion, role: Role, detail: string, context: Context): Motion {
  const underToken = motion.migration.verdict.token;
  return recordSeen(motion, role, { state: "gone", because: hostLost, detail, underToken }, context);
}

export function isLost(migration: MigrationState, role: Role): boolean {
  return migration.seen[role]?.because === hostLost;
}

/** A wish that the source acts on, where it can prove that it may. */
export function requestTakeBack(motion: Motion, takeBack: TakeBack | null, context: Context): Motion {
  return settle({ ...motion, migration: { ...motion.migration, takeBack } }, context);
}

/** What a host last reported of its copy; gone is final. A source that is back says so itself, in the
 *  operator's place. */
export function recordSeen(motion: Motion, role: Role, seen: Seen, context: Context): Motion {
  const { migration } = motion;
  const isSaidItself =
    role === "source" && seen.state === "gone" && seen.because !== hostLost && isLost(migration, role);
  if (migration.seen[role]?.state === "gone" && !isSaidItself) return settle(motion, context);
  return settle({ ...motion, migration: { ...migration, seen: { ...migration.seen, [role]: seen } } }, context);
}

/** Draws every consequence of the verdict and of what was seen. Doing it twice changes nothing. */
export function settle(motion: Motion, context: Context): Motion {
  const holds = { source: keepsSlot(motion, "source"), destination: keepsSlot(motion, "destination") };
  let migration: MigrationState = { ...motion.migration, ...wishesOf(motion), holds };
  const isOver = migration.verdict.kind !== "open" && !holds.source && !holds.destination;
  if (migration.stage !== "ended" && isOver) migration = { ...migration, stage: "ended", endedAt: context.at };
  return {
    migration,
    vm: settleVm(motion.vm, migration, context.restoreEpoch),
    slots: {
      source: settleSlot(motion.slots.source, migration, "source", context),
      destination: settleSlot(motion.slots.destination, migration, "destination", context),
    },
  };
}

/** What the guest is to be like on arrival is fixed by the verdict: what is wished for later waits for the new owner. */
function wishesOf({ migration, vm }: Motion): Pick<MigrationState, "arrivesPaused" | "resetsBefore"> {
  if (migration.verdict.kind !== "open" || vm.migrationId !== migration.id) return {};
  const isKept = vm.wantedRunState === "stopped"; // It is to end as it is.
  const arrivesPaused = isKept ? (migration.arrivesPaused ?? false) : vm.wantedRunState === "paused";
  return { arrivesPaused, resetsBefore: vm.resets ?? 0 };
}

/** M2 */
function keepsSlot({ migration, slots }: Motion, role: Role): boolean {
  if (!migration.holds[role]) return false;
  const { verdict } = migration;
  const seen = migration.seen[role];
  const held = slots[role]?.migration;
  if (verdict.kind === "aborted" && held?.migrationId === migration.id && !held.claimed) return false;
  if (seen?.state === "gone") {
    const mayBeForced = role === "source" && !isLost(migration, role);
    return mayBeForced ? verdict.kind === "open" : !isSettled(migration);
  }
  const isThere = (seen?.state === "running" || seen?.state === "paused") && seen.underToken === verdict.token;
  if (!isThere) return true;
  return !(isSettled(migration) && ownerBy(verdict, migration).copyId === migration[role].copyId);
}

/** M1, M3 */
function settleVm(vm: VmRecord, migration: MigrationState, restoreEpoch: number): VmRecord {
  if (vm.migrationId !== migration.id) return vm;
  const { verdict, seen } = migration;
  const fencingToken = Math.max(vm.fencingToken, verdict.token);
  const owned: VmRecord = vm.deleted
    ? { ...vm, fencingToken }
    : { ...vm, fencingToken, owner: ownerBy(verdict, migration) };
  const freed: VmRecord = { ...owned, migrationId: null };
  if (verdict.kind === "committed") {
    if (!verdict.confirmed) return owned;
    const { outcome, resetsAtSource } = verdict.confirmed;
    // Those asked for that the source has made, or may have.
    const resetsMade = resetsAtSource ?? migration.resetsBefore ?? 0;
    return outcome === "running" || outcome === "paused"
      ? observeGuest(arriveGuest(freed, resetsMade), outcome)
      : endGuest(freed, outcome, restoreEpoch);
  }
  if (verdict.kind === "open") return owned;
  if (verdict.kind === "forced" && verdict.owner.copyId !== migration.source.copyId) {
    const begun = beginGuest(freed, verdict.owner);
    return vm.deleteRequested ? stopVm(begun) : begun; // Its user wanted it gone: it never runs again.
  }
  if (seen.source?.state === "gone") return endGuest(freed, seen.source.because, restoreEpoch);
  if (
    seen.source?.underToken === verdict.token &&
    (seen.source.state === "running" || seen.source.state === "paused")
  ) {
    return observeGuest(freed, seen.source.state);
  }
  return migration.holds.source ? owned : freed; // A source that never began still runs it.
}

/** M4 */
export function settleSlot(slot: Slot | null, migration: MigrationState, role: Role, context: Context): Slot | null {
  if (slot?.migration?.migrationId !== migration.id) return slot;
  const standing = migration.holds[role] ? { ...slot.migration, record: recordOf(context.clusterId, migration) } : null;
  if (isSame(standing, slot.migration)) return slot;
  const isOwnDoing = context.actor === role;
  return { assignmentsRevision: slot.assignmentsRevision + (isOwnDoing ? 0 : 1), migration: standing };
}

export function bumpSlot(slot: Slot): Slot {
  return { ...slot, assignmentsRevision: slot.assignmentsRevision + 1 };
}

/** Every change of a migration and its VM has its event. */
export function motionEvents(before: Motion, after: Motion): EventDraft[] {
  return [...migrationEvents(before.migration, after.migration), ...vmEvents(before.vm, after.vm)];
}

export function migrationEvents(before: MigrationState, after: MigrationState): EventDraft[] {
  const events: EventDraft[] = [];
  const say = (kind: EventDraft["kind"], data: EventDraft["data"] = {}) =>
    events.push({ kind, subject: { kind: "migration", id: after.id }, data: { vm: after.vmId, ...data } });
  if (after.stage === "admitted" && before.stage === "queued") say("migration-admitted");
  if (after.cancelRequested && !before.cancelRequested)
    say("migration-cancel-requested", { reason: after.cancelRequested });
  const { takeBack } = after;
  if (takeBack && !isSame(takeBack, before.takeBack ?? null)) {
    if (takeBack.refused === null) say("migration-take-back-requested", { statement: takeBack.statement });
    else say("migration-take-back-refused", { detail: takeBack.refused });
  }
  const { verdict } = after;
  if (verdict.kind !== before.verdict.kind) {
    const reason = reasonOf(after)?.reason ?? null;
    const data = { fencingToken: verdict.token, owner: ownerBy(verdict, after).hostId, reason };
    if (verdict.kind === "committed") say("migration-committed", data);
    if (verdict.kind === "aborted") say("migration-aborted", { ...data, by: verdict.by });
    if (verdict.kind === "returned") say("migration-returned", data);
    if (verdict.kind === "forced") say("migration-forced", { ...data, statement: verdict.statement });
  }
  const confirmation = confirmationOf(after);
  if (confirmation && !isConfirmed(before)) say("migration-confirmed", { outcome: confirmation.outcome });
  for (const role of ["source", "destination"] as const) {
    if (!before.holds[role] || after.holds[role]) continue;
    const subject = { kind: "host", id: after[role].hostId } as const;
    events.push({ kind: "migration-phase-changed", subject, data: { migration: after.id, freed: role } });
  }
  if (after.stage === "ended" && before.stage !== "ended") {
    say("migration-ended", { verdict: verdict.kind, reason: reasonOf(after)?.reason ?? null });
  }
  return events;
}
