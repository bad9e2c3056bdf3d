// What a host says of a copy, and what follows. Who owns the guest is the record's to say; a report about any other
// copy changes only that host's own side.
import type { AgentReport } from "../../schemas/agent.ts";
import type { ProblemCode } from "../../schemas/problems.ts";
import { roleOf } from "./migrations.ts";
import { bumpSlot, type Context, type Motion, noSlots, recordSeen } from "./motion.ts";
import type { CopyDuty, MigrationState, Slot, VmRecord } from "./records.ts";
import { isSame } from "./same.ts";
import { dutyOf, endGuest, hasEnded, isOwner, noteResets, observeGuest } from "./vms.ts";

export type CopySeen = Extract<AgentReport, { kind: "copy-seen" }>;
export type Standing = {
  hostId: string;
  vm: VmRecord;
  duty: CopyDuty | null;
  slot: Slot;
  /** The migration the report names. */
  migration: MigrationState | null;
};
export type SeenDecision =
  | { kind: "refuse"; problem: ProblemCode }
  | { kind: "accept"; vm: VmRecord; migration: MigrationState | null; slot: Slot; duty: CopyDuty | null };

export function seeCopy(standing: Standing, report: CopySeen, context: Omit<Context, "actor">): SeenDecision {
  const { hostId, duty } = standing;
  // That a copy is gone is so under any token; its duty may have been raised since its host looked, by a start elsewhere.
  const isStale = duty !== null && report.state !== "gone" && report.fencingToken < duty.fencingToken;
  if (isStale) return { kind: "refuse", problem: "stale-fencing-token" };
  const moved = seeInMigration(standing, report, context);
  if (moved.kind === "refuse") return moved;
  const { vm, migration, slot } = moved;
  const copy = { hostId, copyId: report.copyId };
  const isGone = report.state === "gone";
  const accept = (after: VmRecord): SeenDecision => {
    const dutyAfter = isGone ? null : renewDuty(duty, after, copy);
    // The host is to read its duties again before it acts on one that is no more.
    return {
      kind: "accept",
      vm: after,
      migration,
      duty: dutyAfter,
      slot: isSame(duty, dutyAfter) ? slot : bumpSlot(slot),
    };
  };

  if (isOwner(standing.vm, copy)) {
    if (report.state === "held") return accept(vm);
    if (report.state !== "gone") return accept(noteResets(observeGuest(vm, report.state), report.resets));
    if (isInMotion(standing, report)) return accept(vm); // What becomes of the guest is the verdict's to say.
    return accept(hasEndedAlready(vm) ? vm : endGuest(vm, report.because, context.restoreEpoch));
  }
  const isOfMigration = migration !== null || coveredBySlot(standing, report.copyId);
  if (isOfMigration) return accept(vm);
  // Another host's copy is not this one's to bury. Of one that no record names any more (its end was told before, and
  // the answer lost) nothing follows.
  if (isGone) return vm.owner?.copyId === report.copyId ? { kind: "refuse", problem: "not-yours" } : accept(vm);
  // The record names another copy: this one is to go.
  return { kind: "refuse", problem: report.fencingToken < vm.fencingToken ? "stale-fencing-token" : "not-yours" };
}

/** A verdict may have raised the token since the duty was written; the owner's host learns it when the VM is at rest.
 *  A guest that was thought gone, and is there after all, has a duty again. */
function renewDuty(duty: CopyDuty | null, vm: VmRecord, copy: { hostId: string; copyId: string }): CopyDuty | null {
  if (vm.migrationId !== null || !isOwner(vm, copy)) return duty;
  if (!duty && hasEnded(vm)) return null;
  const renewed = dutyOf(vm, copy.copyId);
  // An operator's word about the lock file stands until the guest has run, and no longer.
  return duty?.replaceLockFile && vm.runState === "starting" ? { ...renewed, replaceLockFile: true } : renewed;
}

function hasEndedAlready(vm: VmRecord): boolean {
  return vm.deleted || ((vm.runState === "stopped" || vm.runState === "guest-lost") && vm.wantedRunState === "stopped");
}

type Moved =
  | { kind: "refuse"; problem: ProblemCode }
  | { kind: "moved"; vm: VmRecord; migration: MigrationState | null; slot: Slot };

function seeInMigration(standing: Standing, report: CopySeen, context: Omit<Context, "actor">): Moved {
  const { hostId, vm, slot, migration } = standing;
  if (!migration) return { kind: "moved", vm, migration, slot };
  const role = roleOf(migration, hostId);
  if (!role || migration[role].copyId !== report.copyId) return { kind: "refuse", problem: "not-yours" };
  if (report.fencingToken < migration.openedUnderToken) return { kind: "refuse", problem: "stale-fencing-token" };
  if (report.state === "held") return { kind: "moved", vm, migration, slot };
  const slots: Motion["slots"] = { ...noSlots, [role]: slot };
  const { state, because, detail } = report;
  const seen = { state, because, detail, underToken: migration.verdict.token };
  const after = recordSeen({ migration, vm, slots }, role, seen, { ...context, actor: role });
  return { kind: "moved", vm: after.vm, migration: after.migration, slot: after.slots[role] ?? slot };
}

/** The VM is held by a migration that this host has a part in with this copy. */
function isInMotion(standing: Standing, report: CopySeen): boolean {
  const { vm, migration } = standing;
  if (vm.migrationId === null) return false;
  return migration?.id === vm.migrationId || (!migration && coveredBySlot(standing, report.copyId));
}

function coveredBySlot({ slot }: Standing, copyId: string): boolean {
  return slot.migration !== null && slot.migration.assignment[slot.migration.role].copyId === copyId;
}

/** What a claim answers: every copy the host owns by the record. A source whose guest was committed away keeps its
 *  duty's item until it reports, but no longer owns the copy. */
export function dutiesByRecord(duties: CopyDuty[], slot: Slot): CopyDuty[] {
  const { migration } = slot;
  if (!migration) return duties;
  const own = migration.assignment[migration.role];
  const owner = migration.record.owner;
  const isOwn = owner.hostId === own.hostId && owner.copyId === own.copyId;
  return duties.filter((duty) => duty.copyId !== own.copyId || isOwn);
}
