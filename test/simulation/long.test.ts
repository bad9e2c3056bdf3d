// Longer troubles than the drawn ones: what takes many faults to come about, such as a table that goes back again and
// again while its cluster recovers from the last time.
import assert from "node:assert/strict";
import { test } from "node:test";
import { playScenario } from "./scenario.ts";

const troubleMs = 600_000;
const seedsPerTest = 5;
/** The table went back twice within one restore epoch; it was restored while a host had just noticed. */
const found = [10_007, 42];

const groups = [
  found,
  ...Array.from({ length: 6 }, (_, g) => Array.from({ length: seedsPerTest }, (_, n) => g * seedsPerTest + n + 1)),
];
for (const seeds of groups) {
  test(`ten minutes of trouble, seeds ${seeds.join(", ")}`, async () => {
    for (const seed of seeds) {
      const { broken } = await playScenario({ seed, hosts: 3, troubleMs });
      assert.equal(broken, null, `npm run simulate -- --seed ${seed} --hosts 3 --hours ${troubleMs / 3_600_000}`);
    }
  });
}
