// What a recovery is drawn from: for each VM that anything names, what the restored table has of it and what every host
// that told has.
import type { Assignment } from "../../schemas/agent.ts";
import type { HostInventory, VmInventory } from "./last-run.ts";
import type { MigrationState, QueueEntry, Slot, VmRecord } from "./records.ts";
import type { UnderWay, VmStanding } from "./recovery.ts";

/** Those that anything names which could be under way. */
export function migrationsNamed(found: {
  vms: readonly VmRecord[];
  slots: readonly Slot[];
  queue: readonly QueueEntry[];
  told: readonly HostInventory[];
}): string[] {
  return [
    ...new Set([
      ...found.vms.flatMap(({ migrationId }) => (migrationId ? [migrationId] : [])),
      ...found.slots.flatMap(({ migration }) => (migration ? [migration.migrationId] : [])),
      ...found.queue.map(({ migrationId }) => migrationId),
      ...found.told.flatMap(({ parts }) => parts.map(({ assignment }) => assignment.migrationId)),
    ]),
  ];
}

/** @param told by hosts that were not declared lost */
export function standingsOf(
  vms: readonly VmRecord[],
  migrations: readonly MigrationState[],
  told: readonly HostInventory[],
  lostHosts: ReadonlySet<string>,
): VmStanding[] {
  const known = new Map(vms.map((vm) => [vm.vmId, vm]));
  const named = told.flatMap(({ copies, parts }) => [
    ...copies.map(({ vmId }) => vmId),
    ...parts.map(({ assignment }) => assignment.vmId),
  ]);
  return [...new Set([...known.keys(), ...named])].sort().map((vmId) => {
    const inventory = inventoryOf(told, lostHosts, vmId);
    const isUnderWay = ({ id, stage }: MigrationState) =>
      stage !== "ended" || inventory.parts.some(({ over, assignment }) => !over && assignment.migrationId === id);
    return {
      vmId,
      vm: known.get(vmId) ?? null,
      migrations: migrations.filter((migration) => migration.vmId === vmId && isUnderWay(migration)),
      inventory,
      highestToken: highestTokenOf(told, vmId),
    };
  });
}

/** What hosts have told of one VM. */
export function inventoryOf(told: readonly HostInventory[], lostHosts: ReadonlySet<string>, vmId: string): VmInventory {
  return {
    copies: told.flatMap(({ hostId, copies }) =>
      copies.filter((copy) => copy.vmId === vmId).map((copy) => ({ ...copy, hostId })),
    ),
    parts: told.flatMap(({ hostId, parts }) =>
      parts.filter(({ assignment }) => assignment.vmId === vmId).map((part) => ({ ...part, hostId })),
    ),
    lostHosts,
  };
}

function highestTokenOf(told: readonly HostInventory[], vmId: string): number {
  const tokens = told.flatMap((host) => [
    ...host.tokens.filter((seen) => seen.vmId === vmId).map(({ fencingToken }) => fencingToken),
    ...host.copies.filter((copy) => copy.vmId === vmId).map(({ lockToken }) => lockToken ?? 0),
    ...host.parts
      .filter(({ assignment }) => assignment.vmId === vmId)
      .map(({ assignment, recordToken }) => Math.max(assignment.fencingToken, recordToken)),
  ]);
  return tokens.reduce((highest, token) => Math.max(highest, token), 0);
}

/** Those that one host is not done with: by what it told, or by its slot, where it has lost its journal. */
export function underWayOf(migrations: readonly MigrationState[], slot: Slot, told: HostInventory): UnderWay[] {
  const isOver = ({ migration }: UnderWay) =>
    told.parts.some(({ over, assignment }) => over && assignment.migrationId === migration.id);
  return underWay(migrations, [slot], [told]).filter((one) => !isOver(one));
}

/** Migrations that hosts are not done with, each with the assignment that they were given. */
export function underWay(
  migrations: readonly MigrationState[],
  slots: readonly Slot[],
  told: readonly HostInventory[],
): UnderWay[] {
  const isNamed = ({ parts }: HostInventory, id: string) =>
    parts.some(({ over, assignment }) => !over && assignment.migrationId === id);
  const assignments = new Map<string, Assignment>();
  for (const { migration } of slots) if (migration) assignments.set(migration.migrationId, migration.assignment);
  for (const { parts } of told) {
    for (const { assignment } of parts) assignments.set(assignment.migrationId, assignment);
  }
  return migrations.flatMap((migration) => {
    const assignment = assignments.get(migration.id);
    if (!assignment || migration.stage === "ended") return [];
    const toldBy = told.filter((host) => isNamed(host, migration.id)).map(({ hostId }) => hostId);
    return [{ migration, assignment, toldBy }];
  });
}
