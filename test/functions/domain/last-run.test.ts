// Which copy ran last, and what is drawn from it, case by case (what holds over whole histories is in recovery.test.ts).
import assert from "node:assert/strict";
import { test } from "node:test";
import { endOf, findLastRun, type LastRun, type Part, type VmInventory } from "../../../functions/domain/last-run.ts";
import { type LateStanding, recoverLate } from "../../../functions/domain/late-host.ts";
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
import type { InventoryCopy } from "../../../schemas/inventory.ts";
import { spec } from "../../support/assignments.ts";
import { admitted, destination, runningVm, source, third, verdicts } from "../support/motions.ts";

type Seen = InventoryCopy & { hostId: string };
type Told = Part & { hostId: string };

const slot = admitted({}).slots.source;
assert.ok(slot?.migration);
const { assignment } = slot.migration;

const copyOf = (ref: { hostId: string; copyId: string }, changes: Partial<InventoryCopy> = {}): Seen => ({
  ...ref,
  vmId: "vm-1",
  spec,
  migrationId: null,
  machine: "running",
  lockToken: 7,
  lockFile: null,
  gate: null,
  isAtGate: false,
  wasPaused: false,
  ended: null,
  ...changes,
});
const partOf = (role: "source" | "destination", changes: Partial<Part> = {}): Told => ({
  hostId: assignment[role].hostId,
  role,
  assignment,
  recordToken: 7,
  commitSent: false,
  runIntent: 0,
  runRefused: 0,
  arrivesPaused: false,
  relinquished: false,
  over: false,
  ...changes,
});
const inventory = (copies: Seen[], parts: Told[] = [], lostHosts: string[] = []): VmInventory => ({
  copies,
  parts,
  lostHosts: new Set(lostHosts),
});
const told = (last: LastRun): string =>
  last.kind === "copy" ? `${last.copy.copyId} ${last.state}` : `gone ${last.of?.copyId ?? "none"} ${last.how}`;

/** At the gate of the migration, past it. */
const past = copyOf(source, { machine: "stopped", migrationId: "mig_1", gate: "past", isAtGate: true });
const loaded = copyOf(destination, { machine: "loaded", lockToken: null, migrationId: "mig_1" });
const gone = { machine: "ended", ended: "crashed" } as const;

