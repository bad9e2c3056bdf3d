// What a user may wish at each phase: cancel, stop, delete, pause, resume, reset. Before the gate it is done at the
// source; from there on by whoever comes to own the guest, and what the API answers is true when it is said.
import assert from "node:assert/strict";
import type { Migration } from "../../../../schemas/migration.ts";
import { type Phase, phases, type Stage } from "../../../support/stage.ts";
import { type Cell, endsAs, moves, movesAgain, type Row, stays } from "../cells.ts";

const isCommitted = (phase: Phase) => ["committed", "running", "confirmed", "over"].includes(phase);
const isBeforeGate = (phase: Phase) => ["queued", "unclaimed", "setup", "precopy"].includes(phase);

function cellsOf(makeCell: (phase: Phase) => Cell): { [P in Phase]: Cell } {
  return Object.fromEntries(phases.map((phase) => [phase, makeCell(phase)])) as { [P in Phase]: Cell };
}

/** Held for so long, the hosts have heard of the wish before the migration goes on. */
const heardMs = 4000;

export const userCancels: Row = {
  failure: "a user cancels",
  cells: cellsOf((phase) => ({
    so: isCommitted(phase) ? "too late, said so with the migration's record" : "accepted, and it takes effect",
    play: async (stage) => {
      const { status, body } = await stage.cancel();
      if (isCommitted(phase)) {
        const problem = body as { code: string; holder: string };
        assert.deepEqual([status, problem.code, problem.holder], [409, "too-late-committed", stage.id]);
        await stage.release();
        await endsAs(stage, moves);
        assert.equal((await stage.migration()).cancel, null, "no wish was noted");
        return movesAgain(stage);
      }
      const isAtOnce = phase === "queued" || phase === "unclaimed";
      assert.deepEqual([status, (body as Migration).cancel], [202, isAtOnce ? "took-effect" : "pending"]);
      assert.equal((body as Migration).phase === "cancelled", isAtOnce);
      if (!isAtOnce) await stage.pass(heardMs);
      await stage.release();
      await endsAs(stage, { ...stays, reason: "cancelled-by-user" });
      const ended = await stage.migration();
      assert.deepEqual([ended.phase, ended.cancel], ["cancelled", "took-effect"]);
      assert.equal(((await stage.cancel()).body as { code: string }).code, "migration-over");
      await movesAgain(stage);
    },
  })),
};

export const cancelLoses: Row<"loaded"> = {
  failure: "a user cancels while the commit is under way",
  cells: {
    loaded: {
      so: "accepted, loses, and the migration says so",
      play: async (stage) => {
        assert.equal((await stage.cancel()).status, 202);
        await stage.release(); // Before the source has heard of it.
        await endsAs(stage, moves);
        const { cancelRequested, cancel } = await stage.migration();
        assert.deepEqual([cancelRequested, cancel], [true, "too-late-committed"]);
      },
    },
  },
};

export const userStops: Row = {
  failure: "a user stops the VM",
  cells: cellsOf((phase) => ({
    so: isCommitted(phase) ? "it follows the new owner" : "it wins the abort, then the guest ends at the source",
    play: async (stage) => {
      assert.equal((await stage.post("vms/vm-1/stop")).status, 202);
      if (!isCommitted(phase)) await stage.pass(heardMs);
      await stage.release();
      const end = { on: null, runState: "stopped" } as const;
      if (isCommitted(phase)) await endsAs(stage, { ...end, verdict: "committed" });
      else await endsAs(stage, { ...end, verdict: "aborted", reason: "vm-stopped" });
      assert.equal((await stage.vm()).stoppedBecause, "ordered");
    },
  })),
};

export const userDeletes: Row = {
  failure: "a user deletes the VM",
  cells: cellsOf((phase) => ({
    so: "a tombstone, whatever copies there were are ended",
    play: async (stage) => {
      const { status } = await stage.cluster.tryCall("DELETE", stage.cluster.path("vms/vm-1"));
      assert.equal(status, 202);
      if (!isCommitted(phase)) await stage.pass(heardMs);
      await stage.release();
      const ended = await stage.cluster.ended(stage.id, 120_000);
      assert.equal(ended.verdict, isCommitted(phase) ? "committed" : "aborted");
      await stage.until(
        async () => (await stage.cluster.tryCall("GET", stage.cluster.path("vms/vm-1"))).status === 410,
        "the VM is to be gone",
      );
      await stage.nothingIsLeftBehind(null);
      assert.deepEqual(stage.executing(), []);
      assert.equal((await stage.post("vms/vm-1/start")).status, 400);
    },
  })),
};

