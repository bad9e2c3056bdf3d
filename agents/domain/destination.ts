// The destination's part in one migration: a pure machine like the source's (commit rule, docs/consistency.md).
//   D1  It commits only a copy that is loaded completely, journals first, and never after it gave the word.
//   D2  It lets the guest execute only after it has read `committed` of this migration (or got it relayed, signed),
//       each try with its own journalled intent; a definite refusal is journalled too.
//   D3  `returned` needs: committed, the last intent (if any) definitely refused, and its copy ended. It ends a
//       complete copy only after the source has stated, after the commit, that its own is complete.
//   D4  Once the guest may have run, losing the copy is losing the guest: reported so, never returned.
//   D5  It writes `aborted` only once its copy is incomplete and ended, or gone.
//   D6  It gives the word only when asked, while it is cut off itself, and when no commit was ever sent.
import type { AgentReport } from "../../schemas/agent.ts";
import type { CopyRef } from "../../schemas/ids.ts";
import type { EndReason, MigrationRecord } from "../../schemas/migration.ts";
import type { PeerMessage, StreamEndpoint } from "../../schemas/peer.ts";
import { expired, intend, learn, namesThis, type ReportOutcome, type RoleReportKind } from "./role.ts";

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
  outcome: "running" | "ended" | "guest-lost";
};

export type DestinationEvent =
  | { kind: "started"; isExpired: boolean }
  | { kind: "launched" }
  | { kind: "launch-failed"; detail: string }
  | { kind: "listening" }
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
  | { kind: "run-copy"; fencingToken: number }
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
const sourcePatienceMs = 30_000;
/** How long an incomplete copy waits for its source after the peer link broke. */
const orphanPatienceMs = 5000;
const retryMs = 300;
/** How long the source may take to act on a cancel that is known here. */
const cancelPatienceMs = 10_000;
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
  };
}

/** After the agent's restart: the journal and the copy decide. */
export function recoverDestination(
  begun: DestinationState,
  journalled: { commitSent: boolean; runIntent: number; runRefused: number; relinquished: boolean },
  machine: "running" | "complete" | "incomplete" | "ended",
): DestinationStep {
  const state: DestinationState = {
    ...begun,
    commitSent: journalled.commitSent,
    runIntent: journalled.runIntent,
    runRefused: journalled.runRefused,
    intentJournalled: journalled.runIntent,
    hasRelinquished: journalled.relinquished,
    isGone: machine === "ended",
    withdrawal: { reason: "agent-restarted", detail: "the destination's agent was restarted" },
  };
  const listen: DestinationCommand = { kind: "expect-peer" };
  if (state.hasRelinquished && machine !== "running") {
    return machine === "ended"
      ? step({ ...state, stage: "relinquished" }, listen, { kind: "read-record" }, wakeSoon)
      : step({ ...state, stage: "relinquishing" }, listen, { kind: "destroy-copy" });
  }
  switch (machine) {
    case "running":
      return confirm(state);
    case "complete":
      // A commit that was under way is written again; one that stands is read.
      return { ...beginCommit(state), commands: [listen, ...beginCommit(state).commands] };
    case "incomplete":
      return settle(state);
    case "ended":
      return onGone(state);
  }
}

export function advanceDestination(state: DestinationState, event: DestinationEvent, atMs: number): DestinationStep {
  if (state.stage === "over") return step(state);
  switch (event.kind) {
    case "record-known":
      return onRecord(learn(state, event.record));
    case "peer-linked":
      return onLinked({ ...state, isLinked: true });
    case "guest-ended":
      return onEnded(state, event);
    case "peer-said":
      if (event.message.kind === "ask-gate") return step(state, { kind: "read-gate", ask: event.message.ask });
      if (event.message.kind === "source-complete") return onSourceComplete({ ...state, sourceIsComplete: true });
      if (event.message.kind === "ask-relinquish") return onAskedWord({ ...state, nonce: event.message.nonce });
      return stages[state.stage](state, event, atMs);
    case "gate-read":
      return onGateRead(event.record ? learn(state, event.record) : state, event.ask, event.record);
    case "record-unknown":
      return onCutOff(state);
    default:
      return stages[state.stage](event.kind === "peer-lost" ? { ...state, isLinked: false } : state, event, atMs);
  }
}

