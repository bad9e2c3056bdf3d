// Every step the world of one migration can take: agents' commands carried out, answers heard or lost, messages,
// crashes, cuts. A fault is a step that a liveness proof may not count on.

import { stampFor } from "../../../agents/adapters/lock-rule.ts";
import { recoverDestination } from "../../../agents/domain/destination.ts";
import type { ReportOutcome } from "../../../agents/domain/role.ts";
import { recoverSource } from "../../../agents/domain/source.ts";
import { decideVerdict, ownerBy, type VerdictEvent } from "../../../functions/domain/verdict.ts";
import type { AgentReport } from "../../../schemas/agent.ts";
import {
  beginAtDestination,
  beginAtSource,
  ends,
  feedDestination,
  feedSource,
  type Pending,
  recordOf,
  type Side,
  setDestination,
  setSource,
  type World,
} from "./world.ts";

export type Step = { name: string; isFault: boolean; world: World };
export type Bounds = { faults: number; asks: number };

/** Far beyond every patience of the machines. */
const late = 1e9;

const fittingRound = {
  round: 1,
  bytes: 0,
  durationMs: 1,
  remainingBytes: 0,
  dirtyBytesPerSecond: 0,
  bandwidthBytesPerSecond: 1e9,
  throttlePercent: 0,
};

export function stepsFrom(before: World, bounds: Bounds): Step[] {
  const steps: Step[] = [];
  const add = (name: string, isFault: boolean, change: (world: World) => void): void => {
    if (isFault && before.faults >= bounds.faults) return;
    const world = copyOf(before);
    change(world);
    if (isFault) world.faults += 1;
    tidy(world);
    check(before, world, isFault);
    steps.push({ name, isFault, world });
  };

  pendingSteps(before, add);
  messageSteps(before, add);
  wakeSteps(before, add);
  streamSteps(before, add, bounds);
  agentSteps(before, add);
  claimSteps(before, add);
  for (const [index, report] of before.late.entries()) {
    add(`late ${report.kind} lands`, false, (world) => {
      world.late.splice(index, 1);
      apply(world, report);
    });
    add(`late ${report.kind} is lost`, false, (world) => world.late.splice(index, 1));
  }
  if (!before.record.cancel && before.record.verdict.kind === "open") {
    add("a user cancels", true, (world) => {
      world.record.cancel = true;
    });
  }
  return steps;
}

/** The machines' states are never changed in place, so a copy of the world around them is enough. */
function copyOf(world: World): World {
  return {
    ...world,
    pending: [...world.pending],
    wakes: { ...world.wakes },
    late: [...world.late],
    record: { ...world.record },
    journal: { ...world.journal },
    lock: { ...world.lock },
    machines: { ...world.machines },
    memory: { ...world.memory },
    toSource: [...world.toSource],
    toDestination: [...world.toDestination],
  };
}

/** One form for worlds that differ in nothing that decides anything. */
function tidy(world: World): void {
  const keyed = world.pending.map((pending) => ({ pending, key: order(pending) }));
  keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  world.pending = keyed.map(({ pending }) => pending);
  const lateKinds = new Map(world.late.map((report) => [report.kind, report]));
  world.late = [...lateKinds.values()].sort((a, b) => (a.kind < b.kind ? -1 : 1));
  // A write that can no longer change the record is as good as lost.
  if (world.record.verdict.kind === "aborted" || world.record.verdict.kind === "returned") world.late = [];
  // Only how far memories are behind the guest counts, not how often it ran.
  const { source, destination, latest } = world.memory;
  world.memory = { source: source === latest ? 1 : 0, destination: destination === latest ? 1 : 0, latest: 1 };
}

type Add = (name: string, isFault: boolean, change: (world: World) => void) => void;

/** Lane entries keep their order; the rest is a set. */
function order(pending: Pending): string {
  return pending.lane ? `${pending.at}` : `z${pending.at}${JSON.stringify(pending)}`;
}

