// A host that was declared lost while its cluster recovered from a table that went back, and that comes back after all:
// what its copies are by the records that stand now. Nothing of it undoes what was decided without it.
import type { CopyRef } from "../../schemas/ids.ts";
import type { HostInventory, Part, ToldPart, VmInventory } from "./last-run.ts";
import type { CopyDuty, MigrationState, VmRecord } from "./records.ts";
import { noCopy, type RecoveryContext, recoverVm, remade, restored, type VmRecovery } from "./recovery.ts";
import { firstToken, nextToken } from "./tokens.ts";
import type { Verdict } from "./verdict.ts";
import { dutyOf, hasEnded, isOwner } from "./vms.ts";

type Told = Pick<VmInventory, "copies" | "parts">;
export type LateStanding = {
  hostId: string;
  vmId: string;
  vm: VmRecord | null;
  /** The one that holds the VM, and those that any host was not done with when it told, as far as the table knows them. */
  migrations: MigrationState[];
  copies: HostInventory["copies"];
  parts: Part[];
  /** What others have told that came back as well, and are not settled yet. */
  others: Told;
  /** What those had told that have taken up their work since. */
  settled: Told;
  /** Others that were declared lost, and have told nothing. */
  lostHosts: ReadonlySet<string>;
};
export type LateRecovery = { vm: VmRecord | null; migrations: MigrationState[]; duties: CopyDuty[] };

export function recoverLate(late: LateStanding, context: RecoveryContext): LateRecovery {
  const { vm, lostHosts } = late;
  if (vm && !isVacant(vm, late)) return standBehind(late, vm, context);
  const recovered = recoverFromTold(withoutDecided(late, context), context);
  if (!recovered) return { vm, migrations: [], duties: [] };
  const { duties } = recovered;
  const decidedSince = ({ id }: MigrationState) => {
    const known = knownOf(late, id);
    return known && isDecidedSince(known, context) ? known : null;
  };
  const committedSince = (migration: MigrationState) => {
    const known = decidedSince(migration);
    return known && awaitsWord(known) ? known : null;
  };
  const isOpenAgain = (migration: MigrationState) =>
    migration.verdict.kind === "open" && decidedSince(migration) !== null;
  // A commit is never undone: its source may have read it since. A destination without the guest returns it itself.
  const isUndone = (migration: MigrationState) =>
    migration.verdict.kind === "aborted" && committedSince(migration) !== null;
  const mayNotBe = (migration: MigrationState) =>
    isOpenAgain(migration) || (isUndone(migration) && !isDone(late, migration));
  if (vm && recovered.migrations.some(mayNotBe)) return standBehind(late, vm, context);
  const migrations = recovered.migrations.map((migration) =>
    isUndone(migration) ? asReturned(migration) : keepTakeBack(migration, committedSince(migration)),
  );
  const own = duties.filter(({ hostId }) => hostId === late.hostId).map(({ duty }) => duty);
  const adopted = { vm: recovered.vm, migrations, duties: own };
  if (!vm || vm.migrationId !== null || !hasEnded(recovered.vm)) return adopted;
  const { owner, fencingToken } = recovered.vm;
  const isLeft =
    owner !== null &&
    lostHosts.has(owner.hostId) &&
    late.parts.some(({ over, assignment }) => !over && assignment.destination.copyId === owner.copyId);
  // The destination may have run it. While that one is lost, an operator may have the source prove that it did not.
  if (isLeft) return adopted;
  // A guest that ended with its host stays lost with it, and waits for no migration. Of who ran it last nobody else may
  // resume: a source that comes back later is not to be named.
  return standBehind(late, { ...vm, owner, fencingToken }, context);
}

const knownOf = ({ migrations }: LateStanding, migrationId: string | null) =>
  migrations.find(({ id }) => id === migrationId);

/** Nobody has run the guest since the restore: it is judged anew, by all that was told. */
function isVacant({ mayBeLate, deleted, migrationId }: VmRecord, late: LateStanding): boolean {
  const held = knownOf(late, migrationId);
  // A source that was let take its copy back may run it at any moment.
  return mayBeLate === true && !deleted && held?.verdict.kind !== "forced";
}

/** Its destination is this host, which has no part in it any more. */
const isDone = ({ hostId, parts }: LateStanding, { id, destination }: MigrationState): boolean =>
  destination.hostId === hostId && !parts.some(({ over, assignment }) => !over && assignment.migrationId === id);

function asReturned(migration: MigrationState): MigrationState {
  const { token } = migration.verdict;
  return { ...migration, verdict: { kind: "returned", token, reason: "table-restored", detail: restored } };
}

/** The source may have taken the lock file already, and then the destination cannot run it. */
function keepTakeBack(migration: MigrationState, committed: MigrationState | null): MigrationState {
  return committed?.takeBack && awaitsWord(migration) ? { ...migration, takeBack: committed.takeBack } : migration;
}

/** Committed for want of the destination's word. */
const awaitsWord = ({ verdict }: MigrationState): boolean => verdict.kind === "committed" && !verdict.confirmed;

/** A destination that was judged never to have run the guest, and is lost since, cannot have run it; of any other that is lost
 *  again nothing counts that it had told. */
