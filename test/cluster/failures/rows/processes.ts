// Rows 1 to 4: an agent or a whole host dies, and comes back.
import assert from "node:assert/strict";
import type { Stage, TablePhase } from "../../../support/stage.ts";
import { endsAs, moves, movesAgain, type Outcome, type Row, stays } from "../cells.ts";

/** It is started again, the migration ends so, and the VM is as good as new. */
async function agentComesBack(stage: Stage, hostId: string, outcome: Outcome): Promise<void> {
  await stage.host(hostId).startAgent();
  await endsAs(stage, outcome);
  await movesAgain(stage);
}

function hostComesBack(stage: Stage, hostId: string, outcome: Outcome): Promise<void> {
  stage.host(hostId).reboot();
  return agentComesBack(stage, hostId, outcome);
}

const sourceAgentIsBack = async (stage: Stage) => {
  stage.host(stage.source).killAgent();
  await stage.pass(3000);
  assert.deepEqual(stage.executing(), ["host-a"]);
  await agentComesBack(stage, stage.source, stays);
};

export const sourceAgentDies: Row<TablePhase> = {
  failure: "the source's agent dies, its guest lives",
  cells: {
    setup: { so: "the guest runs on; the agent ends the attempt when it is back", play: sourceAgentIsBack },
    precopy: { so: "the guest runs on; the agent ends the attempt when it is back", play: sourceAgentIsBack },
    gate: { so: "the supervisor takes the guest back without it, within two seconds", play: sourceAgentIsBack },
    past: {
      so: "the guest stands until somebody aborts by the record, then goes on at the source",
      play: async (stage) => {
        stage.host(stage.source).killAgent();
        await stage.pass(3000);
        assert.deepEqual(stage.executing(), [], "only the record speaks");
        await agentComesBack(stage, stage.source, stays);
      },
    },
    loaded: {
      so: "the destination commits without it",
      play: async (stage) => {
        stage.host(stage.source).killAgent();
        await stage.release();
        await stage.until(() => stage.executing()[0] === "host-b");
        await agentComesBack(stage, stage.source, moves);
      },
    },
    committed: {
      so: "the source never resumes; its copy goes once the destination has confirmed",
      play: async (stage) => {
        stage.host(stage.source).killAgent();
        await stage.pass(3000);
        assert.deepEqual(stage.executing(), []);
        await stage.host(stage.source).startAgent();
        await stage.pass(10_000);
        assert.deepEqual(stage.executing(), [], "the commit stands");
        await stage.release();
        await endsAs(stage, moves);
      },
    },
    running: {
      so: "no effect; its copy goes when it is back",
      play: async (stage) => {
        stage.host(stage.source).killAgent();
        await stage.release();
        await stage.pass(3000);
        await agentComesBack(stage, stage.source, moves);
      },
    },
  },
};

const guestIsLostWithSource = async (stage: Stage) => {
  stage.host(stage.source).losePower();
  await stage.pass(20_000);
  stage.host(stage.source).reboot();
  await stage.host(stage.source).startAgent();
  await endsAs(stage, { verdict: "aborted", on: null, runState: "guest-lost" });
};

export const sourceHostDies: Row<TablePhase> = {
  failure: "the source's host dies",
  cells: {
    setup: { so: "the guest is lost by name, the destination's copy is ended", play: guestIsLostWithSource },
    precopy: { so: "the guest is lost by name, the destination's copy is ended", play: guestIsLostWithSource },
    gate: { so: "the guest is lost by name, the destination's copy is ended", play: guestIsLostWithSource },
    past: { so: "the destination is incomplete: the guest is lost by name", play: guestIsLostWithSource },
    loaded: {
      so: "the destination commits: nothing is lost",
      play: async (stage) => {
        stage.host(stage.source).losePower();
        await stage.release();
        await stage.until(() => stage.executing()[0] === "host-b");
        await hostComesBack(stage, stage.source, moves);
      },
    },
    committed: {
      so: "the destination runs the guest",
      play: async (stage) => {
        stage.host(stage.source).losePower();
        await stage.release();
        await stage.until(() => stage.executing()[0] === "host-b");
        await hostComesBack(stage, stage.source, moves);
      },
    },
    running: {
      so: "no effect",
      play: async (stage) => {
        stage.host(stage.source).losePower();
        await stage.release();
        await hostComesBack(stage, stage.source, moves);
      },
    },
  },
};

