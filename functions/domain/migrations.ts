// A migration's record from request to end: what it is, what it shows as, and when it is over.
import type { CopyRef } from "../../schemas/ids.ts";
import type { CancelOutcome, EndReason, MigrationRequest, Phase } from "../../schemas/migration.ts";
import { type MigrationState, otherRole, type Progress, type RecordData, type Role, type VmRecord } from "./records.ts";
import { type Confirmation, ownerBy } from "./verdict.ts";

export function newMigration(facts: {
  id: string;
  copyId: string;
  request: MigrationRequest;
  destination: string;
  vm: VmRecord;
  owner: CopyRef;
  by: string;
  at: number;
}): MigrationState {
  const { request, vm } = facts;
  return {
    id: facts.id,
    vmId: vm.vmId,
    source: facts.owner,
    destination: { hostId: facts.destination, copyId: facts.copyId },
    mode: request.mode,
    limits: request.limits,
    ticket: request.ticket ?? null,
    retryOf: request.retryOf ?? null,
    requestedBy: facts.by,
    createdAt: facts.at,
    startedAt: null,
    endedAt: null,
    stage: "queued",
    openedUnderToken: vm.fencingToken,
    verdict: { kind: "open", token: vm.fencingToken },
    cancelRequested: null,
    arrivesPaused: vm.wantedRunState === "paused",
    resetsBefore: vm.resets ?? 0,
    takeBack: null,
    seen: { source: null, destination: null },
    holds: { source: false, destination: false },
  };
}

export function roleOf(migration: MigrationState, hostId: string): Role | null {
  if (migration.source.hostId === hostId) return "source";
  return migration.destination.hostId === hostId ? "destination" : null;
}

/** What a host's report says it is about is what its assignment said. */
export function isAsAssigned(
  migration: MigrationState,
  role: Role,
  said: { vmId: string; peerHostId: string },
): boolean {
  return said.vmId === migration.vmId && said.peerHostId === migration[otherRole(role)].hostId;
}

/** What agents are told, but for the time of signing. */
export function recordOf(clusterId: string, migration: MigrationState): RecordData {
  const { verdict } = migration;
  return {
    type: "drover-record-1",
    clusterId,
    migrationId: migration.id,
    vmId: migration.vmId,
    openedUnderToken: migration.openedUnderToken,
    source: migration.source,
    destination: migration.destination,
    verdict: verdict.kind,
    verdictToken: verdict.token,
    owner: ownerBy(verdict, migration),
    confirmed: isConfirmed(migration),
    cancelRequested: migration.cancelRequested,
    arrivesPaused: migration.arrivesPaused ?? false,
    takeBackRequested: migration.takeBack ? migration.takeBack.refused === null : false,
    isOver: migration.stage === "ended",
  };
}

export function confirmationOf({ verdict }: MigrationState): Confirmation | null {
  return verdict.kind === "committed" ? verdict.confirmed : null;
}

export const isConfirmed = (migration: MigrationState): boolean => confirmationOf(migration) !== null;

/** Nothing can change any more who owns the guest. */
export function isSettled(migration: MigrationState): boolean {
  return migration.verdict.kind !== "open" && (migration.verdict.kind !== "committed" || isConfirmed(migration));
}

/** A phase is what it is doing, or how it ended. */
export function phaseOf(migration: MigrationState, progress: Progress | null): Phase {
  switch (migration.stage) {
    case "queued":
      return "queued";
    case "admitted":
      if (migration.verdict.kind === "open") return progress?.phase ?? "setup";
      // Until the destination has said that the guest goes on there, it stands still.
      return migration.verdict.kind === "committed" && !migration.verdict.confirmed ? "switchover" : "cleanup";
    case "ended":
      return endOf(migration);
  }
}

function endOf(migration: MigrationState): Phase {
  const { verdict } = migration;
  if (verdict.kind === "committed") return verdict.confirmed?.outcome === "guest-lost" ? "failed" : "completed";
  if (verdict.kind === "aborted" && (verdict.reason === "cancelled-by-user" || verdict.reason === "vm-stopped")) {
    return "cancelled";
  }
  return "failed";
}

/** Why it did not complete. */
export function reasonOf({ verdict }: MigrationState): { reason: EndReason; detail: string } | null {
  switch (verdict.kind) {
    case "aborted":
    case "returned":
      return { reason: verdict.reason, detail: verdict.detail };
    case "committed":
      return verdict.confirmed?.outcome === "guest-lost"
        ? { reason: "guest-lost", detail: verdict.confirmed.detail }
        : null;
    case "forced":
      return { reason: verdict.reason ?? "host-declared-lost", detail: verdict.statement };
    default:
      return null;
  }
}

/** What became of a cancel. Where nothing had begun it was carried out at once, and no wish was noted. */
export function cancelOutcomeOf({ verdict, cancelRequested }: MigrationState): CancelOutcome | null {
  const reason = verdict.kind === "aborted" ? verdict.reason : null;
  if (reason !== null && (reason === cancelRequested || reason === "cancelled-by-user")) return "took-effect";
  if (cancelRequested === null) return reason === "vm-stopped" ? "took-effect" : null;
  if (verdict.kind === "open") return "pending";
  return verdict.kind === "committed" ? "too-late-committed" : "overtaken";
}
