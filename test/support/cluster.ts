// A whole cluster in one process: the real operations behind the real HTTP application, real agents and supervisors,
// on a simulated hypervisor, network, disks and shared volume. What dies here dies as a process would.
import { memoryCounter } from "../../agents/adapters/counter-file.ts";
import { createHttpControlPlane } from "../../agents/adapters/http-control-plane.ts";
import { LocalCopyHost, type LocalHostPorts, type LockVolume } from "../../agents/adapters/local-copies.ts";
import { createLongPollDoorbellWait } from "../../agents/adapters/long-poll-doorbell-wait.ts";
import { MemoryGate } from "../../agents/adapters/memory-gate.ts";
import { MemoryJournalDisk, openMemoryJournal } from "../../agents/adapters/memory-journal.ts";
import { MemoryLockVolume } from "../../agents/adapters/memory-lock-file.ts";
import { MemoryPeerNetwork, type MemoryPeerNetworkOptions } from "../../agents/adapters/memory-peer-link.ts";
import { type Life, mortal } from "../../agents/adapters/mortal.ts";
import type { AcknowledgedCounter, Fetch } from "../../agents/adapters/signed-requests.ts";
import { createExecutionLog, type ExecutionLog } from "../../agents/adapters/simulated/execution-log.ts";
import { SimulatedHost } from "../../agents/adapters/simulated/host.ts";
import { createSimulatedHypervisor } from "../../agents/adapters/simulated/hypervisor.ts";
import { createSimulatedNetwork, type SimulatedNetwork } from "../../agents/adapters/simulated/network.ts";
import { Agent } from "../../agents/agent.ts";
import type { Clock } from "../../agents/ports/clock.ts";
import type { Copies } from "../../agents/ports/copies.ts";
import type { Gate } from "../../agents/ports/gate.ts";
import type { Journal } from "../../agents/ports/journal.ts";
import type { PeerLinks } from "../../agents/ports/peer-link.ts";
import type { Log } from "../../agents/roles/context.ts";
import type { SupervisorPorts } from "../../agents/supervisor/supervisor.ts";
import { createLongPollDoorbell } from "../../functions/adapters/long-poll-doorbell.ts";
import { createMemoryTable } from "../../functions/adapters/memory-table.ts";
import { type App, createApp } from "../../functions/http/app.ts";
import { installKey } from "../../functions/operations/api-keys.ts";
import { tidyAll } from "../../functions/operations/tidy.ts";
import type { Doorbell } from "../../functions/ports/doorbell.ts";
import type { Ports, Settings } from "../../functions/ports/ports.ts";
import type { Table } from "../../functions/ports/table.ts";
import { makeUlids, systemPorts } from "../../functions/runtime/system-ports.ts";
import type { JoinAnswer } from "../../schemas/agent.ts";
import { allScopes } from "../../schemas/api-key.ts";
import type { HostFacts } from "../../schemas/host.ts";
import { isTerminal, type Migration } from "../../schemas/migration.ts";
import { makeKeyPair, signerFrom } from "../../schemas/signing.ts";
import type { Vm } from "../../schemas/vm.ts";
import { realWorld, type World } from "./world.ts";

export type ClusterOptions = {
  /** Time and chance; the machine's own by default. */
  world?: World;
  hosts: number;
  /** Of each host. */
  memoryMiB?: number;
  settings?: Partial<Settings>;
  /** Wraps the table or the doorbell, to injure them. */
  table?: Table;
  doorbell?: (doorbell: Doorbell) => Doorbell;
  /** Sees every request of an agent; answers one in the control plane's place, or null to let it pass. */
  intercept?: (request: AgentRequest) => Promise<Response | null> | Response | null;
  /** Stands between each process and what it reaches. */
  enclosure?: Enclosure;
  /** What of a host's disk outlives its processes; in memory by default. */
  storage?: (host: TestHost) => Storage;
  /** Carries a request to the control plane, and its answer back; handed over as it is by default. */
  exchange?: Exchange;
  locks?: LockVolume;
  /** How often the control plane's last net does what requests would do in passing; never by default. */
  tidyMs?: number;
  /** Carries the peer links' messages. */
  carry?: MemoryPeerNetworkOptions["carry"];
  /** A host's own wall clock; by default that of the control plane. */
  wallNowMs?: (hostId: string) => number;
  onLog?: (hostId: string, entry: Parameters<Log>[0]) => void;
  onExecution?: Parameters<typeof createExecutionLog>[0];
};

