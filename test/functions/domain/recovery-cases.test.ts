// What is drawn for a VM from all that the hosts tell, case by case (what holds over whole histories is in
// recovery.test.ts).
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ToldPart } from "../../../functions/domain/last-run.ts";
import {
  noCopy,
  recoveredEvents,
  recoverSlot,
  recoverVm,
  remade,
  restored,
  type VmStanding,
} from "../../../functions/domain/recovery.ts";
import { firstToken } from "../../../functions/domain/tokens.ts";
import { spec } from "../../support/assignments.ts";
import {
  assignment,
  atRest,
  context,
  copyOf,
  gone,
  inventory,
  loaded,
  partOf,
  past,
  type Seen,
} from "../support/inventories.ts";
import { admitted, destination, source, third, verdicts } from "../support/motions.ts";

const standing = (changes: Partial<VmStanding> & Pick<VmStanding, "inventory">): VmStanding => ({
  vmId: "vm-1",
  vm: atRest,
  migrations: [],
  highestToken: 7,
  ...changes,
});
const recover = (changes: Partial<VmStanding> & Pick<VmStanding, "inventory">) => {
  const recovered = recoverVm(standing(changes), context);
  assert.ok(recovered);
  return recovered;
};
const showVm = ({ vm }: { vm: typeof atRest }) =>
  `${vm.owner?.copyId ?? "none"} ${vm.wantedRunState} ${vm.runState} ${vm.stoppedBecause ?? "-"} ${vm.migrationId ?? "free"}`;

test("where nothing but a VM's name is known, nothing is drawn; a host's copy or journal makes it known again", () => {
  assert.equal(recoverVm(standing({ vm: null, inventory: inventory([]) }), context), null);
  const { vm } = recover({ vm: null, inventory: inventory([copyOf(source)]) });
  assert.deepEqual([vm.vmId, vm.spec, vm.createdBy, vm.createdAt, vm.owner], ["vm-1", spec, "restore", 9000, source]);
  const byJournal = recover({ vm: null, inventory: inventory([], [partOf("source")]) });
  assert.deepEqual(byJournal.vm.spec, assignment.spec);
});

test("R1: the token is above all that was ever seen, and of this epoch", () => {
  assert.equal(recover({ inventory: inventory([copyOf(source)]) }).vm.fencingToken, firstToken(3) + 1);
  const high = firstToken(3) + 50;
  assert.equal(recover({ inventory: inventory([]), highestToken: high }).vm.fencingToken, high + 1);
  const vm = { ...atRest, fencingToken: high };
  assert.equal(recover({ inventory: inventory([]), vm }).vm.fencingToken, high + 1);
});

