// The source's part in one migration: a pure machine, state and event in, state and commands out (commit rule,
// docs/consistency.md). The runner (agents/roles/) carries out commands and feeds back what came of them; a crash in
// between is answered by `recoverSource` from the journal, the gate and the copy alone.
//   S1  The guest is stopped only after both agents read `open` with no cancel intended, freshly.
//   S2  Before the gate is past, the source may always end the attempt alone; the record follows.
//   S3  Past the gate it resumes only on a record of this migration, `aborted` or `returned`, above the token it
//       opened under and naming its copy, or on the destination's word; the lock file is retaken first.
//   S4  It keeps its stopped copy until the migration is confirmed (or forced), under a higher token naming another.
import type { AgentReport } from "../../schemas/agent.ts";
import type { CopyRef } from "../../schemas/ids.ts";
import type { EndReason, MigrationLimits, MigrationRecord, Round } from "../../schemas/migration.ts";
import type { PeerMessage, StreamEndpoint } from "../../schemas/peer.ts";
import { expectedDowntimeMs, judgeRound } from "./convergence.ts";
import { expired, intend, learn, namesThis, type ReportOutcome, type RoleReportKind } from "./role.ts";

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
type GateAsk = { number: number; atMs: number; own: GateAnswer; peer: GateAnswer };
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
  | { kind: "held" }
  | { kind: "hold-failed"; detail: string }
  | { kind: "gate-stands"; decision: "past" | "cancelled" }
  | { kind: "gate-unknown"; detail: string }
  | { kind: "resumed-by-supervisor" }
  | { kind: "guest-ended"; how: "powered-off" | "crashed" | "killed"; detail: string }
  | { kind: "record-known"; record: MigrationRecord }
  | { kind: "record-unknown" }
  | { kind: "report-answered"; report: RoleReportKind; outcome: ReportOutcome; record: MigrationRecord | null }
  | { kind: "run-answered"; isGranted: boolean; detail: string }
  | { kind: "word-verified" }
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
  | { kind: "destroy-copy" }
  | { kind: "read-record" }
  | { kind: "report"; report: AgentReport }
  | { kind: "wake"; afterMs: number }
  | { kind: "finish" };

export type SourceStep = { state: SourceState; commands: SourceCommand[] };

/** An answer of both sides counts as fresh for this long. */
const gateFreshMs = 1000;
/** After a gate that stayed shut, the guest runs on and is asked for again. */
const gatePauseMs = 250;
/** How long the destination may take to be ready. */
const prepareMs = 30_000;
/** An ask that nobody answers is dropped after this. */
const askPatienceMs = 5000;
/** No sample for so long: the stream is stuck. */
const stallMs = 40_000;
/** Past the gate: how long a destination that has everything may take to commit before the source tries to abort. */
const commitPatienceMs = 5000;
/** Standing still for longer than this is an alarm. */
const frozenAfterMs = 2000;
const retryMs = 300;
/** Device state, the last look over memory, and the restore, on top of commit and remainder. */
const deviceMs = 25;

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

/** After the agent's restart: what the gate and the copy say decides; memory of the rest is gone. */
export function recoverSource(
  begun: SourceState,
  found: { machine: "running" | "standing" | "ended"; gate: "past" | "cancelled" | null; ended: SourceState["ended"] },
  atMs: number,
): SourceStep {
  const withdrawal = {
    reason: "agent-restarted",
    detail: "the source's agent was restarted during the pre-copy",
  } as const;
  if (found.gate === "past") {
    const state: SourceState = { ...begun, stream: "failed", pastAtMs: atMs };
    if (found.machine === "ended") {
      return step({ ...state, stage: "copyless", ended: found.ended }, { kind: "read-record" });
    }
    // It was let run again, by a record or by the word; the record follows if it has not yet.
    if (found.machine === "running") return abort({ ...state, withdrawal });
    // A resume that was under way is finished by the same record that allowed it.
    return step(
      { ...state, stage: "in-doubt", isConnecting: true },
      { kind: "connect-peer" },
      { kind: "read-record" },
      { kind: "wake", afterMs: retryMs },
    );
  }
  if (found.machine === "ended") {
    return abort({
      ...begun,
      ended: found.ended,
      withdrawal: { reason: "guest-ended", detail: found.ended?.detail ?? "" },
    });
  }
  const state: SourceState = { ...begun, withdrawal };
  if (found.machine === "standing" || found.gate === "cancelled") {
    return step({ ...state, stage: "releasing" }, { kind: "cancel-at-gate" });
  }
  return abort(state);
}

