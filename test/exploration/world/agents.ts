// The runners of both roles (agents/roles/): what a machine orders becomes something under way, and what came of it is
// fed back.
import {
  beginDestination,
  type DestinationCommand,
  type DestinationEvent,
  type DestinationState,
} from "../../../agents/domain/destination.ts";
import type { ReportOutcome } from "../../../agents/domain/role.ts";
import { beginSource, type SourceCommand, type SourceEvent, type SourceState } from "../../../agents/domain/source.ts";
import type { AgentReport } from "../../../schemas/agent.ts";
import type { MigrationRecord } from "../../../schemas/migration.ts";
import { recordNow, someReason } from "./control-plane.ts";
import {
  blame,
  copyOf,
  hostAt,
  hostOf,
  isComplete,
  type Message,
  machineOf,
  moveAt,
  otherSide,
  type Pending,
  putGuest,
  putHost,
  putMove,
  putQueue,
  putWire,
  type Side,
  vmOf,
  type World,
} from "./world.ts";

export function beginAtSource(world: World, m: number): SourceState {
  const { record } = moveAt(world, m);
  return beginSource({
    migrationId: record.id,
    vmId: record.vmId,
    openToken: record.openedUnderToken,
    own: record.source,
    peer: record.destination,
    limits: record.limits,
    commitMs: 0,
  });
}
export function beginAtDestination(world: World, m: number): DestinationState {
  const { record } = moveAt(world, m);
  const { id: migrationId, vmId, openedUnderToken: openToken } = record;
  return beginDestination({ migrationId, vmId, openToken, own: record.destination, peer: record.source }, 0);
}

/** Copy commands keep their order among themselves, as the agents' lane does. */
const laneKinds = new Set([
  "permit-next",
  "start-stream",
  "throttle",
  "hold-at-gate",
  "pass-gate",
  "cancel-at-gate",
  "cancel-stream",
  "run-copy",
  "destroy-copy",
  "settle-stream",
  "look-at-machine",
  "take-back-lock",
]);

export function feedSource(world: World, m: number, event: SourceEvent, atMs = 0): void {
  const state = moveAt(world, m).source;
  if (!state) return;
  const next = world.rules.advanceSource(state, event, atMs);
  setSource(world, m, next.state, next.commands);
}
export function setSource(world: World, m: number, state: SourceState, commands: SourceCommand[]): void {
  const before = moveAt(world, m).source;
  if (before && state.stage !== before.stage) setWake(world, m, "source", false);
  if (
    before?.stage === "copying" &&
    state.stage === "holding" &&
    !(before.ask && (before.ask.own === "open" || before.ask.peer === "open"))
  ) {
    blame(world, "rule 2: the guest is stopped without a fresh look at the record by both sides");
  }
  if (before?.stage === "copying" && state.stage === "holding" && state.record?.cancelRequested) {
    blame(world, "rule 2: the guest is stopped though a cancel is intended");
  }
  if (state.stage === "over") {
    finish(world, m, "source");
    return;
  }
  putMove(world, m, {
    // Instants are told apart only by "patience is over" or not; that comes with the event.
    source: {
      ...state,
      lastSampleAtMs: 0,
      blockedUntilMs: 0,
      pastAtMs: 0,
      excusedRounds: 0,
      frozenReported: true,
      ask: state.ask && { ...state.ask, atMs: 0 },
      withdrawal: state.withdrawal && someReason,
      ended: state.ended && { ...state.ended, detail: "" },
    },
  });
  for (const command of commands) begin(world, m, "source", command);
}
export function feedDestination(world: World, m: number, event: DestinationEvent, atMs = 0): void {
  const state = moveAt(world, m).destination;
  if (!state) return;
  const next = world.rules.advanceDestination(state, event, atMs);
  if (state.stage !== "relinquishing" && next.state.stage === "relinquishing" && event.kind !== "record-unknown") {
    blame(world, "rule 7: the word is prepared before this side found itself cut off");
  }
  if (next.state.stage === "relinquishing" && moveAt(world, m).wire.journal.destination?.commitSent) {
    blame(world, "rule 7: the word is prepared though a commit may have been sent");
  }
  if (state.stage !== "returning" && next.state.stage === "returning" && !next.state.isGone) checkHandBack(world, m);
  setDestination(world, m, next.state, next.commands);
}

