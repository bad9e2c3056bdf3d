// A cluster whose table can be put back to a backup and restored, for tests.
import assert from "node:assert/strict";
import { createMemoryTable, type MemorySnapshot, type MemoryTable } from "../../functions/adapters/memory-table.ts";
import { restoreTable } from "../../functions/operations/restore-table.ts";
import type { Cluster } from "../../schemas/cluster.ts";
import { type Host, lostStatement } from "../../schemas/host.ts";
import { type ClusterOptions, startCluster, type TestCluster } from "./cluster.ts";

export class RestorableCluster {
  readonly table: MemoryTable = createMemoryTable();
  readonly backups: MemorySnapshot[] = [];
  /** How many guests there are, so that left-over copies are seen. */
  vms = 1;
  /** Called before a host's inventory reaches the control plane, where the cluster's requests are intercepted for it. */
  tells: (hostId: string) => Promise<void> = async () => {};
  #cluster: TestCluster | null = null;
  #epoch = 0;

  get cluster(): TestCluster {
    if (!this.#cluster) throw new Error("not started");
    return this.#cluster;
  }

  async start(options: ClusterOptions): Promise<void> {
    this.#cluster = await startCluster({ settings: { leaseMs: 900 }, ...options, table: this.table });
  }

  backUp(): void {
    this.backups.push(this.table.snapshot());
  }

  /** The backup takes the table's place, and a control plane serves it; `restore` has not been run. */
  async goBack(backup = this.backups.at(-1)): Promise<void> {
    if (!backup) throw new Error("no backup");
    this.table.restore(backup);
    await this.cluster.startControlPlane();
  }

  async restore(backup?: MemorySnapshot): Promise<void> {
    if (backup) this.table.restore(backup);
    this.#epoch += 1;
    const becomes = { tableId: `restored-${this.#epoch}`, restoreEpoch: this.#epoch };
    const { cluster } = this;
    cluster.options.settings = { ...cluster.options.settings, ...becomes };
    const ports = await cluster.startControlPlane();
    const outcome = await restoreTable(ports, becomes, { dryRun: false });
    assert.equal(outcome.kind, "done", JSON.stringify(outcome));
  }

  async recovery() {
    return (await this.cluster.call<Cluster>("GET", "/v1/clusters/test")).recovery;
  }

  async opens(): Promise<void> {
    await this.cluster.until(
      async () => (await this.recovery()) === null,
      20_000,
      () => "the cluster does not open again",
    );
  }

  /** Once its lease has lapsed. */
  async declareLost(hostId: string): Promise<void> {
    const { cluster } = this;
    const path = cluster.path(`hosts/${hostId}`);
    await cluster.until(async () => !(await cluster.call<Host>("GET", path)).alive);
    const { incarnation } = await cluster.call<Host>("GET", path);
    await cluster.call("POST", `${path}/declare-lost`, { incarnation, reason: "for a test", statement: lostStatement });
  }

  async slotsAreFree(): Promise<void> {
    await this.cluster.until(async () => {
      const { items } = await this.cluster.call<{ items: Host[] }>("GET", this.cluster.path("hosts"));
      return items.every((host) => host.migration === null);
    });
  }

  /** It runs on exactly one host, as the record says, and nothing is left of it elsewhere. */
  async runsOnce(vm: string): Promise<string> {
    const { cluster } = this;
    let seen = "";
    await cluster.until(
      async () => {
        const { owner, runState, migration } = await cluster.vm(vm);
        const executing = cluster.executing(vm);
        seen = JSON.stringify({ owner, runState, migration, executing });
        return runState === "running" && migration === null && executing.length === 1 && executing[0] === owner?.hostId;
      },
      20_000,
      () => seen,
    );
    await this.slotsAreFree();
    await cluster.until(
      () => cluster.hosts.flatMap((host) => host.copyHost.copyIds()).length <= this.vms,
      10_000,
      () => `copies left: ${cluster.hosts.map((host) => `${host.hostId}: ${host.copyHost.copyIds()}`)}`,
    );
    return cluster.executing(vm)[0] ?? "";
  }

  async migratesAgain(vm: string): Promise<void> {
    for (let move = 0; move < 2; move++) {
      const from = this.cluster.executing(vm)[0];
      const to = this.cluster.hosts.find(({ hostId }) => hostId !== from)?.hostId ?? "";
      // A host's lease lapsed with the table; it is renewed with the next heartbeat.
      await this.cluster.until(async () => {
        const { alive } = await this.cluster.call<{ alive: boolean }>("GET", this.cluster.path(`hosts/${to}`));
        return alive;
      });
      const moved = await this.cluster.migrate(vm, to);
      assert.equal(moved.phase, "completed", JSON.stringify(moved));
    }
  }
}

export async function withRestorable(
  options: ClusterOptions,
  body: (one: RestorableCluster) => Promise<void>,
): Promise<void> {
  const one = new RestorableCluster();
  await one.start(options);
  try {
    await body(one);
    assert.deepEqual(one.cluster.faults, [], "a guest executed twice, from old memory, or with damaged memory");
  } finally {
    await one.cluster.stop();
  }
}
