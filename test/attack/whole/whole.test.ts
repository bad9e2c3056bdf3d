// Whole hosts behind a fault proxy: one attack of each sort, another each day. `npm run attack -- --only whole` has more.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { ways } from "../strikes.ts";
import { record, type Sort, sortsOf } from "./strikes.ts";
import { WholeAttack } from "./whole-attack.ts";

const dayMs = 86_400_000;
const skip = existsSync("/proc/self/environ") ? false : "processes are found through /proc";
/** Those that end within a few seconds; what falls silent takes the time that it is given. */
const quick = ["one bit flipped", "cut", "reset", "500 ms late", "a line or record lost, doubled, swapped"];

describe("a live migration whose connections are attacked migrates or is aborted, and leaves nothing", { skip }, () => {
  let attack: WholeAttack;
  before(async () => {
    attack = await WholeAttack.start();
  });
  after(() => attack?.stop());

  for (const connection of ["link", "stream"] as const)
    test(`the ${connection}`, async () => {
      const day = Math.floor(Date.now() / dayMs);
      const passed = await record(attack, connection);
      for (const [index, name] of quick.entries()) {
        const way = ways[(day + index) % 2] ?? "forth";
        const sort = sortsOf(passed[way], day, 3).find((one) => one.name === name) as Sort;
        const fault = sort.faults[day % sort.faults.length];
        if (!fault) continue;
        const ended = await attack.run({ connection, way, fault });
        if (sort.mustMigrate) assert.equal(ended.outcome, "migrated", `${name}, ${way}: ${ended.why}`);
      }
    });

  test("and the guest migrates as ever afterwards", async () => {
    await record(attack, "link");
  });
});