/** Rule 6, I2: a complete copy is given up for another that is complete as far as anyone can have heard. */
function checkHandBack(world: World, m: number): void {
  if (isComplete(copyOf(world, m, "source")) || moveAt(world, m).record.verdict.kind === "forced") return;
  const isUnheard = moveAt(world, m).wire.toDestination.some(({ kind }) => kind === "failed");
  if (isUnheard) putGuest(world, vmOf(moveAt(world, m)), { isExcused: true });
  else blame(world, "rule 6: the guest is handed back to a source that is known to have lost its copy");
}

export function setDestination(world: World, m: number, state: DestinationState, commands: DestinationCommand[]): void {
  const before = moveAt(world, m).destination;
  if (before && state.stage !== before.stage) setWake(world, m, "destination", false);
  if (state.stage === "over") {
    finish(world, m, "destination");
    return;
  }
  putMove(world, m, {
    destination: {
      ...state,
      startedAtMs: 0,
      cancelKnownAtMs: null,
      withdrawal: state.withdrawal && someReason,
      triesLeft: Math.max(0, Math.min(state.triesLeft, world.rules.tries)),
    },
  });
  for (const command of commands) begin(world, m, "destination", command);
}

/** The role is over: it notes so, and closes its link. */
function finish(world: World, m: number, side: Side): void {
  const { record, wire, queue } = moveAt(world, m);
  if (record.verdict.kind === "open") blame(world, "I8: a host is done with a migration that has no verdict");
  const own = wire.journal[side];
  putWire(world, m, { journal: { ...wire.journal, [side]: { ...own, isOver: true } } });
  putMove(world, m, { [side]: null });
  putQueue(world, m, {
    pending: queue.pending.filter((pending) => pending.at !== side),
    wakes: { ...queue.wakes, [side]: false },
  });
  if (wire.hasLink) post(world, m, otherSide(side), { kind: "closed" });
  if (side === "destination") putWire(world, m, { isExpecting: false });
}

export function setWake(world: World, m: number, side: Side, isSet: boolean): void {
  const { wakes } = moveAt(world, m).queue;
  if (wakes[side] !== isSet) putQueue(world, m, { wakes: { ...wakes, [side]: isSet } });
}

/** Puts a message on the link, towards one side. */
export function post(world: World, m: number, to: Side, message: Message): void {
  const { wire } = moveAt(world, m);
  if (!wire.hasLink) return;
  // Said again before it was heard the first time: it is heard once.
  const last = (to === "source" ? wire.toSource : wire.toDestination).at(-1);
  if (last && JSON.stringify(last) === JSON.stringify(message)) return;
  if (to === "source") putWire(world, m, { toSource: [...wire.toSource, message] });
  else putWire(world, m, { toDestination: [...wire.toDestination, message] });
}

function begin(world: World, m: number, at: Side, command: SourceCommand | DestinationCommand): void {
  switch (command.kind) {
    case "wake":
      setWake(world, m, at, true);
      return;
    case "send-peer": {
      const { message } = command;
      post(world, m, otherSide(at), message.kind === "failed" ? { kind: "failed", ...someReason } : message);
      return;
    }
    case "relay-record": {
      const known = (at === "source" ? moveAt(world, m).source : moveAt(world, m).destination)?.record;
      if (known) post(world, m, otherSide(at), { kind: "relayed", record: known });
      return;
    }
    case "finish":
    case "throttle":
      return;
    case "report":
      if (command.report.kind === "migration-progressed") return;
      if (
        command.report.kind === "destination-aborts" &&
        !["none", "ended"].includes(machineOf(world, m, "destination"))
      ) {
        blame(world, "rule 5: `aborted` is sent while the destination's copy is there");
      }
      if (command.report.kind === "destination-commits" && !moveAt(world, m).wire.journal.destination?.commitSent) {
        blame(world, "rule 5: a commit is sent that no journal knows of");
      }
      addCommand(world, m, at, { ...command, report: bare(command.report) });
      return;
    case "ask-word":
      // With the nonce that its journal has by now.
      if (moveAt(world, m).wire.journal.source?.hasAsked) {
        post(world, m, "destination", { kind: "ask-relinquish", nonce: "n" });
      } else addCommand(world, m, at, command);
      return;
    case "give-word":
      // It names the life that the link is to.
      if (moveAt(world, m).wire.hasLink) addCommand(world, m, at, command);
      return;
    case "destroy-copy":
      if (at === "destination" && isNothingThere(world, m)) feedDestination(world, m, { kind: "destroyed" });
      else addCommand(world, m, at, command);
      return;
    default:
      addCommand(world, m, at, command);
  }
}

