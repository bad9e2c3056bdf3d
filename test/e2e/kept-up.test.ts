// A cluster that is kept up: what ends is started again, and guests know nothing of it.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { startCluster } from "../../cli/cluster/cluster.ts";
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

test("a process that ends again and again is not started for ever", { skip }, async () => {
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
    for (let times = 1; times <= 4; times++) {
      process.kill(cluster.process("host-b").pid, "SIGKILL");
      await told(/^host-b is up again/, times);
    }
    process.kill(cluster.process("host-b").pid, "SIGKILL");
    await assert.rejects(cluster.broken, /^Error: host-b ended by SIGKILL, 5 times within 60 s/);
  } finally {
    await cluster.stop();
  }
});