type Handler = (state: DestinationState, event: DestinationEvent, atMs: number) => DestinationStep;
const stages: { [S in DestinationStage]: Handler } = {
  preparing(state, event, atMs) {
    switch (event.kind) {
      case "started":
        if (event.isExpired) return discard(intend(state, "preparation-failed", expired));
        return step(
          { ...state, startedAtMs: atMs },
          { kind: "launch-copy" },
          { kind: "expect-peer" },
          { kind: "wake", afterMs: 1000 },
        );
      case "launched":
        return step(state, { kind: "open-stream" });
      case "launch-failed":
        return discard(intend(state, "preparation-failed", event.detail));
      case "receiving":
        return step(
          { ...state, stage: "loading", startedAtMs: atMs },
          { kind: "send-peer", message: { kind: "ready", endpoint: event.endpoint } },
          { kind: "wake", afterMs: 1000 },
        );
      case "peer-said":
        return onPeerFailure(state, event.message);
      case "woke":
        if (atMs - state.startedAtMs > sourcePatienceMs) {
          return discard(
            intend(state, "peer-unreachable", `the source did not come within ${sourcePatienceMs / 1000} s`),
          );
        }
        return step(state, { kind: "wake", afterMs: 1000 });
      default:
        return step(state);
    }
  },

  loading(state, event, atMs) {
    switch (event.kind) {
      case "loaded":
        return beginCommit(state);
      case "stream-failed":
        return settle(intend(state, "stream-failed", event.detail));
      case "peer-said":
        return onPeerFailure(state, event.message);
      case "peer-lost":
        // The stream may still complete; a dead source does not stop a loaded destination.
        return step({ ...state, startedAtMs: atMs });
      case "woke":
        if (!state.isLinked && atMs - state.startedAtMs > orphanPatienceMs) {
          return settle(intend(state, "peer-unreachable", "the peer link broke before the guest had arrived"));
        }
        return onLoadingWake(state, atMs);
      default:
        return step(state);
    }
  },

  settling(state, event) {
    switch (event.kind) {
      case "machine-seen":
        if (event.machine === "ended") return onGone({ ...state, isGone: true });
        // A complete copy may be the last one: it is never discarded here.
        return event.machine === "incomplete" ? discard(state) : beginCommit(state);
      case "woke":
        return step(state, { kind: "settle-stream" });
      default:
        return step(state);
    }
  },

  intending(state, event) {
    switch (event.kind) {
      case "journalled":
        return step({ ...state, stage: "committing", commitSent: true }, commitReport(state));
      case "journal-failed":
        // Without a journal nothing may be acted on; the copy stays, and the disk may recover.
        return step(state, wakeSoon);
      case "woke":
        return step(state, { kind: "journal", what: "commit-sent" });
      default:
        return step(state);
    }
  },

  committing(state, event) {
    switch (event.kind) {
      case "report-answered":
        if (event.report !== "destination-commits") return step(state);
        if (event.record) return onRecord(learn(state, event.record));
        return step(state, { kind: "wake", afterMs: event.outcome === "unknown" ? 50 : retryMs });
      case "woke":
        // Never guessed: read again, and write again where it is still open.
        return state.record?.verdict === "open" || !state.record
          ? step(state, { kind: "read-record" }, { kind: "wake", afterMs: 1000 })
          : onRecord(state);
      default:
        return step(state);
    }
  },

  starting(state, event) {
    switch (event.kind) {
      case "journalled":
        if (event.what !== "run-intent") return step(state);
        return step(
          { ...state, intentJournalled: state.runIntent },
          { kind: "run-copy", fencingToken: state.record?.verdictToken ?? 0 },
        );
      case "journal-failed":
        return step({ ...state, stage: "refused" }, wakeSoon);
      case "run-answered":
        return onRunAnswered(state, event.answer, event.detail);
      case "machine-seen":
        if (event.machine === "running") return confirm(state);
        if (event.machine === "ended") return onGone({ ...state, isGone: true });
        if (state.intentJournalled !== state.runIntent) return step(state); // D2: its answer is awaited first.
        // Complete and never executed, by the hypervisor's own word: the same try again.
        return step(state, { kind: "run-copy", fencingToken: state.record?.verdictToken ?? 0 });
      case "woke":
        return step(state, { kind: "look-at-machine" });
      default:
        return step(state);
    }
  },

  refused(state, event) {
    switch (event.kind) {
      case "journalled":
        if (event.what !== "run-refused") return step(state);
        return afterRefusal({ ...state, runRefused: state.runIntent });
      case "journal-failed":
        return step(state, wakeSoon);
      case "woke":
        return state.runRefused === state.runIntent ? tryToRun(state) : step(state, journalRefusal(state));
      default:
        return step(state);
    }
  },

  confirming(state, event) {
    switch (event.kind) {
      case "report-answered":
        if (event.report !== "guest-confirmed") return step(state);
        if (event.outcome === "unknown" || event.outcome === "later") return step(state, wakeSoon);
        return reportOver(event.record ? learn(state, event.record) : state);
      case "woke":
        return step(state, confirmReport(state));
      default:
        return step(state);
    }
  },

  returning(state, event) {
    switch (event.kind) {
      case "destroyed":
        return onGone({ ...state, isGone: true });
      case "report-answered":
        if (event.report !== "destination-returns") return step(state);
        if (event.record) return onRecord(learn(state, event.record));
        return step(state, wakeSoon);
      case "woke":
        return state.isGone ? step(state, returnReport(state)) : step(state); // D3
      default:
        return step(state);
    }
  },

  discarding(state, event) {
    switch (event.kind) {
      case "destroyed":
        return onGone({ ...state, isGone: true });
      default:
        return step(state);
    }
  },

  aborting(state, event) {
    switch (event.kind) {
      case "report-answered":
        if (event.report !== "destination-aborts") return step(state);
        if (event.record) return onRecord(learn(state, event.record));
        return event.outcome === "applied" ? reportOver(state) : step(state, wakeSoon);
      case "woke":
        return step(state, abortReport(state));
      default:
        return step(state);
    }
  },

  relinquishing(state, event) {
    switch (event.kind) {
      case "journalled":
        return step({ ...state, hasRelinquished: true }, { kind: "destroy-copy" });
      case "journal-failed":
        return state.isGone ? step({ ...state, stage: "aborting" }, wakeSoon) : settle(state);
      case "destroyed": {
        const gone: DestinationState = { ...state, isGone: true, stage: "relinquished" };
        return state.nonce ? step(gone, { kind: "give-word", nonce: state.nonce }, wakeSoon) : step(gone, wakeSoon);
      }
      default:
        return step(state);
    }
  },

  relinquished(state, event) {
    switch (event.kind) {
      case "woke":
        return step(state, { kind: "read-record" }, { kind: "wake", afterMs: 1000 });
      default:
        return step(state);
    }
  },

  lost(state, event) {
    switch (event.kind) {
      case "report-answered":
        if (event.report !== "guest-confirmed") return step(state);
        if (event.outcome === "unknown" || event.outcome === "later") return step(state, wakeSoon);
        return reportOver(event.record ? learn(state, event.record) : state);
      case "woke":
        return step(state, confirmReport(state));
      default:
        return step(state);
    }
  },

  reporting(state, event) {
    switch (event.kind) {
      case "report-answered":
        if (event.report !== "copy-seen") return step(state);
        if (event.outcome === "unknown" || event.outcome === "later") return step(state, wakeSoon);
        return step({ ...state, stage: "over" }, { kind: "finish" });
      case "woke":
        return reportOver(state);
      default:
        return step(state);
    }
  },

  over: (state) => step(state),
};

