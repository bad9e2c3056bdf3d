// What the destination of a migration knows, hears and does (agents/domain/destination.ts has the rules).
import type { AgentReport } from "../../schemas/agent.ts";
import type { CopyRef } from "../../schemas/ids.ts";
import type { EndReason, MigrationRecord } from "../../schemas/migration.ts";
import type { PeerMessage, StreamEndpoint } from "../../schemas/peer.ts";
import type { ReportOutcome, RoleReportKind } from "./role.ts";

export type DestinationStage =
  | "preparing" // the guest's process is being started, the source is awaited
  | "loading" // memory is arriving
  | "settling" // the stream is being ended; then the copy is complete for good, or never
  | "intending" // loaded; that a commit may have been sent is being journalled
  | "committing" // the commit is on its way, or its answer was lost
  | "starting" // committed; the intent is journalled, then the guest is let run
  | "confirming" // it runs; the record is to follow
  | "refused" // committed, and it cannot run here: waiting for the source's statement, or trying again
  | "returning" // the copy is ended; `returned` is to be written
  | "discarding" // an incomplete or superseded copy is being ended
  | "aborting" // the copy is gone; `aborted` is to be written
  | "relinquishing" // the word is being journalled, the copy ended, then it is given
  | "relinquished" // the word is given; the record follows when the control plane is back
  | "lost" // it may have run and is gone
  | "reporting" // the last report, which frees the slot
  | "over";

export type DestinationState = {
  stage: DestinationStage;
  migrationId: string;
  vmId: string;
  openToken: number;
  own: CopyRef;
  peer: CopyRef;
  record: MigrationRecord | null;
  isLinked: boolean;
  startedAtMs: number;
  /** Since when a cancel is known while memory arrives; null: none is. */
  cancelKnownAtMs: number | null;
  /** Journalled facts. */
  commitSent: boolean;
  runIntent: number;
  runRefused: number;
  /** The last intent that is known to be durable. */
  intentJournalled: number;
  hasRelinquished: boolean;
  /** The copy's process is gone, or was ended. */
  isGone: boolean;
  sourceIsComplete: boolean;
  withdrawal: { reason: EndReason; detail: string } | null;
  nonce: string | null;
  triesLeft: number;
  outcome: "running" | "paused" | "ended" | "guest-lost";
  /** Resets made before the guest left its source, by the source's word. */
  resetsAtSource: number | null;
};

export type DestinationEvent =
  | { kind: "started"; isExpired: boolean }
  | { kind: "launched" }
  | { kind: "launch-failed"; detail: string }
  | { kind: "listening" }
  /** It is tried again until the part is over; the machine decides how long that may hold up a preparation. */
  | { kind: "listen-failed"; detail: string }
  | { kind: "receiving"; endpoint: StreamEndpoint }
  | { kind: "peer-linked" }
  | { kind: "peer-lost" }
  | { kind: "peer-said"; message: PeerMessage }
  | { kind: "loaded" }
  | { kind: "stream-failed"; detail: string }
  | { kind: "gate-read"; ask: number; record: MigrationRecord | null }
  | { kind: "journalled"; what: "commit-sent" | "run-intent" | "run-refused" | "relinquished" }
  | { kind: "journal-failed"; detail: string }
  | { kind: "run-answered"; answer: "granted" | "refused" | "unknown"; detail: string }
  | { kind: "machine-seen"; machine: "running" | "complete" | "incomplete" | "ended" }
  | { kind: "guest-ended"; how: "powered-off" | "crashed" | "killed"; detail: string }
  | { kind: "record-known"; record: MigrationRecord }
  | { kind: "record-unknown" }
  /** The control plane was reached and gave none: this host is not cut off, so nothing follows from it. */
  | { kind: "record-refused" }
  | { kind: "report-answered"; report: RoleReportKind; outcome: ReportOutcome; record: MigrationRecord | null }
  | { kind: "destroyed" }
  | { kind: "woke" };

export type DestinationCommand =
  | { kind: "launch-copy" }
  | { kind: "expect-peer" }
  | { kind: "open-stream" }
  | { kind: "read-gate"; ask: number }
  | { kind: "send-peer"; message: PeerMessage }
  | { kind: "relay-record" }
  | { kind: "journal"; what: "commit-sent" | "relinquished" }
  | { kind: "journal"; what: "run-intent" | "run-refused"; number: number }
  /** `paused`: the lock file is taken and the disks are active, and nothing executes. */
  | { kind: "run-copy"; fencingToken: number; paused: boolean }
  | { kind: "look-at-machine" }
  | { kind: "settle-stream" }
  | { kind: "destroy-copy" }
  | { kind: "read-record" }
  | { kind: "give-word"; nonce: string }
  | { kind: "report"; report: AgentReport }
  | { kind: "wake"; afterMs: number }
  | { kind: "finish" };

export type DestinationStep = { state: DestinationState; commands: DestinationCommand[] };

/** How long the source may take to come and to begin. */
export const sourcePatienceMs = 30_000;
/** How long the listener for the source may fail to open: the migration before may have the port for a moment. */
export const listenPatienceMs = 3000;
/** How long an incomplete copy waits for its source after the peer link broke. */
export const orphanPatienceMs = 5000;
export const retryMs = 300;
/** How long the source may take to act on a cancel that is known here. */
export const cancelPatienceMs = 10_000;
/** Definite refusals to run before the guest is offered back to its source. */
const runTries = 10;

export function beginDestination(
  facts: { migrationId: string; vmId: string; openToken: number; own: CopyRef; peer: CopyRef },
  atMs: number,
): DestinationState {
  return {
    ...facts,
    stage: "preparing",
    record: null,
    isLinked: false,
    startedAtMs: atMs,
    cancelKnownAtMs: null,
    commitSent: false,
    runIntent: 0,
    runRefused: 0,
    intentJournalled: 0,
    hasRelinquished: false,
    isGone: false,
    sourceIsComplete: false,
    withdrawal: null,
    nonce: null,
    triesLeft: runTries,
    outcome: "running",
    resetsAtSource: null,
  };
}
