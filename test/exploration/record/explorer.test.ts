import assert from "node:assert/strict";
import { test } from "node:test";
import { exploreRecord } from "./explorer.ts";

test("whatever hosts and users say, in any order, repeated and under any token, the record keeps its promises", () => {
  const exploration = exploreRecord();
  assert.deepEqual(exploration.harm, null);
  assert.ok(exploration.states > 500, `${exploration.states} states`);
  assert.deepEqual(exploration.stuck.slice(0, 1), [], "from every state the migration can end");
  for (const end of [
    "ended committed running",
    "ended committed stopped",
    "ended committed guest-lost",
    "ended aborted running",
    "ended aborted guest-lost",
    "ended returned running",
    "ended returned guest-lost",
  ]) {
    assert.ok(exploration.reached.has(end), `${end} was never reached`);
  }
});
