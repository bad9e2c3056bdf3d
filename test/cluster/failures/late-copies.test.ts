// A migration there and back, and then everything of the first once more: every ring, every request of an agent that
// writes, every message between the agents. Nothing moves.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Stage } from "../../support/stage.ts";

test("I7, I9: after a migration there and back a late copy of every message of the first moves nothing", () =>
  new Stage("over").run({}, async (stage) => {
    const { cluster } = stage;
    const first = stage.recorded.splice(0);
    assert.ok(first.some(({ kind }) => kind === "destination-commits") && first.some(({ kind }) => kind === "peer"));
    const back = await cluster.ended((await cluster.request("vm-1", "host-a")).id, 120_000);
    assert.equal(back.verdict, "committed");
    await stage.nothingIsLeftBehind("host-a");
    const before = await seen(stage);
    for (let times = 0; times < 2; times += 1) {
      for (const { kind, again } of first) {
        const status = await again();
        assert.ok(status === null || status >= 400, `${kind} was taken a second time`);
      }
      await stage.pass(5000);
      first.reverse(); // And once in the other order.
    }
    assert.deepEqual(await seen(stage), before);
    assert.deepEqual(stage.executing(), ["host-a"]);
    assert.equal((await cluster.migration(stage.id)).verdict, "committed");
    const again = await cluster.ended((await cluster.request("vm-1", "host-b")).id, 120_000);
    assert.equal(again.phase, "completed");
  }));

test("the highest token of a VM is remembered over an agent's restart: an older duty moves nothing", () =>
  new Stage("over").run({}, async (stage) => {
    const host = stage.host(stage.source);
    await stage.pass(1000); // It is written a little later, in nobody's way.
    const { fencingToken } = await stage.vm();
    assert.equal(host.disk.tokens.get("vm-1"), fencingToken);
    host.killAgent();
    await host.startAgent();
    assert.equal(host.disk.tokens.get("vm-1"), fencingToken);
    await stage.pass(20_000);
    assert.deepEqual(stage.executing(), ["host-b"]);
    await stage.nothingIsLeftBehind("host-b");
  }));

async function seen(stage: Stage) {
  const { runState, wantedRunState, owner, fencingToken, migration } = await stage.vm();
  return { runState, wantedRunState, owner, fencingToken, migration, executing: stage.executing() };
}