for (const [why, vm, expected] of [
  ["L1: who executes owns itself", inventory([copyOf(source)]), "copy_A running"],
  [
    "L1: also under a lower token than one that stands",
    inventory([copyOf(source, { lockToken: 5 }), copyOf(third, { machine: "stopped", lockToken: 9 })]),
    "copy_A running",
  ],
  [
    "L2: of two that ran, the one under the higher token",
    inventory([copyOf(source, { machine: "stopped" }), copyOf(third, { machine: "stopped", lockToken: 8 })]),
    "copy_C standing",
  ],
  [
    "L2: whatever their order",
    inventory([copyOf(third, { machine: "stopped", lockToken: 8 }), copyOf(source, { machine: "stopped" })]),
    "copy_C standing",
  ],
  [
    "L2: under the same token the one that is there",
    inventory([copyOf(source, gone), copyOf(third, { machine: "stopped" })]),
    "copy_C standing",
  ],
  [
    "L2: and the one that is there stays so",
    inventory([copyOf(third, { machine: "stopped" }), copyOf(source, gone)]),
    "copy_C standing",
  ],
  [
    "L2: an end under a higher token was the guest's",
    inventory([copyOf(source, { machine: "stopped" }), copyOf(third, { ...gone, lockToken: 8 })]),
    "gone copy_C crashed",
  ],
  [
    "L2: also where the one that is there comes after it",
    inventory([copyOf(third, { ...gone, lockToken: 8 }), copyOf(source, { machine: "stopped" })]),
    "gone copy_C crashed",
  ],
  ["one that executes, whatever token it has", inventory([copyOf(source, { lockToken: null })]), "copy_A running"],
  [
    "one that stands, whatever token it has",
    inventory([copyOf(source, { machine: "stopped", lockToken: null })]),
    "copy_A standing",
  ],
  [
    "L2: one that ended without a word was killed",
    inventory([copyOf(source, { machine: "ended" })]),
    "gone copy_A killed",
  ],
  [
    "a copy that ended and never had its lock file never ran",
    inventory([copyOf(source, { ...gone, lockToken: null })]),
    "gone none killed",
  ],
  ["nothing is known of it", inventory([]), "gone none killed"],
  ["nothing is known of it, and a host is lost", inventory([], [], ["host-a"]), "gone none host-lost"],
  [
    "one that was built and never begun",
    inventory([copyOf(source, { machine: "held", lockToken: null })]),
    "copy_A held",
  ],
  [
    "one that was built for a migration is not that",
    inventory([copyOf(destination, { machine: "held", lockToken: null, migrationId: "mig_1" })]),
    "gone none killed",
  ],
  [
    "a copy on its way in never ran",
    inventory([copyOf(destination, { machine: "incoming", lockToken: null })]),
    "gone none killed",
  ],
  [
    "a copy that is loaded and took its lock file arrived to stand",
    inventory([copyOf(destination, { machine: "loaded" })]),
    "copy_B standing",
  ],
  [
    "a copy that is loaded, took its lock file, and is to run",
    inventory([copyOf(destination, { machine: "loaded", lockToken: 8 })], [partOf("destination", { runIntent: 1 })]),
    "copy_B loaded",
  ],
  [
    "the same, meant to stand",
    inventory(
      [copyOf(destination, { machine: "loaded", lockToken: 8 })],
      [partOf("destination", { runIntent: 1, arrivesPaused: true })],
    ),
    "copy_B standing",
  ],
  [
    "the same, and the part is another copy's",
    inventory([copyOf(third, { machine: "loaded", lockToken: 9 })], [partOf("destination")]),
    "copy_C standing",
  ],
  [
    "the same, its host done with it",
    inventory([copyOf(destination, { machine: "loaded", lockToken: 8 })], [partOf("destination", { over: true })]),
    "copy_B standing",
  ],
  [
    "L3: an intent to run, and its copy gone",
    inventory([past], [partOf("destination", { runIntent: 1 })]),
    "gone copy_B may-have-run",
  ],
  [
    "L3: the last intent refused",
    inventory([past], [partOf("source"), partOf("destination", { runIntent: 2, runRefused: 2 })]),
    "copy_A standing",
  ],
  [
    "L3: an earlier intent refused, not the last",
    inventory([past], [partOf("source"), partOf("destination", { runIntent: 2, runRefused: 1 })]),
    "gone copy_B may-have-run",
  ],
  [
    "L3: how its copy ended is known",
    inventory([past, copyOf(destination, { ...gone, lockToken: null })], [partOf("destination", { runIntent: 1 })]),
    "gone copy_B crashed",
  ],
  [
    "L3: its copy has run under a yet higher token",
    inventory(
      [copyOf(source, { machine: "stopped", lockToken: 8 }), copyOf(destination, { ...gone, lockToken: 9 })],
      [partOf("destination", { runIntent: 1 })],
    ),
    "gone copy_B crashed",
  ],
  [
    "L3: a copy that is still on its way in never had the memory",
    inventory(
      [past, copyOf(destination, { machine: "incoming", lockToken: null })],
      [partOf("source"), partOf("destination", { runIntent: 1 })],
    ),
    "copy_A standing",
  ],
  [
    "L3: nor one that is held",
    inventory(
      [past, copyOf(destination, { machine: "held", lockToken: null, migrationId: "mig_1" })],
      [partOf("source"), partOf("destination", { runIntent: 1 })],
    ),
    "copy_A standing",
  ],
  [
    "L4: past the gate, and the destination has no journal",
    inventory([past], [partOf("source")]),
    "gone copy_B may-have-run",
  ],
  [
    "L4: past the gate, and the destination is lost",
    inventory([past], [partOf("source")], ["host-b"]),
    "gone copy_B host-lost",
  ],
  [
    "L4: whichever copy is told of first",
    inventory(
      [copyOf(third, { machine: "held", lockToken: null, migrationId: "mig_3" }), past],
      [partOf("source")],
      ["host-b"],
    ),
    "gone copy_B host-lost",
  ],
  [
    "arrived paused, its host done with it, its source not yet",
    inventory(
      [past, copyOf(destination, { machine: "loaded", lockToken: 8 })],
      [partOf("source"), partOf("destination", { runIntent: 1, arrivesPaused: true, over: true })],
    ),
    "copy_B standing",
  ],
  [
    "L4: the source's copy stands no more",
    inventory([{ ...past, ...gone }], [partOf("source")], ["host-b"]),
    "gone copy_A crashed",
  ],
  ["L4: the source is done with it", inventory([past], [partOf("source", { over: true })]), "copy_A standing"],
  [
    "L4: the destination has its journal",
    inventory([past], [partOf("source"), partOf("destination")]),
    "copy_A standing",
  ],
  [
    "L4: a journal of another migration is none of this one",
    inventory(
      [past],
      [partOf("source"), partOf("destination", { assignment: { ...assignment, migrationId: "mig_2" } })],
    ),
    "gone copy_B may-have-run",
  ],
  ...(
    [
      ["not at a gate", { isAtGate: false }],
      ["at the gate of another migration", { migrationId: "mig_2" }],
      ["its gate undecided", { gate: null }],
      ["its gate cancelled", { gate: "cancelled" }],
    ] as const
  ).map(
    ([how, change]) =>
      [
        `L4: the source stands, ${how}`,
        inventory([{ ...past, ...change }], [partOf("source")]),
        "copy_A standing",
      ] as const,
  ),
  ["L4: let run again since", inventory([{ ...past, machine: "running" }], [partOf("source")]), "copy_A running"],
  [
    "L5: loaded, and the source's copy is gone: it stands in for it",
    inventory([loaded, copyOf(source, gone)], [partOf("source"), partOf("destination")]),
    "copy_B loaded",
  ],
  [
    "L5: also where nothing is known of the source's copy",
    inventory([loaded], [partOf("source"), partOf("destination")]),
    "copy_B loaded",
  ],
  [
    "L5: the source is there: it has all that the destination has",
    inventory([past, loaded], [partOf("source"), partOf("destination")]),
    "copy_A standing",
  ],
  [
    "L5: it gave its word",
    inventory([loaded, copyOf(source, gone)], [partOf("source"), partOf("destination", { relinquished: true })]),
    "gone copy_A crashed",
  ],
  [
    "L5: its host is done with it",
    inventory([loaded, copyOf(source, gone)], [partOf("source"), partOf("destination", { over: true })]),
    "gone copy_A crashed",
  ],
  [
    "L5: another copy has run since",
    inventory([loaded, copyOf(third, { ...gone, lockToken: 9 })], [partOf("source"), partOf("destination")]),
    "gone copy_C crashed",
  ],
  [
    "L5: the source was let run again under a higher token",
    inventory([loaded, copyOf(source, { ...gone, lockToken: 8 })], [partOf("source"), partOf("destination")]),
    "gone copy_A crashed",
  ],
  [
    "L5: somebody holds its lock file",
    inventory([{ ...loaded, lockFile: "held" }, copyOf(source, gone)], [partOf("source"), partOf("destination")]),
    "gone copy_A crashed",
  ],
  [
    "L5: another has taken its lock file since",
    inventory(
      [{ ...loaded, lockFile: { copyId: "copy_C", fencingToken: 8 } }, copyOf(source, gone)],
      [partOf("source"), partOf("destination")],
    ),
    "gone copy_A crashed",
  ],
  [
    "L5: its lock file is as the source left it",
    inventory(
      [{ ...loaded, lockFile: { copyId: "copy_A", fencingToken: 7 } }, copyOf(source, gone)],
      [partOf("source"), partOf("destination")],
    ),
    "copy_B loaded",
  ],
  [
    "L5: its lock file is its own",
    inventory(
      [{ ...loaded, lockFile: { copyId: "copy_B", fencingToken: 8 } }, copyOf(source, gone)],
      [partOf("source"), partOf("destination")],
    ),
    "copy_B loaded",
  ],
  [
    "L5: the source is done with it: it was decided for another",
    inventory([loaded, copyOf(source, gone)], [partOf("source", { over: true }), partOf("destination")]),
    "gone copy_A crashed",
  ],
  [
    "L5: the source has forgotten it",
    inventory([loaded, copyOf(source, gone)], [partOf("destination")]),
    "gone copy_A crashed",
  ],
  ["L5: the source's host is lost", inventory([loaded], [partOf("destination")], ["host-a"]), "copy_B loaded"],
  [
    "L5: what the source knows of another migration says nothing of this one",
    inventory(
      [loaded, copyOf(source, gone)],
      [partOf("source", { assignment: { ...assignment, migrationId: "mig_2" } }), partOf("destination")],
    ),
    "gone copy_A crashed",
  ],
  [
    "L5: still on its way in it stands in for nobody",
    inventory([{ ...loaded, machine: "incoming" }, copyOf(source, gone)], [partOf("source"), partOf("destination")]),
    "gone copy_A crashed",
  ],
] as const satisfies readonly (readonly [string, VmInventory, string])[]) {
  test(`${why}: ${expected}`, () => {
    assert.equal(told(findLastRun(vm)), expected);
  });
}

