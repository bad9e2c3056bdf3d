// What the two machines of a migration ordered is carried out: answered, lost, late, refused, or broken off.
import type { DestinationCommand } from "../../../agents/domain/destination.ts";
import type { SourceCommand } from "../../../agents/domain/source.ts";
import { answerRead, answerReport, feedDestination, feedSource, hear, isLaunching, post } from "../world/agents.ts";
import { apply } from "../world/control-plane.ts";
import {
  answerRun,
  breakStream,
  cancelAtGate,
  destroyCopy,
  holdAtGate,
  look,
  loseSupervisor,
  passGate,
  runCopy,
  takeBackLock,
} from "../world/copies.ts";
import { isShut } from "../world/table.ts";
import {
  copyOf,
  guestAt,
  hostAt,
  hostOf,
  machineOf,
  moveAt,
  type Pending,
  putGuest,
  putQueue,
  putWire,
  type Side,
  vmOf,
  type World,
} from "../world/world.ts";
import type { Adders } from "./steps.ts";

export function commandSteps(adders: Adders, m: number): void {
  const { before, add } = adders;
  const { pending: all } = moveAt(before, m).queue;
  for (const [index, pending] of all.entries()) {
    const isBehind = pending.lane && all.slice(0, index).some((other) => other.lane && other.at === pending.at);
    if (isBehind) continue;
    const take = (world: World): void => {
      putQueue(world, m, { pending: moveAt(world, m).queue.pending.filter((_, i) => i !== index) });
    };
    if (pending.kind === "answer") {
      add(`M${m} ${pending.at} hears ${pending.event.kind}`, "plain", (world) => {
        take(world);
        hear(world, m, pending.at, pending.event);
      });
      continue;
    }
    requestSteps(adders, m, pending.at, pending.command, take);
    localSteps(adders, m, pending, take);
  }
}

type Command = SourceCommand | DestinationCommand;
type Take = (world: World) => void;

/** Requests to the control plane. */
function requestSteps({ before, add, fault }: Adders, m: number, at: Side, command: Command, take: Take): void {
  const h = hostOf(moveAt(before, m), at);
  const { isAway } = hostAt(before, h);
  // Whatever it asks it is told the same, and is frozen by that.
  if (!isAway && isShut(before, h)) return;
  if (command.kind === "report") {
    const { report } = command;
    const name = `M${m} ${at}: ${report.kind}`;
    if (isAway) {
      add(`${name} finds the control plane away`, "plain", (world) => {
        take(world);
        answerReport(world, m, at, report, "unknown");
      });
      return;
    }
    add(`${name} lands`, "plain", (world) => {
      take(world);
      answerReport(world, m, at, report, apply(world, m, at, report));
    });
    fault("requests", `${name} never lands, no answer`, (world) => {
      take(world);
      answerReport(world, m, at, report, "unknown");
    });
    fault("requests", `${name} lands, answer lost`, (world) => {
      take(world);
      apply(world, m, at, report);
      answerReport(world, m, at, report, "unknown");
    });
    fault("echoes", `${name} lands, and will land once more`, (world) => {
      take(world);
      putQueue(world, m, { late: [...moveAt(world, m).queue.late, report] });
      answerReport(world, m, at, report, apply(world, m, at, report));
    });
    fault("late", `${name} is late`, (world) => {
      take(world);
      putQueue(world, m, { late: [...moveAt(world, m).queue.late, report] });
      answerReport(world, m, at, report, "unknown");
    });
    return;
  }
  if (command.kind !== "read-record" && command.kind !== "read-gate") return;
  const name = `M${m} ${at}: ${command.kind}`;
  const ask = command.kind === "read-gate" ? command.ask : null;
  if (!isAway) {
    add(`${name} is answered`, "plain", (world) => {
      take(world);
      hear(world, m, at, answerRead(world, m, at, ask, true));
    });
    fault("late", `${name} is answered slowly`, (world) => {
      take(world);
      const event = answerRead(world, m, at, ask, true);
      if (!event) return;
      putQueue(world, m, {
        pending: [...moveAt(world, m).queue.pending, { at, kind: "answer", lane: false, event }],
      });
    });
  }
  const unheard: Take = (world) => {
    take(world);
    hear(world, m, at, answerRead(world, m, at, ask, false));
  };
  if (isAway) add(`${name} finds the control plane away`, "plain", unheard);
  else fault("requests", `${name} finds the control plane away`, unheard);
}

