// An agent in a bad environment, as a process: one line that names the variable and the way out, exit code 2, nothing
// written, and no waiting for ever.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type Cluster, controlPlaneName, startCluster } from "../../cli/cluster/cluster.ts";
import { startGuest } from "../../cli/demo/guests.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const program = join(import.meta.dirname, "..", "..", "agents", "main.ts");
const folder = await temporaryFolder();
after(() => folder.remove());
const path = (name: string) => join(folder.path, name);
await mkdir(path("volume"));
writeFileSync(path("token"), "token\n");
writeFileSync(path("file"), "");
const untouched = readdirSync(folder.path).sort();

type Changes = Record<string, string>;
const good: Changes = {
  DROVER_CONTROL_PLANE: "http://127.0.0.1:1",
  DROVER_CLUSTER: "local",
  DROVER_HOST: "host-a",
  DROVER_DATA: path("own/data"),
  DROVER_RUN: path("own/run"),
  DROVER_SHARED_VOLUME: path("volume"),
  DROVER_MIGRATION_ADDRESS: "127.0.0.11",
  DROVER_JOIN_TOKEN_FILE: path("token"),
};

async function refusal(changes: Changes): Promise<string> {
  const environment = { PATH: process.env["PATH"], ...good, ...changes };
  const child = spawn(process.execPath, [program], { env: environment, stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    stderr += text;
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), 20_000);
  const [code] = await once(child, "close");
  clearTimeout(timer);
  assert.equal(code, 2, `it ended with ${code}: ${stderr}`);
  assert.match(stderr, /^[^\n]+\n$/, "one line");
  return stderr;
}

const cases: { title: string; changes: Changes; says: RegExp }[] = [
  {
    title: "a migration address of another machine",
    changes: { DROVER_MIGRATION_ADDRESS: "192.0.2.1" },
    says: /^DROVER_MIGRATION_ADDRESS: 192\.0\.2\.1 is not an address of this machine, which has .*127\.0\.0\.1 \(lo\).*; set it to/,
  },
  {
    title: "a control plane that is not there at the first start",
    changes: {},
    says: /^DROVER_CONTROL_PLANE: http:\/\/127\.0\.0\.1:1 cannot be reached.*; start it, or/,
  },
  {
    title: "data on a file",
    changes: { DROVER_DATA: path("file") },
    says: /^DROVER_DATA: .*file is not a folder; set/,
  },
  {
    title: "data below a file",
    changes: { DROVER_DATA: path("file/data") },
    says: /^DROVER_DATA: .*file is not a folder; set/,
  },
  {
    title: "a run folder on a file",
    changes: { DROVER_RUN: path("file") },
    says: /^DROVER_RUN: .*file is not a folder/,
  },
  {
    title: "a join token file that is not there",
    changes: { DROVER_JOIN_TOKEN_FILE: path("no-token") },
    says: /^DROVER_JOIN_TOKEN_FILE: .*ENOENT.*; set it to a file with a join token/,
  },
  {
    title: "a peer port in another notation",
    changes: { DROVER_PEER_PORT: "0x50" },
    says: /^DROVER_PEER_PORT: not a plain decimal number; set it to a port, 1 to 65535/,
  },
  {
    title: "a hypervisor that there is not",
    changes: { DROVER_HYPERVISOR: "qemu" },
    says: /^DROVER_HYPERVISOR: there is no such hypervisor; set it to one of those there are: embedded/,
  },
];

describe("an agent refuses", () => {
  for (const { title, changes, says } of cases) {
    test(title, async () => {
      assert.match(await refusal(changes), says);
      assert.deepEqual(readdirSync(folder.path).sort(), untouched, "nothing was written");
    });
  }
});

