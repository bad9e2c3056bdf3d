// A VM's record through its life, case by case: starts, wishes, stops, ends, what is seen of it, and its events.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { VmRecord } from "../../../functions/domain/records.ts";
import { isSame } from "../../../functions/domain/same.ts";
import { firstToken } from "../../../functions/domain/tokens.ts";
import {
  arriveGuest,
  deleteVm,
  dutyOf,
  endGuest,
  isOwner,
  isResetPending,
  mayWish,
  newVm,
  noteResets,
  observeGuest,
  startVm,
  stopVm,
  vmEvents,
  wishFor,
} from "../../../functions/domain/vms.ts";
import { spec } from "../../support/assignments.ts";
import { destination, runningVm, source } from "../support/motions.ts";

const atRest = (changes: Partial<VmRecord> = {}) => runningVm({ migrationId: null, ...changes });
const defined = newVm({ vm: "vm-1", spec }, "ops", 1000, 2);

test("a VM is defined stopped, owned by nobody, under the first token of the table's epoch", () => {
  assert.deepEqual(defined, {
    vmId: "vm-1",
    spec,
    wantedRunState: "stopped",
    runState: "stopped",
    stoppedBecause: null,
    owner: null,
    fencingToken: firstToken(2),
    migrationId: null,
    deleteRequested: false,
    deleted: false,
    createdAt: 1000,
    createdBy: "ops",
  });
});

test("a start raises the token and makes a new copy, whose resets count from none", () => {
  const before = atRest({ runState: "stopped", stoppedBecause: "killed", resets: 3, resetsMade: 2 });
  const started = startVm(before, destination, 0);
  assert.deepEqual(started, {
    ...before,
    wantedRunState: "running",
    runState: "starting",
    stoppedBecause: null,
    owner: destination,
    fencingToken: 8,
    resets: 0,
    resetsMade: 0,
  });
});

test("a guest that arrives elsewhere has those resets before it that were not made, and never fewer than none", () => {
  assert.deepEqual([arriveGuest(atRest({ resets: 3, resetsMade: 2 }), 1).resets], [2]);
  assert.equal(arriveGuest(atRest({ resetsMade: 2 }), 1).resetsMade, 0);
  assert.equal(arriveGuest(atRest({ resets: 1 }), 2).resets, 0);
  const { resets: _, ...older } = atRest();
  assert.equal(arriveGuest(older, 0).resets, 0);
});

test("pause, resume and reset are wishes of a guest that is there and is not to stop", () => {
  assert.equal(wishFor(atRest(), "pause").wantedRunState, "paused");
  assert.equal(wishFor(atRest({ wantedRunState: "paused" }), "resume").wantedRunState, "running");
  assert.equal(wishFor(atRest({ resets: 1 }), "reset").resets, 2);
  const { resets: _, ...older } = atRest();
  assert.equal(wishFor(older, "reset").resets, 1);
  assert.equal(mayWish(atRest()), true);
  assert.equal(mayWish(atRest({ wantedRunState: "stopped" })), false);
  for (const runState of ["stopped", "guest-lost"] as const) assert.equal(mayWish(atRest({ runState })), false);
  const pending = (changes: Partial<VmRecord>) => isResetPending(atRest(changes));
  assert.equal(pending({ resets: 2, resetsMade: 1 }), true);
  assert.equal(pending({ resets: 2, resetsMade: 2 }), false);
  assert.equal(pending({ resets: 2, resetsMade: 1, wantedRunState: "stopped" }), false);
  const { resets: __, resetsMade: ___, ...never } = atRest();
  assert.equal(isResetPending(never), false);
  assert.equal(isResetPending({ ...never, resets: 1 }), true);
});

test("a stop is begun at once at rest, and in motion follows whoever comes to own the guest", () => {
  const stopped = stopVm(atRest());
  assert.deepEqual([stopped.wantedRunState, stopped.runState], ["stopped", "stopping"]);
  const moving = stopVm(runningVm());
  assert.deepEqual([moving.wantedRunState, moving.runState], ["stopped", "running"]);
  for (const runState of ["stopped", "guest-lost"] as const) {
    const ended = atRest({ runState });
    assert.equal(stopVm(ended), ended, "there is nothing to stop");
  }
});

test("a delete buries what has ended at once, and is an intent while the guest is there or a migration holds it", () => {
  const buried = deleteVm(atRest({ runState: "stopped" }), 0);
  assert.deepEqual([buried.deleted, buried.deleteRequested, buried.owner, buried.fencingToken], [true, true, null, 8]);
  for (const there of [atRest(), runningVm({ runState: "stopped" })]) {
    const { deleted, deleteRequested, owner, fencingToken } = deleteVm(there, 0);
    assert.deepEqual([deleted, deleteRequested, owner, fencingToken], [false, true, source, 7]);
  }
  assert.equal(deleteVm(atRest(), 0).runState, "stopping");
});