export function advanceSource(state: SourceState, event: SourceEvent, atMs: number): SourceStep {
  if (state.stage === "over") return step(state);
  if (event.kind === "record-known") return onRecord(learn(state, event.record));
  if (event.kind === "guest-ended") return onEnded(state, event);
  if (event.kind === "peer-lost") return onPeerLost({ ...state, isLinked: false }, atMs);
  if (event.kind === "peer-linked") return onLinked({ ...state, isLinked: true, isConnecting: false });
  return stages[state.stage](state, event, atMs);
}

const stages: { [S in SourceStage]: (state: SourceState, event: SourceEvent, atMs: number) => SourceStep } = {
  linking(state, event, atMs) {
    switch (event.kind) {
      case "started":
        if (event.isExpired) return withdraw(state, "preparation-failed", expired);
        return step(
          { ...state, lastSampleAtMs: atMs },
          { kind: "permit-next", copyId: state.peer.copyId },
          { kind: "wake", afterMs: 1000 },
        );
      case "permitted":
        return step(state, { kind: "connect-peer" });
      case "permit-failed":
        return withdraw(state, "preparation-failed", event.detail);
      case "peer-unreachable":
        return withdraw(state, "peer-unreachable", event.detail);
      case "peer-refused":
        return withdraw(state, "peer-refused", event.detail);
      case "peer-said":
        if (event.message.kind === "ready") {
          const { endpoint } = event.message;
          return step(
            { ...state, stage: "copying", lastSampleAtMs: atMs },
            { kind: "start-stream", endpoint },
            { kind: "wake", afterMs: 1000 },
          );
        }
        return onPeerFailure(state, event.message);
      case "woke":
        if (atMs - state.lastSampleAtMs > prepareMs) {
          return withdraw(state, "preparation-failed", `the destination was not ready after ${prepareMs / 1000} s`);
        }
        return step(state, { kind: "wake", afterMs: 1000 });
      default:
        return step(state);
    }
  },

  copying(state, event, atMs) {
    switch (event.kind) {
      case "streaming":
        return step({ ...state, stream: "open", lastSampleAtMs: atMs });
      case "sampled":
        return event.roundDone
          ? onRound({ ...state, lastSampleAtMs: atMs }, event.round, atMs)
          : step({ ...state, lastSampleAtMs: atMs });
      case "gate-read":
        if (event.ask !== state.ask?.number) return step(state);
        if (!event.record) return onGateAnswer(state, "own", "shut", atMs);
        return onGateRead(learn(state, event.record), event.record, atMs);
      case "peer-said": {
        const { message } = event;
        if ((message.kind === "gate-open" || message.kind === "gate-shut") && message.ask === state.ask?.number) {
          return onGateAnswer(state, "peer", message.kind === "gate-open" ? "open" : "shut", atMs);
        }
        return onPeerFailure(state, message);
      }
      case "stream-failed":
        return withdraw({ ...state, stream: "failed" }, "stream-failed", event.detail);
      case "woke":
        if (atMs - state.lastSampleAtMs > stallMs) {
          return withdraw(state, "stream-failed", `no progress of the memory stream for ${stallMs / 1000} s`);
        }
        return step(state.ask && atMs - state.ask.atMs > askPatienceMs ? { ...state, ask: null } : state, {
          kind: "wake",
          afterMs: 1000,
        });
      default:
        return step(state);
    }
  },

  holding(state, event, atMs) {
    switch (event.kind) {
      case "held":
        if (state.withdrawal || state.stream === "failed") return release(state);
        return step({ ...state, stage: "deciding", pastAtMs: atMs }, { kind: "pass-gate" });
      case "hold-failed":
        return release(intend(state, "preparation-failed", event.detail));
      case "stream-failed":
        return step(intend({ ...state, stream: "failed" }, "stream-failed", event.detail));
      case "resumed-by-supervisor":
        return release(intend(state, "agent-restarted", "the guest's supervisor took it back at the gate"));
      case "peer-said":
        return onPeerFailure(state, event.message);
      default:
        return step(state);
    }
  },

  deciding(state, event, atMs) {
    switch (event.kind) {
      case "gate-stands":
        if (event.decision === "cancelled") {
          return abort(intend(state, "agent-restarted", "the guest's supervisor took it back at the gate"));
        }
        return enterDoubt(state, atMs);
      case "gate-unknown":
        // Asking again is harmless: what stands, stands. A disk that takes nothing holds the guest here: an alarm.
        return alarmWhenFrozen(state, atMs, { kind: "wake", afterMs: retryMs });
      case "woke":
        return step(state, { kind: "pass-gate" });
      case "stream-sent":
        return step({ ...state, stream: "sent" });
      case "stream-failed":
        return step(intend({ ...state, stream: "failed" }, "stream-failed", event.detail));
      case "peer-said":
        return onPeerFailure(state, event.message);
      default:
        return step(state);
    }
  },

  "in-doubt"(state, event, atMs) {
    switch (event.kind) {
      case "stream-sent":
        return step({ ...state, stream: "sent" });
      case "stream-failed":
        return tryAbort(intend({ ...state, stream: "failed" }, "stream-failed", event.detail));
      case "peer-said":
        if (event.message.kind === "failed") {
          return tryAbort(intend(state, event.message.reason, event.message.detail));
        }
        return step(state);
      case "peer-unreachable":
      case "peer-refused":
        return step({ ...state, isConnecting: false });
      case "record-unknown":
        // Rule 7: asked only while this side is cut off; the destination answers only when it is, too.
        return state.isLinked ? step(state, { kind: "ask-word" }) : step(state);
      case "word-verified":
        return resume(state, state.openToken);
      case "report-answered":
        if (event.record) return onRecord(learn(state, event.record));
        return event.outcome === "unknown" ? step(state, { kind: "read-record" }) : step(state);
      case "woke":
        return onDoubtWake(state, atMs);
      default:
        return step(state);
    }
  },

  copyless(state, event) {
    switch (event.kind) {
      case "record-unknown":
        return step(state, { kind: "wake", afterMs: retryMs });
      case "woke":
        return step(state, { kind: "read-record" });
      default:
        return step(state);
    }
  },

  releasing(state, event) {
    switch (event.kind) {
      case "gate-stands":
        if (event.decision === "cancelled") return abort(state);
        return step({ ...state, stage: "in-doubt" }, { kind: "read-record" }, { kind: "wake", afterMs: retryMs });
      case "gate-unknown":
        return step(state, { kind: "wake", afterMs: retryMs });
      case "woke":
        return step(state, { kind: "cancel-at-gate" });
      default:
        return step(state);
    }
  },

  aborting(state, event) {
    switch (event.kind) {
      case "report-answered":
        if (event.report !== "source-aborts") return step(state);
        if (event.record) return onRecord(learn(state, event.record));
        if (event.outcome === "applied") return reportOver(state);
        return step(state, { kind: "wake", afterMs: retryMs });
      case "woke":
        return step(state, abortReport(state));
      default:
        return step(state);
    }
  },

  resuming(state, event) {
    switch (event.kind) {
      case "run-answered":
        // By the word it runs ahead of the record, which is to follow.
        if (event.isGranted) return state.record && state.record.verdict !== "open" ? reportOver(state) : abort(state);
        // The other end may still hold the lock file for a moment; longer than that is an alarm.
        return state.frozenReported
          ? step(state, { kind: "wake", afterMs: retryMs })
          : step(
              { ...state, frozenReported: true },
              { kind: "report", report: progress(state, "switchover", true) },
              { kind: "wake", afterMs: retryMs },
            );
      case "woke":
        return step(state, { kind: "run-copy", fencingToken: state.runToken });
      default:
        return step(state);
    }
  },

  ending(state, event) {
    switch (event.kind) {
      case "destroyed":
        return reportOver({ ...state, hasLeft: true });
      default:
        return step(state);
    }
  },

  reporting(state, event) {
    switch (event.kind) {
      case "report-answered":
        if (event.report !== "copy-seen") return step(state);
        if (event.outcome === "unknown" || event.outcome === "later")
          return step(state, { kind: "wake", afterMs: retryMs });
        return step({ ...state, stage: "over" }, { kind: "finish" });
      case "woke":
        return reportOver(state);
      default:
        return step(state);
    }
  },

  over: (state) => step(state),
};

