// The control plane as an agent sees it. The client numbers and signs requests, sends one at a time, keeps the control
// plane's clock as last answered, and checks every signed record before it hands it on.
// Adapters: HTTPS (agents/adapters/http-control-plane.ts), direct calls for simulation.
import type {
  AgentReport,
  Assignment,
  ClaimAnswer,
  CopyDuty,
  HeartbeatAnswer,
  HeartbeatRequest,
} from "../../schemas/agent.ts";
import type { InventoryAnswer, InventoryReport } from "../../schemas/inventory.ts";
import type { MigrationRecord } from "../../schemas/migration.ts";
import type { Problem } from "../../schemas/problems.ts";
import type { Signed } from "../../schemas/signing.ts";

/** A record and the signature that proves it, so that it can be relayed to the peer. */
export type ProvenRecord = { record: MigrationRecord; signed: Signed };

/** Said no, by a code. A record comes along where the refusal is about a migration. */
export type Refused = { kind: "refused"; problem: Problem; record: ProvenRecord | null };
/** No answer, a broken one, or a fault: it may or may not have happened. Read again. */
export type Unknown = { kind: "unknown"; detail: string };

export type ClaimedAssignment = {
  role: "source" | "destination";
  assignment: Assignment;
  signed: Signed;
  record: ProvenRecord | null;
};
export type Claim = {
  assignmentsRevision: ClaimAnswer["assignmentsRevision"];
  copies: CopyDuty[];
  assignment: ClaimedAssignment | null;
  /** This host claimed the assignment before: it must have a journal of it. */
  claimedBefore: boolean;
};

export interface ControlPlane {
  heartbeat(request: HeartbeatRequest): Promise<{ kind: "answered"; answer: HeartbeatAnswer } | Refused | Unknown>;
  claim(): Promise<{ kind: "answered"; claim: Claim } | Refused | Unknown>;
  /** A fresh, strongly consistent read of a migration's record. */
  readRecord(migrationId: string): Promise<{ kind: "answered"; record: ProvenRecord } | Refused | Unknown>;
  report(
    report: AgentReport,
  ): Promise<
    { kind: "applied" | "unchanged"; assignmentsRevision: number; record: ProvenRecord | null } | Refused | Unknown
  >;
  /** What this host has, told while its cluster recovers from a table that went back. */
  tellInventory(inventory: InventoryReport): Promise<{ kind: "answered"; answer: InventoryAnswer } | Refused | Unknown>;
  /** Checks a record that the peer relayed. Null when the control plane never signed it or it is another migration's. */
  prove(signed: Signed, migrationId: string): Promise<ProvenRecord | null>;
  /** The control plane's clock as last answered plus what has passed here since; null before the first answer. */
  controlPlaneNowMs(): number | null;
}

/** Where the agent waits to be told to look. True: it rang. False: nothing for `timeoutMs`. Never throws: a doorbell
 *  that fails is silent, and is tried again after a pause. */
export interface DoorbellWait {
  wait(timeoutMs: number, signal: AbortSignal): Promise<boolean>;
}
