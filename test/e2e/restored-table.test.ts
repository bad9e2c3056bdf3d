// The table goes back for real: the SQLite file of the control plane's process is replaced by a copy of before, and an
// operator types what docs/restore.md says. Agents, supervisors and guests are processes of their own throughout.
import assert from "node:assert/strict";
import { copyFileSync, existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type Child, programPath, startChild } from "../../cli/cluster/child.ts";
import { type Cluster, clusterName, controlPlaneName, startCluster } from "../../cli/cluster/cluster.ts";
import { restoreStatement } from "../../schemas/cluster.ts";
import { isTerminal } from "../../schemas/migration.ts";
import type { Vm } from "../../schemas/vm.ts";
import { DroverProcess } from "./processes.ts";

const skip = existsSync("/proc/self/environ") ? false : "a local cluster needs /proc";

async function type(environment: Record<string, string>, args: string[]) {
  const command = new DroverProcess(args, { environment });
  try {
    const code = await command.ended;
    return { code, stdout: command.stdout, stderr: command.stderr };
  } finally {
    await command.dispose();
  }
}

/** The same control plane under another name and epoch, at the same address. */
function startControlPlane(
  cluster: Cluster,
  tableFile: string,
  name: { tableId: string; epoch: number },
): Promise<Child> {
  return startChild({
    name: "control-plane",
    program: programPath("functions/runtime/node"),
    logFile: join(cluster.folder, "logs", "control-plane.log"),
    readyWithinMs: 60_000,
    environment: {
      DROVER_LISTEN: new URL(cluster.api.url).host,
      DROVER_TABLE: `sqlite:${tableFile}`,
      DROVER_TABLE_ID: name.tableId,
      DROVER_RESTORE_EPOCH: String(name.epoch),
      DROVER_SIGNING_KEY_FILE: join(cluster.folder, "control-plane", "signing-key"),
      DROVER_BOOTSTRAP_KEY_FILE: cluster.keyFile,
      DROVER_HEARTBEAT_MS: "500",
      DROVER_LEASE_MS: "3000",
    },
  });
}

async function until<T>(cluster: Cluster, read: () => Promise<T>, isSo: (seen: T) => boolean): Promise<T> {
  let seen: T | null = null;
  for (let waitedMs = 0; waitedMs < 60_000; waitedMs += 100) {
    seen = await read().catch(() => null);
    if (seen !== null && isSo(seen)) return seen;
    await delay(100);
  }
  throw new Error(`never came true: ${JSON.stringify(seen)}\n${await cluster.logTails()}`);
}

test("the table's file is put back to before a move: the guest runs on where it is, never rebooted, and moves again", {
  skip,
}, async () => {
  const options = { hosts: 2, table: "sqlite", doorbell: "embedded", guestMemoryMiB: 256 } as const;
  const cluster = await startCluster({ ...options, heartbeatMs: 500, leaseMs: 3000 });
  const { api } = cluster;
  let controlPlane = cluster.process(controlPlaneName);
  const vm = () => api.getVm(clusterName, "vm-1");
  const isRunning = (seen: Vm) => seen.runState === "running" && seen.guest !== null && seen.migration === null;
  const move = async (destination: string) => {
    const { id } = await api.requestMigration(clusterName, { vm: "vm-1", destination });
    return until(
      cluster,
      () => api.getMigration(clusterName, id),
      ({ phase }) => isTerminal(phase),
    );
  };
  try {
    await api.defineVm(clusterName, { vm: "vm-1", spec: { memoryMiB: 16, dirtyMiBPerSecond: 1 } });
    await api.startVm(clusterName, "vm-1", "host-a");
    const before = await until(cluster, vm, isRunning);

    const folder = join(cluster.folder, "control-plane");
    const lost = join(folder, "table.sqlite");
    await controlPlane.stop();
    const backup = join(folder, "backup");
    const files = readdirSync(folder).filter((name) => name.startsWith("table.sqlite"));
    for (const name of files) copyFileSync(join(folder, name), join(folder, name.replace("table.sqlite", "backup")));
    const first = { tableId: await nameOf(lost), epoch: 0 };
    controlPlane = await startControlPlane(cluster, lost, first);
    assert.equal((await move("host-b")).phase, "completed");
    await until(cluster, vm, (seen) => isRunning(seen) && seen.owner?.hostId === "host-b");

    // The backup takes its place, and nobody says so.
    await controlPlane.stop();
    controlPlane = await startControlPlane(cluster, backup, first);
    const noticed = await until(
      cluster,
      () => api.getCluster(clusterName),
      ({ recovery }) => recovery !== null,
    );
    assert.equal(noticed.recovery?.state, "table-went-back");
    await controlPlane.stop();

    const environment = { DROVER_TABLE: `sqlite:${backup}` };
    const name = ["restore", "--table-id", "restored", "--epoch", "1"];
    const planned = await type(environment, [...name, "--dry-run"]);
    assert.equal(planned.code, 0, planned.stderr);
    assert.match(planned.stdout, /would become "restored", epoch 1\ncluster local: would wait for host-a, host-b/);
    const unsaid = await type(environment, name);
    assert.notEqual(unsaid.code, 0);
    assert.ok(unsaid.stderr.includes(restoreStatement), "it shows the words to type");
    const stamped = await type(environment, [...name, "--statement", restoreStatement]);
    assert.equal(stamped.code, 0, stamped.stderr);

    await assert.rejects(
      startControlPlane(cluster, backup, first),
      /DROVER_TABLE_ID is .*and this table is "restored"/,
    );
    controlPlane = await startControlPlane(cluster, backup, { tableId: "restored", epoch: 1 });
    await until(
      cluster,
      () => api.getCluster(clusterName),
      ({ recovery }) => recovery === null,
    );
    const after = await until(cluster, vm, isRunning);
    assert.equal(after.owner?.hostId, "host-b");
    assert.equal(after.guest?.bootId, before.guest?.bootId, "it was never rebooted");
    assert.equal(after.guest?.memoryErrors, 0);
    assert.ok(after.fencingToken > 2 ** 32);

    assert.equal((await move("host-a")).phase, "completed");
    const back = await until(cluster, vm, (seen) => isRunning(seen) && seen.owner?.hostId === "host-a");
    assert.deepEqual([back.guest?.bootId, back.guest?.memoryErrors], [before.guest?.bootId, 0]);
  } finally {
    await controlPlane.stop();
    await cluster.stop();
  }
});

/** As the control plane named it when it made it. */
async function nameOf(tableFile: string): Promise<string> {
  const planned = await type({ DROVER_TABLE: `sqlite:${tableFile}` }, [
    "restore",
    "--table-id",
    "x",
    "--epoch",
    "1",
    "--dry-run",
  ]);
  return /^"([a-z0-9-]+)", epoch 0/.exec(planned.stdout)?.[1] ?? "";
}
