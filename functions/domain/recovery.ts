// The table went back, and every host has told what it has: the records are drawn from that. Pure, and doing it twice
// changes nothing but tokens, so that a crash on the way is answered by doing it again.
//   R1  The copy that ran last owns the guest (domain/last-run.ts), under a token above all that was ever seen.
//   R2  A migration that a host is not done with gets the verdict that fits that owner, and its agents act upon it by the
//       usual rules. What the table did not know of it is in the assignment that it signed.
//   R3  Nothing is destroyed here. A copy that others have left behind is told to go, under a higher token that names
//       another copy (rule 8).
//       One of which both hosts were declared lost, and nobody knows anything, stays open: the first of them that
//       returns tells, and until then only an operator may decide.
//       Whatever has ended may be with a host that was declared lost, and is judged again when one comes back.
//   R4  A deleted VM stays deleted; a guest that no host has is stopped, and never started unasked.
//   R5  What an operator wished of a copy that is still the owner stands; other wishes are as the guest is.
import type { Assignment } from "../../schemas/agent.ts";
import type { CopyRef } from "../../schemas/ids.ts";
import type { VmSpec } from "../../schemas/vm.ts";
import { findLastRun, isPastAndStanding, type LastRun, type Part, type VmInventory } from "./last-run.ts";
import { recordOf } from "./migrations.ts";
import { migrationEvents, noSlots, settle } from "./motion.ts";
import type { CopyDuty, EventDraft, MigrationState, Role, Seen, Slot, VmRecord } from "./records.ts";
import { nextToken } from "./tokens.ts";
import type { Verdict } from "./verdict.ts";
import { dutyOf, endGuest, type GuestEnd, hasEnded, hostLost, isOwner, newVm, withoutLate } from "./vms.ts";

export type VmStanding = {
  vmId: string;
  /** As the restored table has it. */
  vm: VmRecord | null;
  /** Those of this VM that the restored table shows as not over. */
  migrations: MigrationState[];
  inventory: VmInventory;
  /** The highest that any host has seen of this VM. */
  highestToken: number;
};
export type RecoveryContext = { clusterId: string; restoreEpoch: number; at: number };
export type VmRecovery = {
  vm: VmRecord;
  migrations: MigrationState[];
  /** All that are to stand for this VM on the hosts that reported. */
  duties: { hostId: string; duty: CopyDuty }[];
};

export const restored = "the table was restored from a backup; this is what the hosts told";

/** @returns null where nothing but the VM's name is known any more */
export function recoverVm(standing: VmStanding, context: RecoveryContext): VmRecovery | null {
  const spec = standing.vm?.spec ?? specOf(standing.inventory);
  if (!spec) return null;
  const known = standing.vm ?? newVm({ vm: standing.vmId, spec }, "restore", context.at, context.restoreEpoch);
  const fencingToken = nextToken(Math.max(standing.highestToken, known.fencingToken), context.restoreEpoch);
  const last: LastRun = known.deleted
    ? { kind: "gone", of: buried(known), how: "killed" }
    : findLastRun(standing.inventory);
  const open = migrationsOf(standing, context.at);
  const decided = open.map((migration, index) => {
    const next = open[index + 1];
    const owner = next ? next.source : last.kind === "copy" ? last.copy : last.of;
    return decide(migration, owner, { standing, last: next ? null : last, fencingToken });
  });
  let vm: VmRecord = { ...vmBy(known, last, open, standing.inventory, context), fencingToken };
  const latest = decided.at(-1);
  // Where a third copy owns the guest, the VM has nothing to wait for.
  const isInMotion = latest && latest.verdict.kind !== "forced" && (latest.holds.source || latest.holds.destination);
  if (isInMotion && !known.deleted) vm = { ...vm, migrationId: latest.id };
  const migrations = decided.map((migration) => {
    const settled = settle({ migration, vm, slots: noSlots }, { ...context, actor: null });
    vm = settled.vm;
    return settled.migration;
  });
  return { vm, migrations, duties: dutiesOf(vm, migrations, standing.inventory) };
}

