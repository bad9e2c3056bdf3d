// A host that was counted as lost and comes back: which of its duties stay, and what becomes of a guest that nobody has
// run since the restore.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Part } from "../../../functions/domain/last-run.ts";
import { type LateRecovery, type LateStanding, recoverLate, staysOwed } from "../../../functions/domain/late-host.ts";
import type { MigrationState, VmRecord } from "../../../functions/domain/records.ts";
import { firstToken } from "../../../functions/domain/tokens.ts";
import { endGuest, hostLost, startVm } from "../../../functions/domain/vms.ts";
import type { CopyRef } from "../../../schemas/ids.ts";
import type { InventoryCopy } from "../../../schemas/inventory.ts";
import { spec } from "../../support/assignments.ts";
import * as told from "../support/inventories.ts";
import { bare, lateStanding } from "../support/inventories.ts";
import { admitted, destination, runningVm, source, third } from "../support/motions.ts";

const here = { hostId: "host-a", copyId: "copy_A" };
const copy = bare(told.copyOf(source));
const nothing: LateRecovery = { vm: null, migrations: [], duties: [] };
const owned = (changes: Parameters<typeof runningVm>[0]) => ({ ...nothing, vm: runningVm(changes) });

test("a duty stays where its copy is here, or something is owed to it", () => {
  assert.equal(staysOwed(here, [copy], nothing), true);
  assert.equal(staysOwed(here, [{ ...copy, copyId: "copy_B" }], nothing), false);
  const duty = {
    vmId: "vm-1",
    copyId: "copy_A",
    fencingToken: 7,
    spec,
    wantedRunState: "stopped",
    hasRun: true,
  } as const;
  assert.equal(staysOwed(here, [], { ...nothing, duties: [duty] }), true);
  assert.equal(staysOwed(here, [], nothing), false);
});

test("a duty stays where the guest was started here since the host told what it has", () => {
  assert.equal(staysOwed(here, [], owned({ owner: here })), true);
  assert.equal(staysOwed(here, [], owned({ owner: here, runState: "stopped" })), false);
  assert.equal(staysOwed(here, [], owned({ owner: { ...here, hostId: "host-b" } })), false);
  assert.equal(staysOwed(here, [], owned({ owner: { ...here, copyId: "copy_B" } })), false);
});

const { context } = told;
const epoch = firstToken(3);

const copyOf = (ref: CopyRef, changes: Partial<InventoryCopy> = {}): InventoryCopy => bare(told.copyOf(ref, changes));
const partOf = (role: "source" | "destination", changes: Partial<Part> = {}): Part =>
  bare(told.partOf(role, { commitSent: role === "destination", ...changes }));
const past = bare(told.past);
const loaded = bare(told.loaded);
const ran = copyOf(destination, { lockToken: 8, migrationId: "mig_1" });
const of = <T>(hostId: string, ...things: T[]) => things.map((thing) => ({ ...thing, hostId }));

/** As the recovery leaves it: nobody has been heard of who has the guest. */
const lostVm: VmRecord = {
  ...runningVm({ migrationId: null, owner: source, fencingToken: epoch + 1 }),
  runState: "guest-lost",
  wantedRunState: "stopped",
  stoppedBecause: "host-declared-lost",
  mayBeLate: true,
};
/** host-a told that it stands past its gate, and its destination host-b was lost. */
const forWantOfWord = (changes: Partial<MigrationState> = {}): MigrationState => ({
  ...admitted({}).migration,
  verdict: { kind: "committed", token: epoch + 1, confirmed: null },
  seen: {
    source: null,
    destination: { state: "gone", because: "host-declared-lost", detail: "", underToken: epoch + 1 },
  },
  holds: { source: true, destination: true },
  ...changes,
});
const late = (hostId: string, changes: Partial<LateStanding>): LateStanding =>
  lateStanding({ hostId, vm: lostVm, ...changes });