test("an end of a migration is its host and copy, without what the assignment tells besides", () => {
  assert.deepEqual([endOf(assignment, "source"), endOf(assignment, "destination")], [source, destination]);
});

const context = { clusterId: "test", restoreEpoch: 3, at: 9000 };
const atRest = runningVm({ migrationId: null });
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
    "R4: a guest that no host has is stopped",
    { inventory: inventory([]) },
    "copy_A stopped stopped table-restored free",
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
    "R2: nobody has the guest, and none of both had it last: aborted",
    { inventory: inventory([copyOf(third, { ...gone, lockToken: 9 })], [partOf("source"), partOf("destination")]) },
    ["mig_1 aborted source+destination"],
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
    "R2: of one that all are done with nothing is told",
    { inventory: inventory([copyOf(source)], [partOf("source", { over: true })]) },
    [],
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
  const arrives = (copies: Seen[], parts: Told[], migrations: VmStanding["migrations"] = []) =>
    recover({ inventory: inventory(copies, parts), migrations }).migrations[0]?.arrivesPaused;
  const both = [partOf("source"), partOf("destination")];
  const aside = copyOf(third, { machine: "stopped", wasPaused: true, lockToken: 5 });
  assert.equal(arrives([past], both), false);
  assert.equal(arrives([past, aside], both), false, "another copy's pause is not this guest's");
  assert.equal(arrives([aside, { ...past, wasPaused: true }], both), true);
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