function specOf({ copies, parts }: VmInventory): VmSpec | null {
  return copies[0]?.spec ?? parts[0]?.assignment.spec ?? null;
}

/** Stands for the copy that a deleted VM does not have: whoever has one is told that it is another's. */
const buried = (vm: VmRecord): CopyRef => ({
  hostId: vm.owner?.hostId ?? "nobody",
  copyId: noCopy,
});
/** The name of no copy that there is. */
export const noCopy = `copy_${"0".repeat(26)}`;

/** R2: those that a host is not done with, and those that the table shows as under way; in the order they began. */
function migrationsOf({ migrations, inventory }: VmStanding, at: number): MigrationState[] {
  const all = new Map(migrations.map((migration) => [migration.id, migration]));
  for (const { over, assignment } of inventory.parts) {
    if (!over && !all.has(assignment.migrationId)) all.set(assignment.migrationId, remade(assignment, at));
  }
  return [...all.values()].sort(
    (one, other) => one.openedUnderToken - other.openedUnderToken || (one.id < other.id ? -1 : 1),
  );
}

export function remade(assignment: Assignment, at: number): MigrationState {
  const { migrationId, vmId, mode, limits, fencingToken, issuedAt, source, destination } = assignment;
  return {
    id: migrationId,
    vmId,
    source: { hostId: source.hostId, copyId: source.copyId },
    destination: { hostId: destination.hostId, copyId: destination.copyId },
    mode,
    limits,
    ticket: null,
    retryOf: null,
    requestedBy: "restore",
    createdAt: Math.min(issuedAt, at),
    startedAt: Math.min(issuedAt, at),
    endedAt: null,
    stage: "admitted",
    openedUnderToken: fencingToken,
    verdict: { kind: "open", token: fencingToken },
    cancelRequested: null,
    takeBack: null,
    seen: { source: null, destination: null },
    holds: { source: false, destination: false },
  };
}

function decide(
  migration: MigrationState,
  owner: CopyRef | null,
  facts: { standing: VmStanding; last: LastRun | null; fencingToken: number },
): MigrationState {
  const { inventory } = facts.standing;
  const isLost = (role: Role) => inventory.lostHosts.has(migration[role].hostId);
  const isOpenAt = (role: Role) => partOf(inventory, migration, role)?.over === false;
  const isAsked = owner?.copyId === migration.destination.copyId && hasLostItsJournal(inventory, migration);
  const holds = {
    source: isLost("source") || isOpenAt("source"),
    destination: isLost("destination") || isOpenAt("destination") || isAsked,
  };
  const isUnknown = facts.last?.kind === "gone" && facts.last.of === null && isLost("source") && isLost("destination");
  const verdict: Verdict = isUnknown
    ? { kind: "open", token: facts.fencingToken }
    : verdictFor(migration, owner, facts, holds.destination);
  const lost: Seen = { state: "gone", because: hostLost, detail: restored, underToken: verdict.token };
  const seenOf = (role: Role) => (isLost(role) ? lost : null);
  return {
    ...migration,
    stage: "admitted",
    startedAt: migration.startedAt ?? migration.createdAt,
    verdict,
    cancelRequested: null,
    arrivesPaused:
      migration.arrivesPaused ||
      isSourcePaused(inventory, migration) ||
      (partOf(inventory, migration, "destination")?.arrivesPaused ?? false),
    takeBack: null,
    seen: { source: seenOf("source"), destination: seenOf("destination") },
    holds,
  };
}

function isSourcePaused({ copies }: VmInventory, { source }: MigrationState): boolean {
  return copies.some(
    ({ copyId, machine, isAtGate, wasPaused }) =>
      copyId === source.copyId && (wasPaused || (machine === "stopped" && !isAtGate)),
  );
}

