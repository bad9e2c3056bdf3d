import assert from "node:assert/strict";
import { test } from "node:test";
import { selftestImage } from "../../../agents/adapters/embedded/guest/selftest-image.ts";
import { WatchedVm } from "./vm-bench.ts";

const pageBytes = 4096;
const imageAt = 0x100000;
const variablesAt = 0x104000;

async function booted(changes: Parameters<typeof WatchedVm.build>[0] = {}): Promise<WatchedVm> {
  const guest = await WatchedVm.build(changes);
  await guest.vm.run();
  await guest.line();
  await guest.line();
  return guest;
}

test("a guest that is left alone keeps its heartbeat, its clock and its rate, and finds no error", async () => {
  const guest = await booted({ dirtyMiBPerSecond: 20 });
  const first = await guest.line();
  const later = await guest.line((line) => line.heartbeats >= first.heartbeats + 100);
  guest.vm.stop();
  assert.equal(later.errors, 0);
  assert.equal(later.bootId, first.bootId);
  const rate = (later.pagesWritten - first.pagesWritten) / 256 / ((later.uptimeMs - first.uptimeMs) / 1000);
  assert.ok(rate > 5 && rate < 25, `${rate} MiB/s`);
  await guest.vm.dispose();
});

test("it fills at least four fifths of its memory, and never writes into a page of code", async () => {
  const guest = await booted();
  guest.vm.stop();
  const memory = guest.vm.memory();
  const zeros = Buffer.alloc(pageBytes);
  let filled = 0;
  for (let at = 0; at < memory.length; at += pageBytes)
    if (memory.compare(zeros, 0, pageBytes, at, at + pageBytes) !== 0) filled++;
  assert.ok(filled / (memory.length / pageBytes) >= 0.8);
  const image = Buffer.alloc(variablesAt - imageAt);
  image.set(selftestImage());
  assert.equal(memory.compare(image, 0, image.length, imageAt, variablesAt), 0);
  await guest.vm.dispose();
});

test("building leaves nothing in memory but below 2 MiB, and clearing leaves nothing at all", async () => {
  const guest = await WatchedVm.build();
  guest.vm.clearMemory();
  assert.equal(Buffer.alloc(guest.vm.memoryBytes).equals(guest.vm.memory()), true);
  await guest.vm.dispose();
});

test("one flipped bit anywhere in its memory is found and counted", async () => {
  const guest = await booted({ dirtyMiBPerSecond: 0 });
  const memory = guest.vm.memory();
  const at = memory.length - 12_345;
  memory[at] = (memory[at] ?? 0) ^ 1;
  const found = await guest.line((line) => line.errors > 0);
  assert.deepEqual({ errors: found.errors, kinds: found.kinds }, { errors: 1, kinds: 1 });
  guest.vm.stop();
  await guest.vm.dispose();
});

test("its rate can be changed while it runs", async () => {
  const guest = await booted({ dirtyMiBPerSecond: 0 });
  const still = await guest.line();
  assert.equal(still.pagesWritten, 0);
  guest.vm.type("R8\n");
  await guest.line((line) => line.pagesWritten > 0);
  guest.vm.stop();
  await guest.vm.dispose();
});

test("two boots have two boot ids", async () => {
  const one = await booted();
  const other = await booted();
  assert.notEqual(one.lines[0]?.bootId, other.lines[0]?.bootId);
  for (const { vm } of [one, other]) {
    vm.stop();
    await vm.dispose();
  }
});

test("a guest that powers itself off is told from one that crashes", async () => {
  for (const [letter, how] of [
    ["P", "powered-off"],
    ["X", "crashed"],
  ] as const) {
    const guest = await booted();
    guest.vm.type(letter);
    while (guest.end === null) await guest.change();
    assert.equal(guest.end.how, how);
    await guest.vm.dispose();
  }
});

test("memory of any size in the schema's bounds is used, a power of two or not", async () => {
  const guest = await booted({ memoryMiB: 24, workingSetMiB: 12, dirtyMiBPerSecond: 50 });
  assert.equal((await guest.line((line) => line.pagesWritten > 1000)).errors, 0);
  guest.vm.stop();
  await guest.vm.dispose();
});
