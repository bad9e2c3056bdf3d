// A whole cluster in simulated time, with one migration from host-a to host-b that is held at a phase. A test does its
// harm there, lets the migration go on or not, and looks at what became of the guest.
import assert from "node:assert/strict";
import type { Life } from "../../agents/adapters/mortal.ts";
import type { Copies, Copy } from "../../agents/ports/copies.ts";
import type { Machine } from "../../agents/ports/hypervisor.ts";
import type { Journal } from "../../agents/ports/journal.ts";
import { Lane } from "../../agents/roles/context.ts";
import type { SupervisorPorts } from "../../agents/supervisor/supervisor.ts";
import type { Doorbell } from "../../functions/ports/doorbell.ts";
import type { Host } from "../../schemas/host.ts";
import type { Migration } from "../../schemas/migration.ts";
import type { Vm } from "../../schemas/vm.ts";
import { installCryptography } from "../simulation/cryptography.ts";
import { Process, unharmed } from "../simulation/process.ts";
import { Random } from "../simulation/random.ts";
import { Scheduler } from "../simulation/scheduler.ts";
import { type AgentPorts, type AgentRequest, startCluster, type TestCluster, type TestHost } from "./cluster.ts";

/** The phases of the table of failures, P1 to P7. */
export const tablePhases = ["setup", "precopy", "gate", "past", "loaded", "committed", "running"] as const;
export type TablePhase = (typeof tablePhases)[number];
/** queued: hosts are busy. unclaimed: admitted, no host has read of it. confirmed: the source has not reported yet. */
export const phases = ["queued", "unclaimed", ...tablePhases, "confirmed", "over"] as const;
export type Phase = (typeof phases)[number];

export type StageOptions = {
  paused?: boolean;
  /** In the instant in which the commit is applied, whose answer is then lost; the phase is reached by that. */
  onCommit?: (stage: Stage) => void;
};

const source = "host-a";
const destination = "host-b";
const addresses = ["127.0.0.11", "127.0.0.12"] as const;
/** The pre-copy takes some seconds. */
const slowly = { limits: { bandwidthLimitBytesPerSecond: 4_000_000 } };

export class Stage {
  readonly phase: Phase;
  readonly scheduler = new Scheduler();
  readonly source = source;
  readonly destination = destination;
  /** How often a guest was reset, by copy. */
  readonly resets: string[] = [];
  /** Every message since the migration was asked for, with how to send its like once more: null, or what it was answered. */
  readonly recorded: { kind: string; again: () => Promise<number | null> }[] = [];
  readonly #processes = new Map<string, Process[]>();
  readonly #reached = Promise.withResolvers<void>();
  readonly #released = Promise.withResolvers<void>();
  readonly #random = new Random(1);
  #cluster: TestCluster | null = null;
  #isArmed = false;
  #hasReached = false;
  #isReleased = false;
  #blocker = "";
  #onCommit: ((stage: Stage) => void) | null = null;
  bells: "well" | "lost" | "stormy" = "well";
  /** How far a host's wall clock is off. */
  readonly clockOffsets: { [hostId: string]: number } = {};
  id = "";

  constructor(phase: Phase) {
    this.phase = phase;
  }

