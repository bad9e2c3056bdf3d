// A migration's record: what it is made of, what it shows as, when it is over; and which may begin.
import assert from "node:assert/strict";
import { test } from "node:test";
import { admit, chooseAdmissible, hasWaitedLong, isVain } from "../../../functions/domain/admission.ts";
import {
  cancelOutcomeOf,
  isAsAssigned,
  isConfirmed,
  isSettled,
  newMigration,
  phaseOf,
  reasonOf,
  recordOf,
  roleOf,
} from "../../../functions/domain/migrations.ts";
import type { MigrationState, Progress, QueueEntry } from "../../../functions/domain/records.ts";
import type { Verdict } from "../../../functions/domain/verdict.ts";
import type { EndReason } from "../../../schemas/migration.ts";
import { spec } from "../../support/assignments.ts";
import { admitted, cause, destination, runningVm, source, verdicts } from "../support/motions.ts";

const begun = admitted({}).migration;
const under = (verdict: Verdict, changes: Partial<MigrationState> = {}): MigrationState => ({
  ...begun,
  verdict,
  ...changes,
});
const aborted = (reason: EndReason): Verdict => ({ kind: "aborted", token: 8, by: "source", reason, detail: "" });
const lost: Verdict = { kind: "committed", token: 8, confirmed: { outcome: "guest-lost", detail: "killed" } };
const ended: Verdict = { kind: "committed", token: 8, confirmed: { outcome: "ended", detail: "" } };

const facts = {
  id: "mig_1",
  copyId: "copy_B",
  request: { vm: "vm-1", destination: "host-b", mode: "live" as const, limits: begun.limits },
  destination: "host-b",
  vm: runningVm({ resets: 2 }),
  owner: source,
  by: "ops",
  at: 1000,
};

test("a migration opens queued, under its VM's token, with what its user asked for", () => {
  assert.deepEqual(newMigration(facts), {
    id: "mig_1",
    vmId: "vm-1",
    source,
    destination,
    mode: "live",
    limits: begun.limits,
    ticket: null,
    retryOf: null,
    requestedBy: "ops",
    createdAt: 1000,
    startedAt: null,
    endedAt: null,
    stage: "queued",
    openedUnderToken: 7,
    verdict: { kind: "open", token: 7 },
    cancelRequested: null,
    arrivesPaused: false,
    resetsBefore: 2,
    takeBack: null,
    seen: { source: null, destination: null },
    holds: { source: false, destination: false },
  });
  const request = { ...facts.request, ticket: "CHG-1", retryOf: "mig_0" };
  const { resets: _, ...vm } = runningVm({ wantedRunState: "paused" });
  const asked = newMigration({ ...facts, request, vm });
  assert.deepEqual([asked.ticket, asked.retryOf, asked.arrivesPaused, asked.resetsBefore], ["CHG-1", "mig_0", true, 0]);
});

test("a host has the role that the migration names it for; a report is about what was assigned", () => {
  assert.deepEqual(
    [roleOf(begun, "host-a"), roleOf(begun, "host-b"), roleOf(begun, "host-c")],
    ["source", "destination", null],
  );
  assert.equal(isAsAssigned(begun, "source", { vmId: "vm-1", peerHostId: "host-b" }), true);
  assert.equal(isAsAssigned(begun, "destination", { vmId: "vm-1", peerHostId: "host-a" }), true);
  assert.equal(isAsAssigned(begun, "source", { vmId: "vm-2", peerHostId: "host-b" }), false);
  assert.equal(isAsAssigned(begun, "source", { vmId: "vm-1", peerHostId: "host-a" }), false);
});

test("agents are told the verdict with its token and owner, and what is wished", () => {
  assert.deepEqual(recordOf("test", begun), {
    type: "drover-record-1",
    clusterId: "test",
    migrationId: "mig_1",
    vmId: "vm-1",
    openedUnderToken: 7,
    source,
    destination,
    verdict: "open",
    verdictToken: 7,
    owner: source,
    confirmed: false,
    cancelRequested: null,
    arrivesPaused: false,
    takeBackRequested: false,
    isOver: false,
  });
  const told = recordOf("test", under(verdicts.confirmed, { stage: "ended", arrivesPaused: true }));
  assert.deepEqual([told.owner, told.confirmed, told.isOver, told.arrivesPaused], [destination, true, true, true]);
  const { arrivesPaused: _, takeBack: __, ...older } = begun;
  assert.deepEqual([recordOf("test", older).arrivesPaused, recordOf("test", older).takeBackRequested], [false, false]);
  const wished = (refused: string | null) =>
    recordOf("test", { ...begun, takeBack: { statement: "off", refused } }).takeBackRequested;
  assert.deepEqual([wished(null), wished("held")], [true, false]);
});