const wakeSoon: DestinationCommand = { kind: "wake", afterMs: retryMs };

function step(state: DestinationState, ...commands: DestinationCommand[]): DestinationStep {
  return { state, commands };
}

function onRecord(state: DestinationState): DestinationStep {
  const { record } = state;
  if (!record) return step(state);
  switch (record.verdict) {
    case "open":
      return onOpen(state, record);
    case "committed":
      return onCommitted(state, record);
    case "aborted":
    case "returned":
    case "forced":
      return onSuperseded(state, record);
  }
}

function onOpen(state: DestinationState, record: MigrationRecord): DestinationStep {
  switch (state.stage) {
    case "committing":
      return step(state, commitReport(state));
    case "aborting":
    case "relinquished":
      // The word barred any commit and its copy is gone: the abort is ours to write, too.
      return step(
        { ...state, stage: "aborting" },
        abortReport(intend(state, "peer-unreachable", "relinquished while cut off")),
      );
    case "preparing":
    case "loading":
      // The source acts on a cancel; an incomplete copy here may end the attempt as well.
      return record.cancelRequested && state.stage === "preparing"
        ? discard(intend(state, record.cancelRequested, "asked for by a user"))
        : step(state);
    default:
      return step(state);
  }
}

function onCommitted(state: DestinationState, record: MigrationRecord): DestinationStep {
  if (!namesThis(record.owner, state.own)) return step(state);
  switch (state.stage) {
    case "intending":
    case "committing":
      return tryToRun(state);
    case "discarding":
      return step(state);
    case "aborting":
    case "relinquished":
      return onGone(state);
    case "returning":
      return state.isGone ? step(state, returnReport(state)) : step(state);
    case "preparing":
      // Committed, and this copy never took in anything: a commit of an earlier life whose copy is gone.
      return discard(state);
    default:
      return step(state);
  }
}

