// A whole cluster in one process: the real operations behind the real HTTP application, real agents and supervisors,
// on a simulated hypervisor, network, disks and shared volume. What dies here dies as a process would.
import { randomBytes } from "node:crypto";
import { memoryCounter } from "../../agents/adapters/counter-file.ts";
import { createHttpControlPlane } from "../../agents/adapters/http-control-plane.ts";
import { LocalCopyHost } from "../../agents/adapters/local-copies.ts";
import { createLongPollDoorbellWait } from "../../agents/adapters/long-poll-doorbell-wait.ts";
import { MemoryGate } from "../../agents/adapters/memory-gate.ts";
import { MemoryJournalDisk, openMemoryJournal } from "../../agents/adapters/memory-journal.ts";
import { MemoryLockVolume } from "../../agents/adapters/memory-lock-file.ts";
import { MemoryPeerNetwork } from "../../agents/adapters/memory-peer-link.ts";
import { createExecutionLog } from "../../agents/adapters/simulated/execution-log.ts";
import { SimulatedHost } from "../../agents/adapters/simulated/host.ts";
import { createSimulatedHypervisor } from "../../agents/adapters/simulated/hypervisor.ts";
import { createSimulatedNetwork } from "../../agents/adapters/simulated/network.ts";
import { systemClock } from "../../agents/adapters/system-clock.ts";
import { Agent } from "../../agents/agent.ts";
import type { Log } from "../../agents/roles/context.ts";
import { createLongPollDoorbell } from "../../functions/adapters/long-poll-doorbell.ts";
import { createMemoryTable } from "../../functions/adapters/memory-table.ts";
import { createApp } from "../../functions/http/app.ts";
import { allScopes, installKey } from "../../functions/operations/api-keys.ts";
import type { Doorbell } from "../../functions/ports/doorbell.ts";
import type { Settings } from "../../functions/ports/ports.ts";
import type { Table } from "../../functions/ports/table.ts";
import { systemPorts } from "../../functions/runtime/system-ports.ts";
import type { JoinAnswer } from "../../schemas/agent.ts";
import type { HostFacts } from "../../schemas/host.ts";
import { isTerminal, type Migration } from "../../schemas/migration.ts";
import { makeKeyPair, signerFrom } from "../../schemas/signing.ts";
import type { Vm } from "../../schemas/vm.ts";

export type ClusterOptions = {
  hosts: number;
  settings?: Partial<Settings>;
  /** Wraps the table or the doorbell, to injure them. */
  table?: Table;
  doorbell?: (doorbell: Doorbell) => Doorbell;
  /** Sees every request of an agent; answers one in the control plane's place, or null to let it pass. */
  intercept?: (request: AgentRequest) => Promise<Response | null> | Response | null;
};

/** `kind` is a report's kind, or the last part of the path. `pass` lets it through now and gives the answer. */
export type AgentRequest = { hostId: string; kind: string; pass(): Promise<Response> };

const apiKey = "test-key-0123456789abcdef";
const clusterId = "test";

export async function startCluster(options: ClusterOptions): Promise<TestCluster> {
  const signingKey = (await makeKeyPair()).privateKey;
  const doorbell = createLongPollDoorbell();
  const ports = await systemPorts({
    table: options.table ?? createMemoryTable(),
    doorbell: options.doorbell?.(doorbell) ?? doorbell,
    signingKey,
    settings: { tableId: "test", heartbeatMs: 500, busyHeartbeatMs: 200, leaseMs: 5000, ...options.settings },
  });
  await installKey(ports, apiKey, { keyId: "test", scopes: allScopes });
  const cluster = new TestCluster(createApp(ports, { log: () => {} }), options);
  await cluster.call("POST", "/v1/clusters", { cluster: clusterId });
  for (let index = 0; index < options.hosts; index += 1) await cluster.addHost(index);
  await Promise.all(cluster.hosts.map((host) => host.startAgent()));
  return cluster;
}

export class TestCluster {
  readonly app: ReturnType<typeof createApp>;
  readonly options: ClusterOptions;
  readonly hosts: TestHost[] = [];
  readonly faults: string[] = [];
  readonly executions = createExecutionLog((fault) => this.faults.push(`${fault.kind}: ${fault.detail}`));
  readonly network = createSimulatedNetwork({ clock: systemClock });
  readonly peerNetwork = new MemoryPeerNetwork({ clock: systemClock });
  readonly locks = new MemoryLockVolume();
  readonly logLines: string[] = [];
  isControlPlaneAway = false;