const sourceTold = { copies: of("host-a", past), parts: of("host-a", partOf("source")) };
const heldVm: VmRecord = { ...lostVm, owner: destination, migrationId: "mig_1" };
const aborted = {
  kind: "aborted",
  token: epoch + 1,
  by: "control-plane",
  reason: "table-restored",
  detail: "",
} as const;
const earlierId = "mig_0";
/** Of the migration before, to a copy that is no more. */
const ofEarlier = (part: Part): Part => ({
  ...part,
  assignment: {
    ...part.assignment,
    migrationId: earlierId,
    fencingToken: 5,
    destination: { ...part.assignment.destination, copyId: "copy_Z" },
  },
});
const outcomesOf = (migrations: MigrationState[]) =>
  migrations.map(({ verdict }) => (verdict.kind === "committed" ? (verdict.confirmed?.outcome ?? null) : verdict.kind));
const awaiting = (changes: Partial<LateStanding>): LateStanding =>
  late("host-b", { vm: heldVm, migrations: [forWantOfWord()], settled: sourceTold, ...changes });

test("a commit for want of its destination's word stands where that one is at work on it: it runs what is loaded there, or returns it", () => {
  const gone = copyOf(destination, { machine: "ended", lockToken: null, ended: "killed" });
  const before = ofEarlier(partOf("destination", { over: true }));
  for (const copies of [[loaded], [gone]]) {
    for (const parts of [[partOf("destination")], [before, partOf("destination")]]) {
      const standing = awaiting({ copies, parts });
      const { vm, migrations } = recoverLate(standing, context);
      assert.equal(vm, standing.vm);
      assert.deepEqual(migrations, standing.migrations);
    }
  }
});

test("a commit for want of its destination's word is returned where that one was done without running it", () => {
  const over = awaiting({ parts: [partOf("destination", { over: true })] });
  const { vm, migrations } = recoverLate(over, context);
  assert.deepEqual([vm?.owner, vm?.migrationId], [source, "mig_1"]);
  assert.deepEqual([migrations[0]?.verdict.kind, migrations[0]?.verdict.token], ["returned", vm?.fencingToken]);
  assert.deepEqual(migrations[0]?.holds, { source: true, destination: false });
  const inAnother = [partOf("destination", { over: true }), ofEarlier(partOf("destination"))];
  const returned = recoverLate(awaiting({ parts: inAnother }), context).migrations.map(({ id, verdict }) => [
    id,
    verdict.kind,
  ]);
  assert.deepEqual(returned, [
    [earlierId, "aborted"],
    ["mig_1", "returned"],
  ]);
});

test("a commit for want of its destination's word is returned on that one's word alone, whoever else comes back", () => {
  const done = of("host-b", partOf("destination", { over: true }));
  const settled = { ...sourceTold, parts: [...sourceTold.parts, ...done] };
  const standing = awaiting({ hostId: "host-c", settled });
  assert.equal(recoverLate(standing, context).vm, standing.vm);
});

test("a commit for want of its destination's word is confirmed by one that runs the guest and is done with the migration", () => {
  const over = partOf("destination", { runIntent: 1, over: true });
  const { vm, migrations, duties } = recoverLate(awaiting({ copies: [ran], parts: [over] }), context);
  assert.deepEqual([vm?.owner, vm?.runState, vm?.mayBeLate], [destination, "running", undefined]);
  assert.deepEqual(
    duties.map(({ copyId, wantedRunState }) => [copyId, wantedRunState]),
    [["copy_B", "running"]],
  );
  const [migration] = migrations;
  assert.equal(migration?.verdict.kind === "committed" && migration.verdict.confirmed?.outcome, "running");
  assert.equal(migration?.holds.source, true, "the source has yet to end its copy");
  const withoutJournal = recoverLate(awaiting({ copies: [ran] }), context);
  assert.deepEqual(withoutJournal.vm?.owner, destination);
  const [done] = withoutJournal.migrations;
  assert.deepEqual(done?.verdict, { ...migration?.verdict, token: withoutJournal.vm?.fencingToken });
  assert.equal(done?.holds.destination, false, "it has nothing to say that is not known");
});

