// Rule 8: a copy that is nobody's duty is ended on the word of its migration's record alone, or where no guest is left.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryJournalDisk, openMemoryJournal } from "../../agents/adapters/memory-journal.ts";
import { createSimulatedClock } from "../../agents/adapters/simulated/clock.ts";
import { type Binding, Duties } from "../../agents/duties.ts";
import type { ControlPlane } from "../../agents/ports/control-plane.ts";
import type { Copy, CopyStatus } from "../../agents/ports/copies.ts";
import type { RoleContext } from "../../agents/roles/context.ts";
import type { MigrationRecord } from "../../schemas/migration.ts";
import { spec, ulid } from "../support/assignments.ts";

const migrationId = ulid("mig", 1);
const source = { hostId: "host-a", copyId: ulid("copy", 1) };
const destination = { hostId: "host-b", copyId: ulid("copy", 2) };

type Answer = Partial<MigrationRecord> | "unknown" | "refused";

function makeBench(copyId: string, answer: Answer) {
  const bench = {
    machine: "stopped" as CopyStatus["machine"],
    ofMigration: migrationId as string | null,
    binding: "free" as Binding,
    isFrozen: false,
    answer,
    asked: [] as string[],
    ended: [] as string[],
    logged: [] as string[],
    failing: false,
  };
  const copy = {
    vmId: "vm-1",
    copyId,
    spec,
    get migrationId() {
      return bench.ofMigration;
    },
    status: async () => ({ machine: bench.machine, lock: "free", ended: null, gate: null, atGate: null, resets: 0 }),
    destroy: async () => {
      if (bench.failing) throw new Error("its process does not end");
      bench.ended.push(copyId);
    },
    listen: () => () => {},
  } as unknown as Copy;
  const controlPlane = {
    readRecord: async (of: string) => {
      bench.asked.push(of);
      if (bench.answer === "unknown") return { kind: "unknown", detail: "" };
      if (bench.answer === "refused") return { kind: "refused", problem: { code: "not-yours" }, record: null };
      return { kind: "answered", record: { record: recordOf(bench.answer) } };
    },
  } as unknown as ControlPlane;
  const journal = openMemoryJournal(new MemoryJournalDisk());
  const context = {
    controlPlane,
    clock: createSimulatedClock(),
    journal,
    log: ({ event }: { event: string }) => bench.logged.push(event),
  } as unknown as RoleContext;
  const duties = new Duties(context, false, {
    bindingOf: () => bench.binding,
    supersede: () => assert.fail("no duty is superseded here"),
    wantSweep: () => {},
    isFrozen: () => bench.isFrozen,
  });
  duties.watch(copy);
  return Object.assign(bench, { duties, copy, journal });
}

const recordOf = (changes: Partial<MigrationRecord>): MigrationRecord => ({
  type: "drover-record-1",
  clusterId: "test-1",
  migrationId,
  vmId: "vm-1",
  openedUnderToken: 5,
  source,
  destination,
  verdict: "open",
  verdictToken: 5,
  owner: source,
  confirmed: false,
  cancelRequested: null,
  issuedAt: 1_790_000_000_000,
  ...changes,
});

const committed = { verdict: "committed", verdictToken: 6, owner: destination } as const;
const cells: [string, { of: { copyId: string }; record: Partial<MigrationRecord>; isEnded: boolean }][] = [
  ["the destination's copy while nothing is decided", { of: destination, record: {}, isEnded: false }],
  [
    "the destination's copy, aborted",
    { of: destination, record: { verdict: "aborted", verdictToken: 6 }, isEnded: true },
  ],
  [
    "the destination's copy, returned",
    { of: destination, record: { verdict: "returned", verdictToken: 7 }, isEnded: true },
  ],
  ["the destination's copy, committed", { of: destination, record: committed, isEnded: false }],
  [
    "the destination's copy, forced to the source",
    { of: destination, record: { verdict: "forced", verdictToken: 7 }, isEnded: true },
  ],
  ["the source's copy while nothing is decided", { of: source, record: {}, isEnded: false }],
  ["the source's copy, aborted", { of: source, record: { verdict: "aborted", verdictToken: 6 }, isEnded: false }],
  ["the source's copy, committed and not confirmed", { of: source, record: committed, isEnded: false }],
  ["the source's copy, confirmed", { of: source, record: { ...committed, confirmed: true }, isEnded: true }],
  [
    "the source's copy, forced to another",
    { of: source, record: { verdict: "forced", verdictToken: 7, owner: destination }, isEnded: true },
  ],
  [
    "the source's copy, forced to it",
    { of: source, record: { verdict: "forced", verdictToken: 7, owner: source }, isEnded: false },
  ],
  [
    "the source's copy under a record that names another, its token not raised",
    { of: source, record: { ...committed, confirmed: true, verdictToken: 5 }, isEnded: false },
  ],
  [
    "the destination's copy under an abort whose token is not raised",
    { of: destination, record: { verdict: "aborted", verdictToken: 5 }, isEnded: false },
  ],
];

