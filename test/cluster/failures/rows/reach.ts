// Rows 5 to 11: the control plane, the network or the doorbells fail one or both hosts.
import assert from "node:assert/strict";
import type { Stage, TablePhase } from "../../../support/stage.ts";
import { type Cell, endsAs, moves, movesAgain, type Row, stays } from "../cells.ts";

const awayMs = 20_000;

type Expected = Parameters<typeof endsAs>[1] | "as whoever was first decided";

async function endsAsExpected(stage: Stage, expected: Expected): Promise<void> {
  if (expected !== "as whoever was first decided") return endsAs(stage, expected);
  const { verdict } = await stage.cluster.ended(stage.id, 120_000);
  await endsAs(stage, verdict === "committed" ? moves : stays);
}

/** The migration goes on, whatever is away; while `away` the guest executes where it is said to. */
function goesOn(
  so: string,
  harm: (stage: Stage) => void,
  mend: (stage: Stage) => void,
  meanwhile: string[] | null,
  outcome: Expected,
): Cell {
  return {
    so,
    play: async (stage) => {
      harm(stage);
      await stage.release();
      await stage.pass(awayMs);
      if (meanwhile) assert.deepEqual(stage.executing(), meanwhile, "while it is away");
      mend(stage);
      await endsAsExpected(stage, outcome);
      await movesAgain(stage);
    },
  };
}

const cutOff = (...sides: ("source" | "destination")[]) => ({
  harm: (stage: Stage) => {
    for (const side of sides) stage.host(stage[side]).isCutOff = true;
  },
  mend: (stage: Stage) => {
    for (const side of sides) stage.host(stage[side]).isCutOff = false;
  },
});
const source = cutOff("source");
const destination = cutOff("destination");
const both = cutOff("source", "destination");
const net = {
  harm: (stage: Stage) => stage.cutNetwork(),
  mend: (stage: Stage) => stage.mendNetwork(),
};
const all = {
  harm: (stage: Stage) => {
    both.harm(stage);
    net.harm(stage);
  },
  mend: (stage: Stage) => {
    net.mend(stage);
    both.mend(stage);
  },
};

const runsOn = (reach: typeof net): Cell =>
  goesOn("no entry to the gate: the guest runs on, and moves afterwards", reach.harm, reach.mend, ["host-a"], moves);

export const sourceCutOff: Row<TablePhase> = {
  failure: "the control plane is out of the source's reach",
  cells: {
    setup: runsOn(source),
    precopy: runsOn(source),
    gate: goesOn("the destination commits, and tells the source", source.harm, source.mend, ["host-b"], moves),
    past: goesOn("the destination commits, and tells the source", source.harm, source.mend, ["host-b"], moves),
    loaded: goesOn("the destination commits, and tells the source", source.harm, source.mend, ["host-b"], moves),
    committed: goesOn("the source stays stopped", source.harm, source.mend, ["host-b"], moves),
    running: goesOn("the source stays stopped; its copy goes in the end", source.harm, source.mend, ["host-b"], moves),
  },
};

/** Its commit is applied, and it never hears so: it is cut off in that instant. */
function unheardCommit(
  so: string,
  reach: typeof net,
  meanwhile: string[],
  outcome: Parameters<typeof endsAs>[1],
): Cell {
  return {
    so,
    play: async (stage) => {
      await stage.pass(100);
      assert.equal((await stage.migration()).verdict, "committed");
      await stage.pass(awayMs);
      assert.deepEqual(stage.executing(), meanwhile, "while it is away");
      reach.mend(stage);
      await endsAs(stage, outcome);
      await movesAgain(stage);
    },
    options: { onCommit: reach.harm },
  };
}

export const destinationCutOff: Row<TablePhase> = {
  failure: "the control plane is out of the destination's reach",
  cells: {
    setup: runsOn(destination),
    precopy: runsOn(destination),
    gate: goesOn("the source's abort wins; it goes on", destination.harm, destination.mend, ["host-a"], stays),
    past: goesOn("the source's abort wins; it goes on", destination.harm, destination.mend, ["host-a"], stays),
    loaded: goesOn(
      "the commit under way lands; the source relays it",
      destination.harm,
      destination.mend,
      ["host-b"],
      moves,
    ),
    committed: unheardCommit(
      "the source relays the record, and the guest goes on there",
      destination,
      ["host-b"],
      moves,
    ),
    running: goesOn("the guest runs on; confirmed afterwards", destination.harm, destination.mend, ["host-b"], moves),
  },
};

export const bothCutOff: Row<TablePhase> = {
  failure: "the control plane is out of both hosts' reach",
  cells: {
    setup: runsOn(both),
    precopy: runsOn(both),
    gate: goesOn(
      "a commit was tried: the guest stands until one is back",
      both.harm,
      both.mend,
      [],
      "as whoever was first decided",
    ),
    past: {
      so: "no commit was sent: on the destination's word the source goes on by itself",
      play: async (stage) => {
        both.harm(stage);
        await stage.until(() => stage.executing()[0] === "host-a", "the word lets the source resume");
        await stage.pass(awayMs);
        both.mend(stage);
        await endsAs(stage, stays);
        await movesAgain(stage);
      },
    },
    loaded: goesOn(
      "the commit under way lands unheard: the guest stands until one is back",
      both.harm,
      both.mend,
      [],
      moves,
    ),
    committed: unheardCommit("the guest stands, without a deadline, and goes on there", both, [], moves),
    running: goesOn("the guest runs on; confirmed afterwards", both.harm, both.mend, ["host-b"], moves),
  },
};