  constructor(app: ReturnType<typeof createApp>, options: ClusterOptions) {
    this.app = app;
    this.options = options;
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

  async tryCall(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
    const response = await this.app.request(path, {
      method,
      headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
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
    const endMs = systemClock.monotonicMs() + withinMs;
    while (!(await isTrue())) {
      if (systemClock.monotonicMs() > endMs)
        throw new Error(`not within ${withinMs} ms: ${seen()}\n${this.logLines.slice(-60).join("\n")}`);
      await systemClock.sleep(10);
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
  incarnation = randomBytes(16).toString("hex");
  #identity: { answer: JoinAnswer; privateKey: string } | null = null;
  #agent: { agent: Agent; life: { isDead: boolean }; ended: AbortController } | null = null;
  #isFirstLife = true;
  /** This host alone cannot reach the control plane. */
  isCutOff = false;

  constructor(cluster: TestCluster, hostId: string, address: string) {
    this.cluster = cluster;
    this.hostId = hostId;
    this.address = address;
    this.simulated = new SimulatedHost({
      clock: systemClock,
      network: cluster.network,
      random: Math.random,
      log: cluster.executions,
      hostId,
    });
    this.copyHost = new LocalCopyHost({
      hypervisor: createSimulatedHypervisor(this.simulated),
      locks: cluster.locks,
      gate: this.gate,
      clock: systemClock,
    });
  }

  async join(): Promise<void> {
    const { token } = await this.cluster.call<{ token: string }>("POST", this.cluster.path("join-tokens"), {
      host: this.hostId,
    });
    const keys = await makeKeyPair();
    const response = await this.cluster.app.request("/v1/join", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token, host: this.hostId, publicKey: keys.publicKey, facts: this.#facts() }),
    });
    if (response.status >= 300) throw new Error(`join: ${await response.text()}`);
    this.#identity = { answer: (await response.json()) as JoinAnswer, privateKey: keys.privateKey };
  }

  async startAgent(): Promise<void> {
    if (!this.#identity) throw new Error("not joined");
    const life = { isDead: false };
    const sign = await signerFrom(this.#identity.privateKey);
    const controlPlane = await createHttpControlPlane({
      url: "http://control-plane",
      cluster: clusterId,
      host: this.hostId,
      incarnation: this.incarnation,
      sign,
      verificationKey: this.#identity.answer.verificationKey,
      fetch: (url, init) => this.#fetch(life, url, init),
      clock: systemClock,
      acknowledged: this.counter,
      wallNowMs: Date.now,
      timeoutMs: 1000,
    });
    const log: Log = (entry) => {
      this.cluster.logLines.push(`${this.hostId} ${JSON.stringify(entry)}`);
    };
    const joined = Promise.withResolvers<void>();
    const agent = new Agent({
      context: {
        hostId: this.hostId,
        incarnation: this.incarnation,
        copies: this.copyHost.openAgent(),
        controlPlane,
        peerLinks: this.cluster.peerNetwork.at({ address: this.address, incarnation: this.incarnation }),
        journal: openMemoryJournal(this.disk),
        clock: systemClock,
        randomBytes: (length) => randomBytes(length),
        sign,
        log: (entry) => life.isDead || log(entry),
        commitMs: () => 5,
        agentSilenceMs: 1000,
      },
      doorbell: createLongPollDoorbellWait(controlPlane.requests),
      facts: async () => this.#facts(),
      isFirstLife: this.#isFirstLife,
      onJoined: () => joined.resolve(),
      onRefused: (detail) => log({ event: "refused", detail }),
    });
    this.#isFirstLife = false;
    const ended = new AbortController();
    this.#agent = { agent, life, ended };
    await agent.start();
    await joined.promise;
  }

  /** As by kill -9: it acts no more; guests and supervisors live on. */
  killAgent(): void {
    if (!this.#agent) return;
    this.#agent.life.isDead = true;
    this.cluster.peerNetwork.hostDied(this.address);
    this.copyHost.agentDied();
    void this.#agent.agent.stop();
    this.#agent = null;
  }

  /** The power goes and comes back: no process survives, disks do. */
  reboot(): void {
    this.killAgent();
    this.copyHost.hostDied();
    this.simulated.losePower();
    this.incarnation = randomBytes(16).toString("hex");
    this.#isFirstLife = true;
  }

  async stop(): Promise<void> {
    await this.#agent?.agent.stop();
    this.simulated.losePower();
  }

  async #fetch(life: { isDead: boolean }, url: string, init: RequestInit): Promise<Response> {
    const isAway = () => life.isDead || this.isCutOff || this.cluster.isControlPlaneAway;
    if (isAway()) throw new Error("the control plane cannot be reached");
    const { pathname, search } = new URL(url);
    const pass = async () => this.cluster.app.request(pathname + search, init);
    const body = typeof init.body === "string" ? (JSON.parse(init.body) as { kind?: string }) : {};
    const kind = body.kind ?? pathname.split("/").at(-1) ?? "";
    const intercepted = await this.cluster.options.intercept?.({ hostId: this.hostId, kind, pass });
    const response = intercepted ?? (await pass());
    if (isAway()) throw new Error("the answer was lost");
    return response;
  }

  #facts(): HostFacts {
    return {
      cpu: { vendor: "Simulated", model: "1", features: [], count: 2 },
      memoryMiB: 1024,
      networks: [{ name: "mig0", address: this.address, prefixLength: 24, linkSpeedMbps: null }],
      migrationAddress: this.address,
      volumes: [],
      hypervisor: { kind: "simulated", version: "1" },
      agent: { version: "0", protocol: 1 },
      platform: { name: "simulated", version: "1", edition: "1" },
    };
  }
}
