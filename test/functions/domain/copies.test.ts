// What a host says of a copy, case by case: who may say it, and what follows for the VM, the migration, the slot, the duty.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type CopySeen, dutiesByRecord, type Standing, seeCopy } from "../../../functions/domain/copies.ts";
import type { CopyDuty, VmRecord } from "../../../functions/domain/records.ts";
import { dutyOf, startVm } from "../../../functions/domain/vms.ts";
import { admitted, context, destination, runningVm, source, third, verdicts } from "../support/motions.ts";

const free = { assignmentsRevision: 3, migration: null };

const report = (changes: Partial<CopySeen> = {}): CopySeen => ({
  kind: "copy-seen",
  vmId: "vm-1",
  copyId: "copy_A",
  fencingToken: 7,
  state: "running",
  because: "ordered",
  detail: "",
  migrationId: null,
  summary: null,
  ...changes,
});

/** Host A, whose copy owns a VM at rest. */
function atRest(vm: Partial<VmRecord> = {}, duty: Partial<CopyDuty> | null = {}): Standing {
  const record = runningVm({ migrationId: null, ...vm });
  const own = duty && { ...dutyOf(record, "copy_A"), ...duty };
  return { hostId: "host-a", vm: record, duty: own, slot: free, migration: null };
}

/** A host with its part in a migration. */
function inMotion(role: "source" | "destination", changes: Parameters<typeof admitted>[0] = {}): Standing {
  const { vm, migration, slots } = admitted(changes);
  const slot = slots[role];
  assert.ok(slot);
  return { hostId: migration[role].hostId, vm, duty: null, slot, migration };
}

const see = (standing: Standing, said: Partial<CopySeen>) => seeCopy(standing, report(said), context);

function accepted(standing: Standing, said: Partial<CopySeen>) {
  const decision = see(standing, said);
  assert.ok(decision.kind === "accept", JSON.stringify(decision));
  return decision;
}

function refused(standing: Standing, said: Partial<CopySeen>): string {
  const decision = see(standing, said);
  assert.ok(decision.kind === "refuse");
  return decision.problem;
}

test("I9: under a lower token than the duty was written under a host says nothing; under the same or a higher one it does", () => {
  const standing = atRest();
  assert.equal(refused(standing, { fencingToken: 6 }), "stale-fencing-token");
  // A start elsewhere has raised its duty before its host could tell that it is gone.
  assert.equal(accepted(standing, { fencingToken: 6, state: "gone", because: "killed" }).duty, null);
  accepted(standing, { fencingToken: 7 });
  accepted(standing, { fencingToken: 8 });
  accepted(atRest({}, null), { fencingToken: 6 });
});

test("what the owner's host says of a copy at rest is what the guest is in, with the resets it has made", () => {
  const standing = atRest({ resets: 2, runState: "starting" });
  const running = accepted(standing, { resets: 1 });
  assert.deepEqual([running.vm.runState, running.vm.resetsMade], ["running", 1]);
  assert.equal(accepted(standing, { state: "frozen" }).vm.runState, "frozen");
  const held = accepted(standing, { state: "held", resets: 1 });
  assert.equal(held.vm, standing.vm, "what is held arrives yet, or is being built");
});

test("a copy of the owner that is gone ends the guest as it went", () => {
  const gone = (because: CopySeen["because"], vm: Partial<VmRecord> = {}) => {
    const { runState, stoppedBecause, wantedRunState } = accepted(atRest(vm), { state: "gone", because }).vm;
    return [runState, stoppedBecause, wantedRunState];
  };
  assert.deepEqual(gone("powered-off"), ["stopped", "powered-off", "stopped"]);
  assert.deepEqual(gone("killed"), ["guest-lost", "killed", "stopped"]);
  assert.deepEqual(gone("ordered", { wantedRunState: "stopped", runState: "stopping" }), [
    "stopped",
    "ordered",
    "stopped",
  ]);
});

test("a guest whose end is known already does not end a second time for another reason", () => {
  for (const known of [
    { wantedRunState: "stopped", runState: "stopped", stoppedBecause: "powered-off" },
    { wantedRunState: "stopped", runState: "guest-lost", stoppedBecause: "host-declared-lost" },
  ] as const) {
    const standing = atRest(known);
    assert.equal(accepted(standing, { state: "gone", because: "killed" }).vm, standing.vm);
  }
  // One that is to run was not ended by anybody yet.
  for (const runState of ["stopped", "guest-lost"] as const) {
    const { stoppedBecause } = accepted(atRest({ runState }), { state: "gone", because: "killed" }).vm;
    assert.equal(stoppedBecause, "killed", runState);
  }
  const stopping = atRest({ wantedRunState: "stopped", runState: "running" });
  assert.equal(accepted(stopping, { state: "gone", because: "ordered" }).vm.runState, "stopped");
});