for (const [why, changes, expected] of [
  ["R1: who runs owns the guest", { inventory: inventory([copyOf(third)]) }, "copy_C running running - free"],
  [
    "R1: what stands is paused",
    { inventory: inventory([copyOf(source, { machine: "stopped" })]) },
    "copy_A paused paused - free",
  ],
  [
    "R1: what stands at a gate is not",
    { inventory: inventory([copyOf(source, { machine: "stopped", isAtGate: true })]) },
    "copy_A running running - free",
  ],
  [
    "R1: unless it stood before it came there",
    { inventory: inventory([copyOf(source, { machine: "stopped", isAtGate: true, wasPaused: true })]) },
    "copy_A paused paused - free",
  ],
  [
    "R1: what was built is to begin",
    { inventory: inventory([copyOf(source, { machine: "held", lockToken: null })]) },
    "copy_A running starting - free",
  ],
  [
    "R1: what stands is paused, whatever else is there",
    { inventory: inventory([past, copyOf(third, { machine: "stopped", lockToken: 9 })]) },
    "copy_C paused paused - free",
  ],
  [
    "R1: what stands at a gate is not paused because another copy is",
    {
      inventory: inventory([
        copyOf(source, { machine: "stopped" }),
        copyOf(third, { machine: "stopped", lockToken: 9, isAtGate: true }),
      ]),
    },
    "copy_C running running - free",
  ],
  [
    "R1: a third copy that stands goes on standing, and waits for no migration",
    {
      inventory: inventory(
        [past, copyOf(third, { machine: "stopped", lockToken: 9 })],
        [partOf("source"), partOf("destination")],
      ),
    },
    "copy_C paused paused - free",
  ],
  [
    "R4: a guest that no host has is stopped",
    { inventory: inventory([]) },
    "copy_A stopped stopped table-restored free",
  ],
  [
    "R4: also one that had arrived: it stays its destination's, though no host has the migration any more",
    {
      inventory: inventory([]),
      vm: { ...atRest, owner: destination },
      migrations: [{ ...admitted({}).migration, verdict: verdicts.confirmed }],
    },
    "copy_B stopped stopped table-restored free",
  ],
  [
    "R4: one that had ended stays as it ended",
    {
      inventory: inventory([]),
      vm: { ...atRest, runState: "stopped", wantedRunState: "stopped", stoppedBecause: "powered-off" },
    },
    "copy_A stopped stopped powered-off free",
  ],
  [
    "R4: how another copy of it ended since is told",
    {
      inventory: inventory([copyOf(third, { machine: "ended", ended: "killed" })]),
      vm: { ...atRest, runState: "stopped", wantedRunState: "stopped", stoppedBecause: "powered-off" },
    },
    "copy_C stopped guest-lost killed free",
  ],
  [
    "R4: one that may have run, and left nothing, is stopped until its host has told of it",
    { inventory: inventory([past], [partOf("source")]) },
    "copy_B stopped stopped table-restored mig_1",
  ],
  [
    "R4: one whose last copy ended has that for its owner, and not an end of a migration that no host has",
    {
      inventory: inventory([copyOf(third, { machine: "ended", ended: "killed" })]),
      migrations: [admitted({}).migration],
    },
    "copy_C stopped guest-lost killed free",
  ],
  [
    "R4: how it ended is told",
    { inventory: inventory([copyOf(third, { machine: "ended", ended: "killed" })]) },
    "copy_C stopped guest-lost killed free",
  ],
  [
    "R4: lost with a host",
    { inventory: inventory([], [], ["host-a"]) },
    "copy_A stopped guest-lost host-declared-lost free",
  ],
  [
    "R4: a deleted VM stays deleted",
    { inventory: inventory([copyOf(source)]), vm: { ...atRest, deleted: true, owner: null } },
    "none running running - free",
  ],
  [
    "R5: a wish to stop of the same copy stands",
    { inventory: inventory([copyOf(source)]), vm: { ...atRest, wantedRunState: "stopped" } },
    "copy_A stopped stopping - free",
  ],
  [
    "R5: a wish to pause of the same copy stands",
    { inventory: inventory([copyOf(source)]), vm: { ...atRest, wantedRunState: "paused" } },
    "copy_A paused paused - free",
  ],
  [
    "R5: a guest that counted as lost with its host, and runs there, was not wished to stop",
    {
      inventory: inventory([copyOf(source)]),
      vm: { ...atRest, wantedRunState: "stopped", runState: "guest-lost", stoppedBecause: "host-declared-lost" },
    },
    "copy_A running running - free",
  ],
  [
    "R5: of another copy it is as the guest is",
    { inventory: inventory([copyOf(third)]), vm: { ...atRest, wantedRunState: "paused" } },
    "copy_C running running - free",
  ],
  [
    "R5: it has moved with its migration",
    {
      inventory: inventory(
        [copyOf(destination, { lockToken: 8 })],
        [partOf("source"), partOf("destination", { runIntent: 1 })],
      ),
      vm: { ...atRest, wantedRunState: "stopped" },
    },
    "copy_B stopped stopping - mig_1",
  ],
] as const satisfies readonly (readonly [string, Partial<VmStanding> & Pick<VmStanding, "inventory">, string])[]) {
  test(`${why}: ${expected}`, () => {
    assert.equal(showVm(recover(changes)), expected);
  });
}