test("what was decided for a source stays so when its destination is lost once more", () => {
  const neverRan = copyOf(destination, { machine: "ended", lockToken: null, ended: "killed" });
  const done = partOf("destination", { arrivesPaused: true, over: true });
  const settled = { copies: of("host-b", neverRan), parts: of("host-b", done) };
  const decided = { verdict: aborted, stage: "ended", holds: { source: false, destination: false } } as const;
  const back = (changes: Partial<MigrationState>) =>
    recoverLate(
      late("host-a", {
        vm: { ...lostVm, owner: source },
        copies: [past],
        parts: [partOf("source")],
        migrations: [forWantOfWord(changes)],
        settled,
        lostHosts: new Set(["host-b"]),
      }),
      context,
    );
  const kept = back(decided);
  assert.deepEqual([kept.vm?.owner, kept.migrations[0]?.verdict.kind], [source, "aborted"]);
  const before = back({ ...decided, verdict: { ...aborted, token: epoch } });
  assert.equal(
    before.migrations[0]?.verdict.kind,
    "committed",
    "decided before the restore: the lost one may have run",
  );
  const other = back({
    ...decided,
    verdict: { kind: "returned", token: epoch + 2, reason: "guest-ended", detail: "" },
  });
  assert.equal(other.migrations[0]?.verdict.kind, "committed", "of any other lost one nothing counts that it had told");
  assert.deepEqual(
    [other.vm?.stoppedBecause, other.migrations[0]?.arrivesPaused],
    [hostLost, false],
    "neither how its copy ended, nor that it was to stand",
  );
});

test("the end of a deleted guest is told under a token above the verdict that it does away with", () => {
  const deleted = { ...lostVm, deleted: true, owner: null, fencingToken: epoch + 1 };
  const decided = forWantOfWord({ verdict: aborted });
  const { vm, migrations } = recoverLate(
    late("host-a", { vm: deleted, copies: [past], parts: [partOf("source")], migrations: [decided] }),
    context,
  );
  assert.deepEqual([vm?.fencingToken, migrations[0]?.verdict.kind], [epoch + 2, "forced"]);
  assert.equal(migrations[0]?.verdict.token, epoch + 2);
});

test("a source that was asked to take its copy back is still asked: it may hold the lock file by now", () => {
  const takeBack = { statement: "lost", refused: null };
  const migrations = [forWantOfWord({ takeBack })];
  const byAnother = {
    hostId: "host-c",
    lostHosts: new Set(["host-b"]),
    copies: [copyOf(third, { lockToken: 2, machine: "stopped" })],
  };
  const [drawn] = recoverLate(awaiting({ migrations, ...byAnother }), context).migrations;
  assert.deepEqual([drawn?.verdict.kind, drawn?.takeBack], ["committed", takeBack]);
  const back = awaiting({ migrations, copies: [loaded], parts: [partOf("destination")] });
  assert.deepEqual(recoverLate(back, context).migrations[0]?.takeBack, takeBack);
  const runs = awaiting({ migrations, copies: [ran], parts: [partOf("destination", { runIntent: 1, over: true })] });
  assert.equal(recoverLate(runs, context).migrations[0]?.takeBack, null);
});

test("what a source did that took its copy back is not judged anew", () => {
  const forced = { kind: "forced", token: epoch + 2, owner: source, statement: "lost" } as const;
  const vm = { ...heldVm, owner: source, fencingToken: epoch + 2 };
  const standing = awaiting({
    vm,
    migrations: [forWantOfWord({ verdict: forced })],
    copies: [loaded],
    parts: [partOf("destination")],
  });
  assert.equal(recoverLate(standing, context).vm, vm);
});

test("a source that stands goes on where its destination had told that it was done without running", () => {
  const done = { copies: [], parts: of("host-b", partOf("destination", { over: true })) };
  const standing = { copies: [past], parts: [partOf("source")] };
  const back = recoverLate(late("host-a", { ...standing, settled: done }), context);
  assert.deepEqual(
    [back.vm?.owner, back.vm?.runState, back.migrations[0]?.verdict.kind],
    [source, "running", "aborted"],
  );
  // As the restore left it that heard of the destination alone.
  const migrations = [forWantOfWord({ verdict: aborted, holds: { source: true, destination: false } })];
  const decided = recoverLate(late("host-a", { ...standing, migrations, settled: done }), context);
  assert.deepEqual(
    [decided.vm?.owner, decided.vm?.runState, decided.migrations[0]?.verdict.kind],
    [source, "running", "aborted"],
  );
});

test("a source that stands goes on by no word of a destination without a journal: that one may have run the guest", () => {
  const { vm, migrations } = recoverLate(late("host-a", { copies: [past], parts: [partOf("source")] }), context);
  assert.deepEqual([vm?.owner, vm?.runState, vm?.migrationId], [destination, "guest-lost", null]);
  assert.deepEqual(outcomesOf(migrations), ["guest-lost"]);
});

