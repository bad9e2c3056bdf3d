// A whole cluster in simulated time under one seed: the operations, the HTTP application, agents and supervisors are the
// product's; the world around them is here.
import type { Life } from "../../agents/adapters/mortal.ts";
import { createMemoryTable, type MemoryTable } from "../../functions/adapters/memory-table.ts";
import type { Change, CommitOutcome, Table } from "../../functions/ports/table.ts";
import { type AgentPorts, type Enclosure, startCluster, type TestCluster, type TestHost } from "../support/cluster.ts";
import { installCryptography, type Strength } from "./cryptography.ts";
import { History, type Keeping } from "./history.ts";
import { Process, unharmed } from "./process.ts";
import { Random } from "./random.ts";
import { Scheduler } from "./scheduler.ts";

export type SimulationOptions = {
  seed: number;
  hosts: number;
  keeping?: Keeping;
  strength?: Strength;
};

/** When simulated time begins, for those who look at a calendar. */
const beginsAtMs = Date.UTC(2026, 0, 1);

export class Simulation {
  readonly options: SimulationOptions;
  readonly scheduler = new Scheduler();
  readonly random: Random;
  readonly history: History;
  readonly table: MemoryTable = createMemoryTable();
  readonly violations: string[] = [];
  readonly agents = new Map<string, Process>();
  readonly supervisors = new Map<string, Process>();
  #cluster: TestCluster | null = null;

  constructor(options: SimulationOptions) {
    this.options = options;
    this.random = new Random(options.seed);
    this.history = new History(options.keeping ?? "none", () => this.scheduler.nowMs());
  }

  get cluster(): TestCluster {
    if (!this.#cluster) throw new Error("the cluster is not started");
    return this.#cluster;
  }

  get nowMs(): number {
    return this.scheduler.nowMs();
  }

  /** Starts the cluster, lets `play` happen, and ends it all. */
  async run(play: (simulation: Simulation) => Promise<void>): Promise<void> {
    const keys = this.random.fork("keys");
    const restore = installCryptography(this.options.strength ?? "quick", (length) => keys.bytes(length));
    const onRejection = (reason: unknown) => {
      this.violations.push(
        `a promise was rejected and nobody took it: ${reason instanceof Error ? reason.stack : reason}`,
      );
    };
    process.on("unhandledRejection", onRejection);
    try {
      this.#cluster = await this.scheduler.settle(this.#start());
      await play(this);
      this.history.note("simulation", () => `over after ${this.scheduler.steps} steps`);
    } finally {
      process.off("unhandledRejection", onRejection);
      restore();
    }
  }

  #start(): Promise<TestCluster> {
    const chance = this.random.fork("world");
    const bytes = this.random.fork("bytes");
    return startCluster({
      hosts: this.options.hosts,
      world: {
        clock: this.scheduler.clock,
        wallNowMs: () => Math.floor(beginsAtMs + this.nowMs),
        random: () => chance.next(),
        randomBytes: (length) => bytes.bytes(length),
      },
      settings: { heartbeatMs: 10_000, busyHeartbeatMs: 1000, leaseMs: 30_000 },
      table: this.#watchedTable(),
      enclosure: this.#enclosure(),
      onLog: (hostId, entry) => this.history.note(hostId, () => JSON.stringify(entry)),
      onExecution: (fault) => this.violations.push(`${fault.kind}: ${fault.detail}`),
      intercept: async ({ hostId, kind, pass }) => {
        const response = await pass();
        this.history.note(hostId, () => `${kind} answered ${response.status}`);
        return response;
      },
    });
  }

  #enclosure(): Enclosure {
    const open = (name: string, life: Life, processes: Map<string, Process>, end: () => void): Process => {
      const process = new Process({
        name,
        life,
        clock: this.scheduler.clock,
        drift: 0,
        fateOf: unharmed,
        end: () => {
          this.history.note(name, () => "ends");
          end();
        },
      });
      processes.set(name, process);
      return process;
    };
    return {
      clock: (host, life) => open(host.hostId, life, this.agents, () => host.killAgent()).clock,
      agent: (host, _, ports) => this.#asAgent(host, ports),
      supervisor: (host, copyId, life, ports) => {
        const process = open(copyId, life, this.supervisors, () => host.copyHost.supervisorDied(copyId));
        return {
          hypervisor: process.enclose("hypervisor", ports.hypervisor),
          lockFiles: process.enclose("lockFiles", ports.lockFiles),
          gate: process.enclose("gate", ports.gate),
          memory: process.enclose("memory", ports.memory),
          clock: process.clock,
          directory: ports.directory,
        };
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
      fetch: (url, init) => process.ask("fetch", () => ports.fetch(url, init)),
    };
  }

  #watchedTable(): Table {
    const { table } = this;
    return {
      get: (keys) => table.get(keys),
      query: (range) => table.query(range),
      close: () => table.close(),
      commit: async (changes: readonly Change[]): Promise<CommitOutcome> => {
        const outcome = await table.commit(changes);
        this.history.note("table", () => `${outcome.kind} ${JSON.stringify(changes)}`);
        return outcome;
      },
    };
  }
}
