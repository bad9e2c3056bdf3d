// The hypervisor: it builds a guest, lets it execute, and streams its memory by itself. It is given an endpoint, a key
// and limits, and gives back samples and events, never pages.
// Adapters: embedded (an x86 machine in a process of its own), simulated; test/contract/hypervisor.ts.
// The supervisor of a copy (agents/supervisor/) is its only caller.
import type { HostFacts } from "../../schemas/host.ts";
import type { Round } from "../../schemas/migration.ts";
import type { StreamEndpoint } from "../../schemas/peer.ts";
import type { GuestReport, VmSpec } from "../../schemas/vm.ts";

export interface Hypervisor {
  readonly kind: VmSpec["hypervisor"];
  version(): Promise<HostFacts["hypervisor"]>;
  /** Starts what takes long and is the same for every guest (a process, compiled code), so that the next `launch`
   *  is quick. Repeating it changes nothing. */
  warm(): Promise<void>;
  /** Builds a guest: its own process, its memory, executing nothing. `arriving`: its memory will come by a stream.
   *  The process outlives the caller.
   *  @throws when it cannot be built; nothing is left behind */
  launch(request: LaunchRequest): Promise<Machine>;
  /** Finds the machine again that an earlier life of the supervisor launched; null when its process is gone. */
  adopt(reference: MachineReference): Promise<Machine | null>;
  /** Ends what `warm` started. Launched machines are untouched. */
  close(): Promise<void>;
}

export type LaunchRequest = {
  vmId: string;
  copyId: string;
  spec: VmSpec;
  /** The copy's own folder on this host: sockets and logs. */
  directory: string;
  arriving: boolean;
};

/** Enough to find a machine's process again and to be sure it is the same one. Plain JSON. */
export type MachineReference = { pid: number; startedAt: string; socket: string };

/** held: complete or fresh, never executed here. incoming: memory is arriving, incomplete. loaded: arrived complete,
 *  never executed here. stopped: executed here, its processors stand. ended: no guest any more. */
export type MachineState = "held" | "incoming" | "loaded" | "running" | "stopped" | "ended";

/** definite: the hypervisor said no without executing one instruction. */
export type RunOutcome = { kind: "running" } | { kind: "refused"; detail: string };

export type StreamLimits = { bandwidthLimitBytesPerSecond: number | null };

export type OutgoingStream = {
  endpoint: StreamEndpoint;
  /** This host's migration address; the connection is made from it. */
  localAddress: string;
  /** 32 bytes, used for this one stream (TLS with a pre-shared key). Never logged, never an argument. */
  key: Uint8Array;
  /** Names the stream to the other end. */
  migrationId: string;
  limits: StreamLimits;
};

export type IncomingStream = {
  /** Listen here and nowhere else. */
  address: string;
  /** Accept from this address only. */
  peerAddress: string;
  key: Uint8Array;
  migrationId: string;
};

/** One pass done, or at least every 50 ms a look within one (`roundDone: false`). */
export type StreamSample = Round & { roundDone: boolean; totalBytes: number; encrypted: boolean };

export type MachineEvent =
  | { kind: "sampled"; sample: StreamSample }
  /** Destination: everything has arrived and is in place; the machine is `loaded`. */
  | { kind: "loaded" }
  /** Source: all was sent and the other end said it is loaded. */
  | { kind: "sent" }
  /** The stream is over without success. The machine is as it was: running, stopped, or incomplete for ever. */
  | { kind: "stream-failed"; detail: string }
  /** The guest is no more: it powered itself off, crashed, or its process ended. */
  | { kind: "ended"; how: "powered-off" | "crashed" | "killed"; detail: string }
  | { kind: "guest-reported"; report: GuestReport }
  /** Destination, once after arrival: longest gap in the guest's heartbeat around the switchover, guest's own time. */
  | { kind: "gap-measured"; guestGapMs: number };

export interface Machine {
  readonly reference: MachineReference;
  state(): Promise<MachineState>;
  /** Lets the guest execute, from held, loaded or stopped. Resolves when it does.
   *  @throws when the outcome is unknown */
  run(): Promise<RunOutcome>;
  /** Stops the guest's processors. No instruction executes after it resolves. */
  stop(): Promise<void>;
  /** Restarts the guest from its beginning, as its reset line would. */
  reset(): Promise<void>;
  /** The settings the guest was built with, to be equal on both ends. */
  settings(): Promise<{ [name: string]: string | number | boolean }>;
  /** Destination: opens the listener for the one stream and answers where. */
  receive(stream: IncomingStream): Promise<StreamEndpoint>;
  /** Source: connects and sends rounds while the guest runs, until `finish` or `cancel`. Resolves when connected.
   *  Rounds go on for as long as nobody says otherwise; `sampled` events tell how they fare. */
  send(stream: OutgoingStream): Promise<void>;
  /** Source, guest stopped: sends what is left and the device state. Resolves when it has begun; then `sent` or
   *  `stream-failed`. */
  finish(): Promise<void>;
  /** Either side: ends the stream, lifts any throttle. The guest's run state stays as it is. */
  cancel(): Promise<void>;
  /** Slows the guest's processors by this share of their time; 0 lifts it. */
  throttle(percent: number): Promise<void>;
  /** Ends the process and its memory. Resolves when they are gone. */
  destroy(): Promise<void>;
  /** @returns how to stop listening */
  listen(listener: (event: MachineEvent) => void): () => void;
  /** Lets go of the machine without touching it. */
  detach(): void;
}