function step(state: SourceState, ...commands: SourceCommand[]): SourceStep {
  return { state, commands };
}

function onRecord(state: SourceState): SourceStep {
  const { record } = state;
  if (!record || record.migrationId !== state.migrationId) return step(state);
  switch (record.verdict) {
    case "open":
      if (state.stage === "copyless") return step(state, { kind: "wake", afterMs: 1000 });
      return record.cancelRequested ? withdraw(state, record.cancelRequested, "asked for by a user") : step(state);
    case "committed":
      return onCommitted(state, record);
    case "aborted":
    case "returned":
      return onGivenBack(state, record);
    case "forced":
      return namesThis(record.owner, state.own) ? onGivenBack(state, record) : endCopy(state, record);
  }
}

function onCommitted(state: SourceState, record: MigrationRecord): SourceStep {
  if (record.confirmed) return endCopy(state, record);
  switch (state.stage) {
    case "in-doubt":
      // Rule 6: the destination may end its copy only after it has heard this, said after the commit.
      return state.saidComplete || !state.isLinked
        ? step(state)
        : step(
            { ...state, saidComplete: true },
            { kind: "relay-record" }, // the destination may be cut off from the control plane
            { kind: "send-peer", message: { kind: "source-complete" } },
          );
    case "copyless":
      return step(state, { kind: "wake", afterMs: 1000 });
    case "aborting":
      // Cannot be while the gate was never past; if it is all the same, two copies must not execute.
      return state.ended
        ? step(state, { kind: "wake", afterMs: 1000 })
        : step({ ...state, stage: "in-doubt" }, { kind: "hold-at-gate" }, { kind: "wake", afterMs: retryMs });
    default:
      return step(state);
  }
}

