// The steps that the source's table is made of (agents/domain/source.ts has the rules).
import type { AgentReport } from "../../schemas/agent.ts";
import type { EndReason, MigrationRecord, Round } from "../../schemas/migration.ts";
import type { PeerMessage } from "../../schemas/peer.ts";
import { expectedDowntimeMs, judgeRound } from "./convergence.ts";
import { intend, namesThis } from "./role.ts";

import {
  commitPatienceMs,
  deviceMs,
  frozenAfterMs,
  type GateAsk,
  gateFreshMs,
  gatePauseMs,
  retryMs,
  type SourceCommand,
  type SourceEvent,
  type SourceState,
  type SourceStep,
} from "./source-state.ts";

export function step(state: SourceState, ...commands: SourceCommand[]): SourceStep {
  return { state, commands };
}

export function onRecord(state: SourceState): SourceStep {
  const { record } = state;
  if (!record) return step(state);
  switch (record.verdict) {
    case "open":
      // Should its destination be lost as well, an operator may decide only where this is known.
      if (state.stage === "copyless") return step(state, lastReport(state), { kind: "wake", afterMs: 1000 });
      return record.cancelRequested ? withdraw(state, record.cancelRequested, "asked for by a user") : step(state);
    case "committed":
      return onCommitted(state, record);
    case "forced":
      return namesThis(record.owner, state.own) ? onGivenBack(state, record) : endCopy(state, record);
    case "aborted":
    case "returned":
      return onGivenBack(state, record);
  }
}

