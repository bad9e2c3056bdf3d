// Which copy ran last, case by case (what holds over whole histories is in recovery.test.ts).
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  endOf,
  findLastRun,
  type LastRun,
  type ToldPart,
  type VmInventory,
} from "../../../functions/domain/last-run.ts";
import { assignment, copyOf, gone, inventory, loaded, partOf, past, type Seen } from "../support/inventories.ts";
import { destination, source, third } from "../support/motions.ts";

/** The lock file names a copy of which no host tells. */
const taken = { copyId: "copy_Z", fencingToken: 8 };

const told = (last: LastRun): string =>
  last.kind === "copy" ? `${last.copy.copyId} ${last.state}` : `gone ${last.of?.copyId ?? "none"} ${last.how}`;

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
    "L2: under the same token the one that is there, and not one that may have run and left nothing",
    inventory([copyOf(third, { machine: "stopped", lockToken: 8 })], [partOf("destination", { runIntent: 1 })]),
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
  [
    "L6: a lock file that names a copy of a lost host: that one ran last, and what stands is left behind",
    inventory([copyOf(source, { machine: "stopped", lockFile: taken })], [], ["host-z"]),
    "gone copy_Z host-lost",
  ],
  [
    "L6: not under a lower token than what stands",
    inventory([copyOf(source, { machine: "stopped", lockToken: 9, lockFile: taken })], [], ["host-z"]),
    "copy_A standing",
  ],
  [
    "L6: with no host lost, nobody has it any more",
    inventory([copyOf(source, { machine: "stopped", lockFile: taken })]),
    "copy_A standing",
  ],
  [
    "L6: of a copy that is told of, what is told counts",
    inventory(
      [
        copyOf(source, { machine: "stopped", lockFile: { ...taken, copyId: "copy_C" } }),
        copyOf(third, { machine: "loaded", lockToken: null }),
      ],
      [],
      ["host-z"],
    ),
    "copy_A standing",
  ],
  [
    "L6: a migration tells whose it is; a host that is not lost has it no more",
    inventory(
      [copyOf(third, { machine: "stopped", lockToken: 5, lockFile: { ...taken, copyId: "copy_B" } })],
      [partOf("source", { over: true })],
      ["host-z"],
    ),
    "copy_C standing",
  ],
  [
    "L6: and where that one is lost, it is with it",
    inventory(
      [copyOf(third, { machine: "stopped", lockToken: 5, lockFile: { ...taken, copyId: "copy_B" } })],
      [partOf("source", { over: true })],
      ["host-b"],
    ),
    "gone copy_B host-lost",
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
    "a destination's copy that ran and was stopped stands, its host not done with the migration",
    inventory([copyOf(destination, { machine: "stopped", lockToken: 8 })], [partOf("destination", { runIntent: 1 })]),
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
    "L5: another copy has run before this memory was taken, and its source's host is lost",
    inventory([loaded, copyOf(third, { ...gone, lockToken: 5 })], [partOf("destination")], ["host-a"]),
    "copy_B loaded",
  ],
  [
    "L5: one that may have run before that, and left nothing",
    inventory(
      [loaded],
      [
        partOf("destination"),
        {
          ...partOf("destination", { runIntent: 1, over: true }),
          hostId: "host-c",
          assignment: {
            ...assignment,
            migrationId: "mig_0",
            fencingToken: 5,
            destination: { ...assignment.destination, ...third },
          },
        },
      ],
      ["host-a"],
    ),
    "copy_B loaded",
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

test("L6: a copy that no host tells of is with the host that its migration brings it to, else with the first that is lost", () => {
  const ownerOf = (lostHosts: string[], parts: ToldPart[] = [], lockFile: Seen["lockFile"] = taken) => {
    const last = findLastRun(
      inventory(
        [copyOf(source, { machine: "held", lockToken: null, migrationId: "mig_9", lockFile })],
        parts,
        lostHosts,
      ),
    );
    return last.kind === "gone" ? last.of : null;
  };
  assert.deepEqual(ownerOf(["host-z", "host-y"]), { hostId: "host-y", copyId: "copy_Z" });
  const brings = { ...assignment, destination: { ...assignment.destination, copyId: "copy_Z" } };
  const arrival = partOf("source", { assignment: brings, over: true });
  assert.deepEqual(ownerOf(["host-a", "host-b"], [arrival]), { hostId: "host-b", copyId: "copy_Z" });
  assert.deepEqual(ownerOf(["host-a", "host-b"], [partOf("source", { over: true })]), {
    hostId: "host-a",
    copyId: "copy_Z",
  });
  assert.equal(ownerOf(["host-z"], [], "held"), null, "one that is held names nobody");
  assert.equal(ownerOf(["host-z"], [], { ...taken, copyId: "copy_A" }), null, "one that is told of never ran");
});