function verdictFor(
  { source, destination }: MigrationState,
  owner: CopyRef | null,
  { last, fencingToken: token }: { last: LastRun | null; fencingToken: number },
  destinationMayConfirm: boolean,
): Verdict {
  const reason = "table-restored" as const;
  if (owner === null || owner.copyId === source.copyId) {
    return { kind: "aborted", token, by: "control-plane", reason, detail: restored };
  }
  if (owner.copyId !== destination.copyId) return { kind: "forced", token, owner, statement: restored, reason };
  if (last && destinationMayConfirm) return { kind: "committed", token, confirmed: null };
  return { kind: "committed", token, confirmed: { outcome: outcomeOf(last), detail: restored } };
}

function outcomeOf(last: LastRun | null): "running" | "paused" | "ended" | "guest-lost" {
  if (last?.kind !== "gone") return last?.state === "standing" ? "paused" : "running";
  return last.how === "powered-off" || last.how === "crashed" ? "ended" : "guest-lost";
}

function partOf({ parts }: VmInventory, migration: MigrationState, role: Role): Part | null {
  return parts.find((part) => part.role === role && part.assignment.migrationId === migration.id) ?? null;
}

/** The destination: its source is in doubt, which none that forgot on purpose leaves behind. */
function hasLostItsJournal(inventory: VmInventory, migration: MigrationState): boolean {
  const arrived = inventory.copies.find(({ copyId }) => copyId === migration.destination.copyId);
  // It ran, so that its host was done with the migration; what became of it is told.
  if (arrived?.machine === "running" || typeof arrived?.lockToken === "number") return false;
  if (partOf(inventory, migration, "destination")) return false;
  const source = partOf(inventory, migration, "source");
  return source !== null && !source.over && isPastAndStanding(inventory, source);
}

/** R1, R4, R5 */
function vmBy(
  known: VmRecord,
  last: LastRun,
  open: MigrationState[],
  inventory: VmInventory,
  context: RecoveryContext,
): VmRecord {
  const atRest: VmRecord = { ...withoutLate(known), migrationId: null };
  if (known.deleted) return atRest;
  if (last.kind === "gone") {
    const owner = last.of ?? atRest.owner;
    const isKnown = last.of === null && hasEnded(atRest);
    const ended = isKnown ? atRest : endGuest({ ...atRest, owner }, endOfGuest(last), context.restoreEpoch);
    return inventory.lostHosts.size > 0 ? { ...ended, mayBeLate: true } : ended;
  }
  const isSame = known.owner?.copyId === last.copy.copyId;
  const hasMoved = open.some(
    ({ source, destination }) => source.copyId === known.owner?.copyId && destination.copyId === last.copy.copyId,
  );
  // That the table has it as ended is no wish: it was lost by an operator's word, and is there all the same.
  const keepsWish = (isSame || hasMoved) && !hasEnded(known) && known.wantedRunState !== "running";
  const wantedRunState = keepsWish ? known.wantedRunState : isPaused(inventory, last) ? "paused" : "running";
  return {
    ...atRest,
    owner: last.copy,
    wantedRunState,
    runState: last.state === "held" ? "starting" : wantedRunState === "stopped" ? "stopping" : wantedRunState,
    stoppedBecause: null,
    deleteRequested: keepsWish && known.deleteRequested,
    // Resets belong to the copy that they were asked of; none is made that it did not know of.
    ...(isSame ? {} : { resets: 0, resetsMade: 0 }),
  };
}

/** It stands, and not for a migration. */
function isPaused({ copies }: VmInventory, last: Extract<LastRun, { kind: "copy" }>): boolean {
  if (last.state !== "standing") return false;
  return copies.some(({ copyId, isAtGate, wasPaused }) => copyId === last.copy.copyId && (!isAtGate || wasPaused));
}