function pendingSteps(before: World, add: Add): void {
  for (const [index, pending] of before.pending.entries()) {
    const isFirstInLane = !before.pending.slice(0, index).some((other) => other.lane && other.at === pending.at);
    if (pending.lane && !isFirstInLane) continue;
    const take = (world: World): void => {
      world.pending.splice(index, 1);
    };
    if (pending.kind === "answer") {
      add(`${pending.at} hears ${pending.event.kind}`, false, (world) => {
        take(world);
        hear(world, pending.at, pending.event);
      });
      continue;
    }
    const { command, at } = pending;
    const name = `${at}: ${command.kind === "report" ? command.report.kind : command.kind}`;
    switch (command.kind) {
      case "report": {
        const { report } = command;
        add(`${name} lands`, false, (world) => {
          take(world);
          answerReport(world, at, report, apply(world, report));
        });
        add(`${name} never lands, no answer`, true, (world) => {
          take(world);
          answerReport(world, at, report, "unknown");
        });
        add(`${name} lands, answer lost`, true, (world) => {
          take(world);
          apply(world, report);
          answerReport(world, at, report, "unknown");
        });
        add(`${name} is late`, true, (world) => {
          take(world);
          world.late.push(report);
          answerReport(world, at, report, "unknown");
        });
        break;
      }
      case "read-record":
      case "read-gate":
        add(`${name} is answered`, false, (world) => {
          take(world);
          const record = recordOf(world);
          const event =
            command.kind === "read-gate"
              ? ({ kind: "gate-read", ask: command.ask, record } as const)
              : ({ kind: "record-known", record } as const);
          hear(world, at, event);
        });
        add(`${name} is answered slowly`, true, (world) => {
          take(world);
          const record = recordOf(world);
          const event =
            command.kind === "read-gate"
              ? ({ kind: "gate-read", ask: command.ask, record } as const)
              : ({ kind: "record-known", record } as const);
          world.pending.push({ at, kind: "answer", lane: false, event });
        });
        add(`${name} finds the control plane away`, true, (world) => {
          take(world);
          const event =
            command.kind === "read-gate"
              ? ({ kind: "gate-read", ask: command.ask, record: null } as const)
              : ({ kind: "record-unknown" } as const);
          hear(world, at, event);
        });
        break;
      case "run-copy":
        add(`${name} under ${command.fencingToken}`, false, (world) => {
          take(world);
          runCopy(world, at, command.fencingToken);
        });
        add(`${name} is refused by the hypervisor`, true, (world) => {
          take(world);
          refuseRun(world, at, "hypervisor");
        });
        break;
      case "journal":
        add(`${name} ${command.what}`, false, (world) => {
          take(world);
          journal(world, command);
          feedDestination(world, { kind: "journalled", what: command.what });
        });
        add(`${name} ${command.what} fails`, true, (world) => {
          take(world);
          feedDestination(world, { kind: "journal-failed", detail: "" });
        });
        break;
      case "launch-copy":
        add(name, false, (world) => {
          take(world);
          world.machines.destination = "incoming";
          feedDestination(world, { kind: "launched" });
        });
        add(`${name} fails`, true, (world) => {
          take(world);
          feedDestination(world, { kind: "launch-failed", detail: "" });
        });
        break;
      case "connect-peer":
        if (before.destination && before.isExpecting && !before.link) {
          add(name, false, (world) => {
            take(world);
            world.link = true;
            feedDestination(world, { kind: "peer-linked" });
            feedSource(world, { kind: "peer-linked" });
          });
        }
        add(`${name} finds nobody`, true, (world) => {
          take(world);
          feedSource(world, { kind: "peer-unreachable", detail: "" });
        });
        break;
      default:
        if (isReady(before, pending)) {
          add(name, false, (world) => {
            take(world);
            carryOut(world, pending);
          });
        }
        break;
    }
  }
}

/** The stream's listener opens once both the copy and the link are there, and blocks nothing meanwhile. */
function isReady(world: World, pending: Extract<Pending, { kind: "command" }>): boolean {
  if (pending.command.kind !== "open-stream" || world.destination?.stage !== "preparing") return true;
  return world.link && world.machines.destination === "incoming";
}

