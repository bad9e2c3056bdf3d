// A small world around the production machines: virtual machines and their copies, hosts with their agents, the table,
// and up to a few migrations one after another. Plain data: a part that changes is replaced, never written to.
import type { DestinationCommand, DestinationEvent, DestinationState } from "../../../agents/domain/destination.ts";
import type { SourceCommand, SourceEvent, SourceState } from "../../../agents/domain/source.ts";
import type { HostInventory } from "../../../functions/domain/last-run.ts";
import type { CopyDuty, MigrationState, Role, VmRecord } from "../../../functions/domain/records.ts";
import type { AgentReport } from "../../../schemas/agent.ts";
import type { MigrationRecord } from "../../../schemas/migration.ts";
import type { PeerMessage } from "../../../schemas/peer.ts";
import type { Rules } from "./rules.ts";

export type Side = Role;
export const sides = ["source", "destination"] as const;
export const otherSide = (side: Side): Side => (side === "source" ? "destination" : "source");
export const hostIds = ["host-a", "host-b", "host-c"];
export const firstToken = 5;

/** One process's memory of a guest on one host. */
export type Copy = {
  id: string;
  host: number;
  machine: "incoming" | "loaded" | "running" | "stopped" | "ended";
  /** Its memory is the guest's newest. */
  isCurrent: boolean;
  isWatched: boolean;
  /** The highest token it took its lock file under, where a table may go back; 0: it never did. */
  lockToken?: number;
  /** Its process ended by itself, and its folder tells of it. */
  hasRemains?: boolean;
  /** Its host was declared lost: an operator answers for what executes there meanwhile. */
  isDisowned?: true;
};
/** What the table has a host owe a copy, where it may differ from the VM's record: its host was declared lost. */
export type Owed = { copyId: string; host: number; duty: CopyDuty };
/** What the shared volume and the hosts' processes have of one virtual machine. */
export type Guest = {
  copies: Copy[];
  lock: { holder: string | null; copyId: string; fencingToken: number; next: string | null };
  /** The only complete copy fell victim to a fault that may cost the guest: nothing is left to promise of it. */
  isExcused: boolean;
  owed?: Owed[];
};

export type Host = {
  /** gone: switched off for good, as far as anyone can tell. */
  agent: "up" | "down" | "gone";
  /** Its new incarnation has not spoken yet. */
  isNewLife: boolean;
  isAway: boolean;
  isUnplugged: boolean;
  /** The highest token journalled, by virtual machine. */
  tokens: number[];
  slot: { move: number; side: Side; isClaimed: boolean; lostClaim: boolean } | null;
  /** An operator has declared its last incarnation lost. */
  isDeclaredLost: boolean;
  /** It decides nothing until it hears that it may: the table went back. Durable. */
  isFrozen: boolean;
  /** Nothing was acknowledged to it since the backup: it cannot notice by itself that the table went back. */
  isBehind: boolean;
  /** The cluster opened again without it: it is to tell what it has before it takes up its work. */
  isLate: boolean;
  /** What it has told while the cluster recovers, or as one that is late. */
  told: HostInventory | null;
};

/** The table as a whole, where it may go back to a backup once. */
export type Table = {
  state: "served" | "went-back" | "recovering";
  epoch: number;
  backup: { vms: VmRecord[]; records: MigrationState[]; slots: Host["slot"][] } | null;
  /** Migrations that the restored table does not know. */
  forgotten: number[];
  /** What hosts told that have taken up their work, for as long as others are to tell. */
  settled: HostInventory[];
};

/** Something under way: a command not yet carried out, or an answer not yet heard. */
export type Pending =
  | { at: Side; kind: "command"; lane: boolean; command: SourceCommand | DestinationCommand }
  | { at: Side; kind: "answer"; lane: boolean; event: SourceEvent | DestinationEvent };
export type Queue = {
  pending: Pending[];
  wakes: { [S in Side]: boolean };
  /** Writes whose sender has stopped waiting; they may still land, or never. */
  late: AgentReport[];
};

export type Journal = {
  source: { isOver: boolean; hasAsked: boolean; isLost: boolean } | null;
  destination: {
    isOver: boolean;
    commitSent: boolean;
    runIntent: number;
    runRefused: number;
    relinquished: boolean;
  } | null;
};
export type Message = PeerMessage | { kind: "relayed"; record: MigrationRecord } | { kind: "closed" };
/** What the two hosts of one migration have of it between them, the roles' states apart. */
export type Wire = {
  journal: Journal;
  gate: "past" | "cancelled" | null;
  /** The guest stands because it was held at this gate. */
  stream: "none" | "open" | "finishing" | "done" | "failed";
  hasLink: boolean;
  isExpecting: boolean;
  toSource: Message[];
  toDestination: Message[];
};
export type Move = {
  record: MigrationState;
  source: SourceState | null;
  destination: DestinationState | null;
  queue: Queue;
  wire: Wire;
};

