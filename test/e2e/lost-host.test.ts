// A host that is lost for real: its processes are killed, and an operator types what docs/lost-host.md says.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type Cluster, clusterName, startCluster } from "../../cli/cluster/cluster.ts";
import { lostStatement } from "../../schemas/host.ts";
import type { Vm } from "../../schemas/vm.ts";
import { DroverProcess } from "./processes.ts";

const skip = existsSync("/proc/self/environ") ? false : "a local cluster needs /proc";
const reason = ["--reason", "power cut in rack 7"];
const words = ["--statement", lostStatement];

/** Supervisors and guests work in their copy's folder. */
function guestProcesses(cluster: Cluster, host: string): number[] {
  const folder = `${join(cluster.folder, host)}/`;
  return readdirSync("/proc")
    .filter((name) => {
      try {
        return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/cwd`).startsWith(folder);
      } catch {
        return false; // It has ended, or is another user's.
      }
    })
    .map(Number);
}

async function type(
  cluster: Cluster,
  args: string[],
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const command = new DroverProcess(args, {
    environment: { DROVER_API: cluster.api.url, DROVER_KEY_FILE: cluster.keyFile, DROVER_CLUSTER: clusterName },
  });
  try {
    const code = await command.ended;
    return { code, stdout: command.stdout, stderr: command.stderr };
  } finally {
    await command.dispose();
  }
}

async function until(cluster: Cluster, isSo: (vm: Vm) => boolean): Promise<Vm> {
  for (let waitedMs = 0; waitedMs < 60_000; waitedMs += 100) {
    const vm = await cluster.api.getVm(clusterName, "vm-1");
    if (isSo(vm)) return vm;
    await delay(100);
  }
  const vm = await cluster.api.getVm(clusterName, "vm-1");
  throw new Error(`never came true: ${JSON.stringify(vm)}\n${await cluster.logTails()}`);
}

test("a host's agent is killed: declared lost, its VM starts elsewhere once the guest that lived on is gone, and not before", {
  skip,
}, async () => {
  const options = { hosts: 2, table: "sqlite", doorbell: "embedded", guestMemoryMiB: 256 } as const;
  const cluster = await startCluster({ ...options, heartbeatMs: 500, leaseMs: 3000 });
  try {
    await cluster.api.defineVm(clusterName, { vm: "vm-1", spec: { memoryMiB: 16, dirtyMiBPerSecond: 1 } });
    await cluster.api.startVm(clusterName, "vm-1", "host-a");
    const before = await until(cluster, (vm) => vm.runState === "running" && vm.guest !== null);
    const agent = cluster.process("host-a");

    const early = await type(cluster, ["host", "declare-lost", "--host", "host-a", ...reason, ...words]);
    assert.notEqual(early.code, 0);
    assert.match(early.stderr, /host-alive/, "a host that is heard of is not lost");
    process.kill(agent.pid, "SIGKILL");
    await agent.ended;
    while ((await cluster.api.getHost(clusterName, "host-a")).alive) await delay(100);

    const wrong = await type(cluster, ["host", "declare-lost", "--host", "host-a", ...reason, "--statement", "yes"]);
    assert.notEqual(wrong.code, 0);
    assert.ok(wrong.stderr.includes(lostStatement), "it shows the words to type");
    const declared = await type(cluster, ["host", "declare-lost", "--host", "host-a", ...reason, ...words]);
    assert.equal(declared.code, 0, declared.stderr);
    assert.match(declared.stdout, /declared lost/);
    const forced = await type(cluster, ["vm", "force", "--vm", "vm-1", "--start-from-disk", "host-b", ...reason]);
    assert.equal(forced.code, 0, forced.stderr);

    // The word was a lie so far: guest and supervisor live.
    const refused = await until(cluster, (vm) => vm.alarms.some(({ code }) => code === "run-refused"));
    assert.match(refused.alarms[0]?.detail ?? "", /lock-held/);
    await delay(3000);
    const waiting = await cluster.api.getVm(clusterName, "vm-1");
    assert.deepEqual([waiting.runState, waiting.owner?.hostId, waiting.guest], ["starting", "host-b", null]);

    const killed = guestProcesses(cluster, "host-a");
    assert.ok(killed.length >= 2, "a supervisor and a guest");
    for (const pid of killed) process.kill(pid, "SIGKILL");
    const after = await until(cluster, (vm) => vm.runState === "running" && vm.guest !== null);
    assert.equal(after.owner?.hostId, "host-b");
    assert.ok(after.fencingToken > before.fencingToken);
    assert.notEqual(after.guest?.bootId, before.guest?.bootId, "it was started from its disk");
    assert.equal(after.guest?.memoryErrors, 0);
    assert.deepEqual(after.alarms, []);
  } finally {
    await cluster.stop();
  }
});