function hear(world: World, at: Side, event: Extract<Pending, { kind: "answer" }>["event"]): void {
  if (at === "source") feedSource(world, event as Parameters<typeof feedSource>[1]);
  else feedDestination(world, event as Parameters<typeof feedDestination>[1]);
}

function answerReport(world: World, at: Side, report: AgentReport, outcome: ReportOutcome): void {
  const record = outcome === "unknown" ? null : recordOf(world);
  hear(world, at, { kind: "report-answered", report: report.kind, outcome, record });
}

/** The control plane's conditional write. */
function apply(world: World, report: AgentReport): ReportOutcome {
  if (report.kind === "copy-seen" || report.kind === "migration-progressed" || report.kind === "gap-measured")
    return "applied";
  const by = report.kind === "source-aborts" ? ends.source.hostId : ends.destination.hostId;
  const decision = decideVerdict(world.record.verdict, { ...report, by } as VerdictEvent, ends);
  if (decision.kind === "move") world.record.verdict = decision.verdict;
  return decision.kind === "refuse" ? "refused" : "applied";
}

function journal(world: World, command: { what: string; number?: number }): void {
  switch (command.what) {
    case "commit-sent":
      world.journal.commitSent = true;
      return;
    case "relinquished":
      world.journal.relinquished = true;
      return;
    case "run-intent":
      world.journal.runIntent = command.number ?? 0;
      return;
    default:
      world.journal.runRefused = command.number ?? 0;
  }
}

/** The supervisor's run: the lock file first, then the guest. */
function runCopy(world: World, at: Side, fencingToken: number): void {
  const machine = world.machines[at];
  if (machine === "ended" || machine === "none") {
    if (at === "source") feedSource(world, { kind: "run-answered", isGranted: false, detail: "" });
    else feedDestination(world, { kind: "run-answered", answer: "unknown", detail: "" });
    return;
  }
  const { lock } = world;
  const isFree = lock.holder === null || lock.holder === at;
  const stamp = isFree
    ? stampFor(
        { copyId: lock.copyId, fencingToken: lock.fencingToken, next: lock.next ? { copyId: lock.next } : null },
        ends[at].copyId,
        fencingToken,
      )
    : null;
  if (!stamp) {
    refuseRun(world, at, "lock");
    return;
  }
  world.lock = { holder: at, copyId: stamp.copyId, fencingToken: stamp.fencingToken, next: stamp.next?.copyId ?? null };
  execute(world, at);
  if (at === "source") feedSource(world, { kind: "run-answered", isGranted: true, detail: "" });
  else feedDestination(world, { kind: "run-answered", answer: "granted", detail: "" });
}

function refuseRun(world: World, at: Side, by: string): void {
  if (at === "source") feedSource(world, { kind: "run-answered", isGranted: false, detail: by });
  else feedDestination(world, { kind: "run-answered", answer: "refused", detail: by });
}

function execute(world: World, at: Side): void {
  if (world.machines[at] === "running") return;
  if (world.memory[at] < world.memory.latest) world.violation = `I1: ${at} executes stale memory`;
  world.machines[at] = "running";
  world.memory.latest += 1;
  world.memory[at] = world.memory.latest;
}

