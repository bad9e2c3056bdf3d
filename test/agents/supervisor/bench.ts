// A supervisor alone: its machine does at once what it is told, lock files, gate and memory are in memory, time is
// simulated. Whatever is done or made durable is one step in one list, in the order in which it was begun.
import { MemoryGate } from "../../../agents/adapters/memory-gate.ts";
import { MemoryLockVolume } from "../../../agents/adapters/memory-lock-file.ts";
import { createSimulatedClock } from "../../../agents/adapters/simulated/clock.ts";
import type { CopyEvent } from "../../../agents/ports/copies.ts";
import type { Gate } from "../../../agents/ports/gate.ts";
import type {
  Hypervisor,
  IncomingStream,
  Machine,
  MachineEvent,
  MachineState,
  OutgoingStream,
} from "../../../agents/ports/hypervisor.ts";
import type { HeldLock, LockFiles } from "../../../agents/ports/lock-file.ts";
import type { CopyMemo } from "../../../agents/supervisor/memo.ts";
import { Supervisor, type SupervisorPorts } from "../../../agents/supervisor/supervisor.ts";
import { spec, ulid } from "../../support/assignments.ts";

export const copyId = ulid("copy", 1);
export const otherCopy = ulid("copy", 2);
export const migrationId = ulid("mig", 1);
export const laterMigration = ulid("mig", 2);
export const granted = { kind: "granted" } as const;
export const silenceMs = 1000;

export const newMemo: CopyMemo = {
  request: { vmId: "vm-1", copyId, spec, arriving: false, migrationId: null },
  machine: { pid: 1, startedAt: "1", socket: "s" },
  lockToken: null,
  leaving: null,
  ended: null,
};

export const outgoing = (of = migrationId): OutgoingStream => ({
  endpoint: { address: "127.0.0.12", port: 1 },
  localAddress: "127.0.0.11",
  key: new Uint8Array(32),
  migrationId: of,
  limits: { bandwidthLimitBytesPerSecond: null },
});

export const incoming = (of = migrationId): IncomingStream => ({
  address: "127.0.0.11",
  peerAddress: "127.0.0.12",
  key: new Uint8Array(32),
  migrationId: of,
});

type Act = () => void | Promise<void>;

export class SupervisorBench {
  readonly clock = createSimulatedClock();
  readonly volume = new MemoryLockVolume();
  readonly gate = new MemoryGate();
  readonly events: CopyEvent[] = [];
  steps: string[] = [];
  /** As it would be found on the disk. */
  memo: CopyMemo;
  state: MachineState;
  supervisor: Supervisor;
  /** The hypervisor's answer to the next calls of `run`; null: it runs. */
  runRefusal: string | null = null;
  /** Until then the bench listens to the supervisor. */
  unlisten: () => void = () => {};
  readonly #meets = new Map<string, Act>();
  readonly #hears = new Set<(event: MachineEvent) => void>();
  #holder = {};
  #ports = 0;

  constructor({ memo = {}, state = "held" }: { memo?: Partial<CopyMemo>; state?: MachineState } = {}) {
    this.memo = { ...newMemo, ...memo };
    this.state = state;
    this.supervisor = this.#begin(this.#machine());
  }

  /** The supervisor dies, as by kill -9, and is started again on what it kept. */
  async dieAndSettle({ withMachine = true } = {}): Promise<void> {
    this.#die();
    this.supervisor = this.#begin(withMachine ? this.#machine() : null);
    await this.supervisor.settle();
  }

  #die(): void {
    this.supervisor.dismiss();
    this.volume.holderDied(this.#holder);
    this.#holder = {};
    this.steps = [];
  }

  /** What was done since this was last asked. */
  taken(): string[] {
    return this.steps.splice(0);
  }

  /** What happened, by its kind, since this was last asked. */
  heard(): string[] {
    return this.events.splice(0).map((event) => event.kind);
  }

  /** Whenever this step is begun, this happens first. */
  meet(step: string, act: Act): void {
    this.#meets.set(step, act);
  }

  fail(step: string): void {
    this.meet(step, () => {
      throw new Error(`${step} failed`);
    });
  }

  mend(step: string): void {
    this.#meets.delete(step);
  }