test("R5: a delete that was asked of a copy is kept with it; resets belong to the copy that they were asked of", () => {
  const vm = { ...atRest, wantedRunState: "stopped", deleteRequested: true, resets: 3, resetsMade: 1 } as const;
  const same = recover({ vm, inventory: inventory([copyOf(source)]) }).vm;
  assert.deepEqual([same.deleteRequested, same.resets, same.resetsMade], [true, 3, 1]);
  const other = recover({ vm, inventory: inventory([copyOf(third)]) }).vm;
  assert.deepEqual([other.deleteRequested, other.resets, other.resetsMade], [false, 0, 0]);
  const running = { ...vm, wantedRunState: "running" } as const;
  assert.equal(recover({ vm: running, inventory: inventory([copyOf(source)]) }).vm.deleteRequested, false);
});

const verdictOf = (changes: Partial<VmStanding> & Pick<VmStanding, "inventory">) =>
  recover(changes).migrations.map(({ id, verdict, holds }) => {
    const holding = [holds.source ? "source" : "", holds.destination ? "destination" : ""].filter(Boolean).join("+");
    const confirmed = verdict.kind === "committed" ? ` ${verdict.confirmed?.outcome ?? "unconfirmed"}` : "";
    return `${id} ${verdict.kind}${confirmed} ${holding || "none"}`;
  });