test("a source that stands waits for its destination that counts as lost: an operator may have it prove that nothing ran there", () => {
  const lostHosts = new Set(["host-b"]);
  const before = ofEarlier(partOf("source", { over: true }));
  for (const parts of [[partOf("source")], [before, partOf("source")]]) {
    const { vm, migrations } = recoverLate(late("host-a", { copies: [past], parts, lostHosts }), context);
    assert.deepEqual([vm?.owner, vm?.runState, vm?.migrationId], [destination, "guest-lost", "mig_1"]);
    assert.deepEqual(outcomesOf(migrations), [null]);
    assert.deepEqual(migrations[0]?.holds, { source: true, destination: true });
  }
});

test("a source that is done with its migration waits for nobody, though its destination counts as lost", () => {
  const standing = late("host-a", {
    vm: { ...lostVm, owner: destination },
    migrations: [forWantOfWord()],
    parts: [partOf("source", { over: true })],
    lostHosts: new Set(["host-b"]),
  });
  const { vm, migrations } = recoverLate(standing, context);
  assert.deepEqual([vm?.owner, vm?.migrationId, migrations], [destination, null, []]);
});

test("a source waits for no other host than its destination, though the guest may have run on one that counts as lost", () => {
  const onwards: Part = {
    ...partOf("source"),
    assignment: {
      ...partOf("source").assignment,
      migrationId: "mig_2",
      fencingToken: 9,
      source: partOf("source").assignment.destination,
      destination: { ...partOf("source").assignment.destination, ...third },
    },
  };
  const left = copyOf(destination, { ...past, copyId: destination.copyId, lockToken: 8, migrationId: "mig_2" });
  const standing = late("host-a", {
    copies: [past],
    parts: [partOf("source")],
    migrations: [forWantOfWord({ id: "mig_2", source: destination, destination: third })],
    settled: { copies: of("host-b", left), parts: of("host-b", onwards) },
    lostHosts: new Set(["host-c"]),
  });
  const { vm, migrations } = recoverLate(standing, context);
  assert.deepEqual([vm?.owner, vm?.runState, vm?.migrationId], [third, "guest-lost", null]);
  assert.deepEqual(
    migrations.map(({ id, verdict }) => [id, verdict.kind]),
    [["mig_1", "forced"]],
  );
});

test("a guest that nobody owned, and nobody has, is no late source's", () => {
  const settled = { copies: [], parts: of("host-b", partOf("destination", { over: true })) };
  const standing = late("host-a", { vm: { ...lostVm, owner: null }, parts: [], settled });
  assert.equal(recoverLate(standing, context).vm?.owner, null);
});

test("a migration that the table had as over is taken up as the table knows it by a host that is not done with it", () => {
  const ended = forWantOfWord({ ticket: "CHG-1", stage: "ended", verdict: { kind: "open", token: 7 } });
  const earlier = { ...ended, id: earlierId };
  const done = of("host-b", partOf("destination", { over: true }));
  const settled = { copies: [], parts: done };
  const standing = late("host-a", { migrations: [earlier, ended], copies: [past], parts: [partOf("source")], settled });
  const { migrations } = recoverLate(standing, context);
  assert.deepEqual(
    migrations.map(({ id, ticket, verdict }) => [id, ticket, verdict.kind]),
    [["mig_1", "CHG-1", "aborted"]],
  );
});

test("a host that comes back is told of its own copies alone", () => {
  const left = copyOf(third, { machine: "stopped", lockToken: 2 });
  const settled = { copies: of("host-c", left), parts: [] };
  const { duties } = recoverLate(late("host-a", { copies: [copyOf(source)], settled }), context);
  assert.deepEqual(
    duties.map(({ copyId, wantedRunState }) => [copyId, wantedRunState]),
    [["copy_A", "running"]],
  );
});

