// A guest's process and whoever speaks to it, when the connection between them suffers.
import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import net from "node:net";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createEmbeddedHypervisor } from "../../../agents/adapters/embedded/hypervisor.ts";
import { isAlive } from "../../../agents/adapters/embedded/process-identity.ts";
import type { Machine } from "../../../agents/ports/hypervisor.ts";
import { asClient, Ear, type EmbeddedBench, makeBench, smallSpec } from "./bench.ts";

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

async function launch(): Promise<Machine> {
  const directory = await bench.makeDirectory();
  const request = { vmId: "vm-1", copyId: "copy_01KB0000000000000000000001", spec: smallSpec, directory };
  const machine = await bench.hypervisor.launch({ ...request, arriving: false });
  machines.push(machine);
  return machine;
}

/** A line that is too long makes the guest's process end the connection. */
const cutConnection = (machine: Machine): Promise<void> =>
  assert.rejects(asClient(machine).type("x".repeat(2 * 1024 * 1024)), /closed its socket/);

test("a guest whose process lives is not told as ended, however long nobody can reach it, and is found again", async () => {
  const machine = await launch();
  const { socket } = machine.reference;
  const ear = new Ear(machine);
  await machine.run();
  await ear.report();
  renameSync(socket, `${socket}-away`);
  const heardBefore = ear.events.length;
  await cutConnection(machine);
  await sleep(6000); // Nothing is to happen, for as long as anybody might wait for an ordinary end.
  assert.deepEqual(ear.events.slice(heardBefore), []);
  await assert.rejects(machine.state(), /not connected/);
  renameSync(`${socket}-away`, socket);
  await ear.report();
  assert.equal(await machine.state(), "running");
});

test("a guest that ends while nobody can reach it is told as ended", async () => {
  const machine = await launch();
  const { socket } = machine.reference;
  const ear = new Ear(machine);
  await machine.run();
  await ear.report();
  const ended = ear.kind("ended");
  renameSync(socket, `${socket}-away`);
  await cutConnection(machine);
  await bench.kill(machine);
  assert.equal((await ended).how, "killed");
});

test("a client that leaves a great deal unread is not cut off, and has every answer in the end", async () => {
  const machine = await launch();
  const ear = new Ear(machine);
  await machine.run();
  const client = net.connect(machine.reference.socket);
  client.pause();
  let isCut = false;
  client.on("close", () => {
    isCut = true;
  });
  const calls = 80_000;
  client.write(`${JSON.stringify({ id: 1_000_000, method: "state" })}\n`.repeat(calls));
  while (client.writableLength > 0) await sleep(20);
  // Measurements that come now find it with more unread than it may have.
  await ear.report();
  await ear.report();
  let answers = 0;
  let rest = "";
  await new Promise<void>((resolve, reject) => {
    client.on("close", () => reject(new Error("cut off")));
    client.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      answers += lines.filter((line) => line.includes('"result"')).length;
      if (answers === calls) resolve();
    });
    client.resume();
  });
  assert.equal(isCut, false);
  client.removeAllListeners("close").destroy();
});

test("a process that answers nothing is told by an error in time, and destroying ends it all the same", async () => {
  const machine = await launch();
  process.kill(machine.reference.pid, "SIGSTOP");
  await assert.rejects(machine.stop(), /did not answer stop; it may or may not have happened/);
  const hanging = assert.rejects(machine.run());
  await machine.destroy();
  await hanging;
  assert.equal(await machine.state(), "ended");
});

test("a guest that never executed ends when nobody holds it; one that did lives on", async () => {
  const hypervisor = createEmbeddedHypervisor({ lonelyMs: 300 });
  const build = async (): Promise<Machine> => {
    const directory = await bench.makeDirectory();
    const machine = await hypervisor.launch({
      vmId: "vm-1",
      copyId: "copy",
      spec: smallSpec,
      directory,
      arriving: false,
    });
    machines.push(machine);
    return machine;
  };
  const [ran, fresh] = [await build(), await build()];
  await ran.run();
  ran.detach();
  fresh.detach();
  const { pid, startedAt } = fresh.reference;
  while (isAlive(pid, startedAt)) await sleep(20);
  assert.equal(await hypervisor.adopt(fresh.reference), null);
  const found = await hypervisor.adopt(ran.reference);
  assert.equal(await found?.state(), "running");
  found?.detach();
});