describe("an agent beside a cluster", { skip: existsSync("/proc/self/environ") ? false : "it needs /proc" }, () => {
  let cluster: Cluster;
  const of = (host: string, name: string) => join(cluster.folder, host, name);
  const joined = (): Changes => ({
    DROVER_CONTROL_PLANE: String(cluster.process(controlPlaneName).ready["listening"]),
    DROVER_DATA: of("host-a", "data"),
    DROVER_RUN: of("host-a", "run"),
    DROVER_SHARED_VOLUME: join(cluster.folder, "shared-volume"),
  });
  before(async () => {
    cluster = await startCluster({ hosts: 2, table: "sqlite", doorbell: "embedded", guestMemoryMiB: 64 });
  });
  after(() => cluster.stop());

  test("refuses folders where the system takes none, and does not wait for ever", async () => {
    const url = joined()["DROVER_CONTROL_PLANE"] ?? "";
    for (const name of ["DROVER_DATA", "DROVER_RUN", "DROVER_SHARED_VOLUME"]) {
      const where = name === "DROVER_SHARED_VOLUME" ? "/proc/self" : "/proc/drover/own";
      assert.match(
        await refusal({ DROVER_CONTROL_PLANE: url, [name]: where }),
        new RegExp(`^${name}: /proc/.* cannot be (made|written) \\(`),
      );
      assert.deepEqual(readdirSync(folder.path).sort(), untouched, "nothing was written");
    }
  });

  test("refuses the data folder of an agent that lives", async () => {
    assert.match(
      await refusal(joined()),
      /^DROVER_DATA: another agent lives on .*host-a\/data; stop that one, or give this one a folder of its own/,
    );
  });

  test("refuses the data folder of another host, and of another cluster", async () => {
    for (const changes of [{ DROVER_HOST: "host-b" }, { DROVER_CLUSTER: "paris" }] as Changes[]) {
      assert.match(
        await refusal({ ...joined(), ...changes }),
        /^DROVER_DATA: .*identity\.json is the identity of host-a of local, not of (host-b of local|host-a of paris); set/,
      );
    }
  });

  test("refuses a token that the control plane does not know, naming its file", async () => {
    const fresh = { DROVER_DATA: path("fresh/data"), DROVER_RUN: path("fresh/run") };
    assert.match(
      await refusal({ ...joined(), ...fresh }),
      /^DROVER_JOIN_TOKEN_FILE: joining was refused \(.*new token/,
    );
  });

  test("refuses the migration address of another host of the cluster, naming its variable", async () => {
    const { token } = await cluster.api.createJoinToken(cluster.name, "host-c");
    await writeFile(path("volume/token-c"), token);
    const fresh = { DROVER_DATA: path("c/data"), DROVER_RUN: path("c/run"), DROVER_HOST: "host-c" };
    assert.match(
      await refusal({ ...joined(), ...fresh, DROVER_JOIN_TOKEN_FILE: path("volume/token-c") }),
      /^DROVER_MIGRATION_ADDRESS: joining was refused \(migration-address-taken\).*host-a.*; set it to one/,
    );
  });

  test("a peer port that another has: the migration ends by name, the guest runs on, and moves once the port is free", async () => {
    const { api, name } = cluster;
    await startGuest(api, name, "vm-1", "host-a", { memoryMiB: 16, dirtyMiBPerSecond: 1 });
    const pid = cluster.process("host-b").pid;
    const port = Number(/DROVER_PEER_PORT=(\d+)/.exec(readFileSync(`/proc/${pid}/environ`, "latin1"))?.[1]);
    const other = createServer((socket) => socket.destroy()).listen({ host: "127.0.0.12", port });
    other.unref();
    await once(other, "listening");
    const move = async () => {
      const { id } = await api.requestMigration(name, { vm: "vm-1", destination: "host-b" });
      for (;;) {
        const migration = await api.getMigration(name, id);
        if (migration.endedAt !== null) return migration;
        await delay(50);
      }
    };
    const beganAtMs = performance.now();
    const failed = await move();
    assert.deepEqual([failed.phase, failed.verdict, failed.reason], ["failed", "aborted", "preparation-failed"]);
    assert.match(failed.detail ?? "", new RegExp(`EADDRINUSE.*127\\.0\\.0\\.12:${port}.*DROVER_PEER_PORT of host-b`));
    assert.ok(performance.now() - beganAtMs < 15_000, "in bounded time");
    assert.equal((await api.getVm(name, "vm-1")).runState, "running");
    other.close();
    await once(other, "close");
    assert.equal((await move()).phase, "completed");
  });

  test("I6: once joined it starts without the control plane; a killed agent's folder is free at once", async () => {
    const agent = cluster.process("host-a");
    process.kill(agent.pid, "SIGKILL");
    await agent.ended;
    const environment = { PATH: process.env["PATH"], ...good, ...joined(), DROVER_CONTROL_PLANE: "http://127.0.0.1:1" };
    const child = spawn(process.execPath, [program], { env: environment, stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text) => {
      stderr += text;
    });
    const ended = once(child, "close");
    const how = await Promise.race([ended, new Promise((resolve) => setTimeout(() => resolve("lives"), 4000))]);
    assert.equal(how, "lives", stderr);
    child.kill("SIGTERM");
    assert.deepEqual(await ended, [0, null], stderr);
  });
});