function endOfGuest({ of, how }: Extract<LastRun, { kind: "gone" }>): GuestEnd {
  if (how === "host-lost") return hostLost;
  return of === null || how === "may-have-run" ? "table-restored" : how;
}

/** R3 */
function dutiesOf(vm: VmRecord, migrations: MigrationState[], inventory: VmInventory): VmRecovery["duties"] {
  const duties: VmRecovery["duties"] = [];
  const latest = migrations.at(-1);
  // It is given its duty when its host confirms it.
  const isArriving = latest?.verdict.kind === "committed" && latest.verdict.confirmed === null;
  for (const { hostId, copyId, spec } of inventory.copies) {
    if (isOwner(vm, { hostId, copyId }) && !hasEnded(vm)) {
      if (!isArriving) duties.push({ hostId, duty: dutyOf(vm, copyId) });
      continue;
    }
    if (isInRole(inventory, hostId, copyId)) continue; // Its migration's record tells it what it is.
    const { vmId, fencingToken } = vm;
    duties.push({ hostId, duty: { vmId, copyId, fencingToken, spec, wantedRunState: "stopped", hasRun: true } });
  }
  return duties;
}

function isInRole({ parts }: VmInventory, hostId: string, copyId: string): boolean {
  return parts.some((part) => !part.over && part.hostId === hostId && part.assignment[part.role].copyId === copyId);
}

/** `toldBy`: hosts whose journals have it. */
export type UnderWay = { migration: MigrationState; assignment: Assignment; toldBy: readonly string[] };

/** A host's one session, of the migrations that it is not done with: one that its journal does not have, for it hears of
 *  that by its slot alone; else the newest. */
export function recoverSlot(clusterId: string, hostId: string, before: Slot, open: readonly UnderWay[]): Slot {
  const roleIn = (migration: MigrationState): Role | null =>
    (["source", "destination"] as const).find((role) => migration[role].hostId === hostId && migration.holds[role]) ??
    null;
  const newest = open
    .flatMap(({ migration, assignment, toldBy }) => {
      const role = roleIn(migration);
      return role ? [{ migration, assignment, role, isTold: toldBy.includes(hostId) }] : [];
    })
    .sort(
      (one, other) => Number(one.isTold) - Number(other.isTold) || (one.migration.id < other.migration.id ? 1 : -1),
    )[0];
  return {
    assignmentsRevision: before.assignmentsRevision + 1,
    migration: newest
      ? {
          migrationId: newest.migration.id,
          role: newest.role,
          claimed: true,
          assignment: newest.assignment,
          record: recordOf(clusterId, newest.migration),
        }
      : null,
  };
}

/** @param before null: the table had forgotten it, and hosts have told of it */
export function recoveredEvents(before: MigrationState | null, after: MigrationState): EventDraft[] {
  const told = migrationEvents(before ?? asAdmitted(after), after).filter(
    ({ subject }) => subject.kind === "migration",
  );
  if (!before) return [requestedEvent(after), ...told];
  // A host that was not done with it has told so.
  const isOpenAgain = after.verdict.kind === "open" && before.verdict.kind !== "open";
  const isTakenUp = (before.stage !== "admitted" || isOpenAgain) && after.stage === "admitted";
  return isTakenUp ? [admittedEvent(after), ...told] : told;
}

function asAdmitted(migration: MigrationState): MigrationState {
  return { ...migration, stage: "admitted", verdict: { kind: "open", token: migration.openedUnderToken } };
}

const admittedEvent = ({ id, vmId }: MigrationState): EventDraft => ({
  kind: "migration-admitted",
  subject: { kind: "migration", id },
  data: { vm: vmId },
});

function requestedEvent({ id, vmId, source, destination }: MigrationState): EventDraft {
  const data = { vm: vmId, source: source.hostId, destination: destination.hostId };
  return { kind: "migration-requested", subject: { kind: "migration", id }, data };
}