for (const [why, changes, expected] of [
  [
    "R2: the source runs: aborted",
    { inventory: inventory([copyOf(source)], [partOf("source"), partOf("destination")]) },
    ["mig_1 aborted source+destination"],
  ],
  [
    "R2: the destination runs: committed, its word to come",
    {
      inventory: inventory(
        [copyOf(destination, { lockToken: 8 })],
        [partOf("source"), partOf("destination", { runIntent: 1 })],
      ),
    },
    ["mig_1 committed unconfirmed source+destination"],
  ],
  [
    "R2: the destination runs and is done with it: confirmed",
    {
      inventory: inventory(
        [past, copyOf(destination, { lockToken: 8 })],
        [partOf("source"), partOf("destination", { over: true, runIntent: 1 })],
      ),
    },
    ["mig_1 committed running source"],
  ],
  [
    "R2: it stands there, its host done with it: confirmed as paused",
    {
      inventory: inventory(
        [past, copyOf(destination, { machine: "stopped", lockToken: 8 })],
        [partOf("source"), partOf("destination", { over: true, runIntent: 1 })],
      ),
    },
    ["mig_1 committed paused source"],
  ],
  [
    "R2: it ended there, its host done with it: confirmed as ended",
    {
      inventory: inventory(
        [past, copyOf(destination, { ...gone, lockToken: 8 })],
        [partOf("source"), partOf("destination", { over: true, runIntent: 1 })],
      ),
    },
    ["mig_1 committed ended source"],
  ],
  [
    "R2: its guest powered itself off there, its host done with it: confirmed as ended",
    {
      inventory: inventory(
        [past, copyOf(destination, { machine: "ended", ended: "powered-off", lockToken: 8 })],
        [partOf("source"), partOf("destination", { over: true, runIntent: 1 })],
      ),
    },
    ["mig_1 committed ended source"],
  ],
  [
    "R2: it was killed there, its host done with it: confirmed as lost",
    {
      inventory: inventory(
        [past, copyOf(destination, { machine: "ended", ended: "killed", lockToken: 8 })],
        [partOf("source"), partOf("destination", { over: true, runIntent: 1 })],
      ),
    },
    ["mig_1 committed guest-lost source"],
  ],
  [
    "R2: a third copy runs: forced",
    { inventory: inventory([past, copyOf(third, { lockToken: 9 })], [partOf("source"), partOf("destination")]) },
    ["mig_1 forced source+destination"],
  ],
  [
    "R2: a third copy ran last and has ended: forced",
    { inventory: inventory([copyOf(third, { ...gone, lockToken: 9 })], [partOf("source"), partOf("destination")]) },
    ["mig_1 forced source+destination"],
  ],
  [
    "R2: the same, with the source standing past its gate since before: it does not go on",
    { inventory: inventory([past, copyOf(third, { ...gone, lockToken: 99 })], [partOf("source")]) },
    ["mig_1 forced source"],
  ],
  [
    "R2: the destination has lost its journal: it may have run, and is asked",
    { inventory: inventory([past], [partOf("source")]) },
    ["mig_1 committed unconfirmed source+destination"],
  ],
  [
    "R2: the destination is lost, and may have run",
    { inventory: inventory([past], [partOf("source")], ["host-b"]) },
    ["mig_1 committed unconfirmed source+destination"],
  ],
  [
    "R3: both hosts are lost, and nobody knows anything: it stays open",
    { inventory: inventory([], [], ["host-a", "host-b"]), migrations: [admitted({}).migration] },
    ["mig_1 open source+destination"],
  ],
  [
    "R3: one of them has told that it has nothing: aborted",
    { inventory: inventory([], [], ["host-b"]), migrations: [admitted({}).migration] },
    ["mig_1 aborted none"],
  ],
  [
    "R3: both are lost, and a third copy runs: forced",
    {
      inventory: inventory([copyOf(third, { lockToken: 9 })], [], ["host-a", "host-b"]),
      migrations: [admitted({}).migration],
    },
    ["mig_1 forced none"],
  ],
  [
    "R3: both are lost, and a third copy was the last and ended: forced",
    {
      inventory: inventory([copyOf(third, { ...gone, lockToken: 9 })], [], ["host-a", "host-b"]),
      migrations: [admitted({}).migration],
    },
    ["mig_1 forced none"],
  ],
  [
    "R2: of one that all are done with nothing is told",
    { inventory: inventory([copyOf(source)], [partOf("source", { over: true })]) },
    [],
  ],
  [
    "R2: the destination runs it and has no journal: it was done with it, and has nothing to confirm",
    { inventory: inventory([past, copyOf(destination, { lockToken: 8 })], [partOf("source")]) },
    ["mig_1 committed running source"],
  ],
  [
    "R2: also where it runs without its lock file",
    { inventory: inventory([past, copyOf(destination, { lockToken: null })], [partOf("source")]) },
    ["mig_1 committed running source"],
  ],
  [
    "R2: it ended there, its journal gone: what became of it is told",
    { inventory: inventory([past, copyOf(destination, { ...gone, lockToken: 8 })], [partOf("source")]) },
    ["mig_1 committed ended source"],
  ],
  [
    "R2: it ended there and never took its lock file, its host done with it: it is not asked",
    {
      inventory: inventory(
        [past, copyOf(destination, { ...gone, lockToken: null })],
        [partOf("source"), partOf("destination", { over: true, runIntent: 1 })],
      ),
    },
    ["mig_1 committed ended source"],
  ],
  [
    "R2: it ended there and never took its lock file: it is asked",
    { inventory: inventory([past, copyOf(destination, { ...gone, lockToken: null })], [partOf("source")]) },
    ["mig_1 committed unconfirmed source+destination"],
  ],
  [
    "R2: one that the table shows as under way, and no host has",
    { inventory: inventory([copyOf(source)]), migrations: [admitted({}).migration] },
    ["mig_1 aborted none"],
  ],
] as const satisfies readonly (readonly [
  string,
  Partial<VmStanding> & Pick<VmStanding, "inventory">,
  readonly string[],
])[]) {
  test(`${why}: ${expected.join()}`, () => {
    assert.deepEqual(verdictOf(changes), expected);
  });
}

test("R2: a guest whose source stood by its user's wish arrives paused, also where only one of them says so", () => {
  const arrives = (copies: Seen[], parts: ToldPart[], migrations: VmStanding["migrations"] = []) =>
    recover({ inventory: inventory(copies, parts), migrations }).migrations[0]?.arrivesPaused;
  const both = [partOf("source"), partOf("destination")];
  const aside = copyOf(third, { machine: "stopped", wasPaused: true, lockToken: 5 });
  assert.equal(arrives([past], both), false);
  assert.equal(arrives([past, aside], both), false, "another copy's pause is not this guest's");
  assert.equal(arrives([aside, { ...past, wasPaused: true }], both), true);
  assert.equal(arrives([aside, past], both), false, "nor is it one that is told of first");
  assert.equal(arrives([copyOf(source, { machine: "stopped" })], both), true, "it stands, and at no gate");
  assert.equal(arrives([copyOf(source)], both), false);
  assert.equal(arrives([loaded], both), false, "nothing is known of its source's copy");
  assert.equal(arrives([past], [partOf("source"), partOf("destination", { arrivesPaused: true })]), true);
  assert.equal(arrives([past], [partOf("source", { arrivesPaused: true }), partOf("destination")]), false);
  assert.equal(arrives([past], [partOf("source")]), false, "its destination says nothing");
  const known = { ...admitted({}).migration, arrivesPaused: true };
  assert.equal(arrives([past], both, [known]), true);
});