/** The record names another copy under a higher token (rule 8). */
function onSuperseded(state: DestinationState, record: MigrationRecord): DestinationStep {
  if (record.verdictToken <= state.openToken || namesThis(record.owner, state.own)) return step(state);
  switch (state.stage) {
    case "reporting":
    case "discarding":
      return step(state);
    default:
      if (state.isGone) return relayThenReport(state);
      return step({ ...state, stage: "discarding" }, { kind: "destroy-copy" });
  }
}

/** The copy is gone, by our hand or by itself: what the journal and the record allow now. */
function onGone(state: DestinationState): DestinationStep {
  const { record } = state;
  if (state.hasRelinquished) return step({ ...state, stage: "relinquished" }, { kind: "read-record" }, wakeSoon);
  if (record && record.verdict !== "open" && record.verdict !== "committed") return relayThenReport(state);
  if (record?.verdict === "committed") {
    const mayHaveRun = state.runIntent > 0 && state.runRefused !== state.runIntent;
    if (!mayHaveRun) return step({ ...state, stage: "returning" }, returnReport(state));
    const lost: DestinationState = { ...state, stage: "lost", outcome: "guest-lost" };
    return step(lost, confirmReport(lost));
  }
  // Nothing is known to be committed. Should it be all the same, the abort is refused and the record comes back.
  const intended = intend(state, "destination-lost-copy", "the destination's copy is gone");
  const aborting: DestinationState = { ...intended, stage: "aborting" };
  return step(aborting, abortReport(aborting));
}