function carryOut(world: World, { at, command }: Extract<Pending, { kind: "command" }>): void {
  switch (command.kind) {
    case "permit-next":
      if (world.lock.holder === "source") world.lock.next = command.copyId;
      feedSource(world, { kind: "permitted" });
      return;
    case "expect-peer":
      world.isExpecting = true;
      feedDestination(world, { kind: "listening" });
      return;
    case "open-stream":
      if (world.destination?.stage === "preparing") {
        feedDestination(world, { kind: "receiving", endpoint: { address: "127.0.0.12", port: 1 } });
      }
      return;
    case "start-stream":
      if (world.machines.source === "running" && world.machines.destination === "incoming") {
        world.stream = "open";
        feedSource(world, { kind: "streaming" });
      } else feedSource(world, { kind: "stream-failed", detail: "" });
      return;
    case "hold-at-gate":
      if (world.machines.source === "ended") return;
      world.machines.source = "stopped";
      feedSource(world, { kind: "held" });
      return;
    case "pass-gate":
      world.gate ??= "past";
      if (world.gate === "past") {
        if (world.lock.holder === "source") world.lock.holder = null;
        if (world.stream === "open") world.stream = "finishing";
      }
      feedSource(world, { kind: "gate-stands", decision: world.gate });
      return;
    case "cancel-at-gate":
      world.gate ??= "cancelled";
      if (world.gate === "cancelled") takeBackAtGate(world);
      feedSource(world, { kind: "gate-stands", decision: world.gate });
      return;
    case "cancel-stream":
      breakStream(world);
      return;
    case "settle-stream":
      breakStream(world);
      look(world);
      return;
    case "look-at-machine":
      look(world);
      return;
    case "destroy-copy":
      world.machines[at] = "ended";
      if (world.lock.holder === at) world.lock.holder = null;
      if (at === "source") feedSource(world, { kind: "destroyed" });
      else feedDestination(world, { kind: "destroyed" });
      breakStream(world);
      return;
    case "relay-record": {
      const relayed = recordOf(world);
      // What was known when it was sent may be older; the machines must not be harmed by the newest either.
      const known = (at === "source" ? world.source?.record : world.destination?.record) ?? relayed;
      if (world.link) hear(world, at === "source" ? "destination" : "source", { kind: "record-known", record: known });
      return;
    }
    case "ask-word":
      world.journal.asked = true;
      if (world.link) world.toDestination.push({ kind: "ask-relinquish", nonce: "n" });
      return;
    case "give-word":
      if (world.link) world.toSource.push({ kind: "relinquished", word: { payload: "", signature: "" } });
      return;
    default:
      throw new Error(`no such command here: ${command.kind}`);
  }
}

function look(world: World): void {
  const seen = {
    none: "ended",
    incoming: "incomplete",
    loaded: "complete",
    running: "running",
    ended: "ended",
  } as const;
  feedDestination(world, { kind: "machine-seen", machine: seen[world.machines.destination] });
}

/** The supervisor resumes at the gate: it still holds the lock file. */
function takeBackAtGate(world: World): void {
  breakStream(world);
  if (world.machines.source === "stopped") execute(world, "source");
}

function breakStream(world: World): void {
  if (world.stream !== "open" && world.stream !== "finishing") return;
  world.stream = "failed";
  if (world.machines.source !== "ended") feedSource(world, { kind: "stream-failed", detail: "" });
  if (world.machines.destination === "incoming") feedDestination(world, { kind: "stream-failed", detail: "" });
}

function messageSteps(before: World, add: Add): void {
  const toSource = before.toSource[0];
  if (toSource) {
    add(`source gets ${toSource.kind}`, false, (world) => {
      world.toSource.shift();
      if (toSource.kind === "relinquished") {
        if (world.journal.asked) feedSource(world, { kind: "word-verified" });
      } else feedSource(world, { kind: "peer-said", message: toSource });
    });
  }
  const toDestination = before.toDestination[0];
  if (toDestination) {
    add(`destination gets ${toDestination.kind}`, false, (world) => {
      world.toDestination.shift();
      feedDestination(world, { kind: "peer-said", message: toDestination });
    });
  }
  if (before.link) {
    add("the peer link breaks", true, (world) => {
      world.link = false;
      world.toSource = [];
      world.toDestination = [];
      feedSource(world, { kind: "peer-lost" });
      feedDestination(world, { kind: "peer-lost" });
    });
  }
}

