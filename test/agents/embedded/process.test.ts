// A guest's process against its surroundings: who may speak to it, what it outlives, and what it says when it ends.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createEmbeddedHypervisor } from "../../../agents/adapters/embedded/hypervisor.ts";
import { isAlive, startTime } from "../../../agents/adapters/embedded/process-identity.ts";
import type { Machine, MachineEvent } from "../../../agents/ports/hypervisor.ts";
import { addresses, asClient, Ear, type EmbeddedBench, makeBench, smallSpec } from "./bench.ts";

let bench: EmbeddedBench;
let machines: Machine[];
beforeEach(() => {
  bench = makeBench();
  machines = [];
});
afterEach(async () => {
  for (const machine of machines) await machine.destroy();
  await bench.close();
});

async function launch(directory?: string, arriving = false): Promise<Machine> {
  const machine = await bench.hypervisor.launch({
    vmId: "vm-1",
    copyId: "copy_01KB0000000000000000000001",
    spec: smallSpec,
    directory: directory ?? (await bench.makeDirectory()),
    arriving,
  });
  machines.push(machine);
  return machine;
}

async function startOwner(
  ...words: string[]
): Promise<{ owner: ChildProcess; said: string; end: () => Promise<void> }> {
  const owner = spawn(process.execPath, [join(import.meta.dirname, "owner.ts"), ...words], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const said = await new Promise<string>((resolve, reject) => {
    owner.stdout?.once("data", (chunk: Buffer) => resolve(chunk.toString()));
    owner.once("exit", () => reject(new Error("the owner ended")));
  });
  const end = async (): Promise<void> => {
    const gone = new Promise<void>((resolve) => owner.once("exit", () => resolve()));
    owner.kill("SIGKILL");
    await gone;
  };
  return { owner, said, end };
}

const childrenOf = (pid: number): number[] =>
  readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const fields = readFileSync(`/proc/${name}/stat`, "latin1").split(") ")[1]?.split(" ");
      return Number(fields?.[1]) === pid ? [Number(name)] : [];
    } catch {
      return [];
    }
  });

test("only this user may speak to a guest's process, and its VM and its copy alone are shown", async () => {
  const machine = await launch();
  assert.equal(statSync(machine.reference.socket).mode & 0o777, 0o600);
  const key = randomBytes(32);
  const incoming = await launch(undefined, true);
  await incoming.receive({
    address: addresses[1],
    peerAddress: addresses[0],
    key,
    migrationId: "mig_01KB0000000000000000000000",
  });
  for (const { reference } of [machine, incoming])
    for (const file of ["cmdline", "environ"]) {
      const text = readFileSync(`/proc/${reference.pid}/${file}`, "latin1");
      for (const secret of [key.toString("base64"), key.toString("hex")]) assert.equal(text.includes(secret), false);
      if (file === "cmdline") assert.match(text, /^drover-guest vm-1 copy_01KB0000000000000000000001\0*$/);
    }
});

test("a folder with a path longer than a socket's name can be is no obstacle", async () => {
  const directory = join(await bench.makeDirectory(), "a".repeat(100), "b".repeat(100));
  await mkdir(directory, { recursive: true });
  const machine = await launch(directory);
  const found = await createEmbeddedHypervisor().adopt(machine.reference);
  assert.equal(await found?.state(), "held");
  found?.detach();
});

test("several callers hold one machine at the same time, and each hears of it", async () => {
  const machine = await launch();
  const other = await createEmbeddedHypervisor().adopt(machine.reference);
  assert.ok(other);
  const ears = [new Ear(machine), new Ear(other)];
  const reports = ears.map((ear) => ear.report());
  await other.run();
  const [one, two] = await Promise.all(reports);
  assert.equal(one?.bootId, two?.bootId);
  assert.equal(await machine.state(), "running");
  other.detach();
});

test("a guest outlives the process that launched it, killed without a word", async () => {
  const directory = await bench.makeDirectory();
  const { said, end } = await startOwner("launch", directory);
  await end();
  const found = await bench.hypervisor.adopt(JSON.parse(said));
  assert.ok(found);
  machines.push(found);
  assert.equal((await new Ear(found).report()).memoryErrors, 0);
});

test("a spare whose owner is gone ends by itself", async () => {
  const { owner, end } = await startOwner("warm");
  const spares = childrenOf(owner.pid ?? 0).map((pid) => ({ pid, startedAt: startTime(pid) ?? "" }));
  assert.equal(spares.length, 1);
  await end();
  while (spares.some(({ pid, startedAt }) => isAlive(pid, startedAt))) await sleep(20);
});

test("a spare becomes the next guest, and closing ends one that was not used", async () => {
  await bench.hypervisor.warm();
  const spares = childrenOf(process.pid);
  const machine = await launch();
  assert.ok(spares.includes(machine.reference.pid));
  await bench.hypervisor.warm();
  const [unused] = childrenOf(process.pid).filter((pid) => pid !== machine.reference.pid);
  assert.ok(unused);
  await bench.hypervisor.close();
  assert.equal(startTime(unused), null);
  assert.equal(await machine.state(), "held");
});

test("a spare with another amount of memory serves as well", async () => {
  const hypervisor = createEmbeddedHypervisor({ warmMemoryMiB: 32 });
  await hypervisor.warm();
  const directory = await bench.makeDirectory();
  const machine = await hypervisor.launch({
    vmId: "vm-1",
    copyId: "copy",
    spec: smallSpec,
    directory,
    arriving: false,
  });
  machines.push(machine);
  assert.equal((await machine.settings())["memoryMiB"], smallSpec.memoryMiB);
  const report = new Ear(machine).report();
  await machine.run();
  assert.equal((await report).memoryErrors, 0);
});

for (const [letter, how] of [
  ["P", "powered-off"],
  ["X", "crashed"],
] as const) {
  test(`a guest that ${how} is told, and its process is gone`, async () => {
    const machine = await launch();
    const ear = new Ear(machine);
    const report = ear.report();
    await machine.run();
    await report;
    const ended = ear.kind("ended");
    await asClient(machine).type(letter);
    assert.equal((await ended).how, how);
    assert.equal(await machine.state(), "ended");
    const { pid, startedAt } = machine.reference;
    while (isAlive(pid, startedAt)) await sleep(5);
  });

  test(`a guest that ${how} while nobody watched is found ended, with its reason`, async () => {
    const machine = await launch();
    const report = new Ear(machine).report();
    await machine.run();
    await report;
    await asClient(machine).type(letter);
    machine.detach();
    const { pid, startedAt } = machine.reference;
    while (isAlive(pid, startedAt)) await sleep(5);
    const found = await createEmbeddedHypervisor().adopt(machine.reference);
    assert.ok(found);
    assert.equal(await found.state(), "ended");
    assert.equal((await found.run()).kind, "refused");
    const heard = await new Promise<MachineEvent>((resolve) => found.listen(resolve));
    assert.ok(heard.kind === "ended" && heard.how === how);
    await found.destroy();
  });
}

test("a guest can be built again in a folder where one has ended", async () => {
  const directory = await bench.makeDirectory();
  const first = await launch(directory);
  await first.destroy();
  const second = await launch(directory);
  assert.equal(await second.state(), "held");
});
