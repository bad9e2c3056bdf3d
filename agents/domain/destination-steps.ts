// The steps that the destination's table is made of (agents/domain/destination.ts has the rules).
import type { AgentReport } from "../../schemas/agent.ts";
import type { EndReason, MigrationRecord } from "../../schemas/migration.ts";
import type { PeerMessage } from "../../schemas/peer.ts";
import {
  cancelPatienceMs,
  type DestinationCommand,
  type DestinationEvent,
  type DestinationState,
  type DestinationStep,
  retryMs,
} from "./destination-state.ts";
import { intend, namesThis } from "./role.ts";

export const wakeSoon: DestinationCommand = { kind: "wake", afterMs: retryMs };

export function step(state: DestinationState, ...commands: DestinationCommand[]): DestinationStep {
  return { state, commands };
}

export function onRecord(state: DestinationState): DestinationStep {
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
    case "aborting":
    case "relinquished":
    case "returning":
      return state.isGone ? onGone(state) : step(state);
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
      if (state.isGone) return reportOver(state);
      return step({ ...state, stage: "discarding" }, { kind: "destroy-copy" });
  }
}

/** The copy is gone, by our hand or by itself: what the journal and the record allow now. */
export function onGone(state: DestinationState): DestinationStep {
  const { record } = state;
  if (state.hasRelinquished) return step({ ...state, stage: "relinquished" }, { kind: "read-record" }, wakeSoon);
  if (record && record.verdict !== "open" && record.verdict !== "committed") return reportOver(state);
  if (record?.verdict === "committed") {
    // What became of it was heard already: an earlier life of this agent said so.
    if (record.confirmed) return reportOver(state);
    const mayHaveRun = state.runRefused !== state.runIntent; // D4: by the last intent, if there was any
    if (!mayHaveRun) return step({ ...state, stage: "returning" }, returnReport(state));
    const lost: DestinationState = { ...state, stage: "lost", outcome: "guest-lost" };
    return step(lost, confirmReport(lost));
  }
  // Nothing is known to be committed. Should it be all the same, the abort is refused and the record comes back.
  const intended = intend(state, "destination-lost-copy", "the destination's copy is gone");
  const aborting: DestinationState = { ...intended, stage: "aborting" };
  return step(aborting, abortReport(aborting));
}

