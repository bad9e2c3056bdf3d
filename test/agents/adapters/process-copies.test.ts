import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openProcessCopies } from "../../../agents/adapters/process-copies.ts";
import { SealedLog } from "../../../agents/adapters/sealed-log.ts";
import { SupervisorProcesses } from "../../../agents/adapters/supervisor-processes.ts";
import type { Copies } from "../../../agents/ports/copies.ts";
import { CopyMemo } from "../../../agents/supervisor/memo.ts";
import { toBase64Url } from "../../../schemas/signing.ts";
import { type CopiesHost, copiesContract, eventOf, look } from "../../contract/copies.ts";
import { spec as simulatedSpec, ulid } from "../../support/assignments.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const spec = { ...simulatedSpec, hypervisor: "embedded" as const };

class ProcessHost implements CopiesHost {
  readonly address: string;
  readonly data: string;
  readonly #volume: string;
  #copies: Copies | null = null;

  constructor(data: string, volume: string, address: string) {
    this.data = data;
    this.#volume = volume;
    this.address = address;
  }

  async openAgent(): Promise<Copies> {
    await this.killAgent();
    this.#copies = await openProcessCopies({ data: this.data, sharedVolume: this.#volume, hypervisor: "embedded" });
    return this.#copies;
  }

  /** To a supervisor the end of an agent looks alike, however it came: its connection ends. */
  async killAgent(): Promise<void> {
    await this.#copies?.close();
    this.#copies = null;
  }

  async supervisorPid(copyId: string): Promise<number> {
    return Number(await readFile(join(this.data, "copies", copyId, "supervisor.pid"), "utf8"));
  }

  async guestPid(copyId: string): Promise<number> {
    const memo = CopyMemo.parse(
      JSON.parse(new SealedLog(join(this.data, "copies", copyId, "copy.json")).read() ?? "null"),
    );
    assert.ok(memo.machine);
    return memo.machine.pid;
  }

  async killSupervisor(copyId: string): Promise<void> {
    await kill(await this.supervisorPid(copyId));
  }

  async killGuest(copyId: string): Promise<void> {
    await kill(await this.guestPid(copyId));
  }

  async close(): Promise<void> {
    const copies = this.#copies ?? (await this.openAgent());
    for (const copy of await copies.list()) await copy.destroy();
    await this.killAgent();
  }
}

async function kill(pid: number): Promise<void> {
  if (isAlive(pid)) process.kill(pid, "SIGKILL");
  while (isAlive(pid)) await delay(5);
}

function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}

/** Supervisors and guests work in their copy's folder. */
function processesIn(folder: string): number[] {
  return readdirSync("/proc")
    .filter((name) => {
      try {
        return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/cwd`).startsWith(`${folder}/`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

async function makeBench(folderName?: string) {
  const folder = await temporaryFolder(folderName);
  const hosts: [ProcessHost, ProcessHost] = [
    new ProcessHost(join(folder.path, "a"), folder.path, "127.0.0.61"),
    new ProcessHost(join(folder.path, "b"), folder.path, "127.0.0.62"),
  ];
  const close = async () => {
    try {
      for (const host of hosts) await host.close();
    } finally {
      for (const pid of processesIn(folder.path)) await kill(pid); // What a failed test left.
      await folder.remove();
    }
  };
  return { hosts, volume: folder.path, spec, sleep: (milliseconds: number) => delay(milliseconds), close };
}

copiesContract("processes, embedded hypervisor", () => makeBench());

const copyId = ulid("copy", 1);
const request = { vmId: "vm-1", copyId, spec, arriving: false, migrationId: null };

test("a data folder with a name too long for a socket serves as well", async () => {
  const bench = await makeBench(`drover-${"long-".repeat(24)}`);
  try {
    const copy = await (await bench.hosts[0].openAgent()).launch(request);
    assert.deepEqual(await copy.run(5), { kind: "granted" });
  } finally {
    await bench.close();
  }
});

test("a copy that was destroyed can be launched again under its name", async () => {
  const bench = await makeBench();
  try {
    const copies = await bench.hosts[0].openAgent();
    await (await copies.launch(request)).destroy();
    assert.deepEqual(await copies.list(), []);
    const again = await copies.launch(request);
    assert.equal((await again.status()).machine, "held");
  } finally {
    await bench.close();
  }
});

test("the stream's key is in no argument, no environment and no file of any process", async () => {
  const bench = await makeBench();
  try {
    const [a, b] = bench.hosts;
    const source = await (await a.openAgent()).launch(request);
    const migrationId = ulid("mig", 1);
    const arriving = { ...request, copyId: ulid("copy", 2), arriving: true, migrationId };
    const destination = await (await b.openAgent()).launch(arriving);
    await source.run(5);
    const key = new Uint8Array(randomBytes(32));
    const endpoint = await destination.receive({ address: b.address, peerAddress: a.address, key, migrationId });
    const round = eventOf(source, (event) => event.kind === "sampled");
    const limits = { bandwidthLimitBytesPerSecond: null };
    await source.send({ endpoint, localAddress: a.address, key, migrationId, limits });
    await round;
    const pids = [
      ...(await Promise.all([a.supervisorPid(copyId), a.guestPid(copyId)])),
      ...(await Promise.all([b.supervisorPid(arriving.copyId), b.guestPid(arriving.copyId)])),
    ];
    const secrets = [
      Buffer.from(key),
      toBase64Url(key),
      Buffer.from(key).toString("base64"),
      Buffer.from(key).toString("hex"),
    ];
    const places = pids.flatMap((pid) => [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`]);
    for (const data of [a.data, b.data]) {
      for (const entry of readdirSync(data, { recursive: true, withFileTypes: true })) {
        if (entry.isFile()) places.push(join(entry.parentPath, entry.name));
      }
    }
    assert.ok(places.length > 8);
    for (const place of places) {
      const content = readFileSync(place);
      for (const secret of secrets) assert.equal(content.includes(secret), false, place);
    }
  } finally {
    await bench.close();
  }
});