for (const [name, { of, record, isEnded }] of cells) {
  test(`rule 8: ${name}: ${isEnded ? "ended" : "kept"}`, async () => {
    const bench = makeBench(of.copyId, record);
    assert.equal(await bench.duties.sweep(), true);
    assert.deepEqual(bench.asked, [migrationId]);
    assert.deepEqual(bench.ended, isEnded ? [of.copyId] : []);
    assert.deepEqual(bench.logged, isEnded ? ["orphan-removed"] : []);
    assert.equal(bench.duties.find(of.copyId), isEnded ? null : bench.copy);
  });
}

const aborted = { verdict: "aborted", verdictToken: 6 } as const;

test("rule 8: without a record nothing is ended, and it is asked for again", async () => {
  for (const answer of ["unknown", "refused"] as const) {
    const bench = makeBench(destination.copyId, answer);
    assert.equal(await bench.duties.sweep(), false);
    assert.deepEqual([bench.ended, bench.logged], [[], []]);
    bench.answer = aborted;
    assert.equal(await bench.duties.sweep(), true);
    assert.deepEqual(bench.ended, [destination.copyId]);
  }
});

test("rule 8: a copy that no migration made is kept, whatever it is", async () => {
  const bench = makeBench(source.copyId, aborted);
  bench.ofMigration = null;
  bench.machine = "running";
  bench.duties.assign([]);
  assert.equal(await bench.duties.sweep(), true);
  assert.deepEqual([bench.asked, bench.ended], [[], []]);
});

test("rule 8: a copy in a migration under way is its migration's to end", async () => {
  for (const binding of ["before-gate", "bound"] as const) {
    const bench = makeBench(destination.copyId, aborted);
    bench.binding = binding;
    assert.equal(await bench.duties.sweep(), true);
    assert.deepEqual([bench.asked, bench.ended], [[], []]);
  }
});

test("rule 8: a copy that is owed is no orphan, also where the duty itself is out of date", async () => {
  const bench = makeBench(destination.copyId, aborted);
  const { copyId } = destination;
  await bench.journal.raiseToken("vm-1", 9);
  bench.duties.assign([{ vmId: "vm-1", copyId, fencingToken: 6, spec, wantedRunState: "running", hasRun: true }]);
  assert.equal(await bench.duties.sweep(), true);
  assert.deepEqual([bench.asked, bench.ended, bench.logged], [[], [], ["stale-duty"]]);
});

test("nothing is ended while the table may have gone back", async () => {
  const bench = makeBench(destination.copyId, aborted);
  bench.isFrozen = true;
  assert.equal(await bench.duties.sweep(), true);
  assert.deepEqual([bench.asked, bench.ended], [[], []]);
});

test("what is left of a guest that ended is cleared away without a record, once it is known what is owed", async () => {
  const bench = makeBench(source.copyId, {});
  bench.machine = "ended";
  assert.equal(await bench.duties.sweep(), true);
  assert.deepEqual(bench.ended, [], "it may be owed");
  bench.duties.assign([]);
  bench.asked.splice(0);
  assert.equal(await bench.duties.sweep(), true);
  assert.deepEqual([bench.asked, bench.ended, bench.logged], [[], [source.copyId], ["remains-removed"]]);
  assert.equal(bench.duties.find(source.copyId), null);
});

test("an orphan that cannot be ended is named, and tried again", async () => {
  const bench = makeBench(destination.copyId, aborted);
  bench.failing = true;
  assert.equal(await bench.duties.sweep(), false);
  assert.deepEqual(bench.logged, ["orphan-removed", "orphan-not-removed"]);
  assert.equal(bench.duties.find(destination.copyId), bench.copy);
  bench.failing = false;
  assert.equal(await bench.duties.sweep(), true);
  assert.deepEqual(bench.ended, [destination.copyId]);
});
