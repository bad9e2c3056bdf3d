// A host that was declared lost while its cluster recovered from a table that went back, and that comes back after all:
// what its copies are by the records that stand now. Nothing of it undoes what was decided without it.
import type { CopyRef } from "../../schemas/ids.ts";
import type { HostInventory, Part } from "./last-run.ts";
import type { CopyDuty, MigrationState, VmRecord } from "./records.ts";
import { noCopy, type RecoveryContext, recoverVm, remade, restored } from "./recovery.ts";
import { firstToken } from "./tokens.ts";
import type { Verdict } from "./verdict.ts";
import { dutyOf, hasEnded, hostLost, isOwner } from "./vms.ts";

export type LateStanding = {
  hostId: string;
  vmId: string;
  vm: VmRecord | null;
  /** Those that this host is not done with, as far as the table knows them. */
  migrations: MigrationState[];
  copies: HostInventory["copies"];
  parts: Part[];
};
export type LateRecovery = { vm: VmRecord | null; migrations: MigrationState[]; duties: CopyDuty[] };

export function recoverLate(late: LateStanding, context: RecoveryContext): LateRecovery {
  const { hostId, vmId, vm, copies, parts } = late;
  // Nobody has the guest, or nobody knew of it: what this host has is all there is.
  const isVacant = !vm || (vm.stoppedBecause === hostLost && vm.migrationId === null && !vm.deleted);
  if (isVacant) {
    const of = <T>(things: T[]) => things.map((thing) => ({ ...thing, hostId }));
    const inventory = { copies: of(copies), parts: of(parts), lostHosts: new Set<string>() };
    const highestToken = Math.max(0, ...copies.map(({ lockToken }) => lockToken ?? 0));
    const recovered = recoverVm({ vmId, vm, migrations: late.migrations, inventory, highestToken }, context);
    if (!recovered) return { vm, migrations: [], duties: [] };
    if (!vm || !hasEnded(recovered.vm)) {
      const { migrations, duties } = recovered;
      return { vm: recovered.vm, migrations, duties: duties.map(({ duty }) => duty) };
    }
    // A guest that ended with its host stays lost with it, and waits for no migration.
    return standBehind(late, { ...vm, fencingToken: recovered.vm.fencingToken }, context);
  }
  return standBehind(late, vm, context);
}

/** What the host is not done with, and what it has, by a VM that stands as it is. */
function standBehind({ hostId, vmId, ...late }: LateStanding, vm: VmRecord, context: RecoveryContext): LateRecovery {
  const open = late.parts.filter(({ over }) => !over);
  const migrations = open.map((part) => {
    const known = late.migrations.find(({ id }) => id === part.assignment.migrationId);
    // Decided since the table was restored, with this host counted as lost.
    if (known && known.verdict.token > firstToken(context.restoreEpoch)) return known;
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
    verdict: verdictOf(migration, owner, vm.fencingToken),
    holds: { source: role === "source", destination: role === "destination" },
  };
}

function verdictOf({ source, destination }: MigrationState, owner: CopyRef, token: number): Verdict {
  const reason = "table-restored" as const;
  if (owner.copyId === source.copyId) return { kind: "aborted", token, by: "control-plane", reason, detail: restored };
  if (owner.copyId !== destination.copyId) return { kind: "forced", token, owner, statement: restored, reason };
  return { kind: "committed", token, confirmed: { outcome: "running", detail: restored } };
}
