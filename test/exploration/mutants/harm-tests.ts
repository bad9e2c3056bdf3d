import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { caught, hunt, type Mutant } from "./mutant.ts";

/** One test for each, whose end is seen before the next one begins. */
export function testThatHarmIsFound(mutants: readonly Mutant[]): void {
  for (const mutant of mutants) {
    test(`${mutant.name}: without rule ${mutant.rule}, harm is found`, async () => {
      await setImmediate();
      const exploration = hunt(mutant);
      assert.ok(caught(exploration), `the mutant got away: ${exploration.states} states without harm`);
    });
  }
}