test("R2: a part is of its own host, in its own role, of its own migration", () => {
  const runs = copyOf(destination, { lockToken: 8 });
  const other = {
    ...assignment,
    migrationId: "mig_2",
    fencingToken: 6,
    destination: { ...assignment.destination, copyId: "copy_E" },
  };
  const of = (parts: Told[]) =>
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
  const holder = (copies: Seen[], parts: Told[], vm: typeof atRest = atRest) =>
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
  const deleted = { ...atRest, deleted: true, owner: null };
  assert.deepEqual(duties({ vm: deleted, inventory: inventory([copyOf(source)]) }), ["host-a copy_A stopped true"]);
  const ended = copyOf(source, gone);
  assert.deepEqual(duties({ inventory: inventory([ended]) }), ["host-a copy_A stopped true"]);
});

test("a migration that the table had forgotten is made again from the assignment that it had signed", () => {
  const made = remade({ ...assignment, issuedAt: 2000 }, 9000);
  assert.deepEqual([made.createdAt, made.startedAt, made.requestedBy, made.stage], [2000, 2000, "restore", "admitted"]);
  assert.deepEqual([made.source, made.destination], [source, destination]);
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
  const open = ["mig_1", "mig_3", "mig_2"].map((id) => ({ migration: { ...admitted({}).migration, id }, assignment }));
  const taken = recoverSlot("test", "host-a", before, open);
  assert.deepEqual(
    [taken.assignmentsRevision, taken.migration?.migrationId, taken.migration?.role, taken.migration?.claimed],
    [5, "mig_3", "source", true],
  );
  assert.equal(recoverSlot("test", "host-b", before, open).migration?.role, "destination");
  assert.equal(recoverSlot("test", "host-c", before, open).migration, null);
  assert.deepEqual(recoverSlot("test", "host-a", before, []), { assignmentsRevision: 5, migration: null });
  const done = open.map(({ migration, ...rest }) => ({
    ...rest,
    migration: { ...migration, holds: { source: false, destination: true } },
  }));
  assert.equal(recoverSlot("test", "host-a", before, done).migration, null);
});