/** The record names this copy under a higher token: `aborted`, `returned`, or forced so. */
function onGivenBack(state: SourceState, record: MigrationRecord): SourceStep {
  if (!namesThis(record.owner, state.own) || record.verdictToken <= state.openToken) return step(state);
  switch (state.stage) {
    case "in-doubt":
      return resume(state, record.verdictToken);
    case "copyless":
    case "aborting":
      return reportOver(state);
    case "linking":
    case "copying":
      // The destination ended it; the guest runs here and always has.
      return reportOver(intend(state, "destination-lost-copy", "the destination ended the migration"), {
        kind: "cancel-stream",
      });
    case "holding":
      return step(intend(state, "destination-lost-copy", "the destination ended the migration"));
    default:
      return step(state);
  }
}

/** Rule 8: a strictly higher token, another copy named, confirmed or forced. */
function endCopy(state: SourceState, record: MigrationRecord): SourceStep {
  const isAllowed =
    record.verdictToken > state.openToken &&
    !namesThis(record.owner, state.own) &&
    (record.confirmed || record.verdict === "forced");
  if (!isAllowed) return step(state);
  switch (state.stage) {
    case "copyless":
      return reportOver(state);
    case "ending":
    case "reporting":
      return step(state);
    default:
      return step({ ...state, stage: "ending" }, { kind: "destroy-copy" });
  }
}

function onEnded(state: SourceState, event: Extract<SourceEvent, { kind: "guest-ended" }>): SourceStep {
  const known: SourceState = { ...state, ended: { how: event.how, detail: event.detail } };
  switch (state.stage) {
    case "linking":
    case "copying":
    case "holding":
    case "releasing":
      return abort(intend(known, "guest-ended", `${event.how}: ${event.detail}`));
    case "deciding":
    case "in-doubt":
    case "resuming":
      // Past the gate (or perhaps past it) the destination may have it all: the record decides.
      return step({ ...known, stage: "copyless" }, { kind: "read-record" });
    default:
      return step(known);
  }
}

