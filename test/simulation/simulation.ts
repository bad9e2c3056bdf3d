// A whole cluster in simulated time under one seed: the operations, the HTTP application, agents and supervisors are the
// product's; the world around them is here.
import type { LockVolume } from "../../agents/adapters/local-copies.ts";
import type { Life } from "../../agents/adapters/mortal.ts";
import type { SimulatedProcess } from "../../agents/adapters/simulated/host.ts";
import type { Gate } from "../../agents/ports/gate.ts";
import { createFaultyDoorbell } from "../../functions/adapters/faulty-doorbell.ts";
import { createFaultyTable } from "../../functions/adapters/faulty-table.ts";
import { createMemoryTable, type MemorySnapshot } from "../../functions/adapters/memory-table.ts";
import type { MigrationState, VmRecord } from "../../functions/domain/records.ts";
import type { Item, Table } from "../../functions/ports/table.ts";
import {
  type AgentPorts,
  type ClusterOptions,
  type Enclosure,
  startCluster,
  type TestCluster,
  type TestHost,
} from "../support/cluster.ts";
import { installCryptography, type Strength } from "./cryptography.ts";
import { Faults } from "./faults.ts";
import { findOverlaps, History, type Keeping } from "./history.ts";
import { exchangeLight, installHttp } from "./http.ts";
import { Observers } from "./observers.ts";
import { Process } from "./process.ts";
import { Random } from "./random.ts";
import { RealAdapters } from "./real-adapters.ts";
import { Scheduler } from "./scheduler.ts";
import { Counts } from "./sometimes.ts";
import { TableWatch } from "./table-watch.ts";

export type WatchedLocks = LockVolume & { unreachable: boolean; holders(): { vmId: string; copyId: string }[] };

export type SimulationOptions = {
  seed: number;
  hosts: number;
  keeping?: Keeping;
  strength?: Strength;
  /** Of each host's monotonic clock, at most. */
  drift?: number;
  /** Memory by default. */
  adapters?: "memory" | "files";
  settings?: NonNullable<ClusterOptions["settings"]>;
  /** Instead of the usual ones. */
  locks?: WatchedLocks;
  cluster?: Partial<ClusterOptions>;
};

/** A table that can be taken a backup of, and be replaced by it. */
export type Store = { table: Table; backUp(): unknown; restore(backup: unknown): void; items(): Item[] };

function memoryStore(): Store {
  const table = createMemoryTable({ handsOutFrozen: true });
  return {
    table,
    backUp: () => table.snapshot(),
    restore: (backup) => table.restore(backup as MemorySnapshot),
    items: () => table.allItems(),
  };
}

/** When simulated time begins, for those who look at a calendar. */
const beginsAtMs = Date.UTC(2026, 0, 1);

/** Thrown where a promise is broken; the history tells how it came to it. */
export class BrokenPromise extends Error {
  override name = "BrokenPromise";
}

export class Simulation {
  readonly options: SimulationOptions;
  readonly scheduler = new Scheduler();
  readonly random: Random;
  readonly history: History;
  #store: Store;
  #adapters: RealAdapters | null = null;
  /** How often another table has taken the place of the one before. */
  tablesBefore = 0;
  tableCalls = 0;
  readonly counts = new Counts();
  readonly faults: Faults;
  readonly observers: Observers;
  readonly tableWatch: TableWatch;
  readonly violations: string[] = [];
  readonly agents = new Map<string, Process>();
  readonly supervisors = new Map<string, Process>();
  /** VMs whose owner's guest process, or whose only complete copy, was taken from them since they were started. */
  readonly victims = new Set<string>();
  /** VMs whose guest ended by itself since they were started. */
  readonly selfEnded = new Set<string>();
  readonly #harmedOnce = new Set<string>();
  readonly #hostOf = new WeakMap<Process, TestHost>();
  #cluster: TestCluster | null = null;

