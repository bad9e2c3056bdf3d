// v86 takes a state back with faults. Each repair is shown to be needed: without it the guest, or its state, is harmed.
// A new version of v86 that fails here, or that no longer needs a repair, must be looked at by hand.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { V86 } from "v86";
import { type RepairName, readClocks } from "../../../agents/adapters/embedded/device-state.ts";
import { v86Version } from "../../../agents/adapters/embedded/v86-build.ts";
import { moveOver, WatchedVm } from "./vm-bench.ts";

/** As guest/selftest.asm names them. */
const kind = { status: 2, round: 16, mxcsr: 32, flags: 128, clock: 512 };

async function running(): Promise<WatchedVm> {
  const guest = await WatchedVm.build({ dirtyMiBPerSecond: 2, workingSetMiB: 1 });
  await guest.vm.run();
  for (let lines = 0; lines < 4; lines++) await guest.line();
  return guest;
}

/** Moves a guest a few times with a repair left out, and gathers what it finds wrong. */
async function harmWithout(skipped: RepairName, moves = 6): Promise<number> {
  let guest = await running();
  for (let move = 0; move < moves; move++) {
    const next = await moveOver(guest, new Set([skipped]));
    await guest.vm.dispose();
    guest = next;
    await guest.vm.run();
    await guest.line();
    await guest.line();
  }
  const { kinds } = await guest.line();
  guest.vm.stop();
  await guest.vm.dispose();
  return kinds;
}

test("the repairs were made for this version of v86", () => {
  assert.match(v86Version(), /^0\.5\.462\b/);
});

test("with all repairs a guest moves over again and again and finds nothing wrong", async () => {
  let guest = await running();
  const bootId = guest.lines[0]?.bootId;
  for (let move = 0; move < 8; move++) {
    const next = await moveOver(guest);
    assert.equal(next.vm.memory().equals(guest.vm.memory()), true, "memory is equal at the switchover");
    await guest.vm.dispose();
    guest = next;
    await guest.vm.run();
    const line = await guest.line();
    assert.deepEqual({ errors: line.errors, kinds: line.kinds, bootId: line.bootId }, { errors: 0, kinds: 0, bootId });
  }
  guest.vm.stop();
  await guest.vm.dispose();
});

test("R1: without its repair, flags, the x87 status and mxcsr are lost", async () => {
  const kinds = await harmWithout("result-and-status");
  assert.ok((kinds & kind.mxcsr) !== 0 || (kinds & kind.status) !== 0 || (kinds & kind.flags) !== 0, `kinds ${kinds}`);
});

test("R1: a state saved again after a restore holds what was restored", async () => {
  const guest = await running();
  const arrived = await moveOver(guest, new Set(), (state) => {
    assert.equal(state.registers.mxcsr, 0x5f80, "the guest's own, not the default");
  });
  const { registers } = await guest.vm.saveDevices();
  assert.deepEqual((await arrived.vm.saveDevices()).registers, registers);
  const harmed = await moveOver(guest, new Set(["result-and-status"]));
  assert.notDeepEqual((await harmed.vm.saveDevices()).registers, registers);
  for (const { vm } of [guest, arrived, harmed]) await vm.dispose();
});

test("R2: without its repair, the guest computes with another rounding", async () => {
  assert.notEqual((await harmWithout("rounding", 1)) & kind.round, 0);
});

test("R3: the guest's clock goes on by the time that passed; without its repair the second restore makes it jump", async () => {
  const guest = await running();
  guest.vm.stop();
  const state = await guest.vm.saveDevices();
  // As if it came from a host that has been up for longer: within one process all clocks agree by chance.
  const before = { tsc: readClocks(state.packed, 16 * 2 ** 20).tsc + 10n ** 13n, atMs: state.clockMs };
  replace(
    state.packed,
    new BigUint64Array([readClocks(state.packed, 16 * 2 ** 20).tsc]),
    new BigUint64Array([before.tsc]),
  );
  for (const [skip, isRight] of [
    [new Set<RepairName>(), true],
    [new Set<RepairName>(["clock"]), false],
  ] as const) {
    const arrived = await WatchedVm.build();
    // A stream restores twice: once to rehearse while the guest runs on the source, once in earnest.
    for (let time = 0; time < 2; time++) {
      const elapsedMs = performance.now() - before.atMs;
      await arrived.vm.restoreDevices({ ...state, packed: state.packed.slice() }, elapsedMs, skip);
    }
    const { tsc } = readClocks((await arrived.vm.saveDevices()).packed, 16 * 2 ** 20);
    const advancedMs = Number(tsc - before.tsc) / 1e6;
    const passedMs = performance.now() - before.atMs;
    const detail = `advanced ${advancedMs} ms in ${passedMs} ms`;
    assert.equal(advancedMs >= 0 && advancedMs <= passedMs, isRight, detail);
    await arrived.vm.dispose();
  }
  await guest.vm.dispose();
});

test("R4: the timer goes on from where it was on another process's clock; without its repair it does not", async () => {
  const guest = await running();
  const otherClockMs = 1e7;
  for (const [skip, isRight] of [
    [new Set<RepairName>(), true],
    [new Set<RepairName>(["timer"]), false],
  ] as const) {
    let agesMs: number[] = [];
    const arrived = await moveOver(guest, skip, (state) => {
      const { startTimesMs } = readClocks(state.packed, 16 * 2 ** 20);
      agesMs = startTimesMs.map((startMs) => state.clockMs - startMs);
      // As if this had been saved by a process that has been up for hours.
      const shifted = startTimesMs.map((startMs) => startMs + otherClockMs);
      replace(state.packed, new Float64Array(startTimesMs), new Float64Array(shifted));
      state.clockMs += otherClockMs;
    });
    const again = await arrived.vm.saveDevices();
    const ageMs = again.clockMs - (readClocks(again.packed, 16 * 2 ** 20).startTimesMs[0] ?? 0);
    const before = agesMs[0] ?? 0;
    assert.equal(ageMs >= before && ageMs < before + otherClockMs / 2, isRight, `${ageMs} ms after ${before} ms`);
    await arrived.vm.dispose();
  }
  await guest.vm.dispose();
});

test("a machine without a primary disk cannot take a state back, so ours always has one", async () => {
  const path = join(dirname(createRequire(import.meta.url).resolve("v86")), "v86.wasm");
  const module = await WebAssembly.compile(readFileSync(path));
  const emulator = new V86({
    wasm_fn: async (imports) => (await WebAssembly.instantiate(module, imports)).exports,
    memory_size: 2 ** 20,
    vga_memory_size: 2 ** 18,
    autostart: false,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
  });
  await new Promise<void>((resolve) => emulator.add_listener("emulator-loaded", () => resolve()));
  const state = await emulator.save_state();
  await assert.rejects(emulator.restore_state(state));
  await emulator.destroy();
});

function replace(packed: Uint8Array<ArrayBuffer>, found: ArrayBufferView, wanted: ArrayBufferView): void {
  const at = Buffer.from(packed.buffer).indexOf(bytesOf(found));
  assert.ok(at >= 0);
  packed.set(bytesOf(wanted), at);
}

const bytesOf = (view: ArrayBufferView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