function withoutDecided(late: LateStanding, context: RecoveryContext): LateStanding {
  const { migrations, settled } = late;
  const decided = migrations.filter((one) => one.verdict.kind === "aborted" && isDecidedSince(one, context));
  const lostHosts = new Set(late.lostHosts);
  for (const { destination } of decided) lostHosts.delete(destination.hostId);
  const isHeard = ({ hostId }: { hostId: string }) => !lostHosts.has(hostId);
  const heard = { copies: settled.copies.filter(isHeard), parts: settled.parts.filter(isHeard) };
  return { ...late, settled: heard, lostHosts };
}

function recoverFromTold(late: LateStanding, context: RecoveryContext): VmRecovery | null {
  const { hostId, vmId, vm, others, settled, lostHosts } = late;
  const of = <T>(things: T[]) => things.map((thing) => ({ ...thing, hostId }));
  const copies = [...of(late.copies), ...others.copies, ...settled.copies];
  const parts = [...of(late.parts), ...others.parts, ...settled.parts.map((part) => asItStands(part, late))];
  const migrations = late.migrations.filter(
    ({ id, stage }) => stage !== "ended" || parts.some((part) => !part.over && part.assignment.migrationId === id),
  );
  const inventory = { copies, parts, lostHosts };
  const highestToken = Math.max(0, ...copies.map(({ lockToken }) => lockToken ?? 0));
  return recoverVm({ vmId, vm, migrations, inventory, highestToken }, context);
}

/** A host that has taken up its work since may be done with what it was not done with when it told. */
function asItStands(part: ToldPart, late: LateStanding): ToldPart {
  const known = knownOf(late, part.assignment.migrationId);
  return { ...part, over: part.over || !known?.holds[part.role] };
}

/** Since the table was restored, with this host counted as lost. */
const isDecidedSince = ({ verdict }: MigrationState, { restoreEpoch }: RecoveryContext): boolean =>
  verdict.kind !== "open" && verdict.token > firstToken(restoreEpoch);

/** What the host is not done with, and what it has, by a VM that stands as it is. */
function standBehind(late: LateStanding, stood: VmRecord, context: RecoveryContext): LateRecovery {
  const { hostId, vmId } = late;
  const open = late.parts.filter(({ over }) => !over);
  const vm = aboveLeftBehind(open, stood, late, context);
  const migrations = open.map((part) => {
    const known = knownOf(late, part.assignment.migrationId);
    if (known && isDecidedSince(known, context) && !isLeftBehind(known, part, vm)) return known;
    return decideLate(known ?? remade(part.assignment, context.at), part, vm);
  });
  const inRole = new Set(open.map(({ assignment, role }) => assignment[role].copyId));
  const duties = late.copies.flatMap(({ copyId, spec }): CopyDuty[] => {
    if (isOwner(vm, { hostId, copyId }) && !hasEnded(vm)) return inRole.has(copyId) ? [] : [dutyOf(vm, copyId)];
    if (inRole.has(copyId)) return [];
    return [{ vmId, copyId, fencingToken: vm.fencingToken, spec, wantedRunState: "stopped", hasRun: true }];
  });
  return { vm, migrations, duties };
}

/** The end of a deleted guest is told under a token above the verdict that it does away with. */
function aboveLeftBehind(
  open: readonly Part[],
  vm: VmRecord,
  late: LateStanding,
  { restoreEpoch }: RecoveryContext,
): VmRecord {
  const tokens = open.flatMap((part) => {
    const known = knownOf(late, part.assignment.migrationId);
    return known && isLeftBehind(known, part, vm) ? [known.verdict.token] : [];
  });
  const highest = Math.max(0, ...tokens);
  return highest < vm.fencingToken ? vm : { ...vm, fencingToken: nextToken(highest, restoreEpoch) };
}

/** It was decided for its source, and the guest has been another's since: by that record it would run once more. */
const isLeftBehind = ({ source, verdict }: MigrationState, { role }: Part, vm: VmRecord): boolean =>
  role === "source" && verdict.kind !== "committed" && vm.owner?.copyId !== source.copyId;

/** Whether a duty that stood for a copy of this host stays: the copy is here, the records owe it something, or its guest
 *  was started here since the host told what it has. */
export function staysOwed(copy: CopyRef, told: HostInventory["copies"], { vm, duties }: LateRecovery): boolean {
  const { copyId } = copy;
  if ([...told, ...duties].some((one) => one.copyId === copyId)) return true;
  return vm !== null && !hasEnded(vm) && isOwner(vm, copy);
}

function decideLate(migration: MigrationState, { role }: Part, vm: VmRecord): MigrationState {
  const owner: CopyRef = vm.owner ?? { hostId: migration.source.hostId, copyId: noCopy };
  return {
    ...migration,
    stage: "admitted",
    verdict: verdictOf(migration, owner, vm),
    holds: { source: role === "source", destination: role === "destination" },
  };
}

function verdictOf({ source, destination }: MigrationState, owner: CopyRef, vm: VmRecord): Verdict {
  const token = vm.fencingToken;
  const reason = "table-restored" as const;
  if (owner.copyId === source.copyId) return { kind: "aborted", token, by: "control-plane", reason, detail: restored };
  if (owner.copyId !== destination.copyId) return { kind: "forced", token, owner, statement: restored, reason };
  return {
    kind: "committed",
    token,
    confirmed: { outcome: hasEnded(vm) ? "guest-lost" : "running", detail: restored },
  };
}
