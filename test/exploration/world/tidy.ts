// One form for worlds that differ in nothing that decides anything.
import {
  guestAt,
  idleQueue,
  idleWire,
  type Move,
  moveAt,
  type Pending,
  putGuest,
  vmAt,
  vmOf,
  type World,
} from "./world.ts";

export function tidy(before: World, world: World): void {
  for (const [m, move] of world.moves.entries()) {
    if (move !== before.moves[m]) world.moves[m] = tidyMove(move, world);
  }
  if (world.rules.habits.watchesLateWrites || world.table) return;
  for (const [m, move] of world.moves.entries()) if (isForgotten(world, move)) forget(world, m);
}

const nobody = { hostId: "", copyId: "" };

/** Both agents forget journal and gate of what is over, and nobody reads the record of it again. */
function isForgotten(world: World, { record, source, destination, queue, wire }: Move): boolean {
  if (record.stage !== "ended" || record.source.copyId === "" || source || destination) return false;
  if (queue.pending.length > 0 || world.vms.some(({ migrationId }) => migrationId === record.id)) return false;
  if (wire.journal.source?.isOver === false || wire.journal.destination?.isOver === false) return false;
  const { owner } = vmAt(world, Number(record.vmId.slice(3)) - 1);
  const copies = guestAt(world, Number(record.vmId.slice(3)) - 1).copies;
  const own = [record.source.copyId, record.destination.copyId];
  return copies.every(({ id, machine }) => !own.includes(id) || machine === "ended" || id === owner?.copyId);
}

function forget(world: World, m: number): void {
  const { record } = moveAt(world, m);
  const v = vmOf(moveAt(world, m));
  const { owner } = vmAt(world, v);
  const own = [record.source.copyId, record.destination.copyId];
  putGuest(world, v, {
    copies: guestAt(world, v).copies.filter(({ id }) => !own.includes(id) || id === owner?.copyId),
  });
  world.moves[m] = {
    record: {
      ...record,
      source: nobody,
      destination: nobody,
      openedUnderToken: 0,
      verdict: { kind: "aborted", token: 0, by: "source", reason: "stream-failed", detail: "" },
      cancelRequested: null,
      takeBack: null,
      seen: { source: null, destination: null },
    },
    source: null,
    destination: null,
    queue: idleQueue,
    wire: idleWire,
  };
}

function tidyMove(move: Move, world: World): Move {
  const { wire } = move;
  let { queue } = move;
  if (queue.pending.length > 1) queue = { ...queue, pending: sortPending(queue.pending) };
  if (queue.late.length > 0) {
    const byText = new Map(queue.late.map((report) => [JSON.stringify(report), report]));
    const late = [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, report]) => report);
    queue = { ...queue, late: isSettled(move) && !world.rules.habits.watchesLateWrites ? [] : late };
  }
  return compressIntents(resetAsks({ ...move, queue, wire }));
}

function isSettled({ record: { verdict } }: Move): boolean {
  return verdict.kind !== "open" && (verdict.kind !== "committed" || verdict.confirmed !== null);
}

/** What is under way is never written to, so its text is made once. */
const texts = new WeakMap<object, string>();
function textOf(one: Pending): string {
  const known = texts.get(one);
  if (known !== undefined) return known;
  const text = JSON.stringify(one);
  texts.set(one, text);
  return text;
}

/** Entries of the lane and of the journal keep their order; the rest is a set. */
function sortPending(pending: Pending[]): Pending[] {
  const keyed = pending.map((one) => {
    const isJournal = one.kind === "command" && one.command.kind === "journal";
    return { one, key: one.lane ? one.at : isJournal ? `y${one.at}` : `z${one.at}${textOf(one)}` };
  });
  keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  return keyed.map(({ one }) => one);
}

/** Numbers of asks tell answers apart; with none under way they tell nothing. */
function resetAsks(move: Move): Move {
  const { source, queue, wire } = move;
  if (!source || source.asks === 0 || source.ask) return move;
  const isUnderWay =
    queue.pending.some((one) =>
      one.kind === "command" ? one.command.kind === "read-gate" : one.event.kind === "gate-read",
    ) ||
    wire.toSource.some(({ kind }) => kind === "gate-open" || kind === "gate-shut") ||
    wire.toDestination.some(({ kind }) => kind === "ask-gate");
  return isUnderWay ? move : { ...move, source: { ...source, asks: 0 } };
}

/** Of the numbers of tries only sameness and order count. */
function compressIntents(move: Move): Move {
  const { destination, queue, wire } = move;
  const journal = wire.journal.destination;
  if (!journal || Math.max(journal.runIntent, destination?.runIntent ?? 0) < 2) return move;
  const numbered = queue.pending.flatMap((one) =>
    one.kind === "command" && one.command.kind === "journal" && "number" in one.command ? [one.command.number] : [],
  );
  const used = [journal.runIntent, journal.runRefused, ...numbered];
  if (destination) used.push(destination.runIntent, destination.runRefused, destination.intentJournalled);
  const ranks = [...new Set(used.filter((number) => number > 0))].sort((a, b) => a - b);
  const rank = (number: number): number => (number > 0 ? ranks.indexOf(number) + 1 : 0);
  return {
    ...move,
    destination: destination && {
      ...destination,
      runIntent: rank(destination.runIntent),
      runRefused: rank(destination.runRefused),
      intentJournalled: rank(destination.intentJournalled),
    },
    queue: {
      ...queue,
      pending: queue.pending.map((one) =>
        one.kind === "command" && one.command.kind === "journal" && "number" in one.command
          ? { ...one, command: { ...one.command, number: rank(one.command.number) } }
          : one,
      ),
    },
    wire: {
      ...wire,
      journal: {
        ...wire.journal,
        destination: { ...journal, runIntent: rank(journal.runIntent), runRefused: rank(journal.runRefused) },
      },
    },
  };
}
