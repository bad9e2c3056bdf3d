// A simulated host: the processes of its guests. They outlive whoever launched them, and end with the host.
import type { Clock } from "../../ports/clock.ts";
import type {
  IncomingStream,
  LaunchRequest,
  MachineEvent,
  MachineReference,
  MachineState,
  OutgoingStream,
  RunOutcome,
} from "../../ports/hypervisor.ts";
import type { ExecutionLog, RunInterval } from "./execution-log.ts";
import { bootGuest, emptyGuest, executeGuest, type Guest, reportOf, resetGuest } from "./guest.ts";
import type { SimulatedNetwork } from "./network.ts";
import { type Incoming, type Outgoing, type StreamSide, startIncoming, startOutgoing } from "./stream.ts";

/** What the next call of its kind meets. `executes` tells what became of a run whose outcome nobody was told. */
export type Fault =
  | { kind: "launch-fails"; detail: string }
  | { kind: "run-refused"; detail: string }
  | { kind: "run-outcome-unknown"; executes: boolean };

export type SimulatedHostOptions = {
  clock: Clock;
  network: SimulatedNetwork;
  /** From 0 up to 1; all that is random here comes from it. */
  random: () => number;
  log: ExecutionLog;
  hostId: string;
};

const reportEveryMs = 1000;
/** A guest that was never touched and that nobody holds ends by itself, as its maker died before it could tell of it. */
const lonelyMs = 10_000;

export class SimulatedHost {
  readonly #options: SimulatedHostOptions;
  readonly #processes = new Map<number, SimulatedProcess>();
  readonly #faults: Fault[] = [];
  #nextPid = 1000;

  constructor(options: SimulatedHostOptions) {
    this.#options = options;
  }

  get options(): SimulatedHostOptions {
    return this.#options;
  }

  /** The next call that it is about meets this fault, once. */
  expectFault(fault: Fault): void {
    this.#faults.push(fault);
  }

