import assert from "node:assert/strict";
import { test } from "node:test";
import { spreadOf } from "../../bench/statistics.ts";

test("a spread of one value is that value", () => {
  assert.deepEqual(spreadOf([7]), { count: 1, median: 7, p10: 7, p90: 7, least: 7, most: 7 });
});

test("quantiles between neighbours are taken in proportion, whatever the order given", () => {
  const { median, p10, p90, least, most } = spreadOf([40, 10, 30, 20]);
  assert.deepEqual([least, median, most], [10, 25, 40]);
  assert.ok(Math.abs(p10 - 13) < 1e-9 && Math.abs(p90 - 37) < 1e-9);
});

test("a spread of nothing is refused", () => {
  assert.throws(() => spreadOf([]));
});