test("R2: a host that was declared lost has said of its copy that it is gone, and keeps its part", () => {
  const [migration] = recover({ inventory: inventory([past], [partOf("source")], ["host-b"]) }).migrations;
  assert.deepEqual(migration?.seen, {
    source: null,
    destination: { state: "gone", because: "host-declared-lost", detail: restored, underToken: firstToken(3) + 1 },
  });
  assert.deepEqual(migration?.startedAt, assignment.issuedAt);
  const known = { ...admitted({}).migration, startedAt: null, takeBack: { statement: "", refused: null } };
  const again = recover({ inventory: inventory([past], [partOf("source")]), migrations: [known] }).migrations[0];
  assert.deepEqual([again?.startedAt, again?.takeBack, again?.cancelRequested], [1000, null, null]);
  const begun = recover({ inventory: inventory([past], [partOf("source")]), migrations: [admitted({}).migration] });
  assert.equal(begun.migrations[0]?.startedAt, 2000);
});

test("R3: what stays open counts both of its copies as gone, under a token above all that was ever seen", () => {
  const [migration] = recover({
    inventory: inventory([], [], ["host-a", "host-b"]),
    migrations: [admitted({}).migration],
  }).migrations;
  const token = firstToken(3) + 1;
  const lost = { state: "gone", because: "host-declared-lost", detail: restored, underToken: token };
  assert.deepEqual(migration?.verdict, { kind: "open", token });
  assert.deepEqual(migration.seen, { source: lost, destination: lost });
});

test("R2: a migration that no host has is over as of now", () => {
  const [migration] = recover({
    inventory: inventory([copyOf(source)]),
    migrations: [admitted({}).migration],
  }).migrations;
  assert.deepEqual([migration?.stage, migration?.endedAt], ["ended", 9000]);
});

test("R2: a part is of its own host, in its own role, of its own migration", () => {
  const runs = copyOf(destination, { lockToken: 8 });
  const other = {
    ...assignment,
    migrationId: "mig_2",
    fencingToken: 6,
    destination: { ...assignment.destination, copyId: "copy_E" },
  };
  const of = (parts: ToldPart[]) =>
    recover({ inventory: inventory([past, runs], parts) }).migrations.map(
      ({ id, verdict, holds }) => `${id} ${verdict.kind} ${holds.source} ${holds.destination}`,
    );
  assert.deepEqual(of([partOf("destination", { runIntent: 1 })]), ["mig_1 committed false true"]);
  assert.deepEqual(of([partOf("source"), partOf("destination", { runIntent: 1, over: true })]), [
    "mig_1 committed true false",
  ]);
  assert.deepEqual(
    of([
      partOf("source", { assignment: other }),
      partOf("source", { over: true }),
      partOf("destination", { runIntent: 1 }),
    ]),
    ["mig_2 aborted true false", "mig_1 committed false true"],
  );
});

test("R2: migrations that opened under one token are taken in the order of their ids", () => {
  const parts = ["mig_2", "mig_1", "mig_3"].map((migrationId) =>
    partOf("source", { assignment: { ...assignment, migrationId } }),
  );
  const later = partOf("source", { assignment: { ...assignment, migrationId: "mig_0", fencingToken: 9 } });
  assert.deepEqual(
    recover({ inventory: inventory([copyOf(source)], [later, ...parts]) }).migrations.map(({ id }) => id),
    ["mig_1", "mig_2", "mig_3", "mig_0"],
  );
});

