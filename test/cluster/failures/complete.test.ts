// Every cell of the table has its test, or a reason why there is none; a row that nobody plays is seen.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { phases, tablePhases } from "../../support/stage.ts";
import type { Cell } from "./cells.ts";
import { rowModules } from "./rows/index.ts";

const here = new URL("./", import.meta.url);
const played = readdirSync(here)
  .filter((name) => name.endsWith(".test.ts") && name !== "complete.test.ts")
  .map((name) => readFileSync(new URL(name, here), "utf8"))
  .join("\n");

/** The rows as they must be, each with the phases it must answer. */
const wanted: { [row: string]: readonly string[] } = {
  sourceAgentDies: tablePhases,
  sourceHostDies: tablePhases,
  destinationAgentDies: tablePhases,
  destinationHostDies: tablePhases,
  sourceCutOff: tablePhases,
  destinationCutOff: tablePhases,
  bothCutOff: tablePhases,
  networkCut: tablePhases,
  allCut: tablePhases,
  functionsDown: tablePhases,
  bellsLost: tablePhases,
  bellsStormy: tablePhases,
  runRefused: tablePhases,
  wallClocksJump: tablePhases,
  sourceSuspended: tablePhases,
  destinationSuspended: tablePhases,
  sourceDiskFull: tablePhases,
  destinationDiskFull: tablePhases,
  userCancels: phases,
  userStops: phases,
  userDeletes: phases,
  userResets: phases,
  userPauses: phases,
  userResumes: phases,
  userCancelsPaused: phases,
  guestPowersOff: phases,
  guestCrashes: phases,
  sourceGuestKilled: phases,
  destinationGuestKilled: phases,
};

const rows: { [name: string]: { failure: string; cells: { [phase: string]: Cell } } } = Object.assign(
  {},
  ...rowModules,
);

for (const [name, wantedPhases] of Object.entries(wanted)) {
  test(`every phase of "${rows[name]?.failure ?? name}" is tested, or excused with its reason`, () => {
    const row = rows[name];
    assert.ok(row, `no row ${name}`);
    assert.match(played, new RegExp(`\\b${name}\\b`), "no test file plays it");
    assert.deepEqual(Object.keys(row.cells).toSorted(), [...wantedPhases].toSorted());
    for (const [phase, cell] of Object.entries(row.cells)) {
      if ("excused" in cell) assert.ok(cell.excused.length > 15, `${name} × ${phase}`);
      else assert.ok(cell.so.length > 5 && typeof cell.play === "function", `${name} × ${phase}`);
    }
  });
}

test("no row is written that is not asked for or played", () => {
  for (const [name, { failure }] of Object.entries(rows)) {
    assert.ok(name in wanted || name === "cancelLoses", `${name} (${failure}) is not in the list`);
    assert.match(played, new RegExp(`\\b${name}\\b`), `${name} is not played`);
  }
});
