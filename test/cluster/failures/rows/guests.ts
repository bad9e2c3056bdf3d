// The guest itself ends: it powers itself off, crashes, or its process is taken from it.
import assert from "node:assert/strict";
import type { Stage } from "../../../support/stage.ts";
import { type Cell, endsAs, moves, movesAgain, type Row, stays } from "../cells.ts";

const stands: Cell = { excused: "the guest stands still from the gate until it runs somewhere: it can end nothing" };

/** Its end ends the migration, for that reason. */
const endsAtSource = (how: "powered-off" | "crashed"): Cell => ({
  so: "the migration ends for that reason, and the guest stays ended",
  play: async (stage) => {
    stage.guest(stage.source).endGuest(how, "");
    if (stage.phase !== "queued" && stage.phase !== "unclaimed") await stage.pass(2000);
    await stage.release();
    await endsAs(stage, { verdict: "aborted", on: null, runState: "stopped", reason: "guest-ended" });
    assert.equal((await stage.vm()).stoppedBecause, how);
  },
});

const endsAtDestination = (how: "powered-off" | "crashed"): Cell => ({
  so: "the migration has moved it, and it stays ended there",
  play: async (stage) => {
    stage.guest(stage.destination).endGuest(how, "");
    await stage.release();
    await endsAs(stage, { verdict: "committed", on: null, runState: "stopped" });
    assert.deepEqual(stage.executing(), [], "the source's copy is never resumed");
  },
});

const ends = (how: "powered-off" | "crashed"): Row["cells"] => ({
  queued: endsAtSource(how),
  unclaimed: endsAtSource(how),
  setup: endsAtSource(how),
  precopy: endsAtSource(how),
  gate: stands,
  past: stands,
  loaded: stands,
  committed: stands,
  running: endsAtDestination(how),
  confirmed: endsAtDestination(how),
  over: endsAtDestination(how),
});

export const guestPowersOff: Row = { failure: "the guest powers itself off", cells: ends("powered-off") };
export const guestCrashes: Row = { failure: "the guest crashes", cells: ends("crashed") };

const lostWithSource: Cell = {
  so: "the guest is lost by name: its only complete copy is gone",
  play: async (stage) => {
    stage.guest(stage.source).vanish("killed", "killed");
    await stage.pass(1000);
    await stage.release();
    await endsAs(stage, { verdict: "aborted", on: null, runState: "guest-lost" });
  },
};

const sourceNotNeeded: Cell = {
  so: "nothing is lost: the destination has all of it",
  play: async (stage) => {
    stage.guest(stage.source).vanish("killed", "killed");
    await stage.release();
    await endsAs(stage, moves);
    await movesAgain(stage);
  },
};

export const sourceGuestKilled: Row = {
  failure: "the source's guest process is killed",
  cells: {
    queued: lostWithSource,
    unclaimed: lostWithSource,
    setup: lostWithSource,
    precopy: lostWithSource,
    gate: lostWithSource,
    past: lostWithSource,
    loaded: sourceNotNeeded,
    committed: sourceNotNeeded,
    running: sourceNotNeeded,
    confirmed: { excused: "its copy is ended by then" },
    over: { excused: "its copy is ended by then" },
  },
};

const destinationReplaceable: Cell = {
  so: "the guest goes on at the source, nothing lost",
  play: async (stage: Stage) => {
    stage.guest(stage.destination).vanish("killed", "killed");
    await stage.until(() => stage.phase === "gate" || stage.executing()[0] === "host-a");
    await stage.release();
    await endsAs(stage, stays);
    await movesAgain(stage);
  },
};

const lostWithDestination: Cell = {
  so: "its owner's process is gone: lost by name, the source's copy never resumed",
  play: async (stage) => {
    stage.guest(stage.destination).vanish("killed", "killed");
    await stage.pass(1000);
    await stage.release();
    await endsAs(stage, { verdict: "committed", on: null, runState: "guest-lost" });
  },
};

export const destinationGuestKilled: Row = {
  failure: "the destination's guest process is killed",
  cells: {
    queued: { excused: "there is none yet" },
    unclaimed: { excused: "there is none yet" },
    setup: destinationReplaceable,
    precopy: destinationReplaceable,
    gate: destinationReplaceable,
    past: destinationReplaceable,
    loaded: destinationReplaceable,
    committed: lostWithDestination,
    running: lostWithDestination,
    confirmed: lostWithDestination,
    over: lostWithDestination,
  },
};