test("a guest ends as stopped, or as lost where nobody wished or did it from within; a delete is then carried out", () => {
  for (const [because, runState] of [
    ["ordered", "stopped"],
    ["powered-off", "stopped"],
    ["crashed", "stopped"],
    ["ended", "stopped"],
    ["table-restored", "stopped"],
    ["killed", "guest-lost"],
    ["host-rebooted", "guest-lost"],
    ["host-declared-lost", "guest-lost"],
    ["guest-lost", "guest-lost"],
  ] as const) {
    const ended = endGuest(atRest(), because, 0);
    assert.deepEqual(
      [ended.wantedRunState, ended.runState, ended.stoppedBecause, ended.owner, ended.deleted],
      ["stopped", runState, because, source, false],
    );
  }
  const buried = endGuest(atRest({ deleteRequested: true }), "ordered", 0);
  assert.deepEqual([buried.deleted, buried.owner, buried.fencingToken], [true, null, 8]);
  const already = endGuest({ ...buried }, "killed", 0);
  assert.equal(already.fencingToken, 8, "it is buried once");
});

test("what the owner's host sees is what the guest is in, unless it has ended; one that is to stop is stopping", () => {
  const seen = (vm: Partial<VmRecord>, state: "running" | "paused" | "frozen", held = false) =>
    observeGuest(held ? runningVm(vm) : atRest(vm), state).runState;
  assert.deepEqual([seen({}, "running"), seen({}, "paused"), seen({}, "frozen")], ["running", "paused", "frozen"]);
  assert.deepEqual(
    [seen({ runState: "stopped" }, "running"), seen({ runState: "guest-lost" }, "frozen")],
    ["stopped", "guest-lost"],
  );
  assert.equal(seen({ wantedRunState: "stopped" }, "running"), "stopping");
  assert.equal(seen({ wantedRunState: "stopped" }, "frozen"), "frozen");
  assert.equal(seen({ wantedRunState: "stopped" }, "running", true), "running", "in motion it stays what it is");
});

test("a guest that counted as lost with its host, and is there, is taken as it is found; a deleted one is not", () => {
  const lost = atRest({ runState: "guest-lost", wantedRunState: "stopped", stoppedBecause: "host-declared-lost" });
  for (const [state, wanted] of [
    ["running", "running"],
    ["paused", "paused"],
    ["frozen", "running"],
  ] as const) {
    const { runState, wantedRunState, stoppedBecause } = observeGuest(lost, state);
    assert.deepEqual([runState, wantedRunState, stoppedBecause], [state, wanted, null]);
  }
  const buried = { ...lost, deleted: true };
  const unwanted = observeGuest({ ...lost, deleteRequested: true }, "running");
  assert.deepEqual([unwanted.runState, unwanted.wantedRunState], ["stopping", "stopped"]);
  assert.equal(observeGuest(buried, "running"), buried);
  const killed = { ...lost, stoppedBecause: "killed" };
  assert.equal(observeGuest(killed, "running"), killed);
});

test("a host is believed as to resets up to those asked for, and its count never falls", () => {
  const made = (resets: number | undefined, before: number | undefined, said?: number) => {
    const { resets: _, resetsMade: __, ...bare } = atRest();
    const vm = {
      ...bare,
      ...(resets === undefined ? {} : { resets }),
      ...(before === undefined ? {} : { resetsMade: before }),
    };
    return noteResets(vm, said).resetsMade;
  };
  assert.equal(made(3, 1, 2), 2);
  assert.equal(made(3, 1, 3), 3);
  assert.equal(made(3, 1, 4), 1, "more than were asked for");
  assert.equal(made(3, 2, 1), 2, "fewer than before");
  assert.equal(made(3, 2, 2), 2);
  assert.equal(made(3, 1), 1, "it does not say");
  assert.equal(made(undefined, undefined), undefined, "there is nothing to say");
  assert.equal(made(undefined, undefined, 1), undefined);
  assert.equal(made(1, undefined, 1), 1);
});

test("an owner is a host and a copy; a tombstone has none", () => {
  assert.equal(isOwner(atRest(), { ...source }), true);
  assert.equal(isOwner(atRest(), { ...source, hostId: "host-b" }), false);
  assert.equal(isOwner(atRest(), { ...source, copyId: "copy_B" }), false);
  assert.equal(isOwner(atRest({ deleted: true }), source), false);
  assert.equal(isOwner(atRest({ owner: null }), source), false);
});

test("a duty is what the record says of the copy; it has run once it was more than starting", () => {
  const { vmId, fencingToken, wantedRunState } = atRest();
  const duty = { vmId, copyId: "copy_A", fencingToken, spec, wantedRunState, hasRun: true, resets: 2 };
  assert.deepEqual(dutyOf(atRest({ resets: 2 }), "copy_A"), duty);
  assert.equal(dutyOf(atRest({ runState: "starting" }), "copy_A").hasRun, false);
  const { resets: _, ...older } = atRest();
  assert.equal(dutyOf(older, "copy_A").resets, 0);
});