test("what a recovery does to a migration is told: asked for where it was forgotten, taken up where it had ended", () => {
  const before = admitted({}).migration;
  const aborted = { ...before, verdict: verdicts.aborted };
  const kinds = (from: typeof before | null, to: typeof before) => recoveredEvents(from, to).map(({ kind }) => kind);
  assert.deepEqual(kinds(before, aborted), ["migration-aborted"]);
  assert.deepEqual(kinds(null, aborted), ["migration-requested", "migration-aborted"]);
  assert.deepEqual(kinds({ ...before, stage: "ended" }, aborted), ["migration-admitted", "migration-aborted"]);
  assert.deepEqual(kinds({ ...before, stage: "ended" }, { ...aborted, stage: "ended" }), ["migration-aborted"]);
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

const bare = ({ hostId: _, ...rest }: Seen): InventoryCopy => rest;
const barePart = ({ hostId: _, ...rest }: Told): Part => rest;
const late = (changes: Partial<LateStanding>): LateStanding => ({
  hostId: "host-a",
  vmId: "vm-1",
  vm: atRest,
  migrations: [],
  copies: [],
  parts: [],
  others: { copies: [], parts: [] },
  lostHosts: new Set(),
  ...changes,
});
const ranElsewhere = runningVm({ migrationId: null, owner: third, fencingToken: firstToken(3) + 5 });

test("a late host whose guest nobody has is believed: what it has is all there is", () => {
  const lostVm = {
    ...atRest,
    runState: "guest-lost",
    wantedRunState: "stopped",
    stoppedBecause: "host-declared-lost",
  } as const;
  const back = recoverLate(late({ vm: lostVm, copies: [bare(copyOf(source))] }), context);
  assert.deepEqual([back.vm?.owner, back.vm?.runState, back.vm?.fencingToken], [source, "running", firstToken(3) + 1]);
  assert.deepEqual(
    back.duties.map(({ copyId, wantedRunState }) => [copyId, wantedRunState]),
    [["copy_A", "running"]],
  );
  const unknown = recoverLate(
    late({ vm: null, copies: [bare(copyOf(source, { lockToken: firstToken(3) + 9 }))] }),
    context,
  );
  assert.deepEqual([unknown.vm?.owner, unknown.vm?.fencingToken], [source, firstToken(3) + 10]);
  assert.deepEqual(recoverLate(late({ vm: null }), context), { vm: null, migrations: [], duties: [] });
  const ended = recoverLate(late({ vm: lostVm, copies: [bare(copyOf(source, gone))] }), context);
  assert.deepEqual(ended.vm, { ...lostVm, fencingToken: firstToken(3) + 1 }, "lost with its host it stays");
  const forgotten = recoverLate(late({ vm: null, copies: [bare(copyOf(source, gone))] }), context);
  assert.equal(forgotten.vm?.runState, "stopped");
});

test("a migration that a late host's guest ended in waits for nothing but that host's own report, as its VM waits for none", () => {
  const lostVm = {
    ...atRest,
    owner: destination,
    runState: "guest-lost",
    wantedRunState: "stopped",
    stoppedBecause: "host-declared-lost",
  } as const;
  const standing = late({
    hostId: "host-b",
    vm: lostVm,
    copies: [bare(copyOf(destination, gone))],
    parts: [barePart(partOf("destination", { commitSent: true, runIntent: 1 }))],
  });
  const { vm, migrations } = recoverLate(standing, context);
  const token = firstToken(3) + 1;
  assert.deepEqual(vm, { ...lostVm, fencingToken: token });
  assert.equal(migrations.length, 1);
  assert.deepEqual(migrations[0]?.verdict, {
    kind: "committed",
    token,
    confirmed: { outcome: "guest-lost", detail: restored },
  });
  assert.deepEqual(migrations[0].holds, { source: false, destination: true });
});

test("a late host undoes nothing that was decided without it: its copies are told to go", () => {
  const decided = recoverLate(late({ vm: ranElsewhere, copies: [bare(copyOf(source))] }), context);
  assert.equal(decided.vm, ranElsewhere);
  assert.deepEqual(decided.duties, [
    { vmId: "vm-1", copyId: "copy_A", fencingToken: firstToken(3) + 5, spec, wantedRunState: "stopped", hasRun: true },
  ]);
  for (const vm of [
    { ...atRest, stoppedBecause: "host-declared-lost", migrationId: "mig_9" },
    { ...atRest, stoppedBecause: "host-declared-lost", deleted: true },
    { ...atRest, stoppedBecause: "killed", runState: "guest-lost" },
  ] as const) {
    assert.equal(recoverLate(late({ vm, copies: [bare(copyOf(third))] }), context).vm, vm);
  }
});

test("a late host goes on with a copy that the record still names", () => {
  const own = recoverLate(late({ copies: [bare(copyOf(source))] }), context);
  assert.deepEqual(
    own.duties.map(({ copyId, wantedRunState }) => [copyId, wantedRunState]),
    [["copy_A", "running"]],
  );
  const inMotion = recoverLate(late({ copies: [bare(copyOf(source))], parts: [barePart(partOf("source"))] }), context);
  assert.deepEqual(inMotion.duties, [], "its migration's record tells it");
  const over = barePart(partOf("source", { over: true }));
  assert.deepEqual(recoverLate(late({ copies: [bare(copyOf(source))], parts: [over] }), context).duties.length, 1);
  const stopped = { ...atRest, runState: "stopped" } as const;
  const ended = recoverLate(late({ vm: stopped, copies: [bare(copyOf(source))] }), context);
  assert.equal(ended.duties[0]?.wantedRunState, "stopped");
  const left = recoverLate(
    late({ vm: ranElsewhere, copies: [bare(copyOf(source))], parts: [barePart(partOf("source"))] }),
    context,
  );
  assert.deepEqual(left.duties, []);
});

test("a migration of a late host gets the verdict that fits who owns the guest now, unless it was decided since", () => {
  const decide = (vm: typeof atRest, changes: Partial<LateStanding> = {}) => {
    const [migration] = recoverLate(late({ vm, parts: [barePart(partOf("source"))], ...changes }), context).migrations;
    assert.ok(migration);
    return migration;
  };
  const token = firstToken(3) + 5;
  const back = decide({ ...atRest, fencingToken: token });
  assert.deepEqual(back.verdict, {
    kind: "aborted",
    token,
    by: "control-plane",
    reason: "table-restored",
    detail: restored,
  });
  assert.deepEqual([back.stage, back.holds], ["admitted", { source: true, destination: false }]);
  const elsewhere = decide(ranElsewhere);
  assert.deepEqual(elsewhere.verdict, {
    kind: "forced",
    token,
    owner: third,
    statement: restored,
    reason: "table-restored",
  });
  const arrived = decide({ ...ranElsewhere, owner: destination });
  assert.deepEqual(arrived.verdict, { kind: "committed", token, confirmed: { outcome: "running", detail: restored } });
  const nobody = decide({ ...ranElsewhere, owner: null });
  assert.deepEqual(nobody.verdict.kind === "forced" && nobody.verdict.owner, { hostId: "host-a", copyId: noCopy });
  const asDestination = decide(ranElsewhere, { hostId: "host-b", parts: [barePart(partOf("destination"))] });
  assert.deepEqual(asDestination.holds, { source: false, destination: true });

  const known = { ...admitted({}).migration, ticket: "CHG-1" };
  assert.equal(decide(ranElsewhere, { migrations: [known] }).ticket, "CHG-1");
  const since = { ...known, verdict: { ...verdicts.aborted, token: firstToken(3) + 1 } };
  assert.equal(decide(ranElsewhere, { migrations: [since] }), since);
  const before = { ...known, verdict: { ...verdicts.aborted, token: firstToken(3) } };
  assert.equal(decide(ranElsewhere, { migrations: [before] }).verdict.kind, "forced");
  const other = { ...since, id: "mig_2" };
  assert.equal(decide(ranElsewhere, { migrations: [other] }).id, "mig_1");
});