export const userResets: Row = {
  failure: "a user resets the guest",
  cells: cellsOf((phase) => ({
    so: isBeforeGate(phase) ? "made once, at the source, at once" : "made once, by its owner afterwards",
    play: async (stage) => {
      const before = (await stage.vm()).owner?.copyId;
      const key = { "idempotency-key": "reset-1" };
      for (let again = 0; again < 2; again += 1) {
        assert.equal((await stage.post("vms/vm-1/reset", key)).status, 202);
      }
      if (isBeforeGate(phase) && phase !== "unclaimed") {
        await stage.until(() => stage.resets.length === 1, "before the gate it goes through at once");
        assert.deepEqual(stage.resets, [before]);
      } else if (phase !== "over") {
        await stage.pass(heardMs);
        if (phase !== "confirmed") assert.deepEqual(stage.resets, [], "it waits");
      }
      await stage.release();
      const { verdict } = await stage.cluster.ended(stage.id, 120_000);
      await endsAs(stage, verdict === "committed" ? moves : stays);
      await stage.until(async () => !(await stage.vm()).resetPending, "the reset is to be made");
      await movesAgain(stage);
      assert.equal(stage.resets.length, 1);
      assert.equal((await stage.vm()).resetPending, false);
    },
  })),
};

export const userPauses: Row = {
  failure: "a user pauses the guest",
  cells: cellsOf((phase) => ({
    so: isBeforeGate(phase)
      ? "it stands at the source at once, and arrives paused"
      : "it stands once its owner is settled",
    play: async (stage) => {
      assert.equal((await stage.post("vms/vm-1/pause")).status, 202);
      if (isBeforeGate(phase) && phase !== "unclaimed") {
        await stage.until(() => stage.executing().length === 0, "before the gate it goes through at once");
        assert.equal((await stage.migration()).verdict, "open");
      } else await stage.pass(heardMs);
      await stage.release();
      const { verdict } = await stage.cluster.ended(stage.id, 120_000);
      await endsAs(stage, { ...(verdict === "committed" ? moves : stays), runState: "paused" });
      await movesPausedThenGoesOn(stage);
    },
  })),
};

async function movesPausedThenGoesOn(stage: Stage): Promise<void> {
  await movesAgain(stage);
  assert.deepEqual([(await stage.vm()).runState, stage.executing()], ["paused", []], "it moves a second time, paused");
  const { owner } = await stage.vm();
  await stage.post("vms/vm-1/resume");
  await stage.until(async () => (await stage.vm()).runState === "running");
  assert.deepEqual(stage.executing(), [owner?.hostId]);
}

export const userResumes: Row = {
  failure: "a user resumes a guest that moves paused",
  cells: cellsOf((phase) => ({
    so: isBeforeGate(phase) ? "it goes on at the source at once, and moves running" : "it goes on where its owner is",
    options: { paused: true },
    play: async (stage) => {
      assert.deepEqual(stage.executing(), []);
      assert.equal((await stage.post("vms/vm-1/resume")).status, 202);
      if (isBeforeGate(phase) && phase !== "unclaimed") {
        await stage.until(() => stage.executing()[0] === "host-a", "before the gate it goes through at once");
      } else await stage.pass(heardMs);
      await stage.release();
      const { verdict } = await stage.cluster.ended(stage.id, 120_000);
      await endsAs(stage, verdict === "committed" ? moves : stays);
      await movesAgain(stage);
    },
  })),
};

export const userCancelsPaused: Row = {
  failure: "a user cancels the move of a paused guest",
  cells: cellsOf((phase) => ({
    so: isCommitted(phase) ? "too late: it arrives paused" : "it is paused where it was",
    options: { paused: true },
    play: async (stage) => {
      assert.equal((await stage.cancel()).status, isCommitted(phase) ? 409 : 202);
      if (!isCommitted(phase)) await stage.pass(heardMs);
      await stage.release();
      await endsAs(stage, { ...(isCommitted(phase) ? moves : stays), runState: "paused" });
      assert.equal((await stage.migration()).timings.downtimeMs, null, "nothing that went on stood still");
      await movesPausedThenGoesOn(stage);
    },
  })),
};