test("a guest whose source has ended its copy by a record that the table forgot is with its late destination", () => {
  const vm: VmRecord = { ...lostVm, migrationId: "mig_1" };
  const settled = { copies: [], parts: of("host-a", partOf("source")) };
  const copies = [ran];
  const held = late("host-b", { vm, migrations: [forWantOfWord({ verdict: aborted })], settled, copies });
  assert.deepEqual(
    [recoverLate(held, context).vm?.owner, recoverLate(held, context).vm?.runState],
    [destination, "running"],
  );
  // By the source's own report it has ended since.
  const ended: VmRecord = { ...lostVm, runState: "stopped", stoppedBecause: "migration-over" };
  assert.deepEqual(recoverLate(late("host-b", { vm: ended, settled, copies }), context).vm?.owner, destination);
});

test("a host is done with what the record says it is done with, whatever it had told", () => {
  const settled = { copies: [], parts: of("host-a", partOf("source")) };
  const holds = { source: false, destination: false };
  const over = forWantOfWord({ verdict: aborted, stage: "ended", holds });
  const { migrations, vm } = recoverLate(
    late("host-c", { settled, migrations: [over], copies: [copyOf(third)] }),
    context,
  );
  assert.deepEqual(migrations, []);
  assert.deepEqual(vm?.owner, third);
});

test("a guest that was stopped in the backup and runs on a late host runs there", () => {
  const vm: VmRecord = { ...lostVm, runState: "stopped", stoppedBecause: "ordered" };
  assert.deepEqual(recoverLate(late("host-a", { vm, copies: [copyOf(source)] }), context).vm?.owner, source);
});

test("once the guest was started since the restore, a late copy has been left behind, also where that start is lost", () => {
  const started = startVm(lostVm, third, 3);
  assert.equal(started.mayBeLate, undefined);
  const lost = endGuest({ ...started, runState: "running" }, hostLost, 3);
  const paused = copyOf(source, { machine: "stopped" });
  const { vm, duties } = recoverLate(late("host-a", { vm: lost, copies: [paused] }), context);
  assert.equal(vm, lost);
  assert.deepEqual(
    duties.map(({ copyId, wantedRunState }) => [copyId, wantedRunState]),
    [["copy_A", "stopped"]],
  );
});

test("a source that comes back later is not named where its destination had told that it may have run the guest", () => {
  const gone = copyOf(destination, { machine: "ended", lockToken: 8, ended: "killed" });
  const mayHaveRun = partOf("destination", { runIntent: 1 });
  const first = late("host-b", { copies: [gone], parts: [mayHaveRun], lostHosts: new Set(["host-a"]) });
  const { vm, migrations } = recoverLate(first, context);
  assert.deepEqual([vm?.owner, vm?.stoppedBecause], [destination, hostLost]);
  const [migration] = migrations;
  assert.equal(migration?.verdict.kind === "committed" && migration.verdict.confirmed?.outcome, "guest-lost");
  const settled = { copies: of("host-b", gone), parts: of("host-b", mayHaveRun) };
  const second = late("host-a", { vm, migrations, copies: [past], parts: [partOf("source")], settled });
  const back = recoverLate(second, context);
  assert.deepEqual([back.vm?.owner, back.migrations], [destination, migrations]);
});

test("what was decided since the restore is not opened again, though both its hosts count as lost by now", () => {
  const migrations = [forWantOfWord()];
  const lostHosts = new Set(["host-a", "host-b"]);
  const vm: VmRecord = { ...heldVm, runState: "stopped" };
  const standing = late("host-c", {
    vm,
    migrations,
    lostHosts,
    copies: [copyOf(third, { machine: "held", lockToken: null, migrationId: "mig_9" })],
  });
  assert.equal(recoverLate(standing, context).vm, vm);
});

test("what stays open between two hosts that count as lost stays so where a third comes back that knows nothing of it", () => {
  const open = forWantOfWord({ verdict: { kind: "open", token: epoch + 1 } });
  const standing = late("host-c", {
    vm: { ...heldVm, owner: source },
    migrations: [open],
    lostHosts: new Set(["host-a", "host-b"]),
    copies: [copyOf(third, { machine: "held", lockToken: null, migrationId: "mig_9" })],
  });
  const { vm, migrations } = recoverLate(standing, context);
  assert.deepEqual([vm?.migrationId, vm?.fencingToken], ["mig_1", epoch + 2]);
  assert.deepEqual(
    migrations.map(({ verdict }) => verdict),
    [{ kind: "open", token: epoch + 2 }],
  );
});