export type Exchange = (
  handle: (request: Request) => Promise<Response>,
  path: string,
  init: RequestInit,
) => Promise<Response>;

export type Storage = { gate: Gate; openJournal(): Promise<Journal>; memory?: LocalHostPorts["memory"] };

/** All that one life of an agent reaches. */
export type AgentPorts = {
  copies: Copies;
  peerLinks: PeerLinks;
  journal: Journal;
  clock: Clock;
  counter: AcknowledgedCounter;
  fetch: Fetch;
};
export type Enclosure = {
  clock(host: TestHost, life: Life): Clock;
  /** @returns the ports as this life of the agent sees them */
  agent(host: TestHost, life: Life, ports: AgentPorts): AgentPorts;
  supervisor(host: TestHost, copyId: string, life: Life, ports: SupervisorPorts): SupervisorPorts;
};

/** `kind` is a report's kind, or the last part of the path. `pass` lets it through now and gives the answer. */
export type AgentRequest = {
  hostId: string;
  kind: string;
  state?: string;
  pass(): Promise<Response>;
  /** The host lives under another incarnation by now. */
  isOfOlderLife(): boolean;
};

const apiKey = "test-key-0123456789abcdef";
const clusterId = "test";

export async function startCluster(options: ClusterOptions): Promise<TestCluster> {
  const world = options.world ?? realWorld;
  const signingKey = (await makeKeyPair()).privateKey;
  const table = options.table ?? createMemoryTable();
  const cluster = new TestCluster(options, world, { table, signingKey });
  await installKey(await cluster.startControlPlane(), apiKey, { keyId: "test", scopes: allScopes });
  await cluster.call("POST", "/v1/clusters", { cluster: clusterId });
  for (let index = 0; index < options.hosts; index += 1) await cluster.addHost(index);
  await Promise.all(cluster.hosts.map((host) => host.startAgent()));
  return cluster;
}

export class TestCluster {
  readonly options: ClusterOptions;
  readonly world: World;
  readonly hosts: TestHost[] = [];
  readonly faults: string[] = [];
  readonly executions: ExecutionLog;
  readonly network: SimulatedNetwork;
  readonly peerNetwork: MemoryPeerNetwork;
  readonly locks = new MemoryLockVolume();
  readonly logLines: string[] = [];
  isControlPlaneAway = false;
  readonly #deployment: { table: Table; signingKey: string };
  #controlPlane: { app: App; life: Life; died: PromiseWithResolvers<never> } | null = null;

  constructor(options: ClusterOptions, world: World, deployment: { table: Table; signingKey: string }) {
    const { clock } = world;
    this.options = options;
    this.world = world;
    this.#deployment = deployment;
    this.executions = createExecutionLog((fault) => {
      this.faults.push(`${fault.kind}: ${fault.detail}`);
      options.onExecution?.(fault);
    });
    this.network = createSimulatedNetwork({ clock });
    const { carry } = options;
    this.peerNetwork = new MemoryPeerNetwork({ clock, randomBytes: world.randomBytes, ...(carry ? { carry } : {}) });
  }

