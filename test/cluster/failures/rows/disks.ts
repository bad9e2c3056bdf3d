// A host's disk takes no more writes (full, or EIO): neither its journal nor its gate can be written for a while.
import assert from "node:assert/strict";
import type { Stage, TablePhase } from "../../../support/stage.ts";
import { type Cell, endsAs, moves, movesAgain, type Row, stays } from "../cells.ts";

const takesNothing = (side: "source" | "destination"): Cell => ({
  so: "nothing is acted on that could not be written; one copy goes on, nothing lost",
  play: async (stage: Stage) => {
    const host = stage.host(stage[side]);
    host.disk.failing = true;
    host.gate.failing = true;
    await stage.release();
    await stage.pass(20_000);
    assert.ok(stage.executing().length <= 1);
    host.disk.failing = false;
    host.gate.failing = false;
    const { verdict } = await stage.cluster.ended(stage.id, 120_000);
    // Until its next heartbeat the host is given no migration; it tells by itself that it writes again.
    const path = stage.cluster.path(`hosts/${stage[side]}`);
    await stage.cluster.until(async () => {
      const { alarms } = await stage.cluster.call<{ alarms: unknown[] }>("GET", path);
      return alarms.length === 0;
    }, 60_000);
    await endsAs(stage, verdict === "committed" ? moves : { ...stays, verdict });
    await movesAgain(stage);
  },
});

const diskRow = (failure: string, side: "source" | "destination"): Row<TablePhase> => ({
  failure,
  cells: {
    setup: takesNothing(side),
    precopy: takesNothing(side),
    gate: takesNothing(side),
    past: takesNothing(side),
    loaded: takesNothing(side),
    committed: takesNothing(side),
    running: takesNothing(side),
  },
});
export const sourceDiskFull = diskRow("the source's disk takes no writes", "source");
export const destinationDiskFull = diskRow("the destination's disk takes no writes", "destination");