test("a duty follows its VM at rest, ends with its copy, and the host reads its duties again when one has changed", () => {
  const standing = atRest({ runState: "starting" }, { hasRun: false });
  const { duty, slot } = accepted(standing, {});
  assert.deepEqual([duty?.hasRun, slot.assignmentsRevision], [true, 4]);
  const settled = atRest();
  const same = accepted(settled, {});
  assert.deepEqual([same.duty, same.slot], [settled.duty, settled.slot]);
  const raised = accepted(atRest({ fencingToken: 9 }, { fencingToken: 7 }), { fencingToken: 9 });
  assert.deepEqual([raised.duty?.fencingToken, raised.slot.assignmentsRevision], [9, 4]);
  const gone = accepted(settled, { state: "gone", because: "killed" });
  assert.deepEqual([gone.duty, gone.slot.assignmentsRevision], [null, 4]);
  const ended = atRest({ runState: "stopped", wantedRunState: "stopped", stoppedBecause: "ordered" }, null);
  assert.equal(accepted(ended, {}).duty, null, "none is made up for a guest that has ended");
});

test("an owner's copy that was thought gone has a duty again once it is seen, or no wish of its user would reach it", () => {
  const { duty, slot } = accepted(atRest({}, null), {});
  assert.deepEqual([duty?.copyId, duty?.wantedRunState, duty?.hasRun], ["copy_A", "running", true]);
  assert.equal(slot.assignmentsRevision, 4);
});

test("a guest that its user deleted while it counted as lost has a duty again, to be stopped, once it is seen", () => {
  const lost = { runState: "guest-lost", wantedRunState: "stopped", stoppedBecause: "host-declared-lost" } as const;
  const { vm, duty, slot } = accepted(atRest({ ...lost, deleteRequested: true }, null), {});
  assert.deepEqual([vm.runState, vm.wantedRunState, duty?.wantedRunState], ["stopping", "stopped", "stopped"]);
  assert.equal(slot.assignmentsRevision, 4);
  assert.equal(accepted(atRest(lost, null), {}).duty?.wantedRunState, "running", "nobody wanted it gone");
});

test("a duty of a VM in motion, or of a copy that is the owner's no more, stays as it is written", () => {
  const old = { fencingToken: 5 };
  const moving = atRest({ migrationId: "mig_9" }, old);
  assert.equal(accepted(moving, {}).duty, moving.duty);
  const { migration, vm, slot } = inMotion("source", {
    vm: { owner: destination, fencingToken: 8, migrationId: null },
    migration: { verdict: verdicts.confirmed },
  });
  const left: Standing = { hostId: "host-a", vm, migration, slot, duty: { ...dutyOf(vm, "copy_A"), fencingToken: 5 } };
  assert.equal(accepted(left, { migrationId: "mig_1" }).duty, left.duty);
});

test("an operator's word about the lock file stands until the guest has run, and no longer", () => {
  const word = { replaceLockFile: true };
  const starting = accepted(atRest({ runState: "starting" }, word), { state: "held" });
  assert.equal(starting.duty?.replaceLockFile, true);
  assert.equal(accepted(atRest({ runState: "starting" }, word), {}).duty?.replaceLockFile, undefined);
  assert.equal(accepted(atRest({ runState: "starting" }), { state: "held" }).duty?.replaceLockFile, undefined);
});

test("a copy that the record does not name is to go; a host that lags behind is told that its token is old", () => {
  const vm = { owner: third, fencingToken: 9 };
  assert.equal(refused(atRest(vm, null), { fencingToken: 8 }), "stale-fencing-token");
  assert.equal(refused(atRest(vm, null), { fencingToken: 9 }), "not-yours");
  assert.equal(refused(atRest({ owner: null, fencingToken: 7 }, null), {}), "not-yours");
});

test("another host's copy is not this one's to bury; of one that no record names any more nothing follows", () => {
  const stranger = atRest({ owner: { hostId: "host-c", copyId: "copy_A" } }, null);
  assert.equal(refused(stranger, { state: "gone" }), "not-yours");
  for (const owner of [third, null]) {
    const standing = atRest({ owner }, null);
    assert.equal(accepted(standing, { state: "gone" }).vm, standing.vm);
  }
});

const ofMigration = { migrationId: "mig_1" };

test("in a migration a host speaks for its own copy alone, and under no lower token than the migration opened under", () => {
  for (const role of ["source", "destination"] as const) {
    const standing = inMotion(role);
    const { copyId } = role === "source" ? source : destination;
    accepted(standing, { ...ofMigration, copyId });
    assert.equal(refused(standing, { ...ofMigration, copyId: "copy_C" }), "not-yours");
    assert.equal(refused({ ...standing, hostId: "host-c" }, { ...ofMigration, copyId }), "not-yours");
    assert.equal(refused(standing, { ...ofMigration, copyId, fencingToken: 6 }), "stale-fencing-token");
  }
});

