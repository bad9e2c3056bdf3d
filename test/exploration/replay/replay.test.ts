import assert from "node:assert/strict";
import { test } from "node:test";
import { replayMany } from "./replays.ts";

const stages = {
  source: "linking copying holding deciding in-doubt copyless releasing aborting resuming ending reporting",
  destination:
    "preparing loading settling intending committing starting confirming refused returning discarding aborting relinquishing relinquished reporting",
};

const count = Number(process.env["DROVER_TRACES"] ?? 1000);

test("what the runners of both roles do is what the machines of the exploration ordered, on every trace", async () => {
  const { traces, divergences, seen } = await replayMany(count);
  assert.deepEqual(divergences, []);
  assert.equal(traces, count);
  const reached = new Set([...seen.keys()].map((point) => point.split(" ").slice(0, 2).join(" ")));
  for (const [role, names] of Object.entries(stages)) {
    for (const name of names.split(" ")) assert.ok(reached.has(`${role} ${name}`), `no ${role} was ${name}`);
  }
  assert.ok(seen.size > 180, `only ${seen.size} pairs of a stage and what it was told`);
});
