import assert from "node:assert/strict";
import { test } from "node:test";
import { caught, hunt } from "./mutant.ts";
import { mutants } from "./mutants.ts";

for (const mutant of mutants) {
  test(`${mutant.name}: without rule ${mutant.rule}, harm is found`, () => {
    const exploration = hunt(mutant);
    assert.ok(caught(exploration), `the mutant got away: ${exploration.states} states without harm`);
  });
}

test("every mutant has a name of its own, and there are at least 25", () => {
  assert.equal(new Set(mutants.map(({ name }) => name)).size, mutants.length);
  assert.ok(mutants.length >= 25);
});