test("every change of a VM has its event, under the token it has then, and what did not change has none", () => {
  const events = (before: VmRecord | null, after: VmRecord) =>
    vmEvents(before, after).map(({ kind, subject, data }) => {
      const { fencingToken, ...rest } = data;
      assert.deepEqual(subject, { kind: "vm", id: "vm-1" });
      assert.equal(fencingToken, after.fencingToken);
      return [kind, rest];
    });
  const running = atRest();
  const changed = (changes: Partial<VmRecord>, from = running) => events(from, { ...from, ...changes });
  assert.deepEqual(events(null, defined), [["vm-defined", { memoryMiB: 16 }]]);
  assert.deepEqual(changed({}), []);
  assert.deepEqual(changed({ deleteRequested: true }), [["vm-delete-requested", {}]]);
  assert.deepEqual(changed({}, { ...running, deleteRequested: true, deleted: true }), []);
  assert.deepEqual(changed({ deleted: true, owner: null }), [
    ["vm-deleted", {}],
    ["vm-owner-changed", { host: null, copyId: null }],
  ]);
  assert.deepEqual(changed({ wantedRunState: "stopped" }), [["vm-stop-requested", { host: "host-a" }]]);
  assert.deepEqual(changed({ wantedRunState: "paused" }), [["vm-pause-requested", { host: "host-a" }]]);
  const paused = { ...running, wantedRunState: "paused" as const };
  assert.deepEqual(changed({ wantedRunState: "running" }, paused), [["vm-resume-requested", { host: "host-a" }]]);
  const stopped = { ...running, wantedRunState: "stopped" as const };
  assert.deepEqual(changed({ wantedRunState: "running" }, stopped), [["vm-start-requested", { host: "host-a" }]]);
  assert.deepEqual(changed({ wantedRunState: "running", owner: destination }, paused), [
    ["vm-start-requested", { host: "host-b" }],
    ["vm-owner-changed", { host: "host-b", copyId: "copy_B" }],
  ]);
  assert.deepEqual(changed({ wantedRunState: "stopped", owner: null }), [
    ["vm-stop-requested", { host: null }],
    ["vm-owner-changed", { host: null, copyId: null }],
  ]);
  assert.deepEqual(changed({ wantedRunState: "stopped", runState: "stopped", stoppedBecause: "killed" }), [
    ["vm-run-state-changed", { runState: "stopped", because: "killed" }],
  ]);
  assert.deepEqual(changed({ resets: 1 }), [["vm-reset-requested", { number: 1 }]]);
  assert.deepEqual(changed({ resetsMade: 1 }), [["vm-reset", { number: 1 }]]);
  assert.deepEqual(changed({ resets: 0, resetsMade: 0 }, { ...running, resets: 2, resetsMade: 1 }), []);
  const { resets: _, resetsMade: __, ...older } = running;
  assert.deepEqual(events(older, { ...older }), []);
  assert.deepEqual(events(older, { ...older, resets: 1, resetsMade: 1 }), [
    ["vm-reset-requested", { number: 1 }],
    ["vm-reset", { number: 1 }],
  ]);
  assert.deepEqual(changed({ owner: destination, resets: 2, resetsMade: 2 }), [
    ["vm-owner-changed", { host: "host-b", copyId: "copy_B" }],
  ]);
  assert.deepEqual(changed({ owner: { ...source, hostId: "host-b" } }), [
    ["vm-owner-changed", { host: "host-b", copyId: "copy_A" }],
  ]);
  assert.deepEqual(changed({ owner: { ...source, copyId: "copy_B" } }), [
    ["vm-owner-changed", { host: "host-a", copyId: "copy_B" }],
  ]);
  assert.deepEqual(changed({ owner: { ...source } }), []);
  assert.deepEqual(events({ ...running, owner: null }, running), [
    ["vm-owner-changed", { host: "host-a", copyId: "copy_A" }],
  ]);
  assert.deepEqual(changed({ owner: null }), [["vm-owner-changed", { host: null, copyId: null }]]);
  assert.deepEqual(events({ ...running, owner: null }, { ...running, owner: null }), []);
});

test("values are the same as JSON, whatever the order of their fields", () => {
  assert.equal(isSame({ a: 1, b: [1, { c: null }] }, { b: [1, { c: null }], a: 1 }), true);
  for (const [one, other] of [
    [1, 2],
    [{ a: 1 }, { a: 2 }],
    [{ a: 1 }, { b: 1 }],
    [{ a: 1 }, { a: 1, b: 2 }],
    [{ a: 1, b: 2 }, { a: 1 }],
    [{ a: undefined }, { b: undefined }],
    [null, {}],
    [{}, null],
    [{}, 1],
    ["a", {}],
    ["", {}],
    [1, {}],
    [[1], { 0: 1 }],
    [{ 0: 1 }, [1]],
    [
      [1, 2],
      [2, 1],
    ],
    [Object.create({ a: 1 }), { a: 1 }],
    [{ toString: 1 }, { a: 1 }],
  ] as const) {
    assert.equal(isSame(one, other), false, JSON.stringify([one, other]));
  }
  assert.equal(isSame(null, null), true);
  assert.equal(isSame([], []), true);
});