  get cluster(): TestCluster {
    if (!this.#cluster) throw new Error("the stage is not set");
    return this.#cluster;
  }

  host(hostId: string): TestHost {
    return this.cluster.host(hostId);
  }

  pass(milliseconds: number): Promise<void> {
    return this.scheduler.clock.sleep(milliseconds);
  }

  vm(): Promise<Vm> {
    return this.cluster.vm("vm-1");
  }

  migration(): Promise<Migration> {
    return this.cluster.migration(this.id);
  }

  executing(): string[] {
    return this.cluster.executing("vm-1");
  }

  /** Waits, at most two simulated minutes. */
  until(isTrue: () => Promise<boolean> | boolean, what = ""): Promise<void> {
    return this.cluster.until(isTrue, 120_000, () => what);
  }

  post(path: string, headers: { [name: string]: string } = {}) {
    return this.cluster.tryCall("POST", this.cluster.path(path), {}, headers);
  }

  cancel() {
    return this.post(`migrations/${this.id}/cancel`);
  }

  // Harm.

  cutNetwork(): void {
    this.cluster.network.cut(...addresses);
    this.cluster.peerNetwork.cut(...addresses);
  }

  mendNetwork(): void {
    this.cluster.network.heal(...addresses);
    this.cluster.peerNetwork.mend(...addresses);
  }

  /** Agent and supervisors of a host stand still, as by SIGSTOP. */
  suspend(hostId: string, milliseconds: number): void {
    for (const process of this.#processes.get(hostId) ?? []) if (!process.isDead) process.stall(milliseconds);
  }

  /** The guest's process of one side. */
  guest(hostId: string) {
    const process = this.host(hostId)
      .simulated.processes()
      .find(({ vmId }) => vmId === "vm-1");
    if (!process) throw new Error(`no process of vm-1 on ${hostId}`);
    return process;
  }

  /** Lets the migration go on from where it is held. */
  async release(): Promise<void> {
    this.#released.resolve();
    this.cluster.peerNetwork.mend(...addresses);
    this.cluster.network.letGoOn(...addresses);
    if (this.#blocker) await this.post(`migrations/${this.#blocker}/cancel`);
  }

  /** Runs the cluster, the guest and its migration up to the phase, then the test. */
  async run(options: StageOptions, play: (stage: Stage) => Promise<void>): Promise<void> {
    const keys = this.#random.fork("keys");
    const restore = installCryptography("quick", (length) => keys.bytes(length));
    try {
      await this.scheduler.settle(this.#play(options, play));
    } finally {
      restore();
    }
  }

  async #play({ paused = false, onCommit }: StageOptions, play: (stage: Stage) => Promise<void>): Promise<void> {
    this.#onCommit = onCommit ?? null;
    this.#isReleased = onCommit !== undefined;
    this.#cluster = await this.#start();
    const { cluster } = this;
    await cluster.runVm("vm-1", source);
    if (paused) {
      await this.post("vms/vm-1/pause");
      await this.until(async () => (await this.vm()).runState === "paused");
    }
    if (this.phase === "queued") {
      await cluster.runVm("vm-2", "host-c");
      this.#blocker = (await cluster.request("vm-2", destination, slowly)).id;
    }
    if (this.phase === "setup") cluster.peerNetwork.bar(...addresses);
    this.#isArmed = true;
    this.id = (await cluster.request("vm-1", destination, slowly)).id;
    await this.#arrive();
    await play(this);
    assert.deepEqual(cluster.faults, [], "I1: a guest executed twice, from old memory, or with damaged memory");
    await cluster.stop();
  }

  async #arrive(): Promise<void> {
    switch (this.phase) {
      case "queued":
        assert.equal((await this.migration()).phase, "queued");
        return;
      case "setup":
        await this.until(() => this.host(destination).simulated.processes().length === 1);
        await this.pass(100);
        return;
      case "precopy":
        await this.until(async () => (await this.migration()).phase === "precopy");
        return;
      case "over":
        await this.cluster.ended(this.id, 120_000);
        return;
      default:
        await this.#reached.promise;
        await this.pass(1);
    }
  }

  #hold(): Promise<void> {
    if (this.#isReleased) return Promise.resolve();
    if (!this.#hasReached) this.#reached.resolve();
    this.#hasReached = true;
    return this.#released.promise;
  }

  #start(): Promise<TestCluster> {
    const { clock } = this.scheduler;
    const beginsAtMs = Date.UTC(2026, 0, 1);
    const bytes = this.#random.fork("bytes");
    const chance = this.#random.fork("chance");
    const wallNowMs = () => Math.floor(beginsAtMs + clock.monotonicMs());
    return startCluster({
      hosts: 3,
      world: { clock, wallNowMs, random: () => chance.next(), randomBytes: (length) => bytes.bytes(length) },
      wallNowMs: (hostId) => wallNowMs() + (this.clockOffsets[hostId] ?? 0),
      settings: { heartbeatMs: 10_000, busyHeartbeatMs: 1000, leaseMs: 30_000 },
      doorbell: (doorbell) => this.#unsteady(doorbell),
      intercept: (request) => this.#intercept(request),
      carry: (_, deliver) => {
        if (this.#isArmed) this.#record("peer", async () => deliver());
        deliver();
      },
      enclosure: {
        clock: (host, life) => this.#open(host, "agent", life).clock,
        agent: (host, _, ports) => this.#asAgent(host, ports),
        supervisor: (host, copyId, life, ports) => this.#asSupervisor(host, copyId, life, ports),
      },
    });
  }

  async #intercept({ hostId, kind, pass }: AgentRequest): Promise<Response | null> {
    if (!this.#isArmed) return null;
    const isRead = kind === "record" || kind === "doorbell";
    if (!isRead) this.recorded.push({ kind, again: async () => (await pass()).status });
    const isCommit = hostId === destination && kind === "destination-commits";
    if (isCommit && this.phase === "loaded") await this.#hold();
    if (isCommit && this.#onCommit) {
      await pass();
      this.#onCommit(this);
      this.#onCommit = null;
      this.#reached.resolve();
      throw new Error("the answer was lost");
    }
    if (this.phase === "unclaimed" && kind === "claim" && hostId !== "host-c") await this.#hold();
    if (this.phase === "running" && hostId === destination && kind === "guest-confirmed") await this.#hold();
    if (this.phase === "confirmed" && hostId === source && kind === "copy-seen") await this.#hold();
    return null;
  }

  #record(kind: string, send: () => Promise<void>): void {
    const again = async () => {
      await send();
      return null;
    };
    this.recorded.push({ kind, again });
  }

  #open(host: TestHost, name: string, life: Life): Process {
    const { clock } = this.scheduler;
    const process = new Process({ name, life, clock, drift: 0, fateOf: unharmed, end: () => {} });
    this.#processes.set(host.hostId, [...(this.#processes.get(host.hostId) ?? []), process]);
    return process;
  }

  #asAgent(host: TestHost, ports: AgentPorts): AgentPorts {
    const process = this.#processes.get(host.hostId)?.findLast(({ name }) => name === "agent");
    if (!process) throw new Error(`no process of ${host.hostId}`);
    return {
      copies: process.enclose("copies", this.#copies(host, ports.copies)),
      peerLinks: process.enclose("peer", ports.peerLinks),
      journal: process.enclose("journal", this.#journal(host, process, ports.journal)),
      counter: process.enclose("counter", ports.counter),
      clock: process.clock,
      fetch: (url, init) => process.ask("fetch", () => ports.fetch(url, init)),
    };
  }

  #asSupervisor(host: TestHost, copyId: string, life: Life, ports: SupervisorPorts): SupervisorPorts {
    const process = this.#open(host, copyId, life);
    const { gate, hypervisor } = ports;
    const holding = {
      read: (id: string) => gate.read(id),
      forget: (id: string) => gate.forget(id),
      decide: async (id: string, decision: "past" | "cancelled") => {
        const stands = await gate.decide(id, decision);
        if (this.phase === "past" && this.#isArmed && !this.#hasReached && stands === "past") {
          this.cluster.network.hold(...addresses);
          void this.#hold();
        }
        return stands;
      },
    };
    const counting = over(hypervisor, {
      launch: async (request: Parameters<typeof hypervisor.launch>[0]) =>
        this.#counted(copyId, await hypervisor.launch(request)),
      adopt: async (reference: Parameters<typeof hypervisor.adopt>[0]) => {
        const machine = await hypervisor.adopt(reference);
        return machine && this.#counted(copyId, machine);
      },
    });
    return {
      hypervisor: process.enclose("hypervisor", counting),
      lockFiles: process.enclose("lockFiles", ports.lockFiles),
      gate: process.enclose("gate", holding),
      memory: process.enclose("memory", ports.memory),
      clock: process.clock,
      directory: ports.directory,
    };
  }

  #counted(copyId: string, machine: Machine): Machine {
    return over(machine, {
      reset: async () => {
        this.resets.push(copyId);
        await machine.reset();
      },
    });
  }