/** What an agent does on its own host or with its peer. */
function localSteps(
  adders: Adders,
  m: number,
  { at, command }: Extract<Pending, { kind: "command" }>,
  take: Take,
): void {
  const { before, add, fault } = adders;
  const name = `M${m} ${at}: ${command.kind}`;
  const step = (change: (world: World) => void, what = name): void =>
    add(what, "plain", (world) => {
      take(world);
      change(world);
    });
  const wrong = (feature: Parameters<typeof fault>[0], what: string, change: (world: World) => void): void =>
    fault(feature, `${name} ${what}`, (world) => {
      take(world);
      change(world);
    });
  switch (command.kind) {
    case "report":
    case "read-record":
    case "read-gate":
      return;
    case "permit-next":
      step((world) => {
        const v = vmOf(moveAt(world, m));
        const copy = copyOf(world, m, "source");
        const { lock } = guestAt(world, v);
        if (copy?.isWatched && lock.holder === copy.id) {
          putGuest(world, v, { lock: { ...lock, next: command.copyId } });
          feedSource(world, m, { kind: "permitted" });
        } else feedSource(world, m, { kind: "permit-failed", detail: "" });
      });
      return;
    case "connect-peer":
      connectSteps(adders, m, take);
      return;
    case "launch-copy":
      step((world) => launch(world, m));
      wrong("launches", "fails", (world) => failLaunch(world, m));
      return;
    case "expect-peer":
      step((world) => {
        putWire(world, m, { isExpecting: true });
        feedDestination(world, m, { kind: "listening" });
      });
      return;
    case "open-stream": {
      const isReady = moveAt(before, m).wire.hasLink && machineOf(before, m, "destination") === "incoming";
      if (moveAt(before, m).destination?.stage !== "preparing") {
        step(() => {});
        return;
      }
      if (!isReady) return;
      step((world) => feedDestination(world, m, { kind: "receiving", endpoint: { address: "127.0.0.12", port: 1 } }));
      return;
    }
    case "start-stream":
      step((world) => {
        const isReady = machineOf(world, m, "source") === "running" && copyOf(world, m, "source")?.isWatched;
        if (isReady && machineOf(world, m, "destination") === "incoming" && moveAt(world, m).wire.gate === null) {
          putWire(world, m, { stream: "open" });
          feedSource(world, m, { kind: "streaming" });
        } else feedSource(world, m, { kind: "stream-failed", detail: "" });
      });
      return;
    case "hold-at-gate":
      step((world) => holdAtGate(world, m));
      return;
    case "pass-gate":
      step((world) => passGate(world, m));
      if (copyOf(before, m, "source")?.isWatched && moveAt(before, m).wire.gate === null) {
        wrong("supervisors", "is decided, and its supervisor dies", (world) => passGate(world, m, true));
      }
      return;
    case "cancel-at-gate":
      step((world) => cancelAtGate(world, m));
      return;
    case "cancel-stream":
      step((world) => breakStream(world, m));
      return;
    case "settle-stream":
      if (copyOf(before, m, "destination")?.isWatched === false) return;
      step((world) => {
        breakStream(world, m);
        look(world, m);
      });
      return;
    case "look-at-machine":
      if (copyOf(before, m, "destination")?.isWatched === false) return;
      step((world) => look(world, m));
      return;
    case "run-copy": {
      step((world) => runCopy(world, m, at, command.fencingToken, null), `${name} under ${command.fencingToken}`);
      wrong("refusals", "is refused by the hypervisor", (world) => answerRun(world, m, at, "refused"));
      const copy = copyOf(before, m, at);
      if (!copy?.isWatched || copy.machine === "ended") return;
      for (const dies of ["before", "between", "after"] as const) {
        wrong("supervisors", `loses its supervisor ${dies} lock file and guest`, (world) => {
          runCopy(world, m, at, command.fencingToken, dies);
          if (dies === "before") loseSupervisor(world, vmOf(moveAt(world, m)), copy);
        });
      }
      return;
    }
    case "take-back-lock":
      step((world) => takeBackLock(world, m, command.fencingToken));
      wrong("volumes", "finds no volume", (world) =>
        feedSource(world, m, { kind: "lock-taken-back", refusal: { by: "lock-unreachable", detail: "" } }),
      );
      return;
    case "destroy-copy":
      // What is just being built would be left behind.
      if (at === "destination" && isLaunching(before, m)) return;
      if (copyOf(before, m, at)?.isWatched === false) return;
      step((world) => destroyCopy(world, m, at));
      return;
    case "journal":
      if (isJournalBusy(before, m, command)) return;
      step((world) => journal(world, m, command), `${name} ${command.what}`);
      wrong("journal-writes", `${command.what} fails`, (world) =>
        feedDestination(world, m, { kind: "journal-failed", detail: "" }),
      );
      return;
    case "ask-word":
      step((world) => {
        const { wire } = moveAt(world, m);
        const source = wire.journal.source;
        if (source) putWire(world, m, { journal: { ...wire.journal, source: { ...source, hasAsked: true } } });
        post(world, m, "destination", { kind: "ask-relinquish", nonce: "n" });
      });
      return;
    case "give-word":
      step((world) => post(world, m, "source", { kind: "relinquished", word: { payload: "", signature: "" } }));
      return;
    default:
      throw new Error(`no such command here: ${command.kind}`);
  }
}

