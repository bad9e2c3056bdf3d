// What a runner must be waiting for, by the world of the trace; and what it has told its peer, by what its machine ordered.
import type { PeerMessage } from "../../../schemas/peer.ts";
import { type Move, machineOf, moveAt, type Pending, type Side, type World } from "../world/world.ts";
import { type HostDouble, roleKey, textOf } from "./host-double.ts";
import type { Feed } from "./trace.ts";

type Command = Extract<Pending, { kind: "command" }>["command"];

function tokenOf(command: Command): string {
  switch (command.kind) {
    case "permit-next":
      return `permit-next:${command.copyId}`;
    case "run-copy":
    case "take-back-lock":
      return `${command.kind}:${command.fencingToken}`;
    case "journal":
      return `journal:${command.what}`;
    case "report":
      return `report:${textOf(command.report)}`;
    default:
      return command.kind;
  }
}

function readOf({ event }: Extract<Pending, { kind: "answer" }>): string {
  return event.kind === "gate-read" ? "read-gate" : "read-record";
}

/** Null where both are the same. */
export function differenceOf(world: World, host: HostDouble, m: number, side: Side): string | null {
  const move = moveAt(world, m);
  const role = roleKey({ m, side });
  const actual = host.calls.filter((call) => call.role === role).map(({ token }) => token);
  const own = move.queue.pending.filter(({ at }) => at === side);
  const isLaunching = own.some((one) => one.kind === "command" && one.command.kind === "launch-copy");
  const isReceiving = actual.includes("open-stream");
  const expected: string[] = [];
  let isLaneFree = !isReceiving;
  for (const one of own) {
    if (one.kind === "answer") {
      expected.push(readOf(one));
      continue;
    }
    if (one.command.kind === "open-stream") {
      // It waits for the link within the runner; with one it goes on also after the link broke.
      const isReady = move.wire.hasLink && machineOf(world, m, side) === "incoming";
      if ((isReady && move.destination?.stage === "preparing") || isReceiving) expected.push("open-stream");
      continue;
    }
    if (one.lane) {
      if (!isLaneFree || (isLaunching && one.command.kind === "destroy-copy")) continue;
      isLaneFree = false;
    }
    expected.push(tokenOf(one.command));
  }
  // Its last look at the copy waits behind what the copy is still to do.
  if (host.patience.some((one) => one.role === role)) {
    actual.push(expected.find((token) => token.startsWith("report:copy-seen")) ?? "a look at the copy");
  }
  const [wanted, found] = [expected.sort().join(", "), actual.sort().join(", ")];
  if (wanted !== found) return `${role} waits for [${found}], and not for [${wanted}]`;
  const stage = (side === "source" ? move.source : move.destination)?.stage;
  const stands = host.stages.get(role) ?? (side === "source" ? "linking" : "preparing");
  if (stage !== stands) return `${role} is ${stands}, and not ${stage}`;
  if (move.queue.wakes[side] !== host.wakes.has(role)) {
    return `${role} ${host.wakes.has(role) ? "has" : "has not"} a wake set`;
  }
  return null;
}

export function journalDifference(world: World, host: HostDouble, text: string | undefined, m: number, side: Side) {
  const own = moveAt(world, m).wire.journal[side];
  if (!own || own.isOver) return null;
  const role = roleKey({ m, side });
  if (!text) return `${role} has no journal on ${host.incarnation}`;
  const entry = JSON.parse(text);
  const facts: Record<string, [boolean, boolean]> =
    "commitSent" in own
      ? {
          commitSent: [own.commitSent, entry.commitSent ?? false],
          relinquished: [own.relinquished, entry.relinquished ?? false],
          // Numbers of tries are counted from the lowest in use, in the exploration.
          runIntent: [own.runIntent > 0, (entry.runIntent ?? 0) > 0],
          runRefused: [own.runIntent === own.runRefused, (entry.runIntent ?? 0) === (entry.runRefused ?? 0)],
        }
      : {
          askedNonce: [own.hasAsked, entry.askedNonce !== undefined],
          gateUnknown: [own.isLost, entry.gateUnknown ?? false],
        };
  for (const [fact, [wanted, found]] of Object.entries(facts)) {
    if (wanted !== found) return `${role}'s journal says ${fact}: ${found}, and not ${wanted}`;
  }
  return null;
}

/** The messages that the machine ordered, as texts. */
export function orderedMessages(feeds: readonly Feed[], hasAsked: boolean): string[] {
  return feeds.flatMap(({ commands, state }) =>
    commands.flatMap((command) => {
      if (command.kind === "send-peer") return [messageText(command.message)];
      // Its first asking waits for the journal.
      if (command.kind === "ask-word" && hasAsked) return ["ask-relinquish"];
      if (command.kind !== "relay-record" || !state.record) return [];
      const { verdict, verdictToken, confirmed } = state.record;
      return [`record ${verdict} ${verdictToken} ${confirmed}`];
    }),
  );
}

export function messageText(message: PeerMessage): string {
  switch (message.kind) {
    case "record": {
      const { verdict, verdictToken, confirmed } = JSON.parse(message.record.payload);
      return `record ${verdict} ${verdictToken} ${confirmed}`;
    }
    case "guest-stands":
      return `${message.kind} ${message.resets}`;
    default:
      return message.kind;
  }
}

export const roleOf = ({ source, destination }: Move, side: Side) => (side === "source" ? source : destination);