function onEnded(state: DestinationState, event: Extract<DestinationEvent, { kind: "guest-ended" }>): DestinationStep {
  if (state.isGone) return step(state);
  const gone = intend({ ...state, isGone: true }, "destination-lost-copy", `${event.how}: ${event.detail}`);
  switch (state.stage) {
    case "starting":
      // Who powers off or crashes has executed; only a process that was killed leaves it open.
      return event.how === "killed"
        ? onGone(gone)
        : step({ ...gone, stage: "confirming", outcome: "ended" }, confirmReport({ ...gone, outcome: "ended" }));
    case "confirming": {
      const outcome = event.how === "killed" ? "guest-lost" : "ended";
      const ended: DestinationState = { ...gone, outcome };
      return step(ended, confirmReport(ended));
    }
    case "discarding":
    case "returning":
    case "relinquishing":
      return step(state); // being ended by us: `destroyed` follows
    case "reporting":
      return step(gone);
    default:
      return onGone(gone);
  }
}

function onLinked(state: DestinationState): DestinationStep {
  // A source that comes back after a break is told what is known.
  return state.record && state.record.verdict !== "open" ? step(state, { kind: "relay-record" }) : step(state);
}

function onGateRead(state: DestinationState, ask: number, fresh: MigrationRecord | null): DestinationStep {
  const isOpen = fresh?.verdict === "open" && !fresh.cancelRequested && state.stage === "loading";
  const said: DestinationCommand = { kind: "send-peer", message: { kind: isOpen ? "gate-open" : "gate-shut", ask } };
  if (isOpen || !fresh) return step(state, said);
  const after = onRecord(state);
  return { state: after.state, commands: [said, ...after.commands] };
}

function onPeerFailure(state: DestinationState, message: PeerMessage): DestinationStep {
  if (message.kind !== "failed") return step(state);
  const withdrawn = intend(state, message.reason, message.detail);
  return state.stage === "preparing" ? discard(withdrawn) : settle(withdrawn);
}

function onSourceComplete(state: DestinationState): DestinationStep {
  return state.stage === "refused" && state.runRefused === state.runIntent ? afterRefusal(state) : step(state);
}

/** Rule 7: only at the source's request, only while this side is cut off as well. Reading shows whether it is. */
function onAskedWord(state: DestinationState): DestinationStep {
  if (state.stage === "relinquished" && state.nonce) return step(state, { kind: "give-word", nonce: state.nonce });
  return step(state, { kind: "read-record" });
}

function onCutOff(state: DestinationState): DestinationStep {
  const mayRelinquish = state.nonce !== null && !state.commitSent && !state.isGone;
  switch (state.stage) {
    case "preparing":
    case "loading":
    case "settling":
      return mayRelinquish
        ? step({ ...state, stage: "relinquishing" }, { kind: "journal", what: "relinquished" })
        : step(state);
    case "aborting":
      // Its copy is gone and no commit was ever sent: the word costs nothing.
      return state.nonce !== null && !state.commitSent
        ? step({ ...state, stage: "relinquishing" }, { kind: "journal", what: "relinquished" })
        : step(state);
    default:
      return step(state);
  }
}

/** The source acts on a cancel; one that does not, hung or hostile, must not hold this host for ever. */
function onLoadingWake(state: DestinationState, atMs: number): DestinationStep {
  const again: DestinationCommand = { kind: "wake", afterMs: 1000 };
  const reason = state.record?.verdict === "open" ? state.record.cancelRequested : null;
  if (!reason) return step(state, again);
  const cancelKnownAtMs = state.cancelKnownAtMs ?? atMs;
  if (atMs - cancelKnownAtMs <= cancelPatienceMs) return step({ ...state, cancelKnownAtMs }, again);
  return settle(intend(state, reason, "asked for by a user; the source did not act on it"));
}

function tryToRun(state: DestinationState): DestinationStep {
  const runIntent = state.runIntent + 1;
  return step({ ...state, stage: "starting", runIntent }, { kind: "journal", what: "run-intent", number: runIntent });
}

