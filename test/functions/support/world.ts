// A control plane in this process, reached as over HTTP, with a clock that the test moves.
import { createLongPollDoorbell } from "../../../functions/adapters/long-poll-doorbell.ts";
import { createMemoryTable } from "../../../functions/adapters/memory-table.ts";
import { type App, createApp, type FailureLine } from "../../../functions/http/app.ts";
import { installKey } from "../../../functions/operations/api-keys.ts";
import type { Doorbell, HostAddress } from "../../../functions/ports/doorbell.ts";
import type { Ports, Settings } from "../../../functions/ports/ports.ts";
import type { Item, Table } from "../../../functions/ports/table.ts";
import { systemPorts } from "../../../functions/runtime/system-ports.ts";
import type { Scope } from "../../../schemas/api-key.ts";
import type { HostFacts } from "../../../schemas/host.ts";
import { makeKeyPair } from "../../../schemas/signing.ts";
import { FakeHost } from "./fake-host.ts";

export const cluster = "paris-1";
const operatorKey = "drover_operator_0123456789";
const origin = "http://drover.test";
export const startMs = Date.UTC(2030, 0, 1);

export type World = {
  app: App;
  ports: Ports;
  table: Table;
  clock: { nowMs: number };
  rings: HostAddress[];
  failures: FailureLine[];
  request(method: string, path: string, body?: unknown, headers?: { [name: string]: string }): Promise<Answer>;
  raw(path: string, init: RequestInit): Promise<Response>;
  makeKey(scopes: Scope[]): Promise<string>;
  addHost(hostId: string, facts?: Partial<HostFacts>): Promise<FakeHost>;
};
// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every kind
export type Answer = { status: number; body: any; headers: Headers };

export async function makeWorld(options: { table?: Table; settings?: Partial<Settings> } = {}): Promise<World> {
  const table = options.table ?? createMemoryTable();
  const clock = { nowMs: startMs };
  const rings: HostAddress[] = [];
  // Time stands here, but who does not want to wait need not.
  const bell = createLongPollDoorbell({
    after(milliseconds, act) {
      const timer = milliseconds === 0 ? setImmediate(act) : null;
      return () => timer && clearImmediate(timer);
    },
  });
  const doorbell: Doorbell = {
    ring: async (host) => {
      rings.push(host);
      await bell.ring(host);
    },
    install: (host) => bell.install(host),
    wait: (host, timeoutMs, signal) => bell.wait(host, timeoutMs, signal),
    close: () => bell.close(),
  };
  const { privateKey } = await makeKeyPair();
  const system = await systemPorts({
    table,
    doorbell,
    signingKey: privateKey,
    settings: { tableId: "t1", ...options.settings },
  });
  const ports: Ports = {
    ...system,
    clock: { nowMs: () => clock.nowMs, sleep: () => new Promise((resolve) => setImmediate(resolve)) },
  };
  await installKey(ports, operatorKey, { keyId: "ops", scopes: ["read", "migrate", "administer"] });
  const failures: FailureLine[] = [];
  const app = createApp(ports, { log: (line) => failures.push(line) });
  const raw = async (path: string, init: RequestInit) => app.request(`${origin}${path}`, init);
  let made = 0;
  const world: World = {
    app,
    ports,
    table,
    clock,
    rings,
    failures,
    raw,
    async request(method, path, body, headers = {}) {
      const response = await raw(path.startsWith("/v1") ? path : `/v1/clusters/${cluster}${path}`, {
        method,
        headers: { authorization: `Bearer ${operatorKey}`, "content-type": "application/json", ...headers },
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      });
      return answerOf(response);
    },
    async makeKey(scopes) {
      const key = `drover_scoped_${++made}_0123456789`;
      await installKey(ports, key, { keyId: `key-${made}`, scopes });
      return key;
    },
    async addHost(hostId, facts = {}) {
      const host = await FakeHost.join(world, hostId, facts);
      await host.heartbeat();
      return host;
    },
  };
  return world;
}

export async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  return { status: response.status, body: text === "" ? null : JSON.parse(text), headers: response.headers };
}

/** A world with a cluster and hosts that are alive. */
export async function makeCluster(hostIds: string[], options: Parameters<typeof makeWorld>[0] = {}) {
  const world = await makeWorld(options);
  await world.request("POST", "/v1/clusters", { cluster });
  const hosts: { [hostId: string]: FakeHost } = {};
  for (const hostId of hostIds) hosts[hostId] = await world.addHost(hostId);
  const host = (hostId: string): FakeHost => {
    const found = hosts[hostId];
    if (!found) throw new Error(`no host ${hostId} in this test`);
    return found;
  };
  return { ...world, hosts, host };
}
export type Cluster = Awaited<ReturnType<typeof makeCluster>>;

export const spec = { hypervisor: "simulated", memoryMiB: 16, dirtyMiBPerSecond: 1, workingSetMiB: 1 } as const;

/** Defines the VM, starts it, and lets its host report that it runs. */
export async function runVm(
  world: Pick<Cluster, "request" | "host">,
  vm: string,
  hostId: string,
  memoryMiB = 16,
): Promise<void> {
  await world.request("POST", "/vms", { vm, spec: { ...spec, memoryMiB } });
  const started = await world.request("POST", `/vms/${vm}/start`, { host: hostId });
  if (started.status !== 202) throw new Error(`starting ${vm}: ${JSON.stringify(started.body)}`);
  const { owner, fencingToken } = started.body;
  await world.host(hostId).seen({ vmId: vm, copyId: owner.copyId, fencingToken, state: "running" });
}

/** Everything in the table, but for the sessions where asked: agents' refused requests leave none of it. */
export function dump(table: Table): Item[] {
  const { allItems } = table as Table & { allItems(): Item[] };
  return allItems();
}
