// What a recovery is drawn from: of each VM that anything names, what the table has and what every host that told has.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { HostInventory, Part } from "../../../functions/domain/last-run.ts";
import type { MigrationState, QueueEntry, Slot, VmRecord } from "../../../functions/domain/records.ts";
import { migrationsNamed, standingsOf, underWay } from "../../../functions/domain/standings.ts";
import type { InventoryCopy } from "../../../schemas/inventory.ts";
import { spec } from "../../support/assignments.ts";
import { bare, partOf } from "../support/inventories.ts";
import { admitted, runningVm } from "../support/motions.ts";

const assignmentOf = (migrationId: string, vmId: string, fencingToken = 7): Part["assignment"] => {
  const held = admitted({}).slots.source?.migration;
  assert.ok(held);
  return { ...held.assignment, migrationId, vmId, fencingToken };
};
const part = (migrationId: string, vmId: string, changes: Partial<Part> = {}): Part =>
  bare(partOf("source", { assignment: assignmentOf(migrationId, vmId), recordToken: 0, ...changes }));
const copy = (vmId: string, copyId: string, lockToken: number | null): InventoryCopy =>
  ({ vmId, copyId, spec, machine: "running", lockToken, migrationId: null }) as InventoryCopy;
const told = (hostId: string, inventory: Partial<HostInventory>): HostInventory => ({
  hostId,
  copies: [],
  parts: [],
  tokens: [],
  ...inventory,
});
const vm = (vmId: string, changes: Partial<VmRecord> = {}): VmRecord =>
  runningVm({ vmId, migrationId: null, ...changes });
const migration = (id: string, vmId: string, stage: MigrationState["stage"]): MigrationState => ({
  ...admitted({}).migration,
  id,
  vmId,
  stage,
});
const slotOf = (migrationId: string): Slot => {
  const held = admitted({}).slots.source?.migration;
  assert.ok(held);
  const assignment = { ...held.assignment, migrationId, publicKey: "of the slot" };
  return { assignmentsRevision: 1, migration: { ...held, migrationId, assignment } };
};
const noLoss = new Set<string>();

test("the migrations that could be under way are those that a VM, a slot, the queue or a host names, each once", () => {
  const queue = [{ migrationId: "mig_3" }] as QueueEntry[];
  const named = migrationsNamed({
    vms: [vm("vm-1", { migrationId: "mig_1" }), vm("vm-2")],
    slots: [slotOf("mig_2"), { assignmentsRevision: 1, migration: null }, slotOf("mig_1")],
    queue,
    told: [told("host-a", { parts: [part("mig_4", "vm-1"), part("mig_2", "vm-1")] })],
  });
  assert.deepEqual(named, ["mig_1", "mig_2", "mig_3", "mig_4"]);
});

test("every VM that the table or a host names has its standing, in the order of their names", () => {
  const standings = standingsOf(
    [vm("vm-2"), vm("vm-1")],
    [],
    [told("host-a", { copies: [copy("vm-4", "copy_D", 3)], parts: [part("mig_3", "vm-3"), part("mig_1", "vm-1")] })],
    noLoss,
  );
  assert.deepEqual(
    standings.map(({ vmId, vm: known }) => [vmId, known?.vmId ?? null]),
    [
      ["vm-1", "vm-1"],
      ["vm-2", "vm-2"],
      ["vm-3", null],
      ["vm-4", null],
    ],
  );
});

test("what is told of a VM comes with the host that told it, and with those that are lost", () => {
  const lostHosts = new Set(["host-c"]);
  const [standing] = standingsOf(
    [],
    [],
    [
      told("host-a", { copies: [copy("vm-1", "copy_A", 3), copy("vm-2", "copy_X", 9)] }),
      told("host-b", { copies: [copy("vm-1", "copy_B", 4)], parts: [part("mig_1", "vm-1"), part("mig_2", "vm-2")] }),
    ],
    lostHosts,
  );
  assert.deepEqual(
    standing?.inventory.copies.map(({ hostId, copyId }) => [hostId, copyId]),
    [
      ["host-a", "copy_A"],
      ["host-b", "copy_B"],
    ],
  );
  assert.deepEqual(
    standing?.inventory.parts.map(({ hostId, assignment }) => [hostId, assignment.migrationId]),
    [["host-b", "mig_1"]],
  );
  assert.equal(standing?.inventory.lostHosts, lostHosts);
});