  get app(): App {
    if (!this.#controlPlane) throw new Error("the control plane is not started");
    return this.#controlPlane.app;
  }

  /** A new life of the control plane on the same table; the one before ends as by kill -9. */
  async startControlPlane(): Promise<Ports> {
    const { clock, wallNowMs, randomBytes } = this.world;
    if (this.#controlPlane) {
      this.#controlPlane.life.dead = true;
      this.#controlPlane.died.reject(new Error("the connection was reset"));
    }
    const life: Life = { dead: false };
    const doorbell = createLongPollDoorbell({ after: clock.after });
    const ports: Ports = {
      ...(await systemPorts({
        table: mortal(this.#deployment.table, life),
        doorbell: this.options.doorbell?.(doorbell) ?? doorbell,
        signingKey: this.#deployment.signingKey,
        settings: { tableId: "test", heartbeatMs: 500, busyHeartbeatMs: 200, leaseMs: 5000, ...this.options.settings },
      })),
      clock: { nowMs: wallNowMs, sleep: (milliseconds) => clock.sleep(milliseconds) },
      newId: makeUlids(wallNowMs, randomBytes),
      randomBytes,
    };
    const died = Promise.withResolvers<never>();
    died.promise.catch(() => {}); // Nobody need be waiting.
    this.#controlPlane = { app: createApp(ports, { log: () => {} }), life, died };
    this.#tidyLater(ports, life);
    return ports;
  }

  #tidyLater(ports: Ports, life: Life): void {
    const { tidyMs } = this.options;
    if (tidyMs === undefined) return;
    this.world.clock.after(tidyMs, async () => {
      if (life.dead) return;
      await tidyAll(ports).catch(() => {});
      this.#tidyLater(ports, life);
    });
  }

  /** One request to the life of the control plane that there is now. */
  async send(path: string, init: RequestInit): Promise<Response> {
    if (!this.#controlPlane) throw new Error("the control plane is not started");
    const { app, died } = this.#controlPlane;
    const { exchange } = this.options;
    const handled = exchange
      ? exchange(async (request) => app.fetch(request), path, init)
      : Promise.resolve(app.request(path, init));
    return Promise.race([handled, died.promise]);
  }

  async addHost(index: number): Promise<TestHost> {
    const host = new TestHost(this, `host-${String.fromCharCode(97 + index)}`, `127.0.0.${11 + index}`);
    await host.join();
    this.hosts.push(host);
    return host;
  }

  host(hostId: string): TestHost {
    const host = this.hosts.find((candidate) => candidate.hostId === hostId);
    if (!host) throw new Error(`no host ${hostId}`);
    return host;
  }

  /** An operator's request. @throws when the status is not 2xx */
  async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const { status, body: answer } = await this.tryCall(method, path, body);
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(answer)}`);
    return answer as T;
  }

  async tryCall(
    method: string,
    path: string,
    body?: unknown,
    headers: { [name: string]: string } = {},
  ): Promise<{ status: number; body: unknown }> {
    const response = await this.send(path, {
      method,
      headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.json() };
  }

  path(tail: string): string {
    return `/v1/clusters/${clusterId}/${tail}`;
  }

  /** Defines a VM and waits until it runs. */
  async runVm(vm: string, host: string, spec: { memoryMiB?: number; dirtyMiBPerSecond?: number } = {}): Promise<void> {
    await this.call("POST", this.path("vms"), {
      vm,
      spec: { hypervisor: "simulated", memoryMiB: 16, dirtyMiBPerSecond: 4, workingSetMiB: 4, ...spec },
    });
    await this.call("POST", this.path(`vms/${vm}/start`), { host });
    await this.until(async () => (await this.vm(vm)).runState === "running");
  }

  vm(vm: string): Promise<Vm> {
    return this.call<Vm>("GET", this.path(`vms/${vm}`));
  }

  request(vm: string, destination: string, more: object = {}): Promise<Migration> {
    return this.call<Migration>("POST", this.path("migrations"), { vm, destination, ...more });
  }

  migration(id: string): Promise<Migration> {
    return this.call<Migration>("GET", this.path(`migrations/${id}`));
  }

  async ended(id: string, withinMs = 20_000): Promise<Migration> {
    let last: Migration | null = null;
    await this.until(
      async () => {
        last = await this.migration(id);
        return isTerminal(last.phase);
      },
      withinMs,
      () => JSON.stringify(last),
    );
    return last as unknown as Migration;
  }

  async migrate(vm: string, destination: string): Promise<Migration> {
    return this.ended((await this.request(vm, destination)).id);
  }

  /** Waits for something to become true. @throws when it does not, with what was seen */
  async until(
    isTrue: () => Promise<boolean> | boolean,
    withinMs = 20_000,
    seen: () => string = () => "",
  ): Promise<void> {
    const { clock } = this.world;
    const endMs = clock.monotonicMs() + withinMs;
    while (!(await isTrue())) {
      if (clock.monotonicMs() > endMs)
        throw new Error(`not within ${withinMs} ms: ${seen()}\n${this.logLines.slice(-60).join("\n")}`);
      await clock.sleep(10);
    }
  }

  /** Who executes the VM now, by host. */
  executing(vm: string): string[] {
    return this.executions.executing(vm).map((interval) => interval.hostId);
  }

  async stop(): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.stop()));
  }
}

export class TestHost {
  readonly hostId: string;
  readonly address: string;
  readonly cluster: TestCluster;
  readonly disk = new MemoryJournalDisk();
  readonly gate = new MemoryGate();
  readonly counter = memoryCounter();
  readonly simulated: SimulatedHost;
  readonly copyHost: LocalCopyHost;
  incarnation: string;
  readonly #storage: Storage;
  #identity: { answer: JoinAnswer; privateKey: string } | null = null;
  #agent: { agent: Agent; life: Life } | null = null;
  #isFirstLife = true;
  /** This host alone cannot reach the control plane. */
  isCutOff = false;

  constructor(cluster: TestCluster, hostId: string, address: string) {
    const { clock, random } = cluster.world;
    const { enclosure, locks } = cluster.options;
    this.cluster = cluster;
    this.hostId = hostId;
    this.address = address;
    this.incarnation = this.#newIncarnation();
    this.#storage = cluster.options.storage?.(this) ?? {
      gate: this.gate,
      openJournal: async () => openMemoryJournal(this.disk),
    };
    this.simulated = new SimulatedHost({
      clock,
      network: cluster.network,
      random,
      log: cluster.executions,
      hostId,
    });
    this.copyHost = new LocalCopyHost({
      hypervisor: createSimulatedHypervisor(this.simulated),
      locks: locks ?? cluster.locks,
      gate: this.#storage.gate,
      ...(this.#storage.memory ? { memory: this.#storage.memory } : {}),
      clock,
      ...(enclosure
        ? {
            enclose: (copyId: string, life: Life, ports: SupervisorPorts) =>
              enclosure.supervisor(this, copyId, life, ports),
          }
        : {}),
    });
  }

  async join(): Promise<void> {
    const { token } = await this.cluster.call<{ token: string }>("POST", this.cluster.path("join-tokens"), {
      host: this.hostId,
    });
    const keys = await makeKeyPair();
    const response = await this.cluster.send("/v1/join", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token, host: this.hostId, publicKey: keys.publicKey, facts: this.#facts() }),
    });
    if (response.status >= 300) throw new Error(`join: ${await response.text()}`);
    this.#identity = { answer: (await response.json()) as JoinAnswer, privateKey: keys.privateKey };
  }

  /** Resolves when its first heartbeat was answered. */
  async startAgent(): Promise<void> {
    const joined = Promise.withResolvers<void>();
    await this.openAgent(joined.resolve);
    await joined.promise;
  }

  /** A new life of the agent. */
  async openAgent(onJoined: () => void = () => {}): Promise<void> {
    if (!this.#identity) throw new Error("not joined");
    const { cluster, hostId, incarnation } = this;
    const life: Life = { dead: false };
    const isFirstLife = this.#isFirstLife;
    this.#isFirstLife = false;
    const log: Log = (entry) => {
      if (life.dead) return;
      cluster.logLines.push(`${hostId} ${JSON.stringify(entry)}`);
      cluster.options.onLog?.(hostId, entry);
    };
    const { enclosure } = cluster.options;
    const ownClock = enclosure?.clock(this, life) ?? cluster.world.clock;
    const outside: AgentPorts = {
      copies: this.copyHost.openAgent(ownClock),
      peerLinks: cluster.peerNetwork.at({ address: this.address, incarnation }),
      journal: await this.#storage.openJournal(),
      clock: ownClock,
      counter: this.counter,
      fetch: (url, init) => this.#fetch(life, incarnation, url, init),
    };
    const ports = enclosure?.agent(this, life, outside) ?? outside;
    const { copies, peerLinks, journal, clock } = ports;
    const sign = await signerFrom(this.#identity.privateKey);
    const controlPlane = await createHttpControlPlane({
      url: "http://control-plane",
      cluster: clusterId,
      host: hostId,
      incarnation,
      sign,
      verificationKey: this.#identity.answer.verificationKey,
      fetch: ports.fetch,
      clock,
      acknowledged: ports.counter,
      wallNowMs: () => this.wallNowMs(),
      timeoutMs: 1000,
    });
    const agent = new Agent({
      context: {
        hostId,
        incarnation,
        copies,
        controlPlane,
        peerLinks,
        journal,
        clock,
        randomBytes: cluster.world.randomBytes,
        sign,
        log,
        commitMs: () => 5,
        agentSilenceMs: 1000,
      },
      doorbell: createLongPollDoorbellWait(controlPlane.requests),
      facts: async () => this.#facts(),
      isFirstLife,
      onJoined,
      onRefused: (detail) => log({ event: "refused", detail }),
      onDeclaredLost: () => void this.#reincarnate(),
    });
    this.#agent = { agent, life };
    await agent.start();
  }

  get isAgentAlive(): boolean {
    return this.#agent !== null;
  }

  /** This host's own wall clock, a first guess at the time. */
  wallNowMs(): number {
    const { options, world } = this.cluster;
    return options.wallNowMs?.(this.hostId) ?? world.wallNowMs();
  }

  /** As by kill -9: it acts no more; guests and supervisors live on. */
  killAgent(): void {
    if (!this.#agent) return;
    this.#agent.life.dead = true;
    this.cluster.peerNetwork.hostDied(this.address);
    this.copyHost.agentDied();
    void this.#agent.agent.stop();
    this.#agent = null;
  }

  /** The power goes: no process survives, disks do. */
  losePower(): void {
    this.killAgent();
    this.copyHost.hostDied();
    this.simulated.losePower();
  }

  /** The power goes and comes back. */
  reboot(): void {
    this.losePower();
    this.incarnation = this.#newIncarnation();
    this.#isFirstLife = true;
  }

  /** As agents/main.ts does: the host lives, and is heard again under a new incarnation only. */
  async #reincarnate(): Promise<void> {
    this.killAgent();
    this.incarnation = this.#newIncarnation();
    await this.startAgent();
  }

  async stop(): Promise<void> {
    await this.#agent?.agent.stop();
    this.simulated.losePower();
  }

  async #fetch(life: Life, incarnation: string, url: string, init: RequestInit): Promise<Response> {
    const isAway = () => life.dead || this.isCutOff || this.cluster.isControlPlaneAway;
    if (isAway()) throw new Error("the control plane cannot be reached");
    const { pathname, search } = new URL(url);
    const pass = () => this.cluster.send(pathname + search, init);
    const body = typeof init.body === "string" ? (JSON.parse(init.body) as { kind?: string; state?: string }) : {};
    const kind = body.kind ?? pathname.split("/").at(-1) ?? "";
    const intercepted = await this.cluster.options.intercept?.({
      hostId: this.hostId,
      kind,
      ...(body.state ? { state: body.state } : {}),
      pass,
      isOfOlderLife: () => this.incarnation !== incarnation,
    });
    const response = intercepted ?? (await pass());
    if (isAway()) throw new Error("the answer was lost");
    return response;
  }

  #newIncarnation(): string {
    return Array.from(this.cluster.world.randomBytes(16), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  #facts(): HostFacts {
    return {
      cpu: { vendor: "Simulated", model: "1", features: [], count: 2 },
      memoryMiB: this.cluster.options.memoryMiB ?? 1024,
      networks: [{ name: "mig0", address: this.address, prefixLength: 24, linkSpeedMbps: null }],
      migrationAddress: this.address,
      volumes: [],
      hypervisor: { kind: "simulated", version: "1" },
      agent: { version: "0", protocol: 1 },
      platform: { name: "simulated", version: "1", edition: "1" },
    };
  }
}