function onPeerLost(state: SourceState, atMs: number): SourceStep {
  switch (state.stage) {
    case "linking":
    case "copying":
    case "holding":
      return withdraw(state, "peer-unreachable", "the peer link broke");
    case "in-doubt":
      // What was said over the old link may not have been heard.
      return step(
        { ...state, saidComplete: false, isConnecting: true, pastAtMs: Math.min(state.pastAtMs, atMs) },
        { kind: "read-record" },
        { kind: "connect-peer" },
      );
    default:
      return step(state);
  }
}

/** Past the gate a link that is back is told at once what the source knows and has. */
function onLinked(state: SourceState): SourceStep {
  return state.stage === "in-doubt" ? onRecord(state) : step(state);
}

function onPeerFailure(state: SourceState, message: PeerMessage): SourceStep {
  return message.kind === "failed" ? withdraw(state, message.reason, message.detail) : step(state);
}

function onRound(state: SourceState, round: Round, atMs: number): SourceStep {
  const isBlocked = atMs < state.blockedUntilMs || state.ask !== null;
  const counted: SourceState = {
    ...state,
    lastRound: round,
    previousRemainingBytes: round.remainingBytes,
    excusedRounds: state.excusedRounds + (isBlocked ? 1 : 0),
  };
  if (isBlocked) return step(counted);
  const outcome = judge(state, round);
  switch (outcome.kind) {
    case "another-round":
      return step(counted);
    case "remedy": {
      const commands: SourceCommand[] =
        outcome.throttlePercent > round.throttlePercent ? [{ kind: "throttle", percent: outcome.throttlePercent }] : [];
      return step({ ...counted, downtimeLimitMs: outcome.downtimeLimitMs }, ...commands);
    }
    case "stalled":
      return withdraw(
        counted,
        "not-converging",
        `${outcome.cause}: after round ${round.round} ${round.remainingBytes} bytes remained; the guest wrote ` +
          `${Math.round(round.dirtyBytesPerSecond)} bytes/s, the stream carried ${Math.round(round.bandwidthBytesPerSecond)} bytes/s`,
      );
    case "switchover": {
      const number = state.asks + 1;
      return step(
        { ...counted, asks: number, ask: { number, atMs, own: "asked", peer: "asked" } },
        { kind: "read-gate", ask: number },
        { kind: "send-peer", message: { kind: "ask-gate", ask: number } },
      );
    }
  }
}

function judge(state: SourceState, round: Round) {
  return judgeRound({
    sample: round,
    previousRemainingBytes: state.previousRemainingBytes,
    limits: state.limits,
    downtimeLimitMs: state.downtimeLimitMs,
    excusedRounds: state.excusedRounds,
    fixedDowntimeMs: deviceMs + state.commitMs,
  });
}

/** S1: the record was read freshly for this ask. */
function onGateRead(state: SourceState, record: MigrationRecord, atMs: number): SourceStep {
  if (record.verdict !== "open" || record.cancelRequested) return onRecord({ ...state, ask: null });
  return onGateAnswer(state, "own", "open", atMs);
}

function onGateAnswer(state: SourceState, side: "own" | "peer", answer: "open" | "shut", atMs: number): SourceStep {
  if (!state.ask) return step(state);
  const ask: GateAsk = { ...state.ask, [side]: answer };
  const shut: SourceState = { ...state, ask: null, blockedUntilMs: atMs + gatePauseMs };
  if (answer === "shut" || atMs - ask.atMs > gateFreshMs) return step(shut);
  if (ask.own !== "open" || ask.peer !== "open") return step({ ...state, ask });
  const stillFits =
    state.lastRound && expectedDowntimeMs(state.lastRound, deviceMs + state.commitMs) <= state.downtimeLimitMs;
  return stillFits ? step({ ...state, ask: null, stage: "holding" }, { kind: "hold-at-gate" }) : step(shut);
}

function enterDoubt(state: SourceState, atMs: number): SourceStep {
  const doubting: SourceState = { ...state, stage: "in-doubt", pastAtMs: atMs };
  const wake: SourceCommand = { kind: "wake", afterMs: retryMs };
  if (state.withdrawal) return step(doubting, abortReport(doubting), wake);
  return step(doubting, wake);
}

/** Past the gate an abort is only a write that may lose against the commit; the record it leaves decides. */
function tryAbort(state: SourceState): SourceStep {
  return step(state, abortReport(state));
}

