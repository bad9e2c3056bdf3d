import assert from "node:assert/strict";
import { test } from "node:test";
import { destinationMutants } from "./destination.ts";
import { testThatHarmIsFound } from "./harm-tests.ts";
import { lockMutants } from "./lock.ts";
import { mutants } from "./mutants.ts";
import { sourceMutants } from "./source.ts";
import { tableMutants } from "./table.ts";

testThatHarmIsFound([...sourceMutants, ...destinationMutants, ...tableMutants, ...lockMutants]);

test("every mutant has a name of its own, and there are at least 25", () => {
  assert.equal(new Set(mutants.map(({ name }) => name)).size, mutants.length);
  assert.ok(mutants.length >= 25);
});
