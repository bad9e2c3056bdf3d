// What both roles of a migration share.
import type { AgentReport } from "../../schemas/agent.ts";
import type { CopyRef } from "../../schemas/ids.ts";

export type RoleReportKind = AgentReport["kind"];

/** applied: it stands (now or from before). refused: never. later: not now. unknown: nobody can say. */
export type ReportOutcome = "applied" | "refused" | "later" | "unknown";

export const expired = "the assignment had expired before this host could begin it";

export function namesThis(named: CopyRef, own: CopyRef): boolean {
  return named.hostId === own.hostId && named.copyId === own.copyId;
}