test("a spare serves the next launch, and ends with its agent when it was not used", async () => {
  const bench = await makeBench();
  try {
    const copies = await bench.hosts[0].openAgent();
    copies.keepSpare();
    copies.keepSpare();
    const spare = await childOf(process.pid);
    const copy = await copies.launch(request);
    assert.equal(await bench.hosts[0].supervisorPid(copyId), spare);
    await copy.destroy();
    copies.keepSpare();
    while (isAlive(spare)) await delay(5);
    const unused = await childOf(process.pid);
    await bench.hosts[0].killAgent();
    while (isAlive(unused)) await delay(5);
  } finally {
    await bench.close();
  }
});

test("a spare that is killed in the middle of its rehearsal leaves no file, whether its agent lives or not", async () => {
  const bench = await makeBench();
  const [host] = bench.hosts;
  const folder = join(host.data, "rehearsals");
  const rehearsals = () => (existsSync(folder) ? readdirSync(folder) : []);
  try {
    const copies = await host.openAgent();
    copies.keepSpare();
    const spare = await childOf(process.pid);
    for (let waited = 0; rehearsals().length === 0 && waited < 10_000; waited++) await delay(1);
    assert.equal(rehearsals().length, 1, "the rehearsal is under way, in the data folder");
    process.kill(spare, "SIGKILL");
    while (rehearsals().length > 0) await delay(5);
    mkdirSync(join(folder, "of-an-agent-killed-too"));
    await host.openAgent();
    assert.deepEqual(rehearsals(), []);
  } finally {
    await bench.close();
  }
});

test("kill -9 of an agent: its guest runs on under its lock file, its spare ends", async () => {
  const bench = await makeBench();
  const [host] = bench.hosts;
  const program = fileURLToPath(new URL("./agent-life.ts", import.meta.url));
  const words = [program, host.data, bench.volume, JSON.stringify(request)];
  const agent = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const [said] = await once(agent.stdout, "data");
    assert.equal(String(said).trim(), "granted");
    const spare = await childOf(agent.pid ?? 0, await host.supervisorPid(copyId));
    const exited = once(agent, "exit");
    agent.kill("SIGKILL");
    await exited;
    while (isAlive(spare)) await delay(5);
    const [copy] = await (await host.openAgent()).list();
    assert.deepEqual(await look(copy), { machine: "running", lock: "held", ended: null, gate: null });
  } finally {
    agent.kill("SIGKILL");
    await bench.close();
  }
});

/** The one supervisor's process that a process has started, another one apart. */
async function childOf(parent: number, except = 0): Promise<number> {
  const pids = readdirSync("/proc").filter((name) => {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      const isChild = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === parent;
      return isChild && readFileSync(`/proc/${name}/cmdline`, "utf8").includes("supervisor");
    } catch {
      return false;
    }
  });
  const living = pids.map(Number).filter((pid) => pid !== except && isAlive(pid));
  assert.equal(living.length, 1, `supervisors: ${living.join()}`);
  return living[0] ?? 0;
}

test("a copy whose supervisor died before the guest was built is launched anew", async () => {
  const bench = await makeBench();
  try {
    const [host] = bench.hosts;
    const first = await (await host.openAgent()).launch(request);
    const memoPath = join(host.data, "copies", copyId, "copy.json");
    const memo = CopyMemo.parse(JSON.parse(new SealedLog(memoPath).read() ?? "null"));
    const guestPid = await host.guestPid(copyId);
    await host.killAgent();
    await host.killSupervisor(copyId);
    await kill(guestPid);
    await new SealedLog(memoPath).write(JSON.stringify({ ...memo, machine: null }));
    const again = await (await host.openAgent()).launch(request);
    assert.notEqual(again, first);
    assert.equal((await again.status()).machine, "held");
    assert.deepEqual(await again.run(5), { kind: "granted" });
  } finally {
    await bench.close();
  }
});