test("a VM's migrations are those that have not ended, and those that a host is not done with", () => {
  const [standing] = standingsOf(
    [vm("vm-1")],
    [
      migration("mig_open", "vm-1", "admitted"),
      migration("mig_ended", "vm-1", "ended"),
      migration("mig_kept", "vm-1", "ended"),
      migration("mig_done", "vm-1", "ended"),
      migration("mig_other", "vm-2", "admitted"),
    ],
    [told("host-a", { parts: [part("mig_kept", "vm-1"), part("mig_done", "vm-1", { over: true })] })],
    noLoss,
  );
  assert.deepEqual(
    standing?.migrations.map(({ id }) => id),
    ["mig_open", "mig_kept"],
  );
});

test("a VM's highest token is the highest that any host has seen of it, wherever", () => {
  const highest = (...inventories: Partial<HostInventory>[]) =>
    standingsOf(
      [vm("vm-1")],
      [],
      inventories.map((each, index) => told(`host-${index}`, each)),
      noLoss,
    )[0]?.highestToken;
  assert.equal(highest(), 0);
  assert.equal(
    highest({ tokens: [{ vmId: "vm-1", fencingToken: 5 }] }, { tokens: [{ vmId: "vm-1", fencingToken: 4 }] }),
    5,
  );
  assert.equal(highest({ copies: [copy("vm-1", "copy_A", 6)] }, { copies: [copy("vm-1", "copy_B", null)] }), 6);
  assert.equal(highest({ parts: [part("mig_1", "vm-1")] }), 7, "of its assignment");
  assert.equal(highest({ parts: [part("mig_1", "vm-1", { recordToken: 8 })] }), 8, "of a record");
  assert.equal(
    highest({
      tokens: [{ vmId: "vm-2", fencingToken: 90 }],
      copies: [copy("vm-2", "copy_X", 91)],
      parts: [part("mig_2", "vm-2", { recordToken: 92 })],
    }),
    0,
    "another VM's count for nothing",
  );
});

test("a migration under way has the assignment that its hosts were given; one that has ended or that nobody has is none", () => {
  const open = migration("mig_1", "vm-1", "admitted");
  const kept = migration("mig_2", "vm-1", "admitted");
  const ended = migration("mig_3", "vm-1", "ended");
  const unknown = migration("mig_4", "vm-1", "admitted");
  const found = underWay(
    [open, kept, ended, unknown],
    [slotOf("mig_1"), { assignmentsRevision: 1, migration: null }, slotOf("mig_3")],
    [told("host-a", { parts: [part("mig_2", "vm-1")] })],
  );
  assert.deepEqual(
    found.map(({ migration: { id }, assignment }) => [id, assignment.migrationId]),
    [
      ["mig_1", "mig_1"],
      ["mig_2", "mig_2"],
    ],
  );
});

test("a migration under way was told by those hosts whose journals have it and are not done with it", () => {
  const found = underWay(
    [migration("mig_1", "vm-1", "admitted"), migration("mig_2", "vm-1", "admitted")],
    [slotOf("mig_1"), slotOf("mig_2")],
    [
      told("host-a", { parts: [part("mig_1", "vm-1"), part("mig_3", "vm-1")] }),
      told("host-b", { parts: [part("mig_1", "vm-1", { over: true }), part("mig_3", "vm-1")] }),
      told("host-c", { parts: [part("mig_3", "vm-1")] }),
      told("host-d", {}),
      told("host-e", { parts: [part("mig_1", "vm-1")] }),
    ],
  );
  assert.deepEqual(
    found.map(({ migration: { id }, toldBy }) => [id, toldBy]),
    [
      ["mig_1", ["host-a", "host-e"]],
      ["mig_2", []],
    ],
  );
});
