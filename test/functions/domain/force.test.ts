// What an operator may force about a guest whose host was declared lost, and what follows from the loss itself.
import assert from "node:assert/strict";
import { test } from "node:test";
import { forceAtRest, lostEnds, refuseTakeBack, wishTakeBack } from "../../../functions/domain/force.ts";
import { lostWithHost, revisedDuty, supersededDuty } from "../../../functions/domain/lost-host.ts";
import { loseHost } from "../../../functions/domain/motion.ts";
import type { Session, VmRecord } from "../../../functions/domain/records.ts";
import { declareLost, newSession } from "../../../functions/domain/session.ts";
import { dutyOf } from "../../../functions/domain/vms.ts";
import { admitted, context, destination, runningVm, seen, source, third, verdicts } from "../support/motions.ts";

const alive: Session = { ...newSession, incarnation: "one", incarnationNumber: 1, counter: 10, leaseExpiresAt: 9000 };
const lost = declareLost(alive, { incarnation: "one", reason: "off", by: "ops", at: 1 });
const back = { ...lost, incarnation: "two" };

test("F1: an end counts as lost where its part was ended and no later incarnation of its host has been heard of", () => {
  const motion = loseHost(admitted({}), "destination", "off", context);
  assert.deepEqual(lostEnds(motion, { source: lost, destination: lost }), { source: false, destination: true });
  assert.deepEqual(lostEnds(motion, { source: lost, destination: back }), { source: false, destination: false });
  assert.deepEqual(lostEnds(motion, { source: null, destination: null }), { source: false, destination: false });
  const both = loseHost(motion, "source", "off", context);
  assert.deepEqual(lostEnds(both, { source: lost, destination: lost }), { source: true, destination: true });
});

test("F1: a destination that was lost, is back, and holds no part of it counts as lost: it decides nothing any more", () => {
  const motion = loseHost(admitted({}), "destination", "off", context);
  const done = { ...motion, slots: { ...motion.slots, destination: { assignmentsRevision: 4, migration: null } } };
  const isLost = (one: typeof motion, session: Session | null) =>
    lostEnds(one, { source: alive, destination: session }).destination;
  assert.equal(isLost(done, { ...back, lost: null }), true);
  assert.equal(isLost({ ...done, slots: { ...done.slots, destination: null } }, { ...back, lost: null }), true);
  assert.equal(isLost(motion, { ...back, lost: null }), false, "its slot is held: it may go on");
  assert.equal(isLost(done, back), false, "what became of its copies was not told it yet");
  assert.equal(isLost(done, null), false);
  const recovering = { kind: "recovering", restoreEpoch: 1, reportedAt: null } as const;
  assert.equal(isLost(done, { ...back, lost: null, recovery: recovering }), false, "it has yet to tell what it has");
  const never = admitted({});
  const free = { ...never, slots: { ...never.slots, destination: null } };
  assert.equal(isLost(free, { ...back, lost: null }), false, "nobody declared it lost");
});

test("F1: a source that has said itself that its copy is gone decides nothing any more; of a destination only the operator says so", () => {
  const ends = { source: back, destination: back };
  const bothSeen = (state: "gone" | "running") =>
    admitted({ migration: { seen: { source: seen(state, 7, "killed"), destination: seen(state, 7, "killed") } } });
  assert.deepEqual(lostEnds(bothSeen("gone"), ends), { source: true, destination: false });
  assert.deepEqual(lostEnds(bothSeen("running"), ends), { source: false, destination: false });
});

const asked = { overridesLockFile: false, restoreEpoch: 0 };
const overriding = { ...asked, overridesLockFile: true };
const lostVm = runningVm({
  migrationId: null,
  wantedRunState: "stopped",
  runState: "guest-lost",
  stoppedBecause: "host-declared-lost",
});

test("F2: a guest at rest is started from its disk only where it was lost with its host", () => {
  for (const override of [asked, overriding]) {
    const forced = forceAtRest(lostVm, third, override);
    assert.ok(forced.kind === "start");
    assert.deepEqual(
      [forced.vm.owner, forced.vm.fencingToken, forced.vm.runState, forced.vm.wantedRunState],
      [third, 8, "starting", "running"],
    );
  }
  for (const vm of [
    { ...lostVm, runState: "running" },
    { ...lostVm, runState: "stopped" },
    { ...lostVm, stoppedBecause: "killed" },
    { ...lostVm, stoppedBecause: null },
  ] as VmRecord[]) {
    assert.deepEqual(forceAtRest(vm, third, overriding), { kind: "not-lost" });
  }
});

test("F4: a start that waits for its lock file may be told to replace it, and is never begun elsewhere", () => {
  const starting = { ...lostVm, runState: "starting", stoppedBecause: null, owner: third } as const;
  assert.deepEqual(forceAtRest(starting, third, overriding), { kind: "override-lock-file" });
  assert.deepEqual(forceAtRest(starting, source, overriding), { kind: "starting-elsewhere" });
  assert.deepEqual(forceAtRest({ ...starting, owner: null }, source, overriding), { kind: "starting-elsewhere" });
  assert.deepEqual(forceAtRest(starting, third, asked), { kind: "not-lost" });
});

