// A guest that stands still past its gate is an alarm in the API, also where its first report of it was lost.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Stage } from "../support/stage.ts";

test("the alarm of a frozen guest is told until it was heard, and ends with the doubt", () =>
  new Stage("committed").run({}, async (stage) => {
    const source = stage.host(stage.source);
    stage.host(stage.destination).killAgent();
    source.isCutOff = true;
    await stage.pass(6000);
    assert.deepEqual(stage.executing(), [], "it stands still");
    source.isCutOff = false;
    await stage.until(async () => (await stage.vm()).alarms.some(({ code }) => code === "guest-frozen"), "it is told");
    await stage.release();
    await stage.host(stage.destination).startAgent();
    await stage.until(() => stage.executing()[0] === stage.destination);
    await stage.until(async () => (await stage.vm()).alarms.length === 0, "nothing is wrong any more");
  }));