const staysHere = (so: string): Cell => goesOn(so, net.harm, net.mend, ["host-a"], stays);
const movesAllTheSame = (so: string): Cell => goesOn(so, net.harm, net.mend, ["host-b"], moves);

export const networkCut: Row<TablePhase> = {
  failure: "the migration network is cut",
  cells: {
    setup: {
      so: "the attempt ends, the guest runs on",
      play: async (stage) => {
        stage.cutNetwork();
        await stage.pass(awayMs * 2); // A source tries to connect for half a minute.
        assert.deepEqual(stage.executing(), ["host-a"]);
        stage.mendNetwork();
        await endsAs(stage, { ...stays, reason: "peer-unreachable" });
        await movesAgain(stage);
      },
    },
    precopy: staysHere("the attempt ends, the guest runs on"),
    gate: staysHere("the source cancels and goes on"),
    past: {
      so: "the source aborts by the record and goes on",
      play: async (stage) => {
        stage.cutNetwork();
        await stage.until(() => stage.executing()[0] === "host-a");
        stage.mendNetwork();
        await endsAs(stage, stays);
        await movesAgain(stage);
      },
    },
    loaded: movesAllTheSame("the destination commits over the control plane"),
    committed: movesAllTheSame("no effect"),
    running: movesAllTheSame("no effect"),
  },
};

/** Whoever is first when all is back decides; until then nobody does. */
const standsUntilBack: Cell = {
  so: "the guest stands, without a deadline, until all is back; then one copy goes on",
  play: async (stage) => {
    all.harm(stage);
    await stage.release();
    await stage.pass(awayMs * 4);
    assert.deepEqual(stage.executing(), []);
    all.mend(stage);
    await endsAsExpected(stage, "as whoever was first decided");
    await movesAgain(stage);
  },
};

export const allCut: Row<TablePhase> = {
  failure: "the migration network is cut and the control plane out of both hosts' reach",
  cells: {
    setup: {
      so: "the guest runs on",
      play: async (stage) => {
        all.harm(stage);
        await stage.pass(awayMs * 2);
        assert.deepEqual(stage.executing(), ["host-a"]);
        all.mend(stage);
        await endsAs(stage, stays);
        await movesAgain(stage);
      },
    },
    precopy: goesOn("the guest runs on", all.harm, all.mend, ["host-a"], stays),
    gate: goesOn("the source goes on by itself", all.harm, all.mend, ["host-a"], stays),
    past: {
      so: "no word and no record: the guest stands, without a deadline, until all is back",
      play: async (stage) => {
        all.harm(stage);
        await stage.pass(awayMs * 4);
        assert.deepEqual(stage.executing(), []);
        all.mend(stage);
        await endsAs(stage, stays);
        await movesAgain(stage);
      },
    },
    loaded: standsUntilBack,
    committed: unheardCommit("the guest stands, without a deadline, and goes on there", all, [], moves),
    running: goesOn("the guest runs on; confirmed afterwards", all.harm, all.mend, ["host-b"], moves),
  },
};

const isRestarted = (outcome: Expected = moves): Cell => ({
  so: "another life of it goes on from the table, and one copy of the guest goes on",
  play: async (stage) => {
    stage.cluster.isControlPlaneAway = true;
    await stage.pass(300);
    await stage.cluster.startControlPlane();
    stage.cluster.isControlPlaneAway = false;
    await stage.release();
    await endsAsExpected(stage, outcome);
    await movesAgain(stage);
  },
});

export const functionsDown: Row<TablePhase> = {
  failure: "the control plane's process dies, the table stays",
  cells: {
    setup: isRestarted(),
    precopy: isRestarted(),
    gate: isRestarted(),
    // With no record to be had, the destination's word may let the source go on.
    past: isRestarted("as whoever was first decided"),
    loaded: isRestarted(),
    committed: isRestarted(),
    running: isRestarted(),
  },
};

const ringsAre = (bells: Stage["bells"]): Cell => ({
  so: "no effect but time: at most a heartbeat for each",
  play: async (stage) => {
    stage.bells = bells;
    const beganMs = stage.scheduler.nowMs();
    await stage.release();
    await endsAs(stage, moves);
    assert.ok(stage.scheduler.nowMs() - beganMs < 40_000, "a few heartbeats of ten seconds");
    await movesAgain(stage);
    await stage.pass(60_000);
    assert.deepEqual(stage.executing(), ["host-a"], "a ring of long ago moves nothing");
  },
});

const ringRow = (failure: string, bells: Stage["bells"]): Row<TablePhase> => ({
  failure,
  cells: {
    setup: ringsAre(bells),
    precopy: ringsAre(bells),
    gate: ringsAre(bells),
    past: ringsAre(bells),
    loaded: ringsAre(bells),
    committed: ringsAre(bells),
    running: ringsAre(bells),
  },
});
export const bellsLost = ringRow("every doorbell is lost", "lost");
export const bellsStormy = ringRow("every doorbell rings many times, late and out of order", "stormy");