  constructor(options: SimulationOptions) {
    this.options = options;
    this.random = new Random(options.seed);
    this.#store = memoryStore();
    this.history = new History(options.keeping ?? "none", () => this.scheduler.nowMs());
    this.faults = new Faults(this, this.random.fork("faults"));
    this.observers = new Observers(this.counts, (hostId, migrationId) => {
      if (this.#adapters) return this.#adapters.journal(hostId)?.migration(migrationId) ?? null;
      const text = this.cluster.host(hostId).disk.entries.get(migrationId);
      return text === undefined ? null : JSON.parse(text);
    });
    this.tableWatch = new TableWatch({
      violation: (detail) => this.violation(detail),
      migration: (before, after) => {
        this.observers.migration(before, after);
        this.#migrationChanged(after);
      },
      vm: (before, after) => this.#vmChanged(before, after),
    });
    this.scheduler.afterStep = () => {
      if (this.violations.length > 0) throw new BrokenPromise(this.violations.join("\n"));
    };
  }

  get cluster(): TestCluster {
    if (!this.#cluster) throw new Error("the cluster is not started");
    return this.#cluster;
  }

  get store(): Store {
    return this.#store;
  }

  /** The shared volume. */
  get locks(): WatchedLocks {
    return this.options.locks ?? this.#adapters?.locks ?? this.cluster.locks;
  }

  /** What a host's disk still has of migrations. */
  keptBy(host: TestHost): { gates: number; journals: string[]; isFrozen: boolean } {
    const { gate, disk, hostId } = host;
    const real = this.#adapters;
    if (!real) return { gates: gate.size, journals: [...disk.entries.keys()], isFrozen: disk.tableStanding.isFrozen };
    const journal = real.journal(hostId);
    const journals = journal?.migrations().map(({ migrationId }) => migrationId) ?? [];
    return { gates: real.gates(hostId), journals, isFrozen: journal?.tableStanding().isFrozen ?? false };
  }

  get nowMs(): number {
    return this.scheduler.nowMs();
  }

  violation(detail: string): void {
    this.history.note("VIOLATION", () => detail);
    this.violations.push(detail);
  }

  hostOf(process: Process): TestHost {
    const host = this.#hostOf.get(process);
    if (!host) throw new Error(`${process.name} is on no host`);
    return host;
  }

  /** Starts the cluster and lets `play` happen. @throws BrokenPromise as soon as a promise is broken */
  async run(play: (simulation: Simulation) => Promise<void>): Promise<void> {
    const keys = this.random.fork("keys");
    const restores = [installCryptography(this.options.strength ?? "quick", (length) => keys.bytes(length))];
    if (this.options.adapters !== "files") restores.push(installHttp());
    const onRejection = (reason: unknown) => {
      const text = reason instanceof Error ? reason.stack : String(reason);
      this.violation(`a promise was rejected and nobody took it: ${text}`);
    };
    process.on("unhandledRejection", onRejection);
    try {
      if (this.options.adapters === "files") {
        this.#adapters = await RealAdapters.open(this.scheduler);
        this.#store = this.#adapters.store;
      }
      this.#cluster = await this.scheduler.settle(this.#start());
      await play(this);
      for (const overlap of findOverlaps(this.cluster.executions.intervals)) this.violation(`I1: ${overlap}`);
      if (this.violations.length > 0) throw new BrokenPromise(this.violations.join("\n"));
      this.history.note("simulation", () => `over after ${this.scheduler.steps} steps`);
    } finally {
      process.off("unhandledRejection", onRejection);
      await this.#adapters?.close();
      for (const restore of restores) restore();
    }
  }

  livingSupervisors(): Process[] {
    const there = this.cluster.hosts.flatMap((host) => host.copyHost.copyIds());
    for (const copyId of this.supervisors.keys()) if (!there.includes(copyId)) this.supervisors.delete(copyId);
    return [...this.supervisors.values()].filter((process) => !process.isDead);
  }

  // Who may lose a guest (I2).

  /** Its process is about to be taken away. */
  willLose(guest: SimulatedProcess): void {
    const { vmId, copyId } = guest;
    const isOwner = this.tableWatch.vms.get(vmId)?.owner?.copyId === copyId;
    const isComplete = guest.lineage !== null && guest.lineage === this.cluster.executions.latestLineage(vmId);
    const others = this.#completeCopies(vmId).filter((other) => other !== guest);
    if (isOwner && isComplete && others.length > 0) this.#sourceLostAfterLoading.add(vmId);
    if (isOwner || (isComplete && others.length === 0)) this.victims.add(vmId);
  }

  readonly #stoppedOnce = new Set<string>();
  readonly #sourceLostAfterLoading = new Set<string>();

  endedByItself({ vmId }: SimulatedProcess): void {
    this.selfEnded.add(vmId);
    if (this.tableWatch.vms.get(vmId)?.migrationId) this.counts.add("guest ended by itself during a migration");
  }

  hostLost(host: TestHost): void {
    if (this.tableWatch.slots.get(host.hostId)?.migration) this.counts.add("host lost its power during a migration");
    for (const guest of host.simulated.processes()) this.willLose(guest);
  }

  /** An operator's word, true or not: whatever the host had may be lost by it. */
  declaredLost(host: TestHost): void {
    // While the cluster recovers, the table may not know what the host has.
    for (const { vmId } of host.simulated.processes()) this.victims.add(vmId);
    for (const { vmId, owner } of this.tableWatch.vms.values())
      if (owner?.hostId === host.hostId) this.victims.add(vmId);
    for (const { vmId, stage, source, destination } of this.tableWatch.newest.values()) {
      if (stage !== "ended" && [source.hostId, destination.hostId].includes(host.hostId)) this.victims.add(vmId);
    }
  }

  tableGoesBack(backup: unknown): void {
    this.tablesBefore++;
    // That it was stopped is forgotten: a guest that nobody has any more may be on a host that tells nothing.
    for (const vmId of this.#stoppedOnce) this.selfEnded.add(vmId);
    this.store.restore(backup);
    this.tableWatch.learn(this.store.items());
    // What was started since may be forgotten, and then the guests before it count again.
    for (const vmId of this.#harmedOnce) this.victims.add(vmId);
  }

  isPastGate(host: TestHost): boolean {
    const held = this.tableWatch.slots.get(host.hostId)?.migration;
    return held !== null && held !== undefined && held.role === "source" && this.keptBy(host).gates > 0;
  }

  /** Memory that knows of the VM's last run. */
  #completeCopies(vmId: string): SimulatedProcess[] {
    const latest = this.cluster.executions.latestLineage(vmId);
    const all = this.cluster.hosts.flatMap((host) => host.simulated.processes());
    return all.filter((process) => process.vmId === vmId && process.lineage !== null && process.lineage === latest);
  }

  #migrationChanged({ vmId, verdict }: MigrationState): void {
    if (verdict.kind !== "committed" || verdict.confirmed?.outcome !== "running") return;
    if (this.#sourceLostAfterLoading.delete(vmId) && this.victims.delete(vmId)) {
      this.counts.add("source lost after loading, the guest carries on");
    }
  }

  #vmChanged(before: VmRecord | null, after: VmRecord): void {
    const { vmId, runState, stoppedBecause } = after;
    if (runState === "starting" && before?.runState !== "starting") {
      if (this.victims.delete(vmId) || this.selfEnded.has(vmId)) this.#harmedOnce.add(vmId);
      this.selfEnded.delete(vmId);
      this.#sourceLostAfterLoading.delete(vmId);
    }
    if (before?.runState === runState) return;
    // A start that died halfway lost nothing that had ever run.
    const hasRun = () => this.cluster.executions.intervals.some(({ copyId }) => copyId === before?.owner?.copyId);
    if (runState === "guest-lost" && !this.victims.has(vmId) && !this.selfEnded.has(vmId) && hasRun())
      this.violation(`I2: ${vmId} is lost (${stoppedBecause}), and nobody harmed it`);
    if (runState !== "stopped") return;
    this.#stoppedOnce.add(vmId);
    // It had ended since the backup, by a wish that the table has forgotten.
    if (stoppedBecause === "table-restored" && this.#completeCopies(vmId).length === 0) return;
    const isWished =
      after.wantedRunState === "stopped" || before?.wantedRunState === "stopped" || after.deleteRequested;
    if (!isWished && !this.selfEnded.has(vmId) && !this.victims.has(vmId)) {
      this.violation(`I2: ${vmId} has stopped (${stoppedBecause}), and nobody asked it to`);
    }
  }

  // The cluster and what stands around its processes.

  #start(): Promise<TestCluster> {
    const chance = this.random.fork("world");
    const bytes = this.random.fork("bytes");
    const table = createFaultyTable(this.tableWatch.watch(this.#notedTable()), (call) => this.faults.calls.table(call));
    return startCluster({
      hosts: this.options.hosts,
      world: {
        clock: this.scheduler.clock,
        wallNowMs: () => Math.floor(beginsAtMs + this.nowMs + this.faults.controlPlaneOffsetMs()),
        random: () => chance.next(),
        randomBytes: (length) => bytes.bytes(length),
      },
      wallNowMs: (hostId) => Math.floor(beginsAtMs + this.nowMs + this.faults.hostOffsetMs(hostId)),
      tidyMs: 3000,
      settings: this.options.settings ?? { heartbeatMs: 10_000, busyHeartbeatMs: 1000, leaseMs: 30_000 },
      table,
      doorbell: (doorbell) => createFaultyDoorbell(doorbell, () => this.faults.calls.ring()),
      enclosure: this.#enclosure(),
      ...this.#realAdapters(),
      carry: (delivery, deliver) => this.faults.calls.carry(delivery, deliver),
      onLog: (hostId, entry) => {
        this.history.note(hostId, () => JSON.stringify(entry));
        this.observers.log(hostId, entry);
        if (entry.event.endsWith("-stage")) this.faults.moment(hostId, entry);
      },
      onExecution: (fault) => this.violation(`I1: ${fault.kind}: ${fault.detail}`),
      intercept: async (request) => {
        const response = await this.faults.calls.request(request);
        await this.observers.answered(request.hostId, response, request.isOfOlderLife());
        this.history.note(request.hostId, () => `${request.kind}: ${response.status}`);
        return response;
      },
      ...(this.options.locks ? { locks: this.options.locks } : {}),
      ...this.options.cluster,
    });
  }

  #realAdapters(): Partial<ClusterOptions> {
    const real = this.#adapters;
    if (!real) return { exchange: exchangeLight };
    return { storage: (host) => real.storage(host), locks: real.locks, exchange: real.exchange };
  }

  #enclosure(): Enclosure {
    const drift = this.random.fork("drift");
    const driftOf = new Map<string, number>();
    const open = (name: string, host: TestHost, life: Life, end: () => void): Process => {
      const most = this.options.drift ?? 0;
      const hostDrift = driftOf.get(host.hostId) ?? (most > 0 ? drift.between(-most, most) : 0);
      driftOf.set(host.hostId, hostDrift);
      const process = new Process({
        name,
        life,
        clock: this.scheduler.clock,
        drift: hostDrift,
        fateOf: (of, step) => this.faults.fateOf(of, step),
        end,
      });
      this.#hostOf.set(process, host);
      return process;
    };
    return {
      clock: (host, life) => {
        const process = open(host.hostId, host, life, () => {
          host.killAgent();
          this.faults.agentEnded(host);
        });
        this.agents.set(host.hostId, process);
        return process.clock;
      },
      agent: (host, _, ports) => this.#asAgent(host, ports),
      supervisor: (host, copyId, life, ports) => {
        const process = open(copyId, host, life, () => host.copyHost.supervisorDied(copyId));
        this.supervisors.set(copyId, process);
        return {
          hypervisor: process.enclose("hypervisor", ports.hypervisor),
          lockFiles: process.enclose("lockFiles", ports.lockFiles),
          gate: process.enclose("gate", this.#watchedGate(host, ports.gate)),
          memory: process.enclose("memory", ports.memory),
          clock: process.clock,
          directory: ports.directory,
        };
      },
    };
  }

  /** From the gate on, a supervisor whose agent is silent acts alone. */
  #watchedGate(host: TestHost, gate: Gate): Gate {
    return {
      read: (migrationId) => gate.read(migrationId),
      forget: (migrationId) => gate.forget(migrationId),
      decide: async (migrationId, wanted) => {
        const decision = await gate.decide(migrationId, wanted);
        const agent = this.agents.get(host.hostId);
        const isSilent = !agent || agent.isDead || agent.isStalled;
        if (decision === "cancelled" && isSilent) this.counts.add("supervisor took the guest back");
        return decision;
      },
    };
  }

  #asAgent(host: TestHost, ports: AgentPorts): AgentPorts {
    const process = this.agents.get(host.hostId);
    if (!process) throw new Error(`no process of ${host.hostId}`);
    return {
      copies: process.enclose("copies", ports.copies),
      peerLinks: process.enclose("peer", ports.peerLinks),
      journal: process.enclose("journal", ports.journal),
      counter: process.enclose("counter", ports.counter),
      clock: process.clock,
      fetch: (url, init) => process.ask(`fetch ${url.slice(url.lastIndexOf("/") + 1)}`, () => ports.fetch(url, init)),
    };
  }

  #notedTable(): Table {
    const { table } = this.store;
    return {
      get: (keys) => table.get(keys),
      query: (range) => table.query(range),
      close: () => table.close(),
      commit: async (changes) => {
        const outcome = await table.commit(changes);
        this.history.note("table", () => `${outcome.kind} ${JSON.stringify(changes)}`);
        return outcome;
      },
    };
  }
}