/** There never was a copy, and none is being built: its end needs nobody. */
function isNothingThere(world: World, m: number): boolean {
  return machineOf(world, m, "destination") === "none" && !isLaunching(world, m);
}

export function isLaunching(world: World, m: number): boolean {
  return moveAt(world, m).queue.pending.some((one) => one.kind === "command" && one.command.kind === "launch-copy");
}

function addCommand(world: World, m: number, at: Side, command: SourceCommand | DestinationCommand): void {
  const { pending } = moveAt(world, m).queue;
  const text = JSON.stringify(command);
  // Asking the same thing twice at once adds no behaviour; of the requests there is one of a kind at a time.
  if (pending.some((other) => other.at === at && (isOfKind(other, command) || isSame(other, text)))) return;
  putQueue(world, m, { pending: [...pending, { at, kind: "command", lane: laneKinds.has(command.kind), command }] });
}

const isSame = (other: Pending, text: string): boolean =>
  other.kind === "command" && JSON.stringify(other.command) === text;

/** The answer of the one under way serves both (agents/roles/pacing.ts). */
function isOfKind(other: Pending, command: SourceCommand | DestinationCommand): boolean {
  if (command.kind === "read-record") {
    return other.kind === "command" ? other.command.kind === "read-record" : other.event.kind !== "gate-read";
  }
  if (command.kind !== "report" || other.kind === "answer" || other.command.kind !== "report") return false;
  return other.command.report.kind === command.report.kind;
}

function bare(report: AgentReport): AgentReport {
  if ("reason" in report) return { ...report, ...someReason } as AgentReport;
  return "detail" in report ? ({ ...report, detail: "" } as AgentReport) : report;
}

export function hear(
  world: World,
  m: number,
  side: Side,
  event: Extract<Pending, { kind: "answer" }>["event"] | null,
): void {
  if (!event) return;
  if (side === "source") feedSource(world, m, event as SourceEvent);
  else feedDestination(world, m, event as DestinationEvent);
}

/** The record, if this host may act on it by the tokens it remembers. */
export function accept(world: World, m: number, side: Side, record: MigrationRecord): MigrationRecord | null {
  const move = moveAt(world, m);
  const h = hostOf(move, side);
  const highest = hostAt(world, h).tokens[vmOf(move)] ?? 0;
  if (record.migrationId !== move.record.id && !world.rules.habits.hearsOthersRecords) return null;
  if (!world.rules.mayActOn(record, highest, move.record[side].copyId)) return null;
  if (world.rules.keepsTokensAtOnce) raiseToken(world, h, vmOf(move), record.verdictToken);
  return record;
}
export function noteRecord(world: World, m: number, side: Side, record: MigrationRecord): void {
  const accepted = accept(world, m, side, record);
  if (accepted) hear(world, m, side, { kind: "record-known", record: accepted });
}
export function raiseToken(world: World, h: number, v: number, token: number): void {
  const { tokens } = hostAt(world, h);
  if ((tokens[v] ?? 0) < token) putHost(world, h, { tokens: tokens.map((known, i) => (i === v ? token : known)) });
}

