// Device states whose structure lies: every slot in turn holds what it should not.
import assert from "node:assert/strict";
import { openState } from "../../agents/adapters/embedded/packed-state.ts";
import { WatchedVm } from "../agents/embedded/vm-bench.ts";
import { seededRandom } from "../support/seeded-random.ts";
import type { Fuzz } from "./fuzz.ts";
import { readDescription, withDescription } from "./packed-description.ts";

type Random = () => number;
const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;

/** What may stand where a number, a list or an array over a buffer is expected. */
export function hostileValue(random: Random): unknown {
  return pick<unknown>(random, [
    null,
    true,
    -1,
    0.5,
    2 ** 31,
    2 ** 32 - 1,
    2 ** 53,
    1e308,
    "",
    "x".repeat(5000),
    [],
    Array.from({ length: 5000 }, () => 0),
    {},
    { __state_type__: "Uint8Array", buffer_id: Math.floor(random() * 70) },
    { __state_type__: "Float64Array", buffer_id: Math.floor(random() * 70) },
    { __state_type__: "Int32Array", buffer_id: 10_000 },
    { __state_type__: "BigInt64Array", buffer_id: 0 },
    { __state_type__: "Uint8Array", buffer_id: 0, length: 4e9 },
    { length: 4e9 },
    { ["__proto__"]: { length: 4e9 } },
    // biome-ignore lint/suspicious/noThenProperty: what a hostile object may well have
    { then: 1, toString: 1, valueOf: 1 },
  ]);
}

/** Somewhere in the tree, the deeper the likelier. */
function spoil(random: Random, tree: unknown[]): void {
  let list = tree;
  for (;;) {
    const at = Math.floor(random() * list.length);
    const here = list[at];
    if (Array.isArray(here) && here.length > 0 && random() < 0.8) {
      list = here;
      continue;
    }
    if (random() < 0.1) list.length = at;
    else list[at] = hostileValue(random);
    return;
  }
}

/** What our reader lets through names no bytes but its own, each once. */
export const fuzzDescriptions: Fuzz = async (times, seed) => {
  const machine = await WatchedVm.build();
  const { packed } = await machine.vm.saveDevices();
  const random = seededRandom(seed);
  const whole = readDescription(packed);
  const text = JSON.stringify(whole);
  let opened = 0;
  for (let time = 0; time < times; time++) {
    const description = JSON.parse(text) as typeof whole;
    if (random() < 0.5) spoil(random, description.state);
    else {
      const entry = pick(random, description.buffer_infos) as { [name: string]: unknown };
      entry[pick(random, ["offset", "length"])] =
        random() < 0.5 ? hostileValue(random) : Math.floor(random() * 1e6) - 1000;
    }
    // The buffers' bytes do not matter to the reader: only how many there are does.
    const lying = withDescription(packed, description, false);
    try {
      const { buffers } = openState(lying);
      opened++;
      let free = 0;
      for (const { at, length } of buffers) {
        assert.ok(at >= free && at + length <= lying.length, "buffers over each other, or beyond the end");
        free = at + length;
      }
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
    }
  }
  assert.ok(opened < times, "some are refused");
  await machine.vm.dispose();
};

/** The machine takes such a state or refuses it, soon, and within its memory. */
export const fuzzSlots: Fuzz = async (times, seed) => {
  const machine = await WatchedVm.build();
  const state = await machine.vm.saveDevices();
  const random = seededRandom(seed);
  const text = JSON.stringify(readDescription(state.packed));
  for (let time = 0; time < times; time++) {
    const description = JSON.parse(text) as ReturnType<typeof readDescription>;
    spoil(random, description.state);
    const began = performance.now();
    const lying = withDescription(state.packed, description);
    await machine.vm.restoreDevices({ ...state, packed: lying }, 0).catch(() => undefined);
    const tookMs = performance.now() - began;
    assert.ok(tookMs < 5000, `a state took ${tookMs} ms`);
    assert.equal(machine.vm.memory().length, machine.vm.memoryBytes);
  }
  await machine.vm.dispose();
};