  /** At the gate the guest stands, and its agent has not heard so yet. */
  #copies(host: TestHost, copies: Copies): Copies {
    if (this.phase !== "gate" || host.hostId !== source) return copies;
    const holding = (copy: Copy): Copy =>
      over(copy, {
        holdAtGate: async (silenceMs: number) => {
          const held = await copy.holdAtGate(silenceMs);
          if (this.#isArmed) await this.#hold();
          return held;
        },
      });
    return over(copies, {
      launch: async (request: Parameters<Copies["launch"]>[0]) => holding(await copies.launch(request)),
      list: async () => (await copies.list()).map(holding),
    });
  }

  /** Committed, and the intent to run the guest is not durable yet. */
  #journal(host: TestHost, process: Process, journal: Journal): Journal {
    if (this.phase !== "committed" || host.hostId !== destination) return journal;
    const disk = new Lane(); // One write after the other.
    const write = async (entry: Parameters<Journal["write"]>[0]) => {
      if (entry.runIntent && this.#isArmed) await this.#hold();
      if (!process.isDead) await journal.write(entry);
    };
    return over(journal, {
      write: (entry: Parameters<Journal["write"]>[0]) => disk.do(() => write(entry)),
    });
  }

  #unsteady(doorbell: Doorbell): Doorbell {
    return over(doorbell, {
      ring: async (host: Parameters<Doorbell["ring"]>[0]) => {
        if (this.bells === "lost") return;
        if (this.#isArmed) this.#record("ring", () => doorbell.ring(host));
        await doorbell.ring(host);
        if (this.bells === "well") return;
        for (const lateMs of [0, 1, 7, 40, 300, 2000, 9000, 60_000]) {
          this.scheduler.clock.after(lateMs, () => void doorbell.ring(host));
        }
      },
    });
  }