  /** This step hangs until what is returned is called. */
  hang(step: string): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.meet(step, () => promise);
    return () => {
      this.mend(step);
      resolve();
    };
  }

  say(event: MachineEvent): void {
    if (event.kind === "ended") this.state = "ended";
    for (const hear of this.#hears) hear(event);
  }

  /** Lets time pass, timer by timer, and all that follows from each. */
  async pass(milliseconds: number): Promise<void> {
    let isOver = false;
    this.clock.after(milliseconds, () => {
      isOver = true;
    });
    while (!isOver) {
      await turn();
      this.clock.step();
    }
    await turn();
  }

  /** The lock file is another copy's now, on an operator's word. */
  async replaceLockFile(fencingToken: number): Promise<HeldLock> {
    const outcome = await this.volume.as({}).take("vm-1", otherCopy, fencingToken, "replace");
    if (outcome.kind !== "taken") throw new Error(outcome.kind);
    return outcome.lock;
  }

  // Ways to a state that many tests begin at; the steps to it are not of interest.

  async running(fencingToken = 5): Promise<void> {
    await this.supervisor.run(fencingToken);
    this.taken();
  }

  async sending(of = migrationId): Promise<void> {
    await this.running();
    await this.supervisor.send(outgoing(of));
    this.taken();
  }

  async atGate(of = migrationId): Promise<void> {
    await this.sending(of);
    await this.supervisor.holdAtGate(silenceMs);
    this.taken();
  }

  async pastGate(of = migrationId): Promise<void> {
    await this.atGate(of);
    await this.supervisor.passGate();
    this.taken();
  }

  async #step(step: string): Promise<void> {
    this.steps.push(step);
    await this.#meets.get(step)?.();
  }

  #begin(machine: Machine | null): Supervisor {
    const supervisor = new Supervisor(this.memo, machine, this.#portsOf(this.#holder));
    this.unlisten = supervisor.listen((event) => this.events.push(event));
    supervisor.onDestroyed = () => this.steps.push("folder may go");
    return supervisor;
  }

  #portsOf(holder: object): SupervisorPorts {
    const lockFiles = this.volume.as(holder);
    const gate: Gate = {
      read: (of) => this.gate.read(of),
      forget: (of) => this.gate.forget(of),
      decide: async (of, decision) => {
        await this.#step(`gate ${decision}`);
        return this.gate.decide(of, decision);
      },
    };
    this.#ports += 1;
    return {
      hypervisor: {} as Hypervisor,
      directory: `/copies/${this.#ports}`,
      clock: this.clock,
      gate,
      lockFiles: {
        read: (vmId) => lockFiles.read(vmId),
        take: async (vmId, copy, fencingToken, manner) => {
          await this.#step(`take ${fencingToken}${manner === "usual" ? "" : ` ${manner}`}`);
          const outcome = await lockFiles.take(vmId, copy, fencingToken, manner);
          return outcome.kind === "taken" ? { kind: "taken", lock: this.#watched(outcome.lock) } : outcome;
        },
      } satisfies LockFiles,
      memory: {
        write: async (memo) => {
          const keys = Object.keys(memo) as (keyof CopyMemo)[];
          const changed = keys.filter((key) => JSON.stringify(memo[key]) !== JSON.stringify(this.memo[key]));
          await this.#step(["memo", ...changed].join(" "));
          this.memo = JSON.parse(JSON.stringify(memo));
        },
      },
    };
  }

  #watched(lock: HeldLock): HeldLock {
    return {
      get stamp() {
        return lock.stamp;
      },
      isInPlace: () => lock.isInPlace(),
      permitNext: async (next) => {
        await this.#step(`next ${next?.copyId ?? "nobody"}`);
        await lock.permitNext(next);
      },
      release: async () => {
        await this.#step("release");
        await lock.release();
      },
    };
  }

  #machine(): Machine {
    const does = (step: string, state?: MachineState) => async () => {
      await this.#step(step);
      if (state) this.state = state;
    };
    return {
      reference: { pid: 1, startedAt: "1", socket: "s" },
      state: async () => {
        await this.#meets.get("state")?.(); // Looking changes nothing: it is no step.
        return this.state;
      },
      run: async () => {
        await this.#step("run");
        if (this.runRefusal !== null) return { kind: "refused", detail: this.runRefusal };
        this.state = "running";
        return { kind: "running" };
      },
      stop: does("stop", "stopped"),
      reset: does("reset"),
      settings: async () => ({}),
      receive: async (stream) => {
        await this.#step("receive");
        return { address: stream.address, port: this.steps.length };
      },
      send: does("send"),
      finish: does("finish"),
      cancel: does("cancel"),
      throttle: (percent) => this.#step(`throttle ${percent}`),
      destroy: async () => {
        await this.#step("destroy");
        this.say({ kind: "ended", how: "killed", detail: "destroyed" });
      },
      listen: (hear) => {
        this.#hears.add(hear);
        return () => this.#hears.delete(hear);
      },
      detach: () => {
        this.steps.push("detach");
        this.#hears.clear();
      },
    };
  }
}

/** All that is promised at this instant is kept. */
export const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
