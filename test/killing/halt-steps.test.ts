// The seam itself: a process stands still where it is told to, and nowhere else.
import assert from "node:assert/strict";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { obeyHalts } from "../../agents/adapters/halt-steps.ts";
import { durable, haltAtSteps } from "../../agents/durable-step.ts";
import { haltsFrom } from "../../functions/runtime/halt-steps.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

/** The test's own thread stands still: another one lets it go. */
function letGo(halted: string): Worker {
  const source = `const fs = require("node:fs"); const { workerData } = require("node:worker_threads");
    setInterval(() => { if (fs.existsSync(workerData)) { fs.rmSync(workerData); process.exit(0); } }, 5);`;
  return new Worker(source, { eval: true, workerData: halted });
}

describe("the seam for halting at a durable step", () => {
  afterEach(() => haltAtSteps(() => {}));

  test("unset, it is not there", () => {
    obeyHalts({});
    assert.equal(
      durable("journal:over", () => 7),
      7,
    );
    assert.equal(haltsFrom({}), undefined);
  });

  test("a value that is no folder is refused by name", () => {
    for (const folder of ["", "relative", "/nowhere/at/all"]) {
      assert.throws(() => obeyHalts({ DROVER_HALT_STEPS: folder }), /DROVER_HALT_STEPS is a seam for tests/);
      assert.throws(() => haltsFrom({ DROVER_HALT_STEPS: folder }), /DROVER_HALT_STEPS is a seam for tests/);
    }
  });

  test("an agent's process halts at the armed step and moment alone, once", async () => {
    const folder = await temporaryFolder();
    obeyHalts({ DROVER_HALT_STEPS: folder.path });
    const done: string[] = [];
    const armed = join(folder.path, "armed");
    writeFileSync(armed, "after journal:over");
    await durable("journal:begun", async () => done.push("begun"));
    assert.ok(existsSync(armed), "another step passes it by");
    const helper = letGo(join(folder.path, `halted-${process.pid}`));
    await durable("journal:over", async () => done.push("over"));
    await new Promise((resolve) => helper.once("exit", resolve));
    assert.deepEqual(done, ["begun", "over"]);
    assert.deepEqual(readdirSync(folder.path), [], "it halted, was let go, and would not halt again");
    await folder.remove();
  });

  test("before a step nothing of it is done yet, and what fails has no after", async () => {
    const folder = await temporaryFolder();
    const moments: string[] = [];
    haltAtSteps((step, moment) => moments.push(`${moment} ${step}`));
    await assert.rejects(
      durable("memo:built", () => Promise.reject(new Error("full"))),
      /full/,
    );
    assert.deepEqual(moments, ["before memo:built"]);
    await folder.remove();
  });

  test("the control plane halts likewise", async () => {
    const folder = await temporaryFolder();
    const atStep = haltsFrom({ DROVER_HALT_STEPS: folder.path });
    writeFileSync(join(folder.path, "armed"), "before table:claim");
    atStep?.("table:claim", "after");
    const helper = letGo(join(folder.path, `halted-${process.pid}`));
    atStep?.("table:claim", "before");
    await new Promise((resolve) => helper.once("exit", resolve));
    assert.deepEqual(readdirSync(folder.path), []);
    await folder.remove();
  });
});
