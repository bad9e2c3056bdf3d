// Which migrations may begin: both hosts' slots free, both hosts alive, in the order of asking. One whose hosts are
// busy does not hold up those behind it, so that free hosts are used.
import type { Assignment } from "../../schemas/agent.ts";
import { recordOf } from "./migrations.ts";
import type { HostIdentity, MigrationState, QueueEntry, Role, Slot, SlotMigration, VmRecord } from "./records.ts";
import { hasEnded } from "./vms.ts";

/** After this wait a migration holds its hosts, or others that come and go could keep it waiting for ever. */
export const holdAfterMs = 60_000;

/** Those to admit now, in order; each takes its hosts from those behind it.
 *  @param isAlive a silent host is waited for by nobody but its own */
export function chooseAdmissible(
  queue: readonly QueueEntry[],
  nowMs: number,
  isFree: (hostId: string) => boolean,
  isAlive: (hostId: string) => boolean,
): QueueEntry[] {
  const taken = new Set<string>();
  return queue.filter((entry) => {
    const hosts = [entry.source, entry.destination];
    const isAdmissible = hosts.every((host) => isFree(host) && !taken.has(host));
    if (isAdmissible || (hasWaitedLong(entry, nowMs) && hosts.every(isAlive))) {
      for (const host of hosts) taken.add(host);
    }
    return isAdmissible;
  });
}

export function hasWaitedLong({ since }: QueueEntry, nowMs: number): boolean {
  return nowMs - (since ?? nowMs) >= holdAfterMs;
}

/** Why a queued migration can no longer begin: its guest is there no more, or is to stop. */
export function isVain(migration: MigrationState, vm: VmRecord): boolean {
  return hasEnded(vm) || vm.wantedRunState === "stopped" || vm.migrationId !== migration.id;
}

export type End = { identity: HostIdentity; slot: Slot; migrationAddress: string };

/** Opens the migration: both slots and the record, to be committed together. */
export function admit(
  migration: MigrationState,
  vm: VmRecord,
  ends: { [R in Role]: End },
  context: { clusterId: string; at: number; assignmentMs: number },
): { migration: MigrationState; slots: { [R in Role]: Slot } } {
  const admitted: MigrationState = {
    ...migration,
    stage: "admitted",
    startedAt: context.at,
    holds: { source: true, destination: true },
  };
  const party = (role: Role) => ({
    ...migration[role],
    address: ends[role].migrationAddress,
    publicKey: ends[role].identity.publicKey,
  });
  const assignment: Assignment = {
    type: "drover-assignment-1",
    clusterId: context.clusterId,
    migrationId: migration.id,
    vmId: migration.vmId,
    fencingToken: migration.openedUnderToken,
    mode: migration.mode,
    spec: vm.spec,
    limits: migration.limits,
    source: party("source"),
    destination: party("destination"),
    issuedAt: context.at,
    expiresAt: context.at + context.assignmentMs,
  };
  const record = recordOf(context.clusterId, admitted);
  const take = (role: Role): Slot => {
    const held: SlotMigration = { migrationId: migration.id, role, claimed: false, assignment, record };
    return { assignmentsRevision: ends[role].slot.assignmentsRevision + 1, migration: held };
  };
  return { migration: admitted, slots: { source: take("source"), destination: take("destination") } };
}