const destinationLost = { source: false, destination: true };

test("F3: a stopped copy is only asked to be taken back, where the destination of a commit is lost and its source is not", () => {
  const committed = admitted({ migration: { verdict: verdicts.committed } });
  const wish = wishTakeBack(committed, destinationLost, "host-b is off", context);
  assert.ok(wish.kind === "wish");
  assert.deepEqual(wish.motion.migration.takeBack, { statement: "host-b is off", refused: null });
  assert.equal(wish.motion.migration.verdict.kind, "committed", "its own host does it");
  for (const verdict of [verdicts.open, verdicts.aborted, verdicts.confirmed]) {
    const motion = admitted({ migration: { verdict } });
    assert.equal(wishTakeBack(motion, destinationLost, "", context).kind, "not-committed");
  }
  const stands = { source: false, destination: false };
  assert.equal(wishTakeBack(committed, stands, "", context).kind, "destination-not-lost");
  const sourceLost = loseHost(committed, "source", "off", context);
  assert.equal(wishTakeBack(sourceLost, destinationLost, "", context).kind, "source-lost");
});

test("a source that cannot take its copy back drops the wish, once", () => {
  const committed = admitted({ migration: { verdict: verdicts.committed } });
  assert.equal(refuseTakeBack(committed, "held", context), null, "nobody has asked");
  const wish = wishTakeBack(committed, destinationLost, "host-b is off", context);
  assert.ok(wish.kind === "wish");
  const dropped = refuseTakeBack(wish.motion, "held", context);
  assert.deepEqual(dropped?.migration.takeBack, { statement: "host-b is off", refused: "held" });
  assert.ok(dropped);
  assert.equal(refuseTakeBack(dropped, "held again", context), null);
  const empty = refuseTakeBack(wish.motion, "", context);
  assert.ok(empty);
  assert.equal(refuseTakeBack(empty, "again", context), null, "without a word is refused as well");
});

test("a guest at rest that a lost host owned is lost with it, and nothing else is", () => {
  const rest = runningVm({ migrationId: null });
  const after = lostWithHost(rest, "host-a", lost, null, 0);
  assert.deepEqual([after?.runState, after?.stoppedBecause], ["guest-lost", "host-declared-lost"]);
  assert.equal(lostWithHost(rest, "host-a", alive, null, 0), null, "its host is not lost");
  assert.equal(lostWithHost(rest, "host-a", back, null, 0), null, "its host is back");
  assert.equal(lostWithHost(rest, "host-a", null, null, 0), null);
  assert.equal(lostWithHost(rest, "host-b", lost, null, 0), null, "another host owns it");
  assert.equal(lostWithHost({ ...rest, owner: null }, "host-a", lost, null, 0), null);
  assert.equal(lostWithHost({ ...rest, runState: "stopped" }, "host-a", lost, null, 0), null, "it had ended before");
  const { vm, migration } = admitted({});
  assert.equal(lostWithHost(vm, "host-a", lost, migration, 0), null, "in motion the verdict decides");
  assert.equal(lostWithHost(vm, "host-a", lost, null, 0), null);
  const queued = lostWithHost(vm, "host-a", lost, { ...migration, stage: "queued" }, 0);
  assert.equal(queued?.runState, "guest-lost", "one that is queued has not begun");
  const queuedAtRest = lostWithHost(rest, "host-a", lost, { ...migration, stage: "ended" }, 0);
  assert.equal(queuedAtRest?.runState, "guest-lost");
});

test("a host that returns goes on with a copy that the record still names, and is never told to begin anew what is gone", () => {
  const vm = runningVm({ migrationId: null, fencingToken: 9 });
  const duty = { ...dutyOf(runningVm(), "copy_A"), hasRun: false };
  assert.deepEqual(revisedDuty(duty, vm, "host-a"), dutyOf(vm, "copy_A"));
  const cutShort = { ...vm, stoppedBecause: "host-declared-lost" };
  assert.deepEqual(revisedDuty(duty, cutShort, "host-a"), { ...duty, hasRun: true });
});

test("rule 8: a copy of a host that returns is to go only under a higher token that names another copy", () => {
  const duty = dutyOf(runningVm(), "copy_A");
  const elsewhere = runningVm({ migrationId: null, owner: destination, fencingToken: 9 });
  const superseded = { ...duty, fencingToken: 9, wantedRunState: "stopped" };
  assert.deepEqual(revisedDuty(duty, elsewhere, "host-a"), superseded);
  assert.deepEqual(supersededDuty(duty, elsewhere), superseded);
  const sameToken = { ...elsewhere, fencingToken: 7 };
  assert.equal(revisedDuty(duty, sameToken, "host-a"), duty);
  assert.equal(revisedDuty(duty, { ...elsewhere, fencingToken: 6 }, "host-a"), duty);
});