  takeFault<K extends Fault["kind"]>(kind: K): Extract<Fault, { kind: K }> | null {
    const index = this.#faults.findIndex((fault) => fault.kind === kind);
    return index < 0 ? null : (this.#faults.splice(index, 1)[0] as Extract<Fault, { kind: K }>);
  }

  launch(request: LaunchRequest): SimulatedProcess {
    const process = new SimulatedProcess(this, request, this.#nextPid++);
    this.#processes.set(process.reference.pid, process);
    return process;
  }

  find(reference: MachineReference): SimulatedProcess | null {
    const process = this.#processes.get(reference.pid);
    return process && process.reference.startedAt === reference.startedAt ? process : null;
  }

  /** The processes of a copy, as whoever wants to harm them finds them. */
  processOf(copyId: string): SimulatedProcess | null {
    return [...this.#processes.values()].find((process) => process.copyId === copyId) ?? null;
  }

  processes(): SimulatedProcess[] {
    return [...this.#processes.values()];
  }

  remove(process: SimulatedProcess): void {
    this.#processes.delete(process.reference.pid);
  }

  /** The power goes: every process is gone, and nobody here is told. Its peers see their connections end. */
  losePower(): void {
    for (const process of this.processes()) process.vanish("host lost", null);
  }
}

/** One guest's process. */
export class SimulatedProcess {
  readonly vmId: string;
  readonly copyId: string;
  readonly reference: MachineReference;
  readonly #host: SimulatedHost;
  readonly #guest: Guest;
  readonly #listeners = new Set<(event: MachineEvent) => void>();
  readonly #side: StreamSide;
  #state: MachineState;
  #interval: RunInterval | null = null;
  #settledAtMs = 0;
  #throttlePercent = 0;
  #outgoing: Outgoing | null = null;
  #incoming: Incoming | null = null;
  #arrived = false;
  #stopReporting = (): void => {};

  constructor(host: SimulatedHost, request: LaunchRequest, pid: number) {
    const { clock, network } = host.options;
    this.#host = host;
    this.vmId = request.vmId;
    this.copyId = request.copyId;
    this.reference = {
      pid,
      startedAt: `simulated-${clock.monotonicMs()}`,
      socket: `simulated:${host.options.hostId}:${pid}`,
    };
    this.#state = request.arriving ? "incoming" : "held";
    this.#guest = request.arriving ? emptyGuest(request.spec) : bootGuest(request.spec, this.#makeBootId());
    this.#side = {
      clock,
      network,
      guest: this.#guest,
      settings: this.settings(),
      settle: () => this.#settle(),
      executes: () => this.#interval !== null,
      throttlePercent: () => this.#throttlePercent,
    };
    clock.after(lonelyMs, () => this.#endIfLonely());
  }

  get state(): MachineState {
    return this.#state;
  }

  #endIfLonely(): void {
    const isUntouched = (this.#state === "held" || this.#state === "incoming") && !this.#incoming;
    if (isUntouched && this.#listeners.size === 0) this.vanish("nobody holds it", null);
  }

  /** The guest's last run that this memory knows of; null where none, or where it is not complete. */
  get lineage(): number | null {
    return this.#state === "incoming" || this.#state === "ended" ? null : this.#guest.device.lineage;
  }

  settings(): { [name: string]: string | number | boolean } {
    const { hypervisor, image, memoryMiB, dirtyMiBPerSecond, workingSetMiB } = this.#guest.spec;
    return { hypervisor, image, memoryMiB, dirtyMiBPerSecond, workingSetMiB };
  }

  listen(listener: (event: MachineEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  run(): RunOutcome {
    const refused = this.#host.takeFault("run-refused");
    if (refused) return { kind: "refused", detail: refused.detail };
    if (this.#state === "running") return { kind: "running" };
    if (this.#state === "incoming") return { kind: "refused", detail: "its memory has not arrived completely" };
    if (this.#state === "ended") return { kind: "refused", detail: "there is no guest any more" };
    const unknown = this.#host.takeFault("run-outcome-unknown");
    if (!unknown || unknown.executes) this.#begin();
    if (unknown) throw new Error("the answer to run was lost");
    return { kind: "running" };
  }

  stop(): void {
    if (this.#state !== "running") return;
    this.#cease();
    this.#state = "stopped";
    this.#guest.device.stoppedAtMs = this.#nowMs();
  }

  reset(): void {
    if (this.#state === "incoming" || this.#state === "ended")
      throw new Error(`cannot reset a guest that is ${this.#state}`);
    const executes = this.#state === "running";
    if (executes) this.#cease();
    resetGuest(this.#guest, this.#makeBootId());
    if (executes) this.#begin();
  }

  receive(stream: IncomingStream) {
    if (this.#state !== "incoming" || this.#incoming)
      throw new Error("only a machine that awaits its memory receives, and once");
    this.#incoming = startIncoming(this.#side, stream, {
      loaded: () => {
        this.#state = "loaded";
        this.#arrived = true;
        this.#emit({ kind: "loaded" });
      },
      failed: (detail) => this.#emit({ kind: "stream-failed", detail }),
    });
    return this.#incoming.endpoint;
  }

  async send(stream: OutgoingStream): Promise<void> {
    if (this.#outgoing) throw new Error("a stream is under way already");
    if (this.#state === "incoming" || this.#state === "ended")
      throw new Error(`cannot send a guest that is ${this.#state}`);
    const outgoing = await startOutgoing(this.#side, stream, {
      sampled: (sample) => this.#emit({ kind: "sampled", sample }),
      sent: () => {
        this.#outgoing = null;
        this.#emit({ kind: "sent" });
      },
      failed: (detail) => {
        this.#outgoing = null;
        this.throttle(0);
        this.#emit({ kind: "stream-failed", detail });
      },
    });
    // The process may have ended while it connected.
    if (this.state === "ended") outgoing.end("the guest's process ended");
    else this.#outgoing = outgoing;
  }

  finish(): void {
    if (!this.#outgoing) throw new Error("no stream is under way");
    this.#outgoing.finish();
  }

  cancel(): void {
    this.throttle(0);
    this.#endStreams("cancelled");
  }

  throttle(percent: number): void {
    this.#settle();
    this.#throttlePercent = percent;
  }

  /** The guest ends itself; its process stays to tell so. */
  endGuest(how: "powered-off" | "crashed", detail: string): void {
    if (this.#state === "ended") return;
    this.#cease();
    this.#endStreams(detail);
    this.#state = "ended";
    this.#emit({ kind: "ended", how, detail });
  }

  /** The process ends. @param told what its listeners hear; null: they hear nothing */
  vanish(detail: string, told: "killed" | null): void {
    const wasEnded = this.#state === "ended";
    this.#cease();
    this.#endStreams(detail);
    this.#state = "ended";
    this.#host.remove(this);
    if (told && !wasEnded) this.#emit({ kind: "ended", how: told, detail });
    this.#listeners.clear();
  }

  #begin(): void {
    const { hostId, log } = this.#host.options;
    const stoppedAtMs = this.#guest.device.stoppedAtMs;
    if (stoppedAtMs !== null) {
      this.#guest.device.longestGapMs = Math.max(this.#guest.device.longestGapMs, this.#nowMs() - stoppedAtMs);
    }
    this.#settledAtMs = this.#nowMs();
    this.#interval = log.began({ vmId: this.vmId, copyId: this.copyId, hostId }, this.#guest, this.#nowMs());
    this.#state = "running";
    if (this.#arrived && stoppedAtMs !== null) {
      const guestGapMs = this.#nowMs() - stoppedAtMs;
      this.#arrived = false;
      this.#host.options.clock.after(10, () => this.#emit({ kind: "gap-measured", guestGapMs }));
    }
    this.#reportLater(this.#guest.device.executedMs === 0 ? 10 : 100);
  }

  #reportLater(milliseconds: number): void {
    this.#stopReporting();
    this.#stopReporting = this.#host.options.clock.after(milliseconds, () => {
      this.#settle();
      this.#emit({ kind: "guest-reported", report: reportOf(this.#guest) });
      this.#guest.device.longestGapMs = 10;
      this.#reportLater(reportEveryMs);
    });
  }

  #cease(): void {
    this.#settle();
    this.#stopReporting();
    if (this.#interval) this.#host.options.log.ceased(this.#interval, this.#nowMs());
    this.#interval = null;
  }

  #settle(): void {
    const nowMs = this.#nowMs();
    if (this.#interval) executeGuest(this.#guest, (nowMs - this.#settledAtMs) * (1 - this.#throttlePercent / 100));
    this.#settledAtMs = nowMs;
  }

  #endStreams(detail: string): void {
    this.#outgoing?.end(detail);
    this.#outgoing = null;
    this.#incoming?.end(detail);
  }

  #emit(event: MachineEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  #nowMs(): number {
    return this.#host.options.clock.monotonicMs();
  }

  #makeBootId(): string {
    const digits = Array.from({ length: 16 }, () => Math.floor(this.#host.options.random() * 16).toString(16));
    return digits.join("");
  }
}