test("R2: a VM is held by the last of its migrations that a host is not done with, unless a third copy owns it or it is deleted", () => {
  const holder = (copies: Seen[], parts: ToldPart[], vm: typeof atRest = atRest) =>
    recover({ vm, inventory: inventory(copies, parts) }).vm.migrationId;
  const runs = copyOf(destination, { lockToken: 8 });
  assert.equal(holder([past, runs], [partOf("destination", { runIntent: 1 })]), "mig_1");
  assert.equal(holder([past, runs], [partOf("source"), partOf("destination", { runIntent: 1, over: true })]), null);
  assert.equal(holder([past, copyOf(third, { lockToken: 9 })], [partOf("source"), partOf("destination")]), null);
  const deleted = { ...atRest, deleted: true, owner: null };
  assert.equal(holder([past], [partOf("source"), partOf("destination")], deleted), null);
  const asked = recoverVm(
    standing({ inventory: inventory([copyOf(source)]), migrations: [admitted({}).migration] }),
    context,
  );
  assert.equal(asked?.vm.migrationId, null, "no host has it");
});

test("R4: a migration of a deleted VM gets a third owner that there is not, so that both ends let their copies go", () => {
  const deleted = { ...atRest, deleted: true, owner: null };
  const found = recover({ vm: deleted, inventory: inventory([past], [partOf("source"), partOf("destination")]) });
  const [migration] = found.migrations;
  assert.ok(migration?.verdict.kind === "forced");
  assert.deepEqual(migration.verdict.owner, { hostId: "nobody", copyId: noCopy });
  assert.deepEqual(found.vm.owner, null);
  const known = recover({ vm: { ...deleted, owner: third }, inventory: inventory([past], [partOf("source")]) });
  const verdict = known.migrations[0]?.verdict;
  assert.deepEqual(verdict?.kind === "forced" && verdict.owner, { hostId: "host-c", copyId: noCopy });
});

test("R3: a late copy of the owner's name on another host, or beside another part, is told to go", () => {
  const elsewhere = copyOf({ hostId: "host-d", copyId: "copy_A" }, { machine: "stopped", lockToken: 5 });
  const beside = copyOf({ hostId: "host-a", copyId: "copy_OLD" }, { machine: "stopped", lockToken: 4 });
  const duties = recover({
    inventory: inventory([copyOf(source), elsewhere, beside], [partOf("source"), partOf("destination")]),
  }).duties.map(({ hostId, duty }) => `${hostId} ${duty.copyId} ${duty.wantedRunState}`);
  assert.deepEqual(duties, ["host-a copy_A running", "host-d copy_A stopped", "host-a copy_OLD stopped"]);
});

test("R5: a wish of the source's copy goes with it to this migration's destination, and to no other copy", () => {
  const vm = { ...atRest, wantedRunState: "stopped" } as const;
  const parts = [partOf("source"), partOf("destination", { runIntent: 1, over: true })];
  const wanted = (copy: Seen, known: typeof atRest = vm) =>
    recover({ vm: known, inventory: inventory([copy], parts) }).vm.wantedRunState;
  assert.equal(wanted(copyOf(destination, { lockToken: 8 })), "stopped");
  assert.equal(wanted(copyOf(third, { lockToken: 9 })), "running");
  assert.equal(wanted(copyOf(destination, { lockToken: 8 }), { ...vm, owner: third }), "running");
});

test("R2: of migrations that followed each other each has the verdict that the next one began with", () => {
  const back = {
    ...assignment,
    migrationId: "mig_2",
    fencingToken: 8,
    source: { ...assignment.destination },
    destination: { ...assignment.source, copyId: "copy_D" },
  };
  const returning = { ...partOf("source"), hostId: "host-b", assignment: back };
  const found = recover({
    inventory: inventory(
      [copyOf(destination, { lockToken: 8 })],
      [returning, partOf("source"), partOf("destination", { over: true, runIntent: 1 })],
    ),
  });
  assert.deepEqual(
    found.migrations.map(({ id, verdict }) => [id, verdict.kind, "confirmed" in verdict && verdict.confirmed?.outcome]),
    [
      ["mig_1", "committed", "running"],
      ["mig_2", "aborted", false],
    ],
  );
  assert.equal(found.vm.migrationId, "mig_2");
});

