// A cluster that is kept up: what ends is started again, and guests know nothing of it.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { controlPlaneName, startCluster } from "../../cli/cluster/cluster.ts";
import { whyNoLocalDynamo } from "../../infra/local/dynamodb.ts";
import { DroverProcess } from "./processes.ts";

const skip = existsSync("/proc/self/environ") ? false : "a local cluster needs /proc";

/** Of this program, with this in its environment. */
function find(up: DroverProcess, program: string, variable: string): number {
  const found = up.processes().filter((pid) => {
    const read = (name: string) => readFileSync(`/proc/${pid}/${name}`, "latin1").split("\0");
    return read("cmdline").some((part) => part.includes(program)) && read("environ").includes(variable);
  });
  assert.equal(found.length, 1, `${program} with ${variable}: ${found}`);
  return found[0] ?? 0;
}

test("drover up: its agent and its control plane are killed, and started again; the guest runs on, and moves", {
  skip,
}, async () => {
  const up = new DroverProcess(["up"]);
  try {
    const [, api = ""] = await up.until("stdout", /DROVER_API=(\S+)/);
    const [, keyFile = ""] = await up.until("stdout", /DROVER_KEY_FILE=(\S+)/);
    await up.until("stdout", /Ctrl-C/);
    const environment = { DROVER_API: api, DROVER_KEY_FILE: keyFile, DROVER_CLUSTER: "local" };
    const drover = async (...args: string[]) => {
      const command = new DroverProcess([...args, "-o", "json"], { environment });
      try {
        assert.equal(await command.ended, 0, command.stderr);
        return JSON.parse(command.stdout);
      } finally {
        await command.dispose();
      }
    };
    await drover("vm", "define", "--vm", "vm-1", "--memory", "16");
    await drover("vm", "start", "--vm", "vm-1", "--host", "host-a");
    const bootIdOf = async () => {
      for (;;) {
        const { guest } = await drover("vm", "show", "--vm", "vm-1");
        if (guest) return guest.bootId;
      }
    };
    const bootId = await bootIdOf();

    const { port } = new URL(api);
    process.kill(find(up, "agents/main", "DROVER_HOST=host-a"), "SIGKILL");
    await up.until("stderr", /host-a ended by SIGKILL: it is started again\nhost-a is up again/);
    process.kill(find(up, "functions/runtime/node", "DROVER_LISTEN=127.0.0.1:0"), "SIGKILL");
    await up.until("stderr", /control-plane ended by SIGKILL: it is started again\ncontrol-plane is up again/);
    find(up, "functions/runtime/node", `DROVER_LISTEN=127.0.0.1:${port}`);

    const migration = await drover("migration", "start", "--vm", "vm-1", "--to", "host-b", "--wait");
    assert.equal(migration.phase, "completed");
    assert.equal(await bootIdOf(), bootId, "never rebooted");
    up.child.kill("SIGINT");
    assert.equal(await up.ended, 0, up.stderr);
    assert.deepEqual(up.left(), []);
  } finally {
    await up.dispose();
  }
});

test("an agent that ends again and again is left alone at last, told of with its log; the control plane's end is the cluster's", {
  skip,
}, async () => {
  const options = { hosts: 2, table: "sqlite", doorbell: "embedded", guestMemoryMiB: 64 } as const;
  const cluster = await startCluster(options);
  try {
    const lines: string[] = [];
    const waiting = new Set<() => void>();
    cluster.keepUp((line) => {
      lines.push(line);
      for (const wake of waiting) wake();
    });
    const told = async (pattern: RegExp, times: number) => {
      while (lines.filter((line) => pattern.test(line)).length < times) {
        await new Promise<void>((wake) => waiting.add(wake));
      }
    };
    for (const name of ["host-b", controlPlaneName]) {
      for (let times = 1; times <= 4; times++) {
        process.kill(cluster.process(name).pid, "SIGKILL");
        await told(new RegExp(`^${name} is up again`), times);
      }
      process.kill(cluster.process(name).pid, "SIGKILL");
      if (name === "host-b") await told(/^host-b ended by SIGKILL, 5 times within 60 s: .*logs\/host-b\.log$/, 1);
    }
    await assert.rejects(cluster.broken, /^Error: control-plane ended by SIGKILL, 5 times within 60 s/);
  } finally {
    await cluster.stop();
  }
});

test("a server for the table that ends is told of by name: the cluster is over with it", {
  skip: skip || (whyNoLocalDynamo() ?? false),
}, async () => {
  const options = { hosts: 2, table: "dynamodb", doorbell: "embedded", guestMemoryMiB: 64 } as const;
  const cluster = await startCluster(options);
  try {
    cluster.keepUp(() => {});
    const [server, ...others] = readdirSync("/proc").filter((name) => isOurs(name, "dynoxide"));
    assert.deepEqual([others.length, Number(server) > 1], [0, true]);
    process.kill(Number(server), "SIGKILL");
    await assert.rejects(cluster.broken, /^Error: the DynamoDB-compatible server \(process \d+\) has ended/);
  } finally {
    await cluster.stop();
  }
});

/** A child of this process that runs this program. */
function isOurs(name: string, program: string): boolean {
  try {
    const stat = readFileSync(`/proc/${name}/stat`, "latin1");
    const parent = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1];
    return Number(parent) === process.pid && readFileSync(`/proc/${name}/cmdline`, "latin1").includes(program);
  } catch {
    return false; // It is no process, or has ended.
  }
}