test("a migration is settled once nothing can change any more who owns the guest", () => {
  for (const [verdict, settled, confirmed] of [
    [verdicts.open, false, false],
    [verdicts.committed, false, false],
    [verdicts.confirmed, true, true],
    [lost, true, true],
    [verdicts.aborted, true, false],
    [verdicts.returned, true, false],
    [verdicts["forced back"], true, false],
  ] as const) {
    assert.deepEqual([isSettled(under(verdict)), isConfirmed(under(verdict))], [settled, confirmed], verdict.kind);
  }
});

test("a phase is what it is doing, or how it ended", () => {
  const progress = { phase: "precopy" } as Progress;
  assert.equal(phaseOf(under(verdicts.open, { stage: "queued" }), progress), "queued");
  assert.equal(phaseOf(begun, null), "setup");
  assert.equal(phaseOf(begun, progress), "precopy");
  assert.equal(phaseOf(under(verdicts.committed), progress), "switchover", "the guest stands still");
  for (const verdict of [verdicts.confirmed, verdicts.aborted, verdicts.returned]) {
    assert.equal(phaseOf(under(verdict), progress), "cleanup");
  }
  const end = (verdict: Verdict) => phaseOf(under(verdict, { stage: "ended" }), progress);
  assert.deepEqual(
    [end(verdicts.confirmed), end(ended), end(verdicts.committed), end(lost)],
    ["completed", "completed", "completed", "failed"],
  );
  assert.deepEqual([end(aborted("cancelled-by-user")), end(aborted("vm-stopped"))], ["cancelled", "cancelled"]);
  assert.deepEqual([end(aborted("stream-failed")), end(verdicts.returned)], ["failed", "failed"]);
  assert.equal(end(verdicts["forced back"]), "failed");
  const returned = { ...verdicts.returned, reason: "cancelled-by-user" } as const;
  assert.equal(end(returned), "failed", "only an abort is a cancel");
});

test("why it did not complete is the verdict's reason; a commit has none unless the guest was lost", () => {
  assert.equal(reasonOf(begun), null);
  assert.equal(reasonOf(under(verdicts.committed)), null);
  assert.equal(reasonOf(under(verdicts.confirmed)), null);
  assert.equal(reasonOf(under(ended)), null);
  assert.deepEqual(reasonOf(under(lost)), { reason: "guest-lost", detail: "killed" });
  assert.deepEqual(reasonOf(under(verdicts.aborted)), cause);
  assert.deepEqual(reasonOf(under(verdicts.returned)), cause);
  const forced = verdicts["forced back"];
  assert.deepEqual(reasonOf(under(forced)), { reason: "host-declared-lost", detail: "host-b is off" });
  assert.equal(reasonOf(under({ ...forced, reason: "table-restored" }))?.reason, "table-restored");
});

test("what became of a cancel: pending, it took effect, or it came too late", () => {
  const of = (verdict: Verdict, cancelRequested: EndReason | null) =>
    cancelOutcomeOf(under(verdict, { cancelRequested }));
  assert.equal(of(verdicts.open, null), null);
  assert.equal(of(verdicts.open, "cancelled-by-user"), "pending");
  assert.equal(of(aborted("cancelled-by-user"), "cancelled-by-user"), "took-effect");
  assert.equal(of(aborted("cancelled-by-user"), null), "took-effect", "nothing had begun");
  assert.equal(of(aborted("vm-stopped"), "vm-stopped"), "took-effect");
  assert.equal(of(aborted("vm-stopped"), null), "took-effect");
  assert.equal(of(aborted("stream-failed"), null), null);
  assert.equal(of(aborted("stream-failed"), "cancelled-by-user"), "overtaken");
  assert.equal(of(aborted("vm-stopped"), "cancelled-by-user"), "overtaken");
  assert.equal(of(verdicts.committed, "cancelled-by-user"), "too-late-committed");
  assert.equal(of(verdicts.committed, null), null);
  assert.equal(of(verdicts.returned, "cancelled-by-user"), "overtaken");
  const returned = { ...verdicts.returned, reason: "cancelled-by-user" } as const;
  assert.equal(of(returned, "cancelled-by-user"), "overtaken", "only an abort is a cancel");
});