function onDoubtWake(state: SourceState, atMs: number): SourceStep {
  const doubtMs = atMs - state.pastAtMs;
  const commands: SourceCommand[] = [{ kind: "wake", afterMs: retryMs }];
  let next = state;
  const isOpen = !state.record || state.record.verdict === "open";
  if (isOpen && (state.withdrawal || doubtMs > commitPatienceMs)) {
    next = intend(next, "peer-unreachable", "the destination did not commit in time");
    commands.unshift(abortReport(next));
  } else {
    commands.unshift({ kind: "read-record" });
  }
  if (!next.isLinked && !next.isConnecting) {
    next = { ...next, isConnecting: true };
    commands.push({ kind: "connect-peer" });
  }
  return alarmWhenFrozen(next, atMs, ...commands);
}

/** A guest that stands still for long is an alarm, told once. */
function alarmWhenFrozen(state: SourceState, atMs: number, ...commands: SourceCommand[]): SourceStep {
  if (atMs - state.pastAtMs <= frozenAfterMs || state.frozenReported) return step(state, ...commands);
  const report: SourceCommand = { kind: "report", report: progress(state, "switchover", true) };
  return step({ ...state, frozenReported: true }, ...commands, report);
}

function resume(state: SourceState, fencingToken: number): SourceStep {
  return step(
    { ...state, stage: "resuming", runToken: fencingToken },
    { kind: "cancel-stream" },
    { kind: "run-copy", fencingToken },
  );
}

/** S2: ends the attempt from wherever it stands before the gate is past. */
function withdraw(state: SourceState, reason: EndReason, detail: string): SourceStep {
  const intended = intend(state, reason, detail);
  switch (state.stage) {
    case "linking":
    case "copying":
      return abort(intended, { kind: "cancel-stream" });
    case "in-doubt":
      return state.withdrawal ? step(intended) : tryAbort(intended);
    default:
      return step(intended);
  }
}

function release(state: SourceState): SourceStep {
  return step(
    { ...intend(state, "stream-failed", "the memory stream broke at the gate"), stage: "releasing" },
    { kind: "cancel-at-gate" },
  );
}

function abort(state: SourceState, ...before: SourceCommand[]): SourceStep {
  const aborting: SourceState = { ...state, stage: "aborting", ask: null };
  const { reason, detail } = reasonOf(state);
  return step(
    aborting,
    ...before,
    { kind: "send-peer", message: { kind: "failed", reason, detail } },
    abortReport(aborting),
  );
}

function reasonOf(state: SourceState): { reason: EndReason; detail: string } {
  return state.withdrawal ?? { reason: "peer-unreachable", detail: "" };
}

function onMigration(state: SourceState) {
  const { migrationId, vmId, openToken: fencingToken, peer } = state;
  return { migrationId, vmId, fencingToken, peerHostId: peer.hostId };
}

function abortReport(state: SourceState): SourceCommand {
  const { reason, detail } = reasonOf(state);
  return {
    kind: "report",
    report: { kind: "source-aborts", ...onMigration(state), reason, detail: detail.slice(0, 1000) },
  };
}

export function progress(state: SourceState, phase: "precopy" | "switchover", frozen: boolean): AgentReport {
  return { kind: "migration-progressed", ...onMigration(state), phase, rounds: [], encrypted: null, frozen };
}

/** The report that frees this host's slot. */
function reportOver(state: SourceState, ...before: SourceCommand[]): SourceStep {
  const isHere = !state.hasLeft && !state.ended;
  const unpermit: SourceCommand[] = isHere ? [{ kind: "permit-next", copyId: null }] : [];
  const report: AgentReport = {
    kind: "copy-seen",
    vmId: state.vmId,
    copyId: state.own.copyId,
    fencingToken: Math.max(state.openToken, state.record?.verdictToken ?? 0),
    state: isHere ? "running" : "gone",
    because: state.hasLeft ? "migration-over" : (state.ended?.how ?? "ordered"),
    detail: state.ended?.detail.slice(0, 1000) ?? "",
    migrationId: state.migrationId,
    summary: null, // the runner, which measured, fills it in
  };
  return step({ ...state, stage: "reporting" }, ...before, ...unpermit, { kind: "report", report });
}
