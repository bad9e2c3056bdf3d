// The peer link, and writes that land long after their sender stopped waiting.
import type { AgentReport } from "../../../schemas/agent.ts";
import { breakLink, feedDestination, feedSource, noteRecord } from "../world/agents.ts";
import { apply, recordNow } from "../world/control-plane.ts";
import { breakStream } from "../world/copies.ts";
import {
  guestAt,
  type Message,
  type Move,
  machineOf,
  moveAt,
  putCopy,
  putQueue,
  putWire,
  type Side,
  sides,
  vmOf,
  type World,
} from "../world/world.ts";
import type { Adders } from "./steps.ts";

export function messageSteps({ before, add, fault, options }: Adders, m: number): void {
  const move = moveAt(before, m);
  const { wire, queue } = move;
  for (const side of sides) {
    const [message] = side === "source" ? wire.toSource : wire.toDestination;
    if (!message) continue;
    const what = message.kind === "relayed" ? `the ${message.record.verdict} record` : message.kind;
    add(`M${m} ${side} gets ${what}`, "plain", (world) => {
      const { toSource, toDestination } = moveAt(world, m).wire;
      if (side === "source") putWire(world, m, { toSource: toSource.slice(1) });
      else putWire(world, m, { toDestination: toDestination.slice(1) });
      deliver(world, m, side, message);
    });
  }
  if (wire.hasLink) fault("links", `M${m} the peer link breaks`, (world) => breakLink(world, m));
  if (wire.stream === "open" || wire.stream === "finishing") {
    fault("links", `M${m} the stream breaks`, (world) => breakStream(world, m));
  }
  if (wire.stream === "finishing") loadStep({ before, add }, m);
  if (before.rules.habits.hearsOthersRecords) oldRecordSteps({ before, add }, m);
  if (options.features.has("forgeries")) forgedSteps({ before, add }, m);
  for (const [index, report] of queue.late.entries()) {
    const take = (world: World): void =>
      putQueue(world, m, { late: moveAt(world, m).queue.late.filter((_, i) => i !== index) });
    const side = sideOf(move, report);
    add(`M${m} late ${report.kind} lands`, "plain", (world) => {
      take(world);
      apply(world, m, side, report);
    });
    add(`M${m} late ${report.kind} is lost`, "plain", take);
  }
}

export function sideOf(move: Move, report: AgentReport): Side {
  if (report.kind === "copy-seen") return report.copyId === move.record.source.copyId ? "source" : "destination";
  return report.kind.startsWith("source") ? "source" : "destination";
}

function deliver(world: World, m: number, side: Side, message: Message): void {
  switch (message.kind) {
    case "closed":
      breakLink(world, m);
      return;
    case "relayed":
      noteRecord(world, m, side, message.record);
      return;
    case "relinquished":
      if (moveAt(world, m).wire.journal.source?.hasAsked || !world.rules.habits.provesWord) {
        feedSource(world, m, { kind: "word-verified" });
      }
      return;
    default:
      if (side === "source") feedSource(world, m, { kind: "peer-said", message });
      else feedDestination(world, m, { kind: "peer-said", message });
  }
}

/** A peer hands on a record that its own control plane never wrote: signed by nobody, or by that of another cluster,
 *  which has the same migration where one was made as a copy of the other. Where it is told from a good one nothing
 *  follows (agents/adapters/http-control-plane.ts). */
function forgedSteps({ before, add }: Pick<Adders, "before" | "add">, m: number): void {
  const { record, wire } = moveAt(before, m);
  // Before the gate a false record can do no more than end the attempt.
  if (!wire.hasLink || wire.gate !== "past") return;
  const { source, destination } = record;
  for (const verdict of ["aborted", "committed"] as const) {
    const owner = verdict === "aborted" ? source : destination;
    const forged = { ...recordNow(before, m), verdict, owner, verdictToken: record.openedUnderToken + 1 };
    for (const side of sides) {
      if (!moveAt(before, m)[side]) continue;
      for (const by of ["nobody", "another cluster"] as const) {
        const { believesUnsigned, believesOtherClusters } = before.rules.habits;
        const isTaken = side === (by === "nobody" ? believesUnsigned : believesOtherClusters);
        add(`M${m} ${side} gets a record, ${verdict}, signed by ${by}`, "plain", (world) => {
          if (isTaken) noteRecord(world, m, side, forged);
        });
      }
    }
  }
}

/** A peer relays what it knows of an earlier migration of the same guest. */
function oldRecordSteps({ before, add }: Pick<Adders, "before" | "add">, m: number): void {
  const { record, source } = moveAt(before, m);
  for (const [earlier, move] of before.moves.entries()) {
    if (earlier >= m || move.record.vmId !== record.vmId || source?.stage !== "in-doubt") continue;
    const old = recordNow(before, earlier);
    add(`M${m} source gets the ${old.verdict} record of M${earlier}`, "plain", (world) =>
      noteRecord(world, m, "source", old),
    );
  }
}

/** The last of the memory and the device state arrive. */
function loadStep({ before, add }: Pick<Adders, "before" | "add">, m: number): void {
  if (machineOf(before, m, "destination") !== "incoming") return;
  add(`M${m} the destination loads`, "plain", (world) => {
    const { record } = moveAt(world, m);
    const v = vmOf(moveAt(world, m));
    const source = guestAt(world, v).copies.find(({ id }) => id === record.source.copyId);
    putWire(world, m, { stream: "done" });
    putCopy(world, v, record.destination.copyId, { machine: "loaded", isCurrent: source?.isCurrent ?? false });
    feedDestination(world, m, { kind: "loaded" });
    feedSource(world, m, { kind: "stream-sent" });
  });
}