test("what a host says of its copy in a migration is noted there, under the verdict of that moment", () => {
  const moving = inMotion("source", { migration: { verdict: verdicts.aborted } });
  const standing = { ...moving, duty: dutyOf({ ...moving.vm, fencingToken: 8 }, "copy_A") };
  const back = { ...ofMigration, because: "ordered", detail: "back", fencingToken: 8 } as const;
  const { migration, vm, slot } = accepted(standing, back);
  assert.deepEqual(migration?.seen.source, { state: "running", because: "ordered", detail: "back", underToken: 8 });
  assert.equal(migration?.seen.destination, null);
  assert.deepEqual([vm.migrationId, vm.fencingToken], [null, 8]);
  assert.deepEqual([slot.migration, slot.assignmentsRevision], [null, 4], "its own doing is no news to it");
  const lost = inMotion("destination", { migration: { verdict: verdicts.aborted } });
  const after = accepted(lost, { ...ofMigration, copyId: "copy_B", state: "gone", because: "killed" });
  assert.equal(after.migration?.seen.destination?.state, "gone");
  assert.equal(after.slot.migration, null);
});

test("a copy that is held in a migration changes nothing yet", () => {
  const standing = inMotion("destination");
  const { vm, migration, slot } = accepted(standing, { ...ofMigration, copyId: "copy_B", state: "held" });
  assert.deepEqual([vm, migration, slot], [standing.vm, standing.migration, standing.slot]);
});

test("what becomes of a guest in motion is the verdict's to say, also where the report names no migration", () => {
  const committed = inMotion("source", { migration: { verdict: verdicts.committed } });
  for (const said of [ofMigration, {}]) {
    const standing = said === ofMigration ? committed : { ...committed, migration: null };
    const { vm } = accepted(standing, { ...said, state: "gone", because: "killed" });
    assert.equal(vm.runState, "running", JSON.stringify(said));
  }
  // Not covered by its slot: the copy that is gone was the guest.
  const bare = { ...inMotion("source"), migration: null, slot: free };
  assert.equal(accepted(bare, { state: "gone", because: "killed" }).vm.runState, "guest-lost");
  const ofAnother = { ...inMotion("source", { vm: { migrationId: "mig_2" } }) };
  assert.equal(accepted(ofAnother, { ...ofMigration, state: "gone", because: "killed" }).vm.runState, "guest-lost");
  const done = inMotion("source", { vm: { migrationId: null } });
  assert.equal(
    accepted({ ...done, migration: null }, { state: "gone", because: "killed" }).vm.runState,
    "guest-lost",
    "the VM is at rest, though the slot is not free yet",
  );
  assert.equal(accepted(done, { ...ofMigration, state: "gone", because: "killed" }).vm.runState, "guest-lost");
});

test("a copy that its slot covers is of the migration, though neither the record nor the report names it", () => {
  const standing = { ...inMotion("destination"), migration: null };
  assert.equal(accepted(standing, { copyId: "copy_B" }).vm, standing.vm);
  assert.equal(refused({ ...standing, slot: free }, { copyId: "copy_B" }), "not-yours");
  assert.equal(refused(standing, { copyId: "copy_C" }), "not-yours");
});

test("a copy of a migration is heard of though its host's slot is free by then", () => {
  const standing = { ...inMotion("destination"), slot: free };
  const { migration } = accepted(standing, { ...ofMigration, copyId: "copy_B" });
  assert.equal(migration?.seen.destination?.state, "running");
});

test("a claim answers every copy that the host owns by the record: not one whose guest was committed away", () => {
  const vm = startVm(runningVm({ migrationId: null, runState: "stopped" }), source, 0);
  const duties = [dutyOf(vm, "copy_A"), dutyOf({ ...vm, vmId: "vm-2" }, "copy_X")];
  const named = (standing: Standing) => dutiesByRecord(duties, standing.slot).map(({ copyId }) => copyId);
  assert.deepEqual(named(atRest()), ["copy_A", "copy_X"]);
  assert.deepEqual(named(inMotion("source")), ["copy_A", "copy_X"]);
  const slotWith = (owner: { hostId: string; copyId: string }) => {
    const standing = inMotion("source");
    const part = standing.slot.migration;
    assert.ok(part);
    return { ...standing, slot: { ...standing.slot, migration: { ...part, record: { ...part.record, owner } } } };
  };
  assert.deepEqual(named(slotWith(destination)), ["copy_X"]);
  assert.deepEqual(named(slotWith({ ...source, copyId: "copy_OLD" })), ["copy_X"]);
  assert.deepEqual(named(slotWith({ ...source, hostId: "host-c" })), ["copy_X"]);
});
