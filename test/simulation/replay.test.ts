import assert from "node:assert/strict";
import { test } from "node:test";
import { playScenario } from "./scenario.ts";
import { mustHold } from "./scenarios.ts";

test("one seed gives one history, to the last bit: 100 seeds played twice", async () => {
  const digests = new Set<string>();
  for (let seed = 1; seed <= 100; seed++) {
    const [first, again] = [
      await playScenario({ seed, troubleMs: 10_000, keeping: "hash" }),
      await playScenario({ seed, troubleMs: 10_000, keeping: "hash" }),
    ];
    mustHold(first);
    assert.equal(again.digest, first.digest, `seed ${seed}`);
    assert.equal(again.steps, first.steps, `seed ${seed}`);
    digests.add(first.digest);
  }
  assert.equal(digests.size, 100, "another seed, another history");
});

test("what is kept of a history changes nothing in it", async () => {
  const [kept, none] = [await playScenario({ seed: 7, keeping: "kept" }), await playScenario({ seed: 7 })];
  assert.ok(kept.lines.length > 50);
  assert.equal(none.steps, kept.steps);
});