/** Patience runs out when nothing else is under way; while something is, that is a fault: somebody was slow. */
function wakeSteps(before: World, add: Add): void {
  const isQuiet = before.pending.length === 0 && before.toSource.length === 0 && before.toDestination.length === 0;
  const isPatient =
    before.source?.stage === "linking" || before.source?.stage === "copying" || before.source?.stage === "in-doubt";
  if (before.wakes.source && before.source) {
    add("source wakes", false, (world) => {
      world.wakes.source = false;
      feedSource(world, { kind: "woke" });
    });
    if (isPatient) {
      add("source loses patience", !isQuiet, (world) => {
        world.wakes.source = false;
        feedSource(world, { kind: "woke" }, late);
      });
    }
  }
  if (before.wakes.destination && before.destination) {
    add("destination wakes", false, (world) => {
      world.wakes.destination = false;
      feedDestination(world, { kind: "woke" });
    });
    if (before.destination.stage === "preparing" || before.destination.stage === "loading") {
      add("destination loses patience", !isQuiet, (world) => {
        world.wakes.destination = false;
        feedDestination(world, { kind: "woke" }, late);
      });
    }
  }
}

function streamSteps(before: World, add: Add, bounds: Bounds): void {
  const isRunning = before.machines.source === "running";
  if (
    before.stream === "open" &&
    isRunning &&
    before.source?.stage === "copying" &&
    !before.source.ask &&
    before.source.asks < bounds.asks
  ) {
    add("a round fits the pause", false, (world) =>
      feedSource(world, { kind: "sampled", round: fittingRound, roundDone: true }),
    );
  }
  if (
    before.stream === "finishing" &&
    before.machines.source === "stopped" &&
    before.machines.destination === "incoming"
  ) {
    add("the destination loads", false, (world) => {
      world.stream = "done";
      world.machines.destination = "loaded";
      world.memory.destination = world.memory.source;
      feedDestination(world, { kind: "loaded" });
      feedSource(world, { kind: "stream-sent" });
    });
  }
  if (before.stream === "open" || before.stream === "finishing") add("the stream breaks", true, breakStream);
}

function agentSteps(before: World, add: Add): void {
  if (before.source && before.source.stage !== "over") {
    add("source's agent dies", true, (world) => {
      world.source = null;
      dropAgent(world, "source");
    });
  }
  if (!before.source) {
    add("source's agent is back", false, (world) => {
      const machine = world.machines.source;
      const found = { machine: machine === "stopped" ? ("standing" as const) : machine, gate: world.gate, ended: null };
      const killed = { how: "killed" as const, detail: "" };
      const { state, commands } = recoverSource(
        beginAtSource(),
        { ...found, ended: machine === "ended" ? killed : null },
        0,
      );
      setSource(world, state, commands);
    });
    // Rule 2: with the agent dead, the supervisor may take the guest back at the gate.
    if (before.machines.source === "stopped" && before.gate !== "past") {
      add("source's supervisor takes the guest back", false, (world) => {
        world.gate = "cancelled";
        takeBackAtGate(world);
      });
    }
  } else if (before.machines.source === "stopped" && before.gate === null) {
    add("source's supervisor thinks its agent dead", true, (world) => {
      world.gate = "cancelled";
      takeBackAtGate(world);
      feedSource(world, { kind: "resumed-by-supervisor" });
    });
  }
  if (before.destination && before.destination.stage !== "over") {
    add("destination's agent dies", true, (world) => {
      world.destination = null;
      world.isExpecting = false;
      dropAgent(world, "destination");
    });
  }
  if (!before.destination) {
    add("destination's agent is back", false, (world) => {
      const machine = {
        none: "ended",
        incoming: "incomplete",
        loaded: "complete",
        running: "running",
        ended: "ended",
      } as const;
      const { state, commands } = recoverDestination(
        beginAtDestination(),
        world.journal,
        machine[world.machines.destination],
      );
      setDestination(world, state, commands);
    });
  }
  for (const side of ["source", "destination"] as const) {
    const machine = before.machines[side];
    if (machine === "none" || machine === "ended") continue;
    add(`${side}'s guest process is killed`, true, (world) => {
      if (isComplete(world, side) && mayBeLostWith(world, side)) world.isLost = true;
      world.machines[side] = "ended";
      if (world.lock.holder === side) world.lock.holder = null;
      breakStream(world);
      if (side === "source") feedSource(world, { kind: "guest-ended", how: "killed", detail: "" });
      else feedDestination(world, { kind: "guest-ended", how: "killed", detail: "" });
    });
  }
}