export function answerReport(world: World, m: number, side: Side, report: AgentReport, outcome: ReportOutcome): void {
  const record =
    outcome === "unknown" || isRefused(world, m, side) ? null : accept(world, m, side, recordNow(world, m));
  hear(world, m, side, { kind: "report-answered", report: report.kind, outcome, record });
}

type ReadAnswer = Extract<
  SourceEvent & DestinationEvent,
  { kind: "gate-read" | "record-known" | "record-unknown" | "record-refused" }
>;
/** @returns null where nothing follows: a record that may not be acted on is not heard */
export function answerRead(
  world: World,
  m: number,
  side: Side,
  ask: number | null,
  isAnswered: boolean,
): ReadAnswer | null {
  const isHeard = isAnswered && !isRefused(world, m, side);
  const record = isHeard ? accept(world, m, side, recordNow(world, m)) : null;
  if (ask !== null) return { kind: "gate-read", ask, record };
  if (record) return { kind: "record-known", record };
  if (isHeard) return null;
  return { kind: isAnswered ? "record-refused" : "record-unknown" };
}

/** The control plane takes nothing of this host: an operator has declared its incarnation lost. */
export function isRefused(world: World, m: number, side: Side): boolean {
  return world.rules.habits.refusesTheLost && hostAt(world, hostOf(moveAt(world, m), side)).isDeclaredLost;
}

/** With the agent its commands go; what it had sent to the control plane may still land. */
export function dropRole(world: World, m: number, side: Side): void {
  const { queue } = moveAt(world, m);
  const sent = queue.pending.flatMap((pending) =>
    pending.at === side && pending.kind === "command" && pending.command.kind === "report"
      ? [pending.command.report]
      : [],
  );
  putQueue(world, m, {
    pending: queue.pending.filter((pending) => pending.at !== side),
    // A last report that lands late frees a slot that its host reports again.
    late: [...queue.late, ...sent.filter(({ kind }) => kind !== "copy-seen" || world.rules.habits.watchesLateWrites)],
    wakes: { ...queue.wakes, [side]: false },
  });
  putMove(world, m, { [side]: null });
  if (side === "destination") putWire(world, m, { isExpecting: false });
  breakLink(world, m);
}

export function breakLink(world: World, m: number): void {
  if (!moveAt(world, m).wire.hasLink) return;
  putWire(world, m, { hasLink: false, toSource: [], toDestination: [] });
  const { pending } = moveAt(world, m).queue;
  const isWord = (one: Pending): boolean => one.kind === "command" && one.command.kind === "give-word";
  if (pending.some(isWord)) putQueue(world, m, { pending: pending.filter((one) => !isWord(one)) });
  feedSource(world, m, { kind: "peer-lost" });
  feedDestination(world, m, { kind: "peer-lost" });
}

/** Begins or takes up one end, as the agent does with an assignment or with its journal. */
export function recoverRole(world: World, m: number, side: Side): void {
  const { wire } = moveAt(world, m);
  const machine = machineOf(world, m, side);
  if (side === "source") {
    const isLost = wire.journal.source?.isLost ?? false;
    const at = machine === "none" ? "ended" : machine;
    const gate = wire.gate ?? (isLost && world.rules.worstCase.gateUnknown && at !== "running" ? "past" : null);
    const found = {
      machine: at === "running" || at === "ended" ? at : ("standing" as const),
      gate,
      ended: at === "ended" ? { how: "killed" as const, detail: "" } : null,
    };
    const { state, commands } = world.rules.recoverSource(beginAtSource(world, m), found, 0);
    setSource(world, m, state, commands);
    return;
  }
  const journal = wire.journal.destination;
  if (!journal) throw new Error("recovered without a journal");
  const seen = {
    none: "ended",
    incoming: "incomplete",
    loaded: "complete",
    running: "running",
    stopped: "running",
    ended: "ended",
  } as const;
  const { state, commands } = world.rules.recoverDestination(beginAtDestination(world, m), journal, seen[machine]);
  setDestination(world, m, state, commands);
}
