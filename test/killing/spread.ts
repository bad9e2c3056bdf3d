// What of the matrix every run of the tests does: one cell of each family of steps, another one each day, so that all of
// them come round; and the headline.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, describe, test } from "node:test";
import { allCells, type Cell } from "./matrix.ts";
import { Worker } from "./worker.ts";

const dayMs = 86_400_000;
const skip = existsSync("/proc/self/environ") ? false : "processes are found through /proc";

/** @returns one cell of each family, by the day */
export function spreadOf(families: readonly string[], day = Math.floor(Date.now() / dayMs)): Cell[] {
  const cells = allCells();
  return families.map((family) => {
    const its = cells.filter(({ step }) => step.startsWith(`${family}:`));
    const cell = its[day % its.length];
    if (!cell) throw new Error(`no cell has a step of ${family}`);
    return cell;
  });
}

export function testSpread(families: readonly string[], headline: number): void {
  describe(`real processes, ended at durable steps of ${families.join(", ")}`, { skip }, () => {
    const worker = new Worker({ hypervisor: "embedded" });
    after(() => worker.close());
    for (const cell of spreadOf(families)) {
      test(`${cell.id}: one copy at most, nothing lost that need not be, nothing left behind`, async () => {
        const outcome = await worker.run({ kind: "cell", cell });
        if (outcome.kind === "failed") {
          assert.fail(`${outcome.why}\nagain: npm run kill-matrix -- --cells '^${cell.id}$'\n${outcome.logs}`);
        }
      });
    }
    test("the source host dies after the destination has loaded: the guest carries on, with no byte lost and no reboot", async () => {
      const outcome = await worker.run({ kind: "headline", number: headline });
      if (outcome.kind === "failed") assert.fail(`${outcome.why}\n${outcome.logs}`);
    });
  });
}
