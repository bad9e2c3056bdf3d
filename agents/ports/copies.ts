// The copies of guests on this host, each behind a supervisor that holds its lock file and outlives the agent.
// Adapters: supervisor processes (agents/adapters/process-copies.ts); in one process for simulation
// (agents/adapters/local-copies.ts). Both run the same Supervisor (agents/supervisor/supervisor.ts).
import type { StreamEndpoint } from "../../schemas/peer.ts";
import type { VmSpec } from "../../schemas/vm.ts";
import type { GateDecision } from "./gate.ts";
import type { IncomingStream, MachineEvent, MachineState, OutgoingStream } from "./hypervisor.ts";

export interface Copies {
  /** Starts a supervisor and its guest, which executes nothing yet. Returns the same copy if it exists already. */
  launch(request: CopyRequest): Promise<Copy>;
  /** Every copy that this host has a supervisor or a folder for, also from an earlier life of the agent. A supervisor
   *  that died is started again first and retakes the lock file of a guest that executes. One whose supervisor cannot
   *  be started, or does not answer within 5 s, is listed too: whatever it is asked throws and names the fault, until a
   *  supervisor answers. */
  list(): Promise<Copy[]>;
  /** Forgets what the gate of a migration said, once nothing of it is left on this host. */
  forgetGate(migrationId: string): Promise<void>;
  /** Keeps one supervisor with a warm hypervisor ahead. */
  keepSpare(): void;
  close(): Promise<void>;
}

export type CopyRequest = { vmId: string; copyId: string; spec: VmSpec; arriving: boolean; migrationId: string | null };

export type CopyStatus = {
  machine: MachineState;
  lock: "held" | "free";
  /** Why it ended, when `machine` is "ended". */
  ended: { how: "powered-off" | "crashed" | "killed"; detail: string } | null;
  /** What the gate of `migrationId` says, when this copy is a migration's source. */
  gate: GateDecision | null;
  /** The last migration at whose gate it was stopped, and whether that gate is behind it; null: none. */
  atGate: { migrationId: string; isOver: boolean } | null;
  /** How many resets it has made, or may have made. */
  resets: number;
};

/** What a copy's supervisor can testify of it, for when the table that knew has gone back. */
export type CopyAccount = CopyStatus & {
  /** The token it last took its lock file under; null: it never did. */
  lockToken: number | null;
  /** What the VM's lock file says when nobody holds it; null where it has none or cannot be read. */
  lockFile: "held" | { copyId: string; fencingToken: number } | null;
  /** It stood by its user's wish when it came to the gate it is at. */
  wasPaused: boolean;
};

/** Why a guest was not let run. The refusal is definite: nothing executed. */
export type PermitOutcome =
  | { kind: "granted" }
  | { kind: "refused"; by: "lock-held" | "lock-superseded" | "lock-unreachable" | "hypervisor"; detail: string };

export type CopyEvent =
  | MachineEvent
  /** The supervisor took the guest back at the gate because the agent was silent. */
  | { kind: "resumed-by-supervisor" }
  /** The guest executes without its lock file (`standing`), or holds it again. The guest is left alone either way. */
  | { kind: "lock-alarm"; standing: boolean; detail: string }
  /** The supervisor is gone (and is being started again); the guest may well run on. */
  | { kind: "supervisor-lost" };

export interface Copy {
  readonly vmId: string;
  readonly copyId: string;
  readonly spec: VmSpec;
  /** The migration this copy was launched for or is leaving by. */
  readonly migrationId: string | null;
  status(): Promise<CopyStatus>;
  account(): Promise<CopyAccount>;
  /** Takes and stamps the lock file, then lets the guest execute. Holding it already under this copy is fine.
   *  @param replaceLockFile an operator has said that whoever holds it is gone
   *  A guest that came to a gate paused comes back from it paused.
   *  @throws when the outcome is unknown: it may execute */
  run(fencingToken: number, replaceLockFile?: boolean): Promise<PermitOutcome>;
  /** Past the gate, when the destination is lost: takes the lock file where it still names this very copy, which proves
   *  that the destination never took it, and bars it from then on. Nothing executes yet. */
  takeBackLock(fencingToken: number): Promise<PermitOutcome>;
  /** The same for a guest that arrives paused: lock file taken, disks active, nothing executes. */
  arrivePaused(fencingToken: number): Promise<PermitOutcome>;
  /** Pauses on the user's wish; the lock file stays held. @throws at the gate, and past it: it waits */
  pause(): Promise<void>;
  /** Lets a paused guest execute, its lock file checked first. @throws like `pause` */
  resume(fencingToken: number): Promise<PermitOutcome>;
  /** Resets the guest, unless this many resets were made already: each is made once at most, also when the supervisor
   *  dies over it. A paused guest stays paused. @throws like `pause` */
  reset(number: number): Promise<void>;
  /** Names the copy that may execute next, in the held lock file. */
  permitNext(next: { copyId: string } | null): Promise<void>;
  receive(stream: IncomingStream): Promise<StreamEndpoint>;
  /** Also remembers the migration, for the gate. */
  send(stream: OutgoingStream): Promise<void>;
  throttle(percent: number): Promise<void>;
  cancelStream(): Promise<void>;
  /** The gate, first half: stops the guest, and answers how long it has stood by then, and how many resets it has made. From here the supervisor watches the agent, and when it is silent for
   *  `agentSilenceMs` it decides `cancelled` and, if that wins, resumes the guest. */
  holdAtGate(agentSilenceMs: number): Promise<{ standsForMs: number; resets: number }>;
  /** The gate, second half: decides `past`; if that wins, gives up the lock file, then lets the hypervisor finish.
   *  Answers what stands. */
  passGate(): Promise<GateDecision>;
  /** Decides `cancelled`; if that wins, ends the stream and resumes the guest (if it ran). Answers what stands. */
  cancelAtGate(): Promise<GateDecision>;
  /** Ends guest and supervisor, frees the lock file, removes the copy's folder. */
  destroy(): Promise<void>;
  listen(listener: (event: CopyEvent) => void): () => void;
}