function onCommitted(state: SourceState, record: MigrationRecord): SourceStep {
  if (record.confirmed) return endCopy(state, record);
  switch (state.stage) {
    case "in-doubt":
      // The destination is lost, by an operator's word: whether it ever ran the guest, the lock file says.
      if (record.takeBackRequested) return step(state, { kind: "take-back-lock", fencingToken: record.verdictToken });
      // Rule 6: the destination may end its copy only after it has heard this, said after the commit.
      return state.saidComplete || !state.isLinked
        ? step(state)
        : step(
            { ...state, saidComplete: true },
            { kind: "relay-record" }, // the destination may be cut off from the control plane
            { kind: "send-peer", message: { kind: "source-complete" } },
          );
    case "copyless":
      return record.takeBackRequested
        ? step(state, takeBackRefused(state, "its copy is gone as well"), { kind: "wake", afterMs: 1000 })
        : step(state, { kind: "wake", afterMs: 1000 });
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

/** Rule 8, of a record that is confirmed or forced: under a strictly higher token, another copy named. */
function endCopy(state: SourceState, record: MigrationRecord): SourceStep {
  if (record.verdictToken <= state.openToken || namesThis(record.owner, state.own)) return step(state);
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

/** Held, the lock file bars the destination for good; then the record may name this copy again. */
export function onLockTakenBack(state: SourceState, refusal: { by: string; detail: string } | null): SourceStep {
  if (refusal) {
    // Held by another, or naming one: the destination may have run it. Anything else proves nothing either way, and
    // is tried again with the next reading of the record.
    const isProof = refusal.by === "lock-held" || refusal.by === "lock-superseded";
    return isProof ? step(state, takeBackRefused(state, `destination-may-have-run: ${refusal.detail}`)) : step(state);
  }
  return step(state, { kind: "report", report: { kind: "source-takes-back", ...onMigration(state) } });
}

function takeBackRefused(state: SourceState, detail: string): SourceCommand {
  return {
    kind: "report",
    report: { kind: "take-back-refused", ...onMigration(state), detail: detail.slice(0, 1000) },
  };
}

export function onEnded(state: SourceState, event: Extract<SourceEvent, { kind: "guest-ended" }>): SourceStep {
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
      return step({ ...known, stage: "copyless" }, ...takeBackStatement(state), { kind: "read-record" });
    default:
      return step(known);
  }
}

/** The destination must not end its own copy on the strength of one that is gone. */
function takeBackStatement(state: SourceState): SourceCommand[] {
  if (!state.saidComplete) return [];
  const message = { kind: "failed", reason: "guest-ended", detail: "the source's stopped copy is gone" } as const;
  return [{ kind: "send-peer", message }];
}

export function onPeerLost(state: SourceState, atMs: number): SourceStep {
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
export function onLinked(state: SourceState): SourceStep {
  return state.stage === "in-doubt" ? onRecord(state) : step(state);
}

export function onPeerFailure(state: SourceState, message: PeerMessage): SourceStep {
  return message.kind === "failed" ? withdraw(state, message.reason, message.detail) : step(state);
}

export function onRound(state: SourceState, round: Round, atMs: number): SourceStep {
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
export function onGateRead(state: SourceState, asked: GateAsk, record: MigrationRecord, atMs: number): SourceStep {
  if (record.verdict !== "open" || record.cancelRequested) return onRecord({ ...state, ask: null });
  return onGateAnswer(state, asked, "own", "open", atMs);
}

export function onGateAnswer(
  state: SourceState,
  asked: GateAsk,
  side: "own" | "peer",
  answer: "open" | "shut",
  atMs: number,
): SourceStep {
  const ask: GateAsk = { ...asked, [side]: answer };
  const shut: SourceState = { ...state, ask: null, blockedUntilMs: atMs + gatePauseMs };
  if (answer === "shut" || atMs - ask.atMs > gateFreshMs) return step(shut);
  if (ask.own !== "open" || ask.peer !== "open") return step({ ...state, ask });
  const stillFits =
    state.lastRound && expectedDowntimeMs(state.lastRound, deviceMs + state.commitMs) <= state.downtimeLimitMs;
  return stillFits ? step({ ...state, ask: null, stage: "holding" }, { kind: "hold-at-gate" }) : step(shut);
}

/** Told before the gate is past: the new owner makes only those resets that were not made here. */
export function guestStands(resets: number | undefined): SourceCommand[] {
  return resets === undefined ? [] : [{ kind: "send-peer", message: { kind: "guest-stands", resets } }];
}

export function enterDoubt(state: SourceState, atMs: number): SourceStep {
  const doubting: SourceState = { ...state, stage: "in-doubt", pastAtMs: atMs };
  const wake: SourceCommand = { kind: "wake", afterMs: retryMs };
  if (state.withdrawal) return step(doubting, abortReport(doubting), wake);
  return step(doubting, wake);
}

/** Past the gate an abort is only a write that may lose against the commit; the record it leaves decides. */
export function tryAbort(state: SourceState): SourceStep {
  return step(state, abortReport(state));
}

export function onDoubtWake(state: SourceState, atMs: number): SourceStep {
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
export function alarmWhenFrozen(state: SourceState, atMs: number, ...commands: SourceCommand[]): SourceStep {
  if (atMs - state.pastAtMs <= frozenAfterMs || state.frozenReported) return step(state, ...commands);
  const report: SourceCommand = { kind: "report", report: progress(state, "switchover", true) };
  return step({ ...state, frozenReported: true }, ...commands, report);
}

export function resume(state: SourceState, fencingToken: number): SourceStep {
  return step(
    { ...state, stage: "resuming", runToken: fencingToken },
    { kind: "cancel-stream" },
    { kind: "run-copy", fencingToken },
  );
}

/** S2: ends the attempt from wherever it stands before the gate is past. */
export function withdraw(state: SourceState, reason: EndReason, detail: string): SourceStep {
  const intended = intend(state, reason, detail);
  switch (state.stage) {
    case "linking":
      return abort(intended);
    case "copying":
      return abort(intended, { kind: "cancel-stream" });
    case "in-doubt":
      return state.withdrawal ? step(intended) : tryAbort(intended);
    default:
      return step(intended);
  }
}

export function release(state: SourceState): SourceStep {
  return step({ ...state, stage: "releasing" }, { kind: "cancel-at-gate" });
}

export function abort(state: SourceState, ...before: SourceCommand[]): SourceStep {
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

export function abortReport(state: SourceState): SourceCommand {
  const { reason, detail } = reasonOf(state);
  return {
    kind: "report",
    report: { kind: "source-aborts", ...onMigration(state), reason, detail: detail.slice(0, 1000) },
  };
}

export function progress(
  state: SourceState,
  phase: "precopy" | "switchover",
  frozen: boolean,
): Extract<AgentReport, { kind: "migration-progressed" }> {
  return {
    kind: "migration-progressed",
    ...onMigration(state),
    phase,
    rounds: [],
    currentRound: null,
    encrypted: null,
    frozen,
  };
}

/** The report that frees this host's slot. */
export function reportOver(state: SourceState, ...before: SourceCommand[]): SourceStep {
  const isHere = !state.hasLeft && !state.ended;
  const unpermit: SourceCommand[] = isHere ? [{ kind: "permit-next", copyId: null }] : [];
  return step({ ...state, stage: "reporting" }, ...before, ...unpermit, lastReport(state));
}

/** What is left here of the guest. */
function lastReport(state: SourceState): SourceCommand {
  const isHere = !state.hasLeft && !state.ended;
  const report: AgentReport = {
    kind: "copy-seen",
    vmId: state.vmId,
    copyId: state.own.copyId,
    fencingToken: Math.max(state.openToken, state.record?.verdictToken ?? 0),
    state: isHere ? "running" : "gone",
    because: state.hasLeft ? "migration-over" : (state.ended?.how ?? "ordered"),
    detail: state.ended?.detail.slice(0, 1000) ?? "",
    migrationId: state.migrationId,
    summary: null, // the runner, which measured, fills it in; and it looks whether the guest is paused
  };
  return { kind: "report", report };
}
