// What follows from an operator's word that an incarnation of a host has ended, and from the return of such a host.
import type { CopyDuty, MigrationState, Session, VmRecord } from "./records.ts";
import { isDeclaredLost } from "./session.ts";
import { dutyOf, endGuest, hasEnded, hostLost, isOwner } from "./vms.ts";

/** A guest at rest that a lost host owned is lost with it; in motion the verdict decides what becomes of it.
 *  @param migration the one that holds the VM, if any
 *  @returns null where nothing follows */
export function lostWithHost(
  vm: VmRecord,
  hostId: string,
  session: Session | null,
  migration: MigrationState | null,
  restoreEpoch: number,
): VmRecord | null {
  if (!isDeclaredLost(session) || vm.owner?.hostId !== hostId || hasEnded(vm)) return null;
  if (vm.migrationId !== null && migration?.stage !== "queued") return null;
  return endGuest(vm, hostLost, restoreEpoch);
}

/** What a host that returns is to do about a copy of its own. One that the record still names is to go on as it did:
 *  should it have been there all the time, it is not ended. */
export function revisedDuty(duty: CopyDuty, vm: VmRecord, hostId: string): CopyDuty {
  if (isOwner(vm, { hostId, copyId: duty.copyId })) {
    // What is not there any more is never begun anew unasked: a start that the loss cut short ended with it.
    return vm.stoppedBecause === hostLost ? { ...duty, hasRun: true } : dutyOf(vm, duty.copyId);
  }
  if (vm.fencingToken <= duty.fencingToken) return duty;
  return supersededDuty(duty, vm);
}

/** A copy that another one has superseded is to go (rule 8). */
export function supersededDuty(duty: CopyDuty, { fencingToken }: VmRecord): CopyDuty {
  return { ...duty, fencingToken, wantedRunState: "stopped" };
}
