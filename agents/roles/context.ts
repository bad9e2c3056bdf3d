// What a role of a migration works with, and what both roles do alike.
import type { AgentReport, Assignment } from "../../schemas/agent.ts";
import type { MigrationRecord } from "../../schemas/migration.ts";
import type { Sign } from "../../schemas/signing.ts";
import { mayActOn, type ReportOutcome } from "../domain/role.ts";
import { durable } from "../durable-step.ts";
import { messageOf } from "../message-of.ts";
import type { Clock } from "../ports/clock.ts";
import type { ClaimedAssignment, ControlPlane, ProvenRecord } from "../ports/control-plane.ts";
import type { Copies } from "../ports/copies.ts";
import type { Journal, MigrationJournal } from "../ports/journal.ts";
import type { PeerLinks } from "../ports/peer-link.ts";

export type RoleContext = {
  hostId: string;
  incarnation: string;
  copies: Copies;
  controlPlane: ControlPlane;
  peerLinks: PeerLinks;
  journal: Journal;
  clock: Clock;
  randomBytes(length: number): Uint8Array;
  /** Signs with the host's key. */
  sign: Sign;
  log: Log;
  /** How long a round trip to the control plane takes at its 99th percentile. */
  commitMs(): number;
  /** How long the agent may be silent at the gate before the guest's supervisor takes the guest back. */
  agentSilenceMs: number;
};

export type Log = (entry: { event: string; [detail: string]: unknown }) => void;

/** One agent's part in one migration, running. */
export interface Role {
  readonly migrationId: string;
  readonly vmId: string;
  readonly copyId: string;
  /** Begins, or takes up after the agent's restart what the journal says. */
  start(): Promise<void>;
  /** A record that came with a claim. */
  noteRecord(proven: ProvenRecord): void;
  /** The copy is no longer on this host. */
  hasLeft(): boolean;
  /** Its guest may still be paused, resumed and reset here: it has not come to the gate. */
  isBeforeGate(): boolean;
  /** Between the gate and the outcome: nothing of the agent should stand in the way. */
  isCritical(): boolean;
  /** The agent stops; the copy, its supervisor and the journal stay. */
  abandon(): void;
  /** Resolves when what was begun before `abandon` has come to its end. */
  settled(): Promise<void>;
  /** The newest record that this role knows. */
  latestRecord(): ProvenRecord | null;
  readonly over: Promise<void>;
}

/** What the agent tells a role's copy apart by: one migration, one side. */
export function identityOf(claimed: ClaimedAssignment): {
  assignment: Assignment;
  signedAssignment: ClaimedAssignment["signed"];
} {
  return { assignment: claimed.assignment, signedAssignment: claimed.signed };
}

/** Too late to begin it, on the control plane's clock as last answered. */
export function isExpired(context: RoleContext, assignment: Assignment): boolean {
  const nowMs = context.controlPlane.controlPlaneNowMs();
  return nowMs !== null && nowMs > assignment.expiresAt;
}

const keepTokenAfterMs = 500;

/** Keeps the newest proven record of one migration, and refuses what is older than this host has seen of the VM. */
export class KnownRecord {
  latest: ProvenRecord | null = null;
  readonly #context: RoleContext;
  readonly #migrationId: string;
  readonly #ownCopyId: string;
  #keptToken = 0;

  constructor(context: RoleContext, migrationId: string, ownCopyId: string) {
    this.#context = context;
    this.#ownCopyId = ownCopyId;
    this.#migrationId = migrationId;
  }

  /** The record, if it may be acted on. */
  accept(proven: ProvenRecord): MigrationRecord | null {
    const { record } = proven;
    if (record.migrationId !== this.#migrationId) return null;
    if (!mayActOn(record, this.#context.journal.highestToken(record.vmId), this.#ownCopyId)) return null;
    const isNewer =
      !this.latest ||
      record.verdictToken > this.latest.record.verdictToken ||
      (record.verdictToken === this.latest.record.verdictToken && record.issuedAt >= this.latest.record.issuedAt);
    if (isNewer) this.latest = proven;
    this.#keepToken(record.vmId, record.verdictToken);
    return record;
  }

  /** Kept for good, but later: no verdict waits behind it, and the lock file guards the guest with the same token. */
  #keepToken(vmId: string, fencingToken: number): void {
    const { clock, journal, log } = this.#context;
    if (fencingToken <= this.#keptToken) return;
    this.#keptToken = fencingToken;
    clock.after(keepTokenAfterMs, () => {
      durable("journal:token", () => journal.raiseToken(vmId, fencingToken)).catch((error: unknown) => {
        log({ event: "journal-failed", what: "token", error: messageOf(error) });
      });
    });
  }
}

export type Told = { outcome: ReportOutcome; proven: ProvenRecord | null; detail: string };

/** Sends a report and sorts the answer into what a role needs to know of it. */
export async function tell(context: RoleContext, report: AgentReport): Promise<Told> {
  const answer = await context.controlPlane.report(report);
  switch (answer.kind) {
    case "applied":
    case "unchanged":
      return { outcome: "applied", proven: answer.record, detail: "" };
    case "refused": {
      context.log({
        event: "report-refused",
        report: report.kind,
        problem: answer.problem.code,
        detail: answer.problem.detail,
      });
      const isFinal = answer.record !== null || finalProblems.has(answer.problem.code);
      return { outcome: isFinal ? "refused" : "later", proven: answer.record, detail: answer.problem.detail };
    }
    case "unknown":
      return { outcome: "unknown", proven: null, detail: answer.detail };
  }
}
/** Refused for good, though no record came along; anything else may be refused for a passing reason, and is said again. */
const finalProblems = new Set(["migration-unknown", "vm-unknown", "vm-deleted", "not-yours"]);

/** A fresh record, or why there is none: the control plane cannot be reached, or gives none. */
export type RecordRead =
  | { proven: ProvenRecord; why: null }
  | { proven: null; why: "record-unknown" | "record-refused" };

export async function readRecord(context: RoleContext, migrationId: string): Promise<RecordRead> {
  const answer = await context.controlPlane.readRecord(migrationId);
  if (answer.kind === "answered") return { proven: answer.record, why: null };
  if (answer.kind === "unknown") return { proven: null, why: "record-unknown" };
  context.log({ event: "record-refused", migrationId, problem: answer.problem.code });
  return answer.record ? { proven: answer.record, why: null } : { proven: null, why: "record-refused" };
}

/** Journals one more fact of a migration, durably. */
export async function note(
  context: RoleContext,
  entry: MigrationJournal,
  fact: Partial<MigrationJournal>,
  step: `journal:${string}`,
): Promise<void> {
  // What did not become durable must not be carried along by the next write.
  await durable(step, () => context.journal.write({ ...entry, ...fact }));
  Object.assign(entry, fact);
}

/** One thing after the other, in the order asked for; a failure is the asker's to handle. */
export class Lane {
  #tail: Promise<unknown> = Promise.resolve();

  do<T>(action: () => Promise<T>): Promise<T> {
    const next = this.#tail.then(action, action);
    this.#tail = next.catch(() => undefined);
    return next;
  }
}