function connectSteps({ before, add, fault }: Adders, m: number, take: Take): void {
  const move = moveAt(before, m);
  const { wire } = move;
  const isUnplugged = (["source", "destination"] as const).some(
    (side) => hostAt(before, hostOf(move, side)).isUnplugged,
  );
  const nobody: Take = (world) => {
    take(world);
    feedSource(world, m, { kind: "peer-unreachable", detail: "" });
  };
  const name = `M${m} source: connect-peer`;
  if (move.destination && wire.isExpecting && !wire.hasLink && !isUnplugged) {
    add(name, "plain", (world) => {
      take(world);
      putWire(world, m, { hasLink: true });
      feedDestination(world, m, { kind: "peer-linked" });
      feedSource(world, m, { kind: "peer-linked" });
    });
  }
  // It waits for half a minute; that nobody came in all that time is a fault where somebody would come.
  const isGone = hostAt(before, hostOf(move, "destination")).agent === "gone";
  const isVain = isUnplugged || isGone || wire.journal.destination?.isOver || wire.hasLink;
  if (isVain) add(`${name} finds nobody`, "plain", nobody);
  else fault("links", `${name} finds nobody`, nobody);
}

function launch(world: World, m: number): void {
  const move = moveAt(world, m);
  const v = vmOf(move);
  const { copies } = guestAt(world, v);
  const id = move.record.destination.copyId;
  const copy = {
    id,
    host: hostOf(move, "destination"),
    machine: "incoming",
    isCurrent: false,
    isWatched: true,
  } as const;
  const known = copies.find((one) => one.id === id);
  // One that is here is taken for it as it is.
  if (!known || known.machine === "ended") {
    putGuest(world, v, { copies: [...copies.filter((one) => one !== known), copy] });
  }
  feedDestination(world, m, { kind: "launched" });
}

/** A journal writes one after the other, in the order asked for. */
function isJournalBusy(world: World, m: number, command: Command): boolean {
  const { pending } = moveAt(world, m).queue;
  const writes = pending.filter((one) => one.kind === "command" && one.command.kind === "journal");
  return writes[0]?.kind === "command" && writes[0].command !== command;
}

/** What was to end the copy meanwhile has nothing to end. */
function failLaunch(world: World, m: number): void {
  feedDestination(world, m, { kind: "launch-failed", detail: "" });
  const { pending } = moveAt(world, m).queue;
  const left = pending.filter(
    (one) => !(one.at === "destination" && one.kind === "command" && one.command.kind === "destroy-copy"),
  );
  if (left.length === pending.length) return;
  putQueue(world, m, { pending: left });
  feedDestination(world, m, { kind: "destroyed" });
}

function journal(world: World, m: number, command: Extract<DestinationCommand, { kind: "journal" }>): void {
  const { journal: all } = moveAt(world, m).wire;
  const own = all.destination;
  if (own && world.rules.habits.journalsFacts) {
    const facts = {
      "commit-sent": { commitSent: true },
      relinquished: { relinquished: true },
      "run-intent": { runIntent: "number" in command ? command.number : 0 },
      "run-refused": { runRefused: "number" in command ? command.number : 0 },
    };
    putWire(world, m, { journal: { ...all, destination: { ...own, ...facts[command.what] } } });
  }
  feedDestination(world, m, { kind: "journalled", what: command.what });
}