export function onEnded(
  state: DestinationState,
  event: Extract<DestinationEvent, { kind: "guest-ended" }>,
): DestinationStep {
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

export function onLinked(state: DestinationState): DestinationStep {
  // A source that comes back after a break is told what is known.
  return state.record && state.record.verdict !== "open" ? step(state, { kind: "relay-record" }) : step(state);
}

export function onGateRead(state: DestinationState, ask: number, fresh: MigrationRecord | null): DestinationStep {
  const isOpen = fresh?.verdict === "open" && !fresh.cancelRequested && state.stage === "loading";
  const said: DestinationCommand = { kind: "send-peer", message: { kind: isOpen ? "gate-open" : "gate-shut", ask } };
  if (isOpen || !fresh) return step(state, said);
  const after = onRecord(state);
  return { state: after.state, commands: [said, ...after.commands] };
}

export function onPeerFailure(state: DestinationState, message: PeerMessage): DestinationStep {
  if (message.kind !== "failed") return step(state);
  const withdrawn = intend(state, message.reason, message.detail);
  return state.stage === "preparing" ? discard(withdrawn) : settle(withdrawn);
}

export function onSourceComplete(state: DestinationState): DestinationStep {
  return state.stage === "refused" && state.runRefused === state.runIntent ? afterRefusal(state) : step(state);
}

/** Rule 7: only at the source's request, only while this side is cut off as well. Reading shows whether it is. */
export function onAskedWord(state: DestinationState): DestinationStep {
  if (state.stage === "relinquished" && state.nonce) return step(state, { kind: "give-word", nonce: state.nonce });
  return step(state, { kind: "read-record" });
}

export function onCutOff(state: DestinationState): DestinationStep {
  switch (state.stage) {
    case "preparing":
    case "loading":
    case "settling":
    case "aborting": // Its copy is gone, too: the word costs nothing.
      return state.nonce !== null && !state.commitSent
        ? step({ ...state, stage: "relinquishing" }, { kind: "journal", what: "relinquished" })
        : step(state);
    default:
      return step(state);
  }
}

/** The source acts on a cancel; one that does not, hung or hostile, must not hold this host for ever. */
export function onLoadingWake(state: DestinationState, atMs: number): DestinationStep {
  const again: DestinationCommand = { kind: "wake", afterMs: 1000 };
  const reason = state.record?.verdict === "open" ? state.record.cancelRequested : null;
  if (!reason) return step(state, again);
  const cancelKnownAtMs = state.cancelKnownAtMs ?? atMs;
  if (atMs - cancelKnownAtMs <= cancelPatienceMs) return step({ ...state, cancelKnownAtMs }, again);
  return settle(intend(state, reason, "asked for by a user; the source did not act on it"));
}

export function tryToRun(state: DestinationState): DestinationStep {
  const runIntent = state.runIntent + 1;
  return step({ ...state, stage: "starting", runIntent }, { kind: "journal", what: "run-intent", number: runIntent });
}

/** Once the tries are spent, the record may have moved on without this host: it was declared lost, and came back. */
export function tryAgain(state: DestinationState): DestinationStep {
  const trying = tryToRun(state);
  return state.triesLeft > 0 ? trying : step(trying.state, { kind: "read-record" }, ...trying.commands);
}

export function onRunAnswered(
  state: DestinationState,
  answer: "granted" | "refused" | "unknown",
  detail: string,
): DestinationStep {
  switch (answer) {
    case "granted":
      return confirm(state, state.record?.arrivesPaused ? "paused" : "running");
    case "refused": {
      const intended = intend(state, "run-refused", detail);
      const refused: DestinationState = { ...intended, stage: "refused", triesLeft: state.triesLeft - 1 };
      return step(refused, journalRefusal(refused));
    }
    case "unknown":
      return step(state, { kind: "look-at-machine" });
  }
}

export function journalRefusal(state: DestinationState): DestinationCommand {
  return { kind: "journal", what: "run-refused", number: state.runIntent };
}

/** D3: offered back once the tries are spent and the source has said that its copy is whole; else tried again. */
export function afterRefusal(state: DestinationState): DestinationStep {
  if (state.triesLeft > 0 || !state.sourceIsComplete) return step(state, wakeSoon);
  return step({ ...state, stage: "returning" }, { kind: "destroy-copy" });
}

/** The guest is here as its user wants it: executing, or standing with all that it needs to execute. */
export function confirm(state: DestinationState, outcome: "running" | "paused"): DestinationStep {
  const confirming: DestinationState = { ...state, stage: "confirming", outcome };
  return step(confirming, { kind: "send-peer", message: { kind: "arrived", commitMs: 0 } }, confirmReport(confirming));
}

export function beginCommit(state: DestinationState): DestinationStep {
  return step(
    { ...state, stage: "intending" },
    { kind: "send-peer", message: { kind: "loaded" } },
    { kind: "journal", what: "commit-sent" },
  );
}

/** Before anything that may be complete is given up: end the stream, then look. */
export function settle(state: DestinationState): DestinationStep {
  return step({ ...state, stage: "settling" }, { kind: "settle-stream" });
}

/** Ends a copy that is incomplete, or superseded by the record. */
export function discard(state: DestinationState): DestinationStep {
  return step({ ...state, stage: "discarding" }, { kind: "destroy-copy" });
}

function onMigration(state: DestinationState) {
  const { migrationId, vmId, openToken: fencingToken, peer } = state;
  return { migrationId, vmId, fencingToken, peerHostId: peer.hostId };
}

export function withdrawal(state: DestinationState): { reason: EndReason; detail: string } {
  const { reason, detail } = state.withdrawal ?? { reason: "destination-lost-copy" as const, detail: "" };
  return { reason, detail: detail.slice(0, 1000) };
}

export function commitReport(state: DestinationState): DestinationCommand {
  return { kind: "report", report: { kind: "destination-commits", ...onMigration(state) } };
}
export function abortReport(state: DestinationState): DestinationCommand {
  return { kind: "report", report: { kind: "destination-aborts", ...onMigration(state), ...withdrawal(state) } };
}
export function returnReport(state: DestinationState): DestinationCommand {
  return { kind: "report", report: { kind: "destination-returns", ...onMigration(state), ...withdrawal(state) } };
}
export function confirmReport(state: DestinationState): DestinationCommand {
  const { outcome, resetsAtSource } = state;
  const detail = isAlive(outcome) ? "" : withdrawal(state).detail;
  const resets = resetsAtSource === null ? {} : { resetsAtSource };
  return { kind: "report", report: { kind: "guest-confirmed", ...onMigration(state), outcome, detail, ...resets } };
}

/** D2: each command is made of the record that was read under `committed`; without one there is none. */
export function runCopy({ record }: DestinationState): DestinationCommand[] {
  if (!record) return [];
  return [{ kind: "run-copy", fencingToken: record.verdictToken, paused: record.arrivesPaused ?? false }];
}

const isAlive = (outcome: DestinationState["outcome"]): outcome is "running" | "paused" =>
  outcome === "running" || outcome === "paused";

/** The report that frees this host's slot; the source hears what it rests on. */
export function reportOver(state: DestinationState): DestinationStep {
  const isHere = isAlive(state.outcome) && !state.isGone;
  const report: AgentReport = {
    kind: "copy-seen",
    vmId: state.vmId,
    copyId: state.own.copyId,
    fencingToken: Math.max(state.openToken, state.record?.verdictToken ?? 0),
    state: isAlive(state.outcome) && !state.isGone ? state.outcome : "gone",
    because: isHere ? "ordered" : "migration-over",
    detail: "",
    migrationId: state.migrationId,
    summary: null,
  };
  return step({ ...state, stage: "reporting" }, { kind: "relay-record" }, { kind: "report", report });
}
