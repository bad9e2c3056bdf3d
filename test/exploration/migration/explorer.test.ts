import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "./explorer.ts";

test("without faults, every order of one migration's steps keeps one copy and comes to an end", () => {
  const result = explore({ faults: 0, asks: 1 }, 200_000);
  assert.equal(result.violation, null, JSON.stringify(result.violation));
  assert.ok(result.isExhausted, `more than ${result.states} states`);
  assert.equal(result.stuck, null, JSON.stringify(result.stuck));
  assert.ok(result.states > 2000, "the world has become too small to prove anything");
});

test("with any one fault, every order keeps one copy and comes to an end", () => {
  const result = explore({ faults: 1, asks: 1 }, 400_000);
  assert.equal(result.violation, null, JSON.stringify(result.violation));
  assert.ok(result.isExhausted, `more than ${result.states} states`);
  assert.equal(result.stuck, null, JSON.stringify(result.stuck));
});

test("with two faults, no order within the bound harms the guest", () => {
  const result = explore({ faults: 2, asks: 1 }, 120_000);
  assert.equal(result.violation, null, JSON.stringify(result.violation));
});