export type World = {
  vms: VmRecord[];
  guests: Guest[];
  hosts: Host[];
  moves: Move[];
  /** Null where it never goes back. */
  table: Table | null;
  rules: Rules;
  /** Which promise this step broke. */
  harm: string | null;
};

export const idleQueue: Queue = { pending: [], wakes: { source: false, destination: false }, late: [] };
export const idleWire: Wire = {
  journal: { source: null, destination: null },
  gate: null,
  stream: "none",
  hasLink: false,
  isExpecting: false,
  toSource: [],
  toDestination: [],
};

export function copyWorld(world: World): World {
  return {
    vms: [...world.vms],
    guests: [...world.guests],
    hosts: [...world.hosts],
    moves: [...world.moves],
    table: world.table,
    rules: world.rules,
    harm: null,
  };
}

/** What is said of the record is no promise while the table is not the one that hosts were told of. */
const ofTheRecord = /record names|^I8|^I9|^rule 6: returned|^rule 8/;

export function blame(world: World, what: string): void {
  if (world.table && world.table.state !== "served" && ofTheRecord.test(what)) return;
  world.harm ??= what;
}

export function moveAt(world: World, m: number): Move {
  const move = world.moves[m];
  if (!move) throw new Error(`no migration ${m}`);
  return move;
}
export function hostAt(world: World, h: number): Host {
  const host = world.hosts[h];
  if (!host) throw new Error(`no host ${h}`);
  return host;
}
export function guestAt(world: World, v: number): Guest {
  const guest = world.guests[v];
  if (!guest) throw new Error(`no virtual machine ${v}`);
  return guest;
}
export function vmAt(world: World, v: number): VmRecord {
  const vm = world.vms[v];
  if (!vm) throw new Error(`no virtual machine ${v}`);
  return vm;
}

export function putMove(world: World, m: number, change: Partial<Move>): void {
  world.moves[m] = { ...moveAt(world, m), ...change };
}
export function putWire(world: World, m: number, change: Partial<Wire>): void {
  putMove(world, m, { wire: { ...moveAt(world, m).wire, ...change } });
}
export function putQueue(world: World, m: number, change: Partial<Queue>): void {
  putMove(world, m, { queue: { ...moveAt(world, m).queue, ...change } });
}
export function putHost(world: World, h: number, change: Partial<Host>): void {
  world.hosts[h] = { ...hostAt(world, h), ...change };
}
export function putGuest(world: World, v: number, change: Partial<Guest>): void {
  world.guests[v] = { ...guestAt(world, v), ...change };
}
export function putCopy(world: World, v: number, copyId: string, change: Partial<Copy>): void {
  const copies = guestAt(world, v).copies.map((copy) => (copy.id === copyId ? { ...copy, ...change } : copy));
  putGuest(world, v, { copies });
}

export const vmOf = (move: Move): number => Number(move.record.vmId.slice(3)) - 1;
export const hostOf = (move: Move, side: Side): number => hostIds.indexOf(move.record[side].hostId);
/** The copy of one end; null before it was launched, or once nothing at all is left of it. */
export function copyOf(world: World, m: number, side: Side): Copy | null {
  const move = moveAt(world, m);
  const { copyId } = move.record[side];
  return guestAt(world, vmOf(move)).copies.find((copy) => copy.id === copyId) ?? null;
}
export const machineOf = (world: World, m: number, side: Side): Copy["machine"] | "none" =>
  copyOf(world, m, side)?.machine ?? "none";

export function isComplete(copy: Copy | null): boolean {
  return copy?.isCurrent === true && ["running", "stopped", "loaded"].includes(copy.machine);
}
export function sidesAt(world: World, h: number): { m: number; side: Side }[] {
  const found: { m: number; side: Side }[] = [];
  const id = hostIds[h];
  for (const [m, { record }] of world.moves.entries()) {
    if (record.source.hostId === id) found.push({ m, side: "source" });
    if (record.destination.hostId === id) found.push({ m, side: "destination" });
  }
  return found;
}
/** Has this end begun, and not come to its end? */
export const isUnfinished = (move: Move, side: Side): boolean => move.wire.journal[side]?.isOver === false;
