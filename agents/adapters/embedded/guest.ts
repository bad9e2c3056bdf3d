// One guest in its own process: the machine, its state, and the stream it may be leaving or arriving by.
import { createHash } from "node:crypto";
import type { StreamEndpoint } from "../../../schemas/peer.ts";
import type { VmSpec } from "../../../schemas/vm.ts";
import type { IncomingStream, MachineEvent, MachineState, OutgoingStream, RunOutcome } from "../../ports/hypervisor.ts";
import { Serial } from "../serial.ts";
import type { Hello } from "./frames.ts";
import { streamProtocol } from "./frames.ts";
import { StatusReader } from "./guest-report.ts";
import { Incoming } from "./incoming.ts";
import { type Outgoing, startOutgoing } from "./outgoing.ts";
import type { V86Build } from "./v86-build.ts";
import { Vm, type VmEnd, vmSettings } from "./vm.ts";

export type GuestSettings = { [name: string]: string | number | boolean };

export class Guest {
  readonly #spec: VmSpec;
  readonly #build: V86Build;
  readonly #emit: (event: MachineEvent) => void;
  readonly #onExecution: (executes: boolean) => void;
  readonly #status: StatusReader;
  /** Running, stopping, resetting and handing over take turns: each is over before the next begins. */
  readonly #serial = new Serial();
  #vm: Vm | null = null;
  #state: MachineState;
  #throttlePercent = 0;
  #outgoing: Outgoing | null = null;
  /** A stream that is being begun; a cancel meanwhile ends it. */
  #connecting: { isCancelled: boolean } | null = null;
  #incoming: Incoming | null = null;

