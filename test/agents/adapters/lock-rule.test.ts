// Who may take a lock file, every case: what is found, who asks, under which token, in which manner.
import assert from "node:assert/strict";
import { test } from "node:test";
import { stampFor } from "../../../agents/adapters/lock-rule.ts";

const free = { copyId: "copy_A", fencingToken: 7, next: null };
const permitting = { ...free, next: { copyId: "copy_B" } };
const none = null;
const taken = (copyId: string, fencingToken: number, next: { copyId: string } | null = null) => ({
  copyId,
  fencingToken,
  next,
});

for (const [rule, found, copyId, token, manner, expected] of [
  ["L1: nobody under a lower token, another", free, "copy_B", 6, "usual", none],
  ["L1: nobody under a lower token, its own", free, "copy_A", 6, "usual", none],
  ["L1: nobody under a lower token, the next", permitting, "copy_B", 6, "usual", none],
  ["L1: nor its own, where it may take no other", free, "copy_A", 6, "own-only", none],
  ["L2: anybody where there is none", null, "copy_B", 1, "usual", taken("copy_B", 1)],
  ["L2: not another under the same token", free, "copy_B", 7, "usual", none],
  ["L2: the next under the same token", permitting, "copy_B", 7, "usual", taken("copy_B", 7)],
  ["L2: not a third under the same token", permitting, "copy_C", 7, "usual", none],
  ["L2: a higher token takes it over", free, "copy_B", 8, "usual", taken("copy_B", 8)],
  ["L2: a higher token takes it over, and permits nobody", permitting, "copy_A", 8, "usual", taken("copy_A", 8)],
  [
    "L3: its own again keeps the permission",
    permitting,
    "copy_A",
    7,
    "usual",
    taken("copy_A", 7, { copyId: "copy_B" }),
  ],
  ["L3: its own again, which gave none", free, "copy_A", 7, "usual", taken("copy_A", 7)],
  ["L4: its own, under the same token", permitting, "copy_A", 7, "own-only", taken("copy_A", 7, { copyId: "copy_B" })],
  ["L4: its own, under a higher one", free, "copy_A", 8, "own-only", taken("copy_A", 8)],
  ["L4: not another's under a higher token", free, "copy_B", 8, "own-only", none],
  ["L4: not as the next one", permitting, "copy_B", 7, "own-only", none],
  ["L4: not where there is none", null, "copy_A", 8, "own-only", none],
] as const) {
  test(`${rule}: ${expected ? "taken" : "refused"}`, () => {
    assert.deepEqual(stampFor(found, copyId, token, manner), expected);
    if (manner === "usual") assert.deepEqual(stampFor(found, copyId, token), expected, "the usual manner goes unsaid");
  });
}