function onRunAnswered(
  state: DestinationState,
  answer: "granted" | "refused" | "unknown",
  detail: string,
): DestinationStep {
  switch (answer) {
    case "granted":
      return confirm(state);
    case "refused": {
      const intended = intend(state, "run-refused", detail);
      const refused: DestinationState = { ...intended, stage: "refused", triesLeft: state.triesLeft - 1 };
      return step(refused, journalRefusal(refused));
    }
    case "unknown":
      return step(state, { kind: "look-at-machine" });
  }
}

function journalRefusal(state: DestinationState): DestinationCommand {
  return { kind: "journal", what: "run-refused", number: state.runIntent };
}

/** D3: offered back once the tries are spent and the source has said that its copy is whole; else tried again. */
function afterRefusal(state: DestinationState): DestinationStep {
  if (state.triesLeft > 0 || !state.sourceIsComplete) return step(state, wakeSoon);
  return step({ ...state, stage: "returning" }, { kind: "destroy-copy" });
}

function confirm(state: DestinationState): DestinationStep {
  const confirming: DestinationState = { ...state, stage: "confirming", outcome: "running" };
  return step(confirming, { kind: "send-peer", message: { kind: "arrived", commitMs: 0 } }, confirmReport(confirming));
}

function beginCommit(state: DestinationState): DestinationStep {
  return step(
    { ...state, stage: "intending" },
    { kind: "send-peer", message: { kind: "loaded" } },
    { kind: "journal", what: "commit-sent" },
  );
}

/** Before anything that may be complete is given up: end the stream, then look. */
function settle(state: DestinationState): DestinationStep {
  return step({ ...state, stage: "settling" }, { kind: "settle-stream" });
}

/** Ends a copy that is incomplete, or superseded by the record. */
function discard(state: DestinationState): DestinationStep {
  return step({ ...state, stage: "discarding" }, { kind: "destroy-copy" });
}

function relayThenReport(state: DestinationState): DestinationStep {
  const { state: reporting, commands } = reportOver(state);
  return step(reporting, { kind: "relay-record" }, ...commands);
}

function onMigration(state: DestinationState) {
  const { migrationId, vmId, openToken: fencingToken, peer } = state;
  return { migrationId, vmId, fencingToken, peerHostId: peer.hostId };
}

function withdrawal(state: DestinationState): { reason: EndReason; detail: string } {
  const { reason, detail } = state.withdrawal ?? { reason: "destination-lost-copy" as const, detail: "" };
  return { reason, detail: detail.slice(0, 1000) };
}

function commitReport(state: DestinationState): DestinationCommand {
  return { kind: "report", report: { kind: "destination-commits", ...onMigration(state) } };
}
function abortReport(state: DestinationState): DestinationCommand {
  return { kind: "report", report: { kind: "destination-aborts", ...onMigration(state), ...withdrawal(state) } };
}
function returnReport(state: DestinationState): DestinationCommand {
  return { kind: "report", report: { kind: "destination-returns", ...onMigration(state), ...withdrawal(state) } };
}
function confirmReport(state: DestinationState): DestinationCommand {
  const detail = state.outcome === "running" ? "" : withdrawal(state).detail;
  return { kind: "report", report: { kind: "guest-confirmed", ...onMigration(state), outcome: state.outcome, detail } };
}

/** The report that frees this host's slot. */
function reportOver(state: DestinationState): DestinationStep {
  const isHere = state.outcome === "running" && !state.isGone;
  const report: AgentReport = {
    kind: "copy-seen",
    vmId: state.vmId,
    copyId: state.own.copyId,
    fencingToken: Math.max(state.openToken, state.record?.verdictToken ?? 0),
    state: isHere ? "running" : "gone",
    because: isHere ? "ordered" : "migration-over",
    detail: "",
    migrationId: state.migrationId,
    summary: null,
  };
  return step({ ...state, stage: "reporting" }, { kind: "relay-record" }, { kind: "report", report });
}
