// A small world around the production machines of one migration: the record, two agents, two copies, the lock file, the
// gate, a link and a stream. Plain data, so that every step copies it and its text is its identity.
import {
  advanceDestination,
  beginDestination,
  type DestinationCommand,
  type DestinationEvent,
  type DestinationState,
} from "../../../agents/domain/destination.ts";
import {
  advanceSource,
  beginSource,
  type SourceCommand,
  type SourceEvent,
  type SourceState,
} from "../../../agents/domain/source.ts";
import type { Verdict } from "../../../functions/domain/verdict.ts";
import { ownerBy } from "../../../functions/domain/verdict.ts";
import type { AgentReport } from "../../../schemas/agent.ts";
import type { MigrationRecord } from "../../../schemas/migration.ts";
import type { PeerMessage } from "../../../schemas/peer.ts";

export const ends = {
  source: { hostId: "host-a", copyId: "copy_S" },
  destination: { hostId: "host-b", copyId: "copy_D" },
  openedUnderToken: 5,
};
export const migrationId = "mig_M";

export type Side = "source" | "destination";

/** Something under way: a command not yet carried out, or an answer not yet heard. */
export type Pending =
  | { at: Side; kind: "command"; lane: boolean; command: SourceCommand | DestinationCommand }
  | { at: Side; kind: "answer"; lane: boolean; event: SourceEvent | DestinationEvent };

export type World = {
  source: SourceState | null;
  destination: DestinationState | null;
  /** The machines' last word once they were over: nothing more comes of them. */
  pending: Pending[];
  wakes: { source: boolean; destination: boolean };
  /** Writes whose sender has stopped waiting; they may still land, or never. */
  late: AgentReport[];
  record: { verdict: Verdict; cancel: boolean };
  journal: { commitSent: boolean; runIntent: number; runRefused: number; relinquished: boolean; asked: boolean };
  gate: "past" | "cancelled" | null;
  lock: { holder: Side | null; copyId: string; fencingToken: number; next: string | null };
  machines: {
    source: "running" | "stopped" | "ended";
    destination: "none" | "incoming" | "loaded" | "running" | "ended";
  };
  /** How current each copy's memory is; the guest's own version is `latest`. */
  memory: { source: number; destination: number; latest: number };
  stream: "none" | "open" | "finishing" | "done" | "failed";
  link: boolean;
  isExpecting: boolean;
  toSource: PeerMessage[];
  toDestination: PeerMessage[];
  faults: number;
  /** A guest's process died where it was the only complete copy. */
  isLost: boolean;
  violation: string | null;
};

const limits = {
  downtimeLimitMs: 100,
  downtimeCeilingMs: 500,
  roundLimit: 30,
  bandwidthLimitBytesPerSecond: null,
  throttleCeilingPercent: 0,
};

export function beginAtSource(): SourceState {
  return beginSource({
    migrationId,
    vmId: "vm-1",
    openToken: ends.openedUnderToken,
    own: ends.source,
    peer: ends.destination,
    limits,
    commitMs: 0,
  });
}
export function beginAtDestination(): DestinationState {
  return beginDestination(
    { migrationId, vmId: "vm-1", openToken: ends.openedUnderToken, own: ends.destination, peer: ends.source },
    0,
  );
}

export function initialWorld(): World {
  const world: World = {
    source: beginAtSource(),
    destination: beginAtDestination(),
    pending: [],
    wakes: { source: false, destination: false },
    late: [],
    record: { verdict: { kind: "open", token: ends.openedUnderToken }, cancel: false },
    journal: { commitSent: false, runIntent: 0, runRefused: 0, relinquished: false, asked: false },
    gate: null,
    lock: { holder: "source", copyId: ends.source.copyId, fencingToken: ends.openedUnderToken, next: null },
    machines: { source: "running", destination: "none" },
    memory: { source: 1, destination: 0, latest: 1 },
    stream: "none",
    link: false,
    isExpecting: false,
    toSource: [],
    toDestination: [],
    faults: 0,
    isLost: false,
    violation: null,
  };
  feedSource(world, { kind: "started", isExpired: false });
  feedDestination(world, { kind: "started", isExpired: false });
  return world;
}

/** The record as the control plane would sign it now. */
export function recordOf(world: World): MigrationRecord {
  const { verdict, cancel } = world.record;
  return {
    type: "drover-record-1",
    clusterId: "c",
    migrationId,
    vmId: "vm-1",
    openedUnderToken: ends.openedUnderToken,
    source: ends.source,
    destination: ends.destination,
    verdict: verdict.kind,
    verdictToken: verdict.token,
    owner: ownerBy(verdict, ends),
    confirmed: verdict.kind === "committed" && verdict.confirmed !== null,
    cancelRequested: cancel ? "cancelled-by-user" : null,
    issuedAt: 0,
  };
}

/** Why an end withdraws decides nothing. */
const withdrawn = { reason: "stream-failed", detail: "" } as const;

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
]);

export function feedSource(world: World, event: SourceEvent, atMs = 0): void {
  if (!world.source) return;
  const { state, commands } = advanceSource(world.source, event, atMs);
  setSource(world, state, commands);
}
export function setSource(world: World, state: SourceState, commands: SourceCommand[]): void {
  if (world.source && state.stage !== world.source.stage) world.wakes.source = false;
  // Instants are told apart only by "patience is over" or not; that comes with the event.
  world.source = {
    ...state,
    lastSampleAtMs: 0,
    blockedUntilMs: 0,
    pastAtMs: 0,
    excusedRounds: 0,
    frozenReported: true,
    ask: state.ask && { ...state.ask, atMs: 0 },
    withdrawal: state.withdrawal && withdrawn,
  };
  for (const command of commands) begin(world, "source", command);
}
export function feedDestination(world: World, event: DestinationEvent, atMs = 0): void {
  if (!world.destination) return;
  const { state, commands } = advanceDestination(world.destination, event, atMs);
  setDestination(world, state, commands);
}
export function setDestination(world: World, state: DestinationState, commands: DestinationCommand[]): void {
  if (world.destination && state.stage !== world.destination.stage) world.wakes.destination = false;
  world.destination = { ...state, startedAtMs: 0, cancelKnownAtMs: null, withdrawal: state.withdrawal && withdrawn };
  for (const command of commands) begin(world, "destination", command);
}

function begin(world: World, at: Side, command: SourceCommand | DestinationCommand): void {
  switch (command.kind) {
    case "wake":
      world.wakes[at] = true;
      return;
    case "send-peer":
      if (world.link) (at === "source" ? world.toDestination : world.toSource).push(command.message);
      return;
    case "finish":
    case "throttle":
      return;
    case "report":
      if (command.report.kind === "migration-progressed") return;
      break;
    default:
      break;
  }
  const same = world.pending.some(
    (other) => other.kind === "command" && other.at === at && sameText(other.command, command),
  );
  // Asking the same thing twice at once adds no behaviour.
  if (!same) world.pending.push({ at, kind: "command", lane: laneKinds.has(command.kind), command });
}

const sameText = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
