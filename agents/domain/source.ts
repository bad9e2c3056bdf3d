// The source's part in one migration: a pure machine, state and event in, state and commands out (commit rule,
// docs/consistency.md). The runner (agents/roles/) carries out commands and feeds back what came of them; a crash in
// between is answered by `recoverSource` from the journal, the gate and the copy alone.
//   S1  The guest is stopped only after both agents read `open` with no cancel intended, freshly.
//   S2  Before the gate is past, the source may always end the attempt alone; the record follows.
//   S3  Past the gate it resumes only on a record of this migration, `aborted` or `returned`, above the token it
//       opened under and naming its copy, or on the destination's word; the lock file is retaken first.
//   S4  It keeps its stopped copy until the migration is confirmed (or forced), under a higher token naming another.
import { expired, intend, learn } from "./role.ts";

import {
  askPatienceMs,
  prepareMs,
  retryMs,
  type SourceEvent,
  type SourceStage,
  type SourceState,
  type SourceStep,
  stallMs,
} from "./source-state.ts";
import {
  abort,
  abortReport,
  alarmWhenFrozen,
  enterDoubt,
  guestStands,
  onDoubtWake,
  onEnded,
  onGateAnswer,
  onGateRead,
  onLinked,
  onLockTakenBack,
  onPeerFailure,
  onPeerLost,
  onRecord,
  onRound,
  progress,
  release,
  reportOver,
  resume,
  step,
  tryAbort,
  withdraw,
} from "./source-steps.ts";

export * from "./source-state.ts";
export { progress } from "./source-steps.ts";

/** After the agent's restart: what the gate and the copy say decides; memory of the rest is gone. */
export function recoverSource(
  begun: SourceState,
  /** standing: it was stopped at the gate. running: else; it may stand on its user's wish. */
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
  const { stage } = state;
  if (stage === "over") return step(state);
  if (event.kind === "record-known") return onRecord(learn(state, event.record));
  if (event.kind === "guest-ended") return onEnded(state, event);
  if (event.kind === "peer-lost") return onPeerLost({ ...state, isLinked: false }, atMs);
  if (event.kind === "peer-linked") return onLinked({ ...state, isLinked: true, isConnecting: false });
  return stages[stage](state, event, atMs);
}

const sampled = (state: SourceState, bytes: number, atMs: number): SourceState => ({
  ...state,
  lastSampleAtMs: atMs,
  lastSampleBytes: bytes,
});

const stages: {
  [S in Exclude<SourceStage, "over">]: (state: SourceState, event: SourceEvent, atMs: number) => SourceStep;
} = {
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
          ? onRound(sampled(state, event.round.bytes, atMs), event.round, atMs)
          : step(event.round.bytes === state.lastSampleBytes ? state : sampled(state, event.round.bytes, atMs));
      case "gate-read":
        if (event.ask !== state.ask?.number) return step(state);
        if (!event.record) return onGateAnswer(state, state.ask, "own", "shut", atMs);
        return onGateRead(learn(state, event.record), state.ask, event.record, atMs);
      case "peer-said": {
        const { message } = event;
        if ((message.kind === "gate-open" || message.kind === "gate-shut") && message.ask === state.ask?.number) {
          return onGateAnswer(state, state.ask, "peer", message.kind === "gate-open" ? "open" : "shut", atMs);
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
        if (state.withdrawal) return release(state);
        return step({ ...state, stage: "deciding", pastAtMs: atMs }, ...guestStands(event.resets), {
          kind: "pass-gate",
        });
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
      case "lock-taken-back":
        return onLockTakenBack(state, event.refusal);
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
      case "record-refused":
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
      case "superseded":
        // S4: allowed to run by the migration's record, and yet too late: the guest was started elsewhere since.
        return event.fencingToken > state.runToken
          ? step({ ...state, stage: "ending" }, { kind: "destroy-copy" })
          : step(state);
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
};