const entry = (id: string, from: string, to: string, since?: number): QueueEntry => ({
  migrationId: id,
  vmId: `vm of ${id}`,
  source: from,
  destination: to,
  memoryMiB: 16,
  ...(since === undefined ? {} : { since }),
});
const admissible = (queue: QueueEntry[], busy: string[] = [], dead: string[] = [], nowMs = 60_000) =>
  chooseAdmissible(
    queue,
    nowMs,
    (host) => !busy.includes(host),
    (host) => !dead.includes(host),
  ).map(({ migrationId }) => migrationId);

test("I3: migrations begin in the order of asking where both hosts are free, and each takes its hosts from the next", () => {
  const queue = [entry("one", "a", "b"), entry("two", "b", "c"), entry("three", "c", "d")];
  assert.deepEqual(admissible(queue), ["one", "three"]);
  assert.deepEqual(admissible(queue, ["a"]), ["two"]);
  assert.deepEqual(admissible(queue, ["b"]), ["three"]);
});

test("one that waited long holds its hosts against those behind it, unless one of them is silent", () => {
  const queue = [entry("long", "a", "b", 0), entry("late", "b", "c", 50_000), entry("free", "d", "e", 50_000)];
  assert.deepEqual(admissible(queue, ["a"]), ["free"]);
  assert.deepEqual(admissible(queue, ["a"], [], 59_999), ["late", "free"], "not long enough");
  assert.deepEqual(admissible(queue, ["a"], ["b"]), ["late", "free"]);
  assert.equal(hasWaitedLong(entry("x", "a", "b", 30_000), 60_000), false);
  assert.deepEqual(admissible(queue, ["a"], ["a"]), ["late", "free"]);
  assert.deepEqual(
    [hasWaitedLong(entry("x", "a", "b"), 1e9), hasWaitedLong(entry("x", "a", "b", 1), 60_001)],
    [false, true],
  );
});

test("a queued migration is in vain once its guest has ended, is to stop, or is held by another", () => {
  assert.equal(isVain(begun, runningVm()), false);
  assert.equal(isVain(begun, runningVm({ runState: "stopped" })), true);
  assert.equal(isVain(begun, runningVm({ wantedRunState: "stopped" })), true);
  assert.equal(isVain(begun, runningVm({ migrationId: "mig_2" })), true);
});

test("admission takes both slots, and gives both hosts the same assignment, good for as long as it is said to be", () => {
  const end = (hostId: string, assignmentsRevision: number) => ({
    identity: { hostId, publicKey: `key of ${hostId}`, joinedAt: 0 },
    slot: { assignmentsRevision, migration: null },
    migrationAddress: `address of ${hostId}`,
  });
  const ends = { source: end("host-a", 3), destination: end("host-b", 8) };
  const context = { clusterId: "test", at: 2000, assignmentMs: 60_000 };
  const { migration, slots } = admit(newMigration(facts), facts.vm, ends, context);
  assert.deepEqual(
    [migration.stage, migration.startedAt, migration.holds],
    ["admitted", 2000, { source: true, destination: true }],
  );
  assert.deepEqual([slots.source.assignmentsRevision, slots.destination.assignmentsRevision], [4, 9]);
  const assignment = {
    type: "drover-assignment-1",
    clusterId: "test",
    migrationId: "mig_1",
    vmId: "vm-1",
    fencingToken: 7,
    mode: "live",
    spec,
    limits: begun.limits,
    source: { ...source, address: "address of host-a", publicKey: "key of host-a" },
    destination: { ...destination, address: "address of host-b", publicKey: "key of host-b" },
    issuedAt: 2000,
    expiresAt: 62_000,
  };
  for (const role of ["source", "destination"] as const) {
    assert.deepEqual(slots[role].migration, {
      migrationId: "mig_1",
      role,
      claimed: false,
      assignment,
      record: recordOf("test", migration),
    });
  }
});