test("R2: a destination that the guest has left for another host is not asked where its source is in no doubt", () => {
  const onwards = {
    ...assignment,
    migrationId: "mig_2",
    fencingToken: 8,
    source: { ...assignment.destination },
    destination: { ...assignment.source, ...third },
  };
  const leaving = { ...partOf("source"), hostId: "host-b", assignment: onwards };
  const arrived = copyOf(third, { lockToken: 9 });
  for (const copies of [[arrived], [arrived, copyOf(source, gone)]]) {
    assert.deepEqual(verdictOf({ inventory: inventory(copies, [leaving, partOf("source")]) }), [
      "mig_1 committed running source",
      "mig_2 committed running source",
    ]);
  }
});

test("R3: every copy gets a duty: the owner's to go on, those that were left behind to go; who is in a migration hears it there", () => {
  const duties = (changes: Partial<VmStanding> & Pick<VmStanding, "inventory">) =>
    recover(changes).duties.map(({ hostId, duty }) => `${hostId} ${duty.copyId} ${duty.wantedRunState} ${duty.hasRun}`);
  const old = copyOf(third, { machine: "stopped", lockToken: 5 });
  assert.deepEqual(duties({ inventory: inventory([copyOf(source), old]) }), [
    "host-a copy_A running true",
    "host-c copy_C stopped true",
  ]);
  assert.deepEqual(duties({ inventory: inventory([copyOf(source)], [partOf("source"), partOf("destination")]) }), [
    "host-a copy_A running true",
  ]);
  const arriving = inventory(
    [past, copyOf(destination, { lockToken: 8 })],
    [partOf("source"), partOf("destination", { runIntent: 1 })],
  );
  assert.deepEqual(duties({ inventory: arriving }), [], "its duty comes with its confirmation");
  const arrived = inventory(
    [past, copyOf(destination, { lockToken: 8 })],
    [partOf("source"), partOf("destination", { runIntent: 1, over: true })],
  );
  assert.deepEqual(duties({ inventory: arrived }), ["host-b copy_B running true"], "it is confirmed");
  const unowned = { ...atRest, owner: null, runState: "stopped", wantedRunState: "stopped" } as const;
  const onItsWay = copyOf(destination, { machine: "incoming", lockToken: null });
  assert.deepEqual(duties({ vm: unowned, inventory: inventory([onItsWay]) }), ["host-b copy_B stopped true"]);
  const deleted = { ...atRest, deleted: true, owner: null };
  assert.deepEqual(duties({ vm: deleted, inventory: inventory([copyOf(source)]) }), ["host-a copy_A stopped true"]);
  const ended = copyOf(source, gone);
  assert.deepEqual(duties({ inventory: inventory([ended]) }), ["host-a copy_A stopped true"]);
});

test("a migration that the table had forgotten is made again from the assignment that it had signed", () => {
  const made = remade({ ...assignment, issuedAt: 2000 }, 9000);
  assert.deepEqual([made.createdAt, made.startedAt, made.requestedBy, made.stage], [2000, 2000, "restore", "admitted"]);
  assert.deepEqual([made.source, made.destination], [source, destination]);
  assert.deepEqual(made.seen, { source: null, destination: null });
  assert.deepEqual(
    [made.verdict, made.holds],
    [
      { kind: "open", token: 7 },
      { source: false, destination: false },
    ],
  );
  assert.equal(remade({ ...assignment, issuedAt: 9500 }, 9000).createdAt, 9000, "never later than now");
});