  // What became of it.

  async hosts(): Promise<Host[]> {
    return (await this.cluster.call<{ items: Host[] }>("GET", this.cluster.path("hosts"))).items;
  }

  /** Slots, processes, copies, journals, gates and the lock file: only what the guest needs is left. */
  async nothingIsLeftBehind(vmIsOn: string | null): Promise<void> {
    const seen = { what: "" };
    await this.cluster.until(
      async () => {
        seen.what = await this.#leftBehind(vmIsOn);
        return seen.what === "";
      },
      120_000,
      () => `left behind: ${seen.what}`,
    );
  }

  async #leftBehind(vmIsOn: string | null): Promise<string> {
    const left: string[] = [];
    for (const { host, migration } of await this.hosts()) if (migration) left.push(`slot of ${host}`);
    for (const host of this.cluster.hosts) {
      const guests = host.simulated.processes().filter(({ vmId }) => vmId === "vm-1").length;
      const expected = host.hostId === vmIsOn ? 1 : 0;
      if (guests !== expected) left.push(`${guests} guests on ${host.hostId}`);
      const others = host.simulated.processes().length - guests;
      if (host.copyHost.copyIds().length !== expected + others) left.push(`copies of ${host.hostId}`);
      if (host.disk.entries.size > 0) left.push(`journals of ${host.hostId}`);
      if (host.gate.size > 0) left.push(`gates of ${host.hostId}`);
    }
    const lock = await this.cluster.locks.as({}).read("vm-1");
    if ((lock === "held") !== (vmIsOn !== null)) left.push(`lock file ${JSON.stringify(lock)}`);
    return left.join(", ");
  }
}

/** An object with some methods in others' place. */
function over<T extends object>(target: T, methods: { [name: string]: unknown }): T {
  return new Proxy(target, {
    get: (object, name) => {
      if (typeof name === "string" && name in methods) return methods[name];
      const value: unknown = Reflect.get(object, name, object);
      return typeof value === "function" ? value.bind(object) : value;
    },
  });
}