test("a copy is destroyed while another call hangs on its guest's process", async () => {
  const bench = await makeBench();
  try {
    const [host] = bench.hosts;
    const copy = await (await host.openAgent()).launch(request);
    await copy.run(5);
    const guestPid = await host.guestPid(copyId);
    process.kill(guestPid, "SIGSTOP");
    let hasAnswered = false;
    const hanging = copy.cancelStream().then(
      () => {},
      () => {
        hasAnswered = true;
      },
    );
    await copy.destroy();
    await hanging;
    assert.ok(hasAnswered, "what hung was refused");
    assert.equal(isAlive(guestPid), false);
  } finally {
    await bench.close();
  }
});

test("a supervisor that dies while it ends its copy is started again, and ends it when asked again", async () => {
  const bench = await makeBench();
  try {
    const [host] = bench.hosts;
    const copies = await host.openAgent();
    const copy = await copies.launch(request);
    await copy.run(5);
    const guestPid = await host.guestPid(copyId);
    const supervisorPid = await host.supervisorPid(copyId);
    process.kill(supervisorPid, "SIGSTOP");
    const asked = assert.rejects(copy.destroy(), /may or may not have happened/);
    await kill(supervisorPid);
    await asked;
    await copy.destroy();
    assert.equal(isAlive(guestPid), false);
    assert.deepEqual(await copies.list(), []);
  } finally {
    await bench.close();
  }
});

test("a copy whose supervisor died once it had given its folder up has ended, and what was left of it goes", async () => {
  const bench = await makeBench();
  try {
    const [host] = bench.hosts;
    const copies = await host.openAgent();
    const copy = await copies.launch(request);
    await kill(await host.guestPid(copyId));
    const folder = join(host.data, "copies");
    renameSync(join(folder, copyId), join(folder, `.removed-${copyId}`));
    await kill(await supervisorIn(folder));
    // What is asked before its end is seen is refused; asking again is safe.
    const status = await copy.status().catch(() => copy.status());
    assert.equal(status.machine, "ended");
    await copy.destroy();
    while (readdirSync(folder).length > 0) await delay(5);
  } finally {
    await bench.close();
  }
});

/** Of a copy whose folder has another name by now. */
async function supervisorIn(folder: string): Promise<number> {
  const found = processesIn(folder).find((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith("drover-supervisor "),
  );
  assert.ok(found);
  return found;
}

test("a copy whose supervisor cannot be started is listed with its fault, holds up no other, and is tried again", async () => {
  const bench = await makeBench();
  try {
    const [host] = bench.hosts;
    const before = await host.openAgent();
    await before.launch(request);
    const other = { ...request, vmId: "vm-2", copyId: ulid("copy", 2) };
    await (await before.launch(other)).run(5);
    const memoPath = join(host.data, "copies", copyId, "copy.json");
    const memo = await readFile(memoPath, "utf8");
    await host.killAgent();
    await host.killSupervisor(copyId);
    await writeFile(memoPath, "{");
    const copies = await (await host.openAgent()).list();
    const faulty = copies.find((copy) => copy.copyId === copyId);
    const well = copies.find((copy) => copy.copyId === other.copyId);
    assert.ok(faulty && well && copies.length === 2);
    assert.equal((await well.status()).machine, "running");
    await assert.rejects(faulty.status(), new RegExp(`the supervisor of ${copyId} .*`));
    assert.equal(faulty.migrationId, null);
    await writeFile(memoPath, memo);
    while ((await faulty.status().catch(() => null))?.machine !== "held") await delay(100);
    assert.equal(faulty.vmId, request.vmId);
  } finally {
    await bench.close();
  }
});

test("a supervisor that hangs holds up no list: its copy says so, and is asked again once it answers", async () => {
  const bench = await makeBench();
  const [host] = bench.hosts;
  let pid = 0;
  try {
    await (await host.openAgent()).launch(request);
    await host.killAgent();
    pid = await host.supervisorPid(copyId);
    process.kill(pid, "SIGSTOP");
    const [copy, ...others] = await (await host.openAgent()).list();
    assert.ok(copy && others.length === 0);
    assert.equal(copy.vmId, request.vmId);
    await assert.rejects(copy.status(), /has not answered for 5000 ms/);
    process.kill(pid, "SIGCONT");
    while ((await copy.status().catch(() => null))?.machine !== "held") await delay(50);
  } finally {
    if (pid > 0) process.kill(pid, "SIGCONT");
    await bench.close();
  }
});

test("a supervisor's process that does not answer its order is ended", async () => {
  const folder = await temporaryFolder();
  const processes = new SupervisorProcesses("embedded", join(folder.path, "rehearsals"), 500);
  try {
    processes.keepSpare();
    const pid = await childOf(process.pid);
    process.kill(pid, "SIGSTOP");
    const order = { directory: folder.path, sharedVolume: folder.path, gates: join(folder.path, "gates") };
    const answer = await processes.give({ kind: "recover", ...order });
    assert.deepEqual(answer, { kind: "failed", detail: "the supervisor's process does not answer" });
    while (isAlive(pid)) await delay(5);
  } finally {
    await processes.close();
    await folder.remove();
  }
});