test("a host's slot is the newest migration that it is not done with", () => {
  const before = { assignmentsRevision: 4, migration: null };
  const open = ["mig_1", "mig_3", "mig_2"].map((id) => ({
    migration: { ...admitted({}).migration, id },
    assignment,
    toldBy: ["host-a", "host-b"],
  }));
  const taken = recoverSlot("test", "host-a", before, open);
  assert.deepEqual(
    [taken.assignmentsRevision, taken.migration?.migrationId, taken.migration?.role, taken.migration?.claimed],
    [5, "mig_3", "source", true],
  );
  assert.equal(recoverSlot("test", "host-b", before, open).migration?.role, "destination");
  assert.equal(recoverSlot("test", "host-c", before, open).migration, null);
  assert.deepEqual(recoverSlot("test", "host-a", before, []), { assignmentsRevision: 5, migration: null });
  const forgotten = open.map((one) => (one.migration.id === "mig_1" ? { ...one, toldBy: ["host-b"] } : one));
  assert.equal(
    recoverSlot("test", "host-a", before, forgotten).migration?.migrationId,
    "mig_1",
    "it hears of it by its slot alone",
  );
  assert.equal(recoverSlot("test", "host-b", before, forgotten).migration?.migrationId, "mig_3");
  const done = open.map(({ migration, ...rest }) => ({
    ...rest,
    migration: { ...migration, holds: { source: false, destination: true } },
  }));
  assert.equal(recoverSlot("test", "host-a", before, done).migration, null);
});

test("a newer migration that a host is done with does not take the slot of one that it is not done with", () => {
  const { migration } = admitted({});
  const open = [
    { migration: { ...migration, id: "mig_1" }, assignment, toldBy: ["host-a"] },
    { migration: { ...migration, id: "mig_2", holds: { source: false, destination: true } }, assignment, toldBy: [] },
  ];
  const slot = recoverSlot("test", "host-a", { assignmentsRevision: 4, migration: null }, open);
  assert.deepEqual([slot.migration?.migrationId, slot.migration?.role], ["mig_1", "source"]);
});

test("R3: a guest that has ended may be with a host that was declared lost; one that is found is where it was found", () => {
  const lateOf = (seen: Seen[], lostHosts: string[]) =>
    recover({ inventory: inventory(seen, [], lostHosts) }).vm.mayBeLate;
  const ended = copyOf(source, gone);
  assert.deepEqual([lateOf([], ["host-c"]), lateOf([ended], ["host-c"])], [true, true]);
  assert.deepEqual([lateOf([], []), lateOf([ended], [])], [undefined, undefined]);
  assert.equal(lateOf([copyOf(source)], ["host-c"]), undefined);
});

test("what a recovery does to a migration is told: asked for where it was forgotten, taken up where it had ended", () => {
  const before = admitted({}).migration;
  const aborted = { ...before, verdict: verdicts.aborted };
  const kinds = (from: typeof before | null, to: typeof before) => recoveredEvents(from, to).map(({ kind }) => kind);
  assert.deepEqual(kinds(before, aborted), ["migration-aborted"]);
  assert.deepEqual(kinds(null, aborted), ["migration-requested", "migration-aborted"]);
  assert.deepEqual(kinds({ ...before, stage: "ended" }, aborted), ["migration-admitted", "migration-aborted"]);
  assert.deepEqual(kinds({ ...before, stage: "ended" }, { ...aborted, stage: "ended" }), ["migration-aborted"]);
  const committed = { ...before, verdict: verdicts.committed };
  assert.deepEqual(kinds(committed, before), ["migration-admitted"], "nobody knows any more");
  assert.deepEqual([kinds(before, before), kinds(committed, committed)], [[], []], "nothing has become of it");
  const freed = { ...aborted, holds: { source: false, destination: false } };
  assert.deepEqual(kinds(before, freed), ["migration-aborted"], "slots are told of by their hosts");
  const requested = recoveredEvents(null, aborted)[0];
  assert.deepEqual(
    [requested?.subject, requested?.data],
    [
      { kind: "migration", id: "mig_1" },
      { vm: "vm-1", source: "host-a", destination: "host-b" },
    ],
  );
  const admittedAgain = recoveredEvents({ ...before, stage: "ended" }, aborted)[0];
  assert.deepEqual([admittedAgain?.subject, admittedAgain?.data], [{ kind: "migration", id: "mig_1" }, { vm: "vm-1" }]);
});
