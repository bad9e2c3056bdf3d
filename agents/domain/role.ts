// What both roles of a migration share.
import type { AgentReport } from "../../schemas/agent.ts";
import type { CopyRef } from "../../schemas/ids.ts";
import type { EndReason, MigrationRecord } from "../../schemas/migration.ts";

export type RoleReportKind = AgentReport["kind"];

/** applied: it stands (now or from before). refused: never. later: not now. unknown: nobody can say. */
export type ReportOutcome = "applied" | "refused" | "later" | "unknown";

export const expired = "the assignment had expired before this host could begin it";

export function namesThis(named: CopyRef, own: CopyRef): boolean {
  return named.hostId === own.hostId && named.copyId === own.copyId;
}

/** Remembers a record, unless it is of another migration or older than what is known. */
export function learn<S extends { migrationId: string; record: MigrationRecord | null }>(
  state: S,
  record: MigrationRecord,
): S {
  if (record.migrationId !== state.migrationId) return state;
  const known = state.record;
  if (known && (record.verdictToken < known.verdictToken || (known.confirmed && !record.confirmed))) return state;
  return { ...state, record };
}

/** Why this end gives the migration up; the first reason stands. */
export function intend<S extends { withdrawal: { reason: EndReason; detail: string } | null }>(
  state: S,
  reason: EndReason,
  detail: string,
): S {
  return state.withdrawal ? state : { ...state, withdrawal: { reason, detail } };
}

/** May a host act on a record, by the highest token it has seen of the VM? An old record may still say that another copy
 *  owns the guest, never that this one does. */
export function mayActOn(record: MigrationRecord, highestToken: number, ownCopyId: string): boolean {
  const isOld = record.verdictToken < highestToken;
  return !(isOld && (record.verdict === "open" || record.owner.copyId === ownCopyId));
}