/** A heartbeat finds the assignments changed, and the claim brings the record along. */
function claimSteps(before: World, add: Add): void {
  const record = recordOf(before);
  if (record.verdict === "open" && !record.cancelRequested) return;
  for (const side of ["source", "destination"] as const) {
    const role = before[side];
    if (!role || role.stage === "over" || JSON.stringify(role.record) === JSON.stringify(record)) continue;
    add(`${side}'s claim brings the record`, false, (world) => hear(world, side, { kind: "record-known", record }));
  }
}

/** With the agent its commands go; what it had sent to the control plane may still land. */
function dropAgent(world: World, at: Side): void {
  for (const pending of world.pending) {
    if (
      pending.at === at &&
      pending.kind === "command" &&
      pending.command.kind === "report" &&
      pending.command.report.kind !== "copy-seen"
    ) {
      world.late.push(pending.command.report);
    }
  }
  world.pending = world.pending.filter((pending) => pending.at !== at);
  world.wakes[at] = false;
  if (world.link) {
    world.link = false;
    world.toSource = [];
    world.toDestination = [];
    feedSource(world, { kind: "peer-lost" });
    feedDestination(world, { kind: "peer-lost" });
  }
}

/** Killing this process may cost the guest: it is the only complete copy, or the owner's, or the other one is already
 *  being given up (an abort or the word is on its way). */
function mayBeLostWith(world: World, side: Side): boolean {
  if (!isComplete(world, side === "source" ? "destination" : "source")) return true;
  if (world.record.verdict.kind !== "open") return ownerBy(world.record.verdict, ends).copyId === ends[side].copyId;
  const isAbort = (report: AgentReport): boolean =>
    report.kind === "source-aborts" || report.kind === "destination-aborts";
  const isUnderWay = world.pending.some(
    (pending) => pending.kind === "command" && pending.command.kind === "report" && isAbort(pending.command.report),
  );
  return isUnderWay || world.late.some(isAbort) || (world.journal.asked && !world.journal.commitSent);
}

function isComplete(world: World, side: Side): boolean {
  const machine = world.machines[side];
  return (
    (machine === "running" || machine === "stopped" || machine === "loaded") &&
    world.memory[side] === world.memory.latest
  );
}

/** I1 and I2, after every step. */
function check(before: World, world: World, isFault: boolean): void {
  const { machines, record } = world;
  if (machines.source === "running" && machines.destination === "running") world.violation ??= "I1: two copies execute";
  const owner = ownerBy(record.verdict, ends);
  for (const side of ["source", "destination"] as const) {
    if (machines[side] === "running" && record.verdict.kind !== "open" && owner.copyId !== ends[side].copyId) {
      world.violation ??= `I1: ${side} executes, the record names the other (${record.verdict.kind})`;
    }
  }
  if (record.verdict.kind === "open" && (world.source?.stage === "over" || world.destination?.stage === "over")) {
    world.violation ??= "I8: a host is done with a migration that has no verdict";
  }
  if (
    before.machines.destination !== "running" &&
    machines.destination === "running" &&
    before.journal.runIntent === before.journal.runRefused
  ) {
    world.violation ??= "rule 5: the destination executes without a journalled intent";
  }
  if (
    before.record.verdict.kind !== "returned" &&
    record.verdict.kind === "returned" &&
    machines.destination !== "ended"
  ) {
    world.violation ??= "rule 6: returned while the destination's copy is there";
  }
  const had = isComplete(before, "source") || isComplete(before, "destination");
  const has = isComplete(world, "source") || isComplete(world, "destination");
  if (had && !has && !isFault && !world.isLost) world.violation ??= "I2: a step ended the last complete copy";
}

/** Over on both sides, with the guest where the record says or named lost. */
export function isSettled(world: World): boolean {
  if (world.source?.stage !== "over" || world.destination?.stage !== "over") return false;
  const runs = [world.machines.source, world.machines.destination].filter((machine) => machine === "running").length;
  return runs === 1 || world.isLost || world.machines.source === "ended";
}