  private constructor(
    spec: VmSpec,
    build: V86Build,
    arriving: boolean,
    emit: (event: MachineEvent) => void,
    onExecution: (executes: boolean) => void,
  ) {
    this.#spec = spec;
    this.#build = build;
    this.#state = arriving ? "incoming" : "held";
    this.#emit = emit;
    this.#onExecution = onExecution;
    this.#status = new StatusReader(
      (report) => emit({ kind: "guest-reported", report }),
      (guestGapMs) => emit({ kind: "gap-measured", guestGapMs }),
    );
  }

  /** @param spare a machine built ahead, used if it has the memory
   *  @param onExecution told just before the first instruction and just after the last
   *  @throws when the machine cannot be built */
  static async build(
    spec: VmSpec,
    arriving: boolean,
    build: V86Build,
    spare: Vm | null,
    emit: (event: MachineEvent) => void,
    onExecution: (executes: boolean) => void = () => undefined,
  ): Promise<Guest> {
    const guest = new Guest(spec, build, arriving, emit, onExecution);
    guest.#vm = await guest.#buildVm(spare);
    if (arriving) guest.#vm.clearMemory();
    return guest;
  }

  get state(): MachineState {
    return this.#state;
  }

  /** It has never executed and never had a stream: nothing is lost with it. */
  get isUntouched(): boolean {
    const isFresh = this.#state === "held" || this.#state === "incoming";
    return isFresh && this.#incoming === null && this.#outgoing === null && this.#connecting === null;
  }

  settings(): GuestSettings {
    return { ...vmSettings(this.#spec), v86: this.#build.version, wasmSha256: this.#build.wasmSha256 };
  }

  run(): Promise<RunOutcome> {
    return this.#serial.run(() => this.#run());
  }

  /** No instruction executes once this resolves. */
  stop(): Promise<void> {
    return this.#serial.run(async () => this.#stop());
  }

  reset(): Promise<void> {
    return this.#serial.run(() => this.#reset());
  }

  async #run(): Promise<RunOutcome> {
    if (this.#state === "running") return { kind: "running" };
    if (this.#state === "ended") return refused("the guest has ended");
    if (this.#state === "incoming") return refused("its memory is incomplete");
    // The other end may be complete already: only a decision above us may let this copy go on, and it cancels first.
    if (this.#outgoing?.isFinishing === true) return refused("its memory is being handed over");
    const arrives = this.#state === "loaded";
    if (arrives) this.#status.arrived();
    this.#outgoing?.guestRuns();
    this.#onExecution(true);
    await this.#mustHaveVm().run();
    this.#state = "running";
    return { kind: "running" };
  }

  #stop(): void {
    if (this.#state !== "running") return;
    this.#mustHaveVm().stop();
    this.#state = "stopped";
    this.#onExecution(false);
    this.#outgoing?.guestStands();
  }

  async #reset(): Promise<void> {
    if (this.#state === "incoming" || this.#state === "ended")
      throw new Error(`a guest that is ${this.#state} has no beginning`);
    if (this.#outgoing?.isFinishing === true) throw new Error("its memory is being handed over");
    const wasRunning = this.#state === "running";
    const old = this.#mustHaveVm();
    old.stop();
    old.listener = { line: () => undefined, ended: () => undefined };
    const vm = await this.#buildVm();
    vm.throttle(this.#throttlePercent);
    this.#vm = vm;
    this.#outgoing?.guestRuns();
    // The old machine only ends once v86's next timer has come; it executes nothing until then.
    void old.dispose();
    if (wasRunning) await vm.run();
  }

  async receive(stream: IncomingStream): Promise<StreamEndpoint> {
    if (this.#state !== "incoming") throw new Error(`a guest that is ${this.#state} receives nothing`);
    if (this.#incoming !== null) throw new Error("a machine receives one stream in its life");
    const incoming = new Incoming({ vm: this.#mustHaveVm(), hello: this.#hello() }, stream.migrationId, {
      loaded: () => {
        this.#state = "loaded";
        this.#emit({ kind: "loaded" });
      },
      failed: (detail) => this.#emit({ kind: "stream-failed", detail }),
    });
    this.#incoming = incoming;
    try {
      return await incoming.listen(stream);
    } catch (error) {
      this.#incoming = null; // Nothing has arrived: another address may do.
      throw error;
    }
  }

  async send(stream: OutgoingStream): Promise<void> {
    // One that arrived paused is loaded, and may leave again without having executed here.
    if (!["held", "loaded", "running", "stopped"].includes(this.#state))
      throw new Error(`a guest that is ${this.#state} is not sent`);
    if (this.#connecting !== null || this.#outgoing?.isOver === false) throw new Error("a stream is under way");
    const connecting = { isCancelled: false };
    this.#connecting = connecting;
    try {
      const outgoing = await startOutgoing(
        {
          vm: () => this.#mustHaveVm(),
          hello: this.#hello(),
          executes: () => this.#state === "running",
          throttlePercent: () => this.#throttlePercent,
        },
        stream,
        {
          sampled: (sample) => this.#emit({ kind: "sampled", sample }),
          sent: () => {
            this.throttle(0);
            this.#emit({ kind: "sent" });
          },
          failed: (detail) => {
            this.throttle(0);
            this.#emit({ kind: "stream-failed", detail });
          },
        },
      );
      if (this.#state === "ended" || connecting.isCancelled) outgoing.cancel();
      this.#outgoing = outgoing;
      if (connecting.isCancelled) throw new Error("cancelled while it was being begun");
    } finally {
      this.#connecting = null;
    }
  }

  /** Takes its turn with `run`: a guest that is about to execute is not handed over. */
  finish(): Promise<void> {
    return this.#serial.run(async () => {
      if (this.#state === "running") throw new Error("the guest still executes");
      if (this.#outgoing === null || this.#outgoing.isOver) throw new Error("no stream is under way");
      this.#outgoing.finish();
    });
  }

  cancel(): void {
    if (this.#connecting !== null) this.#connecting.isCancelled = true;
    this.#outgoing?.cancel();
    this.#incoming?.cancel();
    this.throttle(0);
  }

  throttle(percent: number): void {
    this.#throttlePercent = percent;
    this.#vm?.throttle(percent);
  }

  type(text: string): void {
    this.#mustHaveVm().type(text);
  }

  /** SHA-256 over all memory. The guest stands meanwhile. */
  memoryDigest(): string {
    return createHash("sha256").update(this.#mustHaveVm().memory()).digest("hex");
  }

  async #buildVm(spare: Vm | null = null): Promise<Vm> {
    const { memoryMiB } = this.#spec;
    const suits = spare !== null && spare.memoryBytes === memoryMiB * 1024 * 1024;
    const vm = suits ? spare : await Vm.build(memoryMiB, this.#build);
    vm.command(this.#spec);
    vm.listener = {
      line: (text) => this.#status.read(text),
      ended: (end) => this.#ended(end),
    };
    return vm;
  }

  #ended(end: VmEnd): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#onExecution(false);
    this.#outgoing?.cancel();
    this.#emit({ kind: "ended", ...end });
  }

  #hello(): Omit<Hello, "migrationId"> {
    return {
      protocol: streamProtocol,
      v86: this.#build.version,
      wasmSha256: this.#build.wasmSha256,
      settings: vmSettings(this.#spec),
    };
  }

  #mustHaveVm(): Vm {
    if (this.#vm === null) throw new Error("the machine is not built");
    return this.#vm;
  }
}

const refused = (detail: string): RunOutcome => ({ kind: "refused", detail });
