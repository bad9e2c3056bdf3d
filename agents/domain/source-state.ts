// What the source of a migration knows, hears and does (agents/domain/source.ts has the rules).
import type { AgentReport } from "../../schemas/agent.ts";
import type { CopyRef } from "../../schemas/ids.ts";
import type { EndReason, MigrationLimits, MigrationRecord, Round } from "../../schemas/migration.ts";
import type { PeerMessage, StreamEndpoint } from "../../schemas/peer.ts";
import type { ReportOutcome, RoleReportKind } from "./role.ts";

export type SourceStage =
  | "linking" // the peer prepares
  | "copying" // rounds; the guest runs
  | "holding" // the guest is being stopped
  | "deciding" // at the gate; `past` is being decided
  | "in-doubt" // past the gate; only the record speaks
  | "copyless" // past the gate and this copy is gone
  | "releasing" // at the gate; `cancelled` is being decided, then the guest runs
  | "aborting" // the guest runs (or is gone); the record is to follow
  | "resuming" // allowed to run again; the lock file is being retaken
  | "ending" // the guest lives elsewhere; this copy is being ended
  | "reporting" // the last report, which frees the slot
  | "over";

export type SourceState = {
  stage: SourceStage;
  migrationId: string;
  vmId: string;
  openToken: number;
  own: CopyRef;
  peer: CopyRef;
  limits: MigrationLimits;
  commitMs: number;
  record: MigrationRecord | null;
  isLinked: boolean;
  isConnecting: boolean;
  stream: "none" | "open" | "failed" | "sent";
  lastSampleAtMs: number;
  /** Of the sample before: a stream that hangs is sampled as well, with the same count. */
  lastSampleBytes: number;
  lastRound: Round | null;
  previousRemainingBytes: number | null;
  downtimeLimitMs: number;
  excusedRounds: number;
  ask: GateAsk | null;
  asks: number;
  blockedUntilMs: number;
  withdrawal: { reason: EndReason; detail: string } | null;
  /** How the copy's process ended, once it has. */
  ended: { how: "powered-off" | "crashed" | "killed"; detail: string } | null;
  pastAtMs: number;
  saidComplete: boolean;
  frozenReported: boolean;
  /** The token under which it may run again. */
  runToken: number;
  /** The copy was ended because the guest lives elsewhere. */
  hasLeft: boolean;
};
export type GateAsk = { number: number; atMs: number; own: GateAnswer; peer: GateAnswer };
type GateAnswer = "asked" | "open" | "shut";

export type SourceEvent =
  | { kind: "started"; isExpired: boolean }
  | { kind: "permitted" }
  | { kind: "permit-failed"; detail: string }
  | { kind: "peer-linked" }
  | { kind: "peer-unreachable"; detail: string }
  | { kind: "peer-refused"; detail: string }
  | { kind: "peer-lost" }
  | { kind: "peer-said"; message: PeerMessage }
  | { kind: "streaming" }
  | { kind: "sampled"; round: Round; roundDone: boolean }
  | { kind: "stream-sent" }
  | { kind: "stream-failed"; detail: string }
  | { kind: "gate-read"; ask: number; record: MigrationRecord | null }
  /** `resets`: how many were made before the guest was stopped; none is made from here on. */
  | { kind: "held"; resets?: number }
  | { kind: "hold-failed"; detail: string }
  | { kind: "gate-stands"; decision: "past" | "cancelled" }
  | { kind: "gate-unknown"; detail: string }
  | { kind: "resumed-by-supervisor" }
  | { kind: "guest-ended"; how: "powered-off" | "crashed" | "killed"; detail: string }
  | { kind: "record-known"; record: MigrationRecord }
  | { kind: "record-unknown" }
  /** The control plane was reached and gave none: this host is not cut off, so nothing follows from it. */
  | { kind: "record-refused" }
  | { kind: "lock-taken-back"; refusal: { by: string; detail: string } | null }
  | { kind: "report-answered"; report: RoleReportKind; outcome: ReportOutcome; record: MigrationRecord | null }
  | { kind: "run-answered"; isGranted: boolean; detail: string }
  | { kind: "word-verified" }
  /** The control plane says that this copy is to go, under this token: another one was started since. */
  | { kind: "superseded"; fencingToken: number }
  | { kind: "destroyed" }
  | { kind: "woke" };

export type SourceCommand =
  | { kind: "permit-next"; copyId: string | null }
  | { kind: "connect-peer" }
  | { kind: "start-stream"; endpoint: StreamEndpoint }
  | { kind: "throttle"; percent: number }
  | { kind: "read-gate"; ask: number }
  | { kind: "send-peer"; message: PeerMessage }
  | { kind: "relay-record" }
  | { kind: "ask-word" }
  | { kind: "hold-at-gate" }
  | { kind: "pass-gate" }
  | { kind: "cancel-at-gate" }
  | { kind: "cancel-stream" }
  | { kind: "run-copy"; fencingToken: number }
  | { kind: "take-back-lock"; fencingToken: number }
  | { kind: "destroy-copy" }
  | { kind: "read-record" }
  | { kind: "report"; report: AgentReport }
  | { kind: "wake"; afterMs: number }
  | { kind: "finish" };

export type SourceStep = { state: SourceState; commands: SourceCommand[] };

/** An answer of both sides counts as fresh for this long. */
export const gateFreshMs = 1000;
/** After a gate that stayed shut, the guest runs on and is asked for again. */
export const gatePauseMs = 250;
/** How long the destination may take to be ready. */
export const prepareMs = 30_000;
/** An ask that nobody answers is dropped after this. */
export const askPatienceMs = 5000;
/** No sample for so long: the stream is stuck. */
export const stallMs = 40_000;
/** Past the gate: how long a destination that has everything may take to commit before the source tries to abort. */
export const commitPatienceMs = 5000;
/** Standing still for longer than this is an alarm. */
export const frozenAfterMs = 2000;
export const retryMs = 300;
/** Device state, the last look over memory, and the restore, on top of commit and remainder. */
export const deviceMs = 25;

export function beginSource(facts: {
  migrationId: string;
  vmId: string;
  openToken: number;
  own: CopyRef;
  peer: CopyRef;
  limits: MigrationLimits;
  commitMs: number;
}): SourceState {
  return {
    ...facts,
    stage: "linking",
    record: null,
    isLinked: false,
    isConnecting: false,
    stream: "none",
    lastSampleAtMs: 0,
    lastSampleBytes: 0,
    lastRound: null,
    previousRemainingBytes: null,
    downtimeLimitMs: facts.limits.downtimeLimitMs,
    excusedRounds: 0,
    ask: null,
    asks: 0,
    blockedUntilMs: 0,
    withdrawal: null,
    ended: null,
    pastAtMs: 0,
    saidComplete: false,
    frozenReported: false,
    runToken: 0,
    hasLeft: false,
  };
}
