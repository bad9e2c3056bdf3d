// The destination's part in one migration: a pure machine like the source's (commit rule, docs/consistency.md).
//   D1  It commits only a copy that is loaded completely, journals first, and never after it gave the word.
//   D2  It lets the guest execute only after it has read `committed` of this migration (or got it relayed, signed),
//       each try with its own journalled intent; a definite refusal is journalled too.
//   D3  `returned` needs: committed, the last intent (if any) definitely refused, and its copy ended. It ends a
//       complete copy only after the source has stated, after the commit, that its own is complete.
//   D4  Once the guest may have run, losing the copy is losing the guest: reported so, never returned.
//   D5  It writes `aborted` only once its copy is incomplete and ended, or gone.
//   D6  It gives the word only when asked, while it is cut off itself, and when no commit was ever sent.
import {
  type DestinationCommand,
  type DestinationEvent,
  type DestinationStage,
  type DestinationState,
  type DestinationStep,
  listenPatienceMs,
  orphanPatienceMs,
  retryMs,
  sourcePatienceMs,
} from "./destination-state.ts";
import {
  abortReport,
  afterRefusal,
  beginCommit,
  commitReport,
  confirm,
  confirmReport,
  discard,
  journalRefusal,
  onAskedWord,
  onCutOff,
  onEnded,
  onGateRead,
  onGone,
  onLinked,
  onLoadingWake,
  onPeerFailure,
  onRecord,
  onRunAnswered,
  onSourceComplete,
  reportOver,
  returnReport,
  runCopy,
  settle,
  step,
  tryAgain,
  wakeSoon,
} from "./destination-steps.ts";
import { expired, intend, learn, namesThis } from "./role.ts";

export * from "./destination-state.ts";

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
      return confirm(state, "running");
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
  const { stage } = state;
  if (stage === "over") return step(state);
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
      if (event.message.kind === "guest-stands") return step({ ...state, resetsAtSource: event.message.resets });
      if (event.message.kind === "ask-relinquish") return onAskedWord({ ...state, nonce: event.message.nonce });
      // A source that has just lost what it stated to have says so.
      return stages[stage](
        event.message.kind === "failed" ? { ...state, sourceIsComplete: false } : state,
        event,
        atMs,
      );
    case "gate-read":
      return onGateRead(event.record ? learn(state, event.record) : state, event.ask, event.record);
    case "record-unknown":
      return onCutOff(state);
    default:
      return stages[stage](event.kind === "peer-lost" ? withoutPeer(state) : state, event, atMs);
  }
}

/** D3: what the source stated holds as long as the link it came over; a source that has it says so again. */
const withoutPeer = (state: DestinationState): DestinationState => ({
  ...state,
  isLinked: false,
  sourceIsComplete: false,
});

type Handler = (state: DestinationState, event: DestinationEvent, atMs: number) => DestinationStep;
const stages: { [S in Exclude<DestinationStage, "over">]: Handler } = {
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
      case "listen-failed":
        return atMs - state.startedAtMs < listenPatienceMs
          ? step(state)
          : discard(intend(state, "preparation-failed", `the peer link cannot be opened: ${event.detail}`));
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
        if (event.what !== "commit-sent") return step(state);
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
        // Never guessed: read again, and written again where it is still open.
        return step(state, { kind: "read-record" }, { kind: "wake", afterMs: 1000 });
      default:
        return step(state);
    }
  },

  starting(state, event) {
    switch (event.kind) {
      case "journalled":
        if (event.what !== "run-intent") return step(state);
        return step({ ...state, intentJournalled: state.runIntent }, ...runCopy(state));
      case "journal-failed":
        return step({ ...state, stage: "refused" }, wakeSoon);
      case "run-answered":
        return onRunAnswered(state, event.answer, event.detail);
      case "machine-seen":
        if (event.machine === "running") return confirm(state, "running");
        if (event.machine === "ended") return onGone({ ...state, isGone: true });
        if (state.intentJournalled !== state.runIntent) return step(state); // D2: its answer is awaited first.
        // Complete and never executed, by the hypervisor's own word: the same try again.
        return step(state, ...runCopy(state));
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
        return state.runRefused === state.runIntent ? tryAgain(state) : step(state, journalRefusal(state));
      default:
        return step(state);
    }
  },

  confirming: untilConfirmed,

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
        if (event.what !== "relinquished") return step(state);
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

  lost: untilConfirmed,

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
};

/** What became of the guest is told until it is heard; then the slot is freed. */
function untilConfirmed(state: DestinationState, event: DestinationEvent): DestinationStep {
  switch (event.kind) {
    case "report-answered":
      if (event.report !== "guest-confirmed") return step(state);
      if (event.outcome === "unknown" || event.outcome === "later") return step(state, wakeSoon);
      return onHeard(event.record ? learn(state, event.record) : state);
    case "woke":
      return step(state, confirmReport(state));
    default:
      return step(state);
  }
}

/** The record may name another copy: this host counted as lost, and the guest was started elsewhere since. */
function onHeard(state: DestinationState): DestinationStep {
  const isSuperseded = state.record?.verdict === "forced" && !namesThis(state.record.owner, state.own);
  return isSuperseded && !state.isGone ? onRecord(state) : reportOver(state);
}
