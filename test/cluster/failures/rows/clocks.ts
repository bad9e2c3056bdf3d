// Rows 13 and 14: the destination cannot run the guest; clocks jump, processes stand still.
import assert from "node:assert/strict";
import type { Stage, TablePhase } from "../../../support/stage.ts";
import { type Cell, endsAs, moves, movesAgain, type Row, stays } from "../cells.ts";

const nothingToRun = { excused: "the destination is not asked to run the guest before the commit" };
const itRuns = { excused: "the guest executes there already" };

export const runRefused: Row<TablePhase> = {
  failure: "the destination cannot run the guest (lock file or devices)",
  cells: {
    setup: nothingToRun,
    precopy: nothingToRun,
    gate: nothingToRun,
    past: nothingToRun,
    loaded: nothingToRun,
    committed: {
      so: "given back: the source goes on, nothing lost",
      play: async (stage) => {
        for (let index = 0; index < 10; index += 1) {
          stage.host(stage.destination).simulated.expectFault({ kind: "run-refused", detail: "no such device" });
        }
        await stage.release();
        await endsAs(stage, { verdict: "returned", on: "host-a", reason: "run-refused" });
        await movesAgain(stage);
      },
    },
    running: itRuns,
  },
};

const tenYearsMs = 10 * 365 * 86_400_000;
const clockJumps: Cell = {
  so: "no effect: hosts count no time of day",
  play: async (stage) => {
    stage.clockOffsets[stage.source] = tenYearsMs;
    stage.clockOffsets[stage.destination] = -tenYearsMs;
    await stage.release();
    await endsAs(stage, moves);
    await movesAgain(stage);
    assert.deepEqual((await stage.vm()).alarms, []);
  },
};

export const wallClocksJump: Row<TablePhase> = {
  failure: "the hosts' wall clocks jump ten years, apart",
  cells: {
    setup: clockJumps,
    precopy: clockJumps,
    gate: clockJumps,
    past: clockJumps,
    loaded: clockJumps,
    committed: clockJumps,
    running: clockJumps,
  },
};

/** Agent and supervisors of one side stand for a minute; then the guest executes once, wherever it was decided. */
const standsStill = (side: "source" | "destination"): Cell => ({
  so: "one copy of the guest, wherever it was decided, and nothing lost",
  play: async (stage: Stage) => {
    stage.suspend(stage[side], 60_000);
    await stage.release();
    await stage.pass(61_000);
    const { verdict } = await stage.cluster.ended(stage.id, 120_000);
    await endsAs(stage, verdict === "committed" ? moves : { ...stays, verdict });
    await movesAgain(stage);
  },
});

const suspendRow = (failure: string, side: "source" | "destination"): Row<TablePhase> => ({
  failure,
  cells: {
    setup: standsStill(side),
    precopy: standsStill(side),
    gate: standsStill(side),
    past: standsStill(side),
    loaded: standsStill(side),
    committed: standsStill(side),
    running: standsStill(side),
  },
});
export const sourceSuspended = suspendRow("the source's processes stand still for 60 s", "source");
export const destinationSuspended = suspendRow("the destination's processes stand still for 60 s", "destination");