const destinationAgentIsBack = async (stage: Stage) => {
  stage.host(stage.destination).killAgent();
  await stage.release();
  await stage.until(() => stage.executing()[0] === "host-a", "the source goes on without it");
  await stage.pass(10_000);
  await agentComesBack(stage, stage.destination, stays);
};

export const destinationAgentDies: Row<TablePhase> = {
  failure: "the destination's agent dies, its guest lives",
  cells: {
    setup: { so: "the guest runs on at the source; the orphan is ended", play: destinationAgentIsBack },
    precopy: { so: "the guest runs on at the source; the orphan is ended", play: destinationAgentIsBack },
    gate: { so: "the source cancels and goes on", play: destinationAgentIsBack },
    past: {
      so: "the source aborts by the record and goes on; the destination ends its copy when it is back",
      play: async (stage) => {
        stage.host(stage.destination).killAgent();
        await stage.until(() => stage.executing()[0] === "host-a", "the source aborts by the record");
        await agentComesBack(stage, stage.destination, stays);
      },
    },
    loaded: {
      so: "the source's abort wins and it goes on; the complete copy is ended when its agent is back",
      play: async (stage) => {
        stage.host(stage.destination).killAgent();
        await stage.until(() => stage.executing()[0] === "host-a");
        await agentComesBack(stage, stage.destination, stays);
      },
    },
    committed: {
      so: "the guest stands, whole, until its agent is back, and goes on there",
      play: async (stage) => {
        stage.host(stage.destination).killAgent();
        await stage.pass(30_000);
        assert.deepEqual(stage.executing(), [], "without a deadline");
        await stage.release();
        await agentComesBack(stage, stage.destination, moves);
      },
    },
    running: {
      so: "the guest runs on; its agent finds it when it is back",
      play: async (stage) => {
        stage.host(stage.destination).killAgent();
        await stage.pass(5000);
        assert.deepEqual(stage.executing(), ["host-b"]);
        await stage.release();
        await agentComesBack(stage, stage.destination, moves);
      },
    },
  },
};

const destinationHostIsBack = async (stage: Stage) => {
  stage.host(stage.destination).losePower();
  await stage.release();
  await stage.until(() => stage.executing()[0] === "host-a", "the source goes on without it");
  await hostComesBack(stage, stage.destination, stays);
};

export const destinationHostDies: Row<TablePhase> = {
  failure: "the destination's host dies",
  cells: {
    setup: { so: "the guest runs on at the source", play: destinationHostIsBack },
    precopy: { so: "the guest runs on at the source", play: destinationHostIsBack },
    gate: { so: "the source cancels and goes on", play: destinationHostIsBack },
    past: { so: "the source aborts by the record and goes on", play: destinationHostIsBack },
    loaded: {
      so: "the source's abort wins: nothing is lost",
      play: async (stage) => {
        stage.host(stage.destination).losePower();
        await stage.until(() => stage.executing()[0] === "host-a");
        await stage.release(); // Its commit, still under way, comes too late.
        await hostComesBack(stage, stage.destination, stays);
      },
    },
    committed: {
      so: "it never ran there: given back when its host is, nothing lost",
      play: async (stage) => {
        stage.host(stage.destination).losePower();
        await stage.pass(30_000);
        assert.deepEqual(stage.executing(), [], "nobody else can know that it never ran");
        await stage.release();
        await hostComesBack(stage, stage.destination, { verdict: "returned", on: "host-a" });
      },
    },
    running: {
      so: "the guest is lost with its owner, by name; the source's copy is never resumed",
      play: async (stage) => {
        stage.host(stage.destination).losePower();
        await stage.pass(30_000);
        assert.deepEqual(stage.executing(), []);
        stage.host(stage.destination).reboot();
        await stage.host(stage.destination).startAgent();
        await stage.release();
        await endsAs(stage, { verdict: "committed", on: null, runState: "guest-lost", reason: "guest-lost" });
      },
    },
  },
};
