// The table is backed up and goes back, hosts stand still and tell what they have, and the records are drawn from that
// by production's own rules (functions/operations/restore-table.ts, reopen.ts).
import { underWay } from "../../../functions/domain/standings.ts";
import { firstToken } from "../../../functions/domain/tokens.ts";
import { dropRole, raiseToken, recoverRole } from "../world/agents.ts";
import { clusterId, plain, slotAt } from "../world/control-plane.ts";
import { takeBackAtGate } from "../world/copies.ts";
import { inventoryOf } from "../world/inventory.ts";
import { backUp, goBack, isShut } from "../world/table.ts";
import {
  guestAt,
  hostAt,
  hostIds,
  isUnfinished,
  moveAt,
  putHost,
  putMove,
  putQueue,
  putWire,
  sidesAt,
  type Table,
  vmAt,
  vmOf,
  type World,
} from "../world/world.ts";
import { putOwed } from "./operators.ts";
import type { Adders } from "./steps.ts";

export function restoreSteps(adders: Adders, { state, epoch, backup }: Table): void {
  const { before, add } = adders;
  const { habits } = before.rules;
  if (state === "served" && epoch === 0 && !backup) add("the table is backed up", "wish", backUp);
  if (state === "served" && backup) add("the table goes back", "wish", goBack);
  if (state === "went-back" && habits.noticesTheTable) {
    add("an operator gives the restored table its new name and epoch", "plain", beginRecovery);
  }
  for (const [h, host] of before.hosts.entries()) {
    if (host.agent !== "up" || host.isAway) continue;
    if (!host.isFrozen && isShut(before, h)) {
      add(`${hostIds[h]} hears that the table went back`, "plain", (world) => freeze(world, h));
    }
    if (host.isFrozen && state === "recovering" && canTell(before, h)) {
      add(`${hostIds[h]} tells what it has`, "plain", (world) => tell(world, h));
    }
    if (host.isFrozen && state === "served") add(`${hostIds[h]} goes on`, "plain", (world) => thaw(world, h));
  }
  const told = before.hosts.filter(({ told }) => told !== null).length;
  const isAwaited = habits.awaitsAll ? told < before.hosts.length : told === 0;
  if (state === "recovering" && !isAwaited) add("the cluster opens again", "plain", reopen);
}

function beginRecovery(world: World): void {
  if (world.table) world.table = { ...world.table, state: "recovering", epoch: 1 };
  for (const h of world.hosts.keys()) putHost(world, h, { isBehind: false, isDeclaredLost: false, told: null });
}

/** It decides nothing any more; what was begun before comes to its end first. */
function freeze(world: World, h: number): void {
  for (const { m, side } of sidesAt(world, h)) {
    const role = moveAt(world, m)[side];
    if (!role) continue;
    if (role.record) raiseToken(world, h, vmOf(moveAt(world, m)), role.record.verdictToken);
    if (world.rules.habits.haltsFirst) dropRole(world, m, side);
  }
  for (const m of world.moves.keys()) putQueue(world, m, { late: [] });
  putHost(world, h, { isFrozen: true });
  // The first one that notices shuts the table for all.
  for (const other of world.hosts.keys()) if (hostAt(world, other).isBehind) putHost(world, other, { isBehind: false });
}

/** Every supervisor answers. */
function canTell(world: World, h: number): boolean {
  return world.guests.every(({ copies }) =>
    copies.every(({ host, machine, isWatched }) => host !== h || machine === "ended" || isWatched),
  );
}

function tell(world: World, h: number): void {
  for (const { m, side } of sidesAt(world, h)) {
    const { record, wire } = moveAt(world, m);
    const copy = guestAt(world, vmOf(moveAt(world, m))).copies.find(({ id }) => id === record.source.copyId);
    if (side !== "source" || copy?.machine !== "stopped" || wire.gate === "past") continue;
    if (!world.rules.habits.emptiesTheGate) continue;
    const gate = world.rules.decideGate(wire.gate, "cancelled");
    putWire(world, m, { gate });
    if (gate === "cancelled") takeBackAtGate(world, m);
  }
  putHost(world, h, { told: inventoryOf(world, h) });
}

function thaw(world: World, h: number): void {
  putHost(world, h, { isFrozen: false, told: null });
  const floor = firstToken(world.table?.epoch ?? 0);
  if (world.rules.habits.raisesTheFloor) for (const v of world.vms.keys()) raiseToken(world, h, v, floor);
  for (const { m, side } of sidesAt(world, h)) {
    if (isUnfinished(moveAt(world, m), side) && !moveAt(world, m)[side]) recoverRole(world, m, side);
  }
}

function reopen(world: World): void {
  const { table, rules } = world;
  if (!table) return;
  const context = { clusterId, restoreEpoch: table.epoch, at: 0 };
  const told = world.hosts.flatMap((host) => host.told ?? []);
  const known = world.moves.filter((_, m) => !table.forgotten.includes(m)).map(({ record }) => record);
  const slots = world.hosts.map((_, h) => slotAt(world, h));
  const drawn = new Set<number>();
  for (const standing of rules.standingsOf(world.vms, known, told, new Set())) {
    const v = world.vms.findIndex(({ vmId }) => vmId === standing.vmId);
    const recovered = rules.recoverVm(standing, context);
    if (!recovered) continue;
    world.vms[v] = recovered.vm;
    for (const migration of recovered.migrations) {
      drawn.add(Number(migration.id.slice(4)));
      putMove(world, Number(migration.id.slice(4)), { record: plain(migration) });
    }
    const { owner } = vmAt(world, v);
    putOwed(
      world,
      v,
      recovered.duties
        .filter(({ duty }) => duty.copyId !== owner?.copyId)
        .map(({ hostId, duty }) => ({ copyId: duty.copyId, host: hostIds.indexOf(hostId), duty })),
    );
  }
  const forgotten = table.forgotten.filter((m) => !drawn.has(m));
  buryForgotten(world, forgotten);
  const records = world.moves.map(({ record }) => record);
  const open = underWay(records, slots, told);
  for (const [h, slot] of slots.entries()) {
    const { migration } = rules.recoverSlot(clusterId, hostIds[h] as string, slot, open);
    putHost(world, h, {
      slot: migration && {
        move: Number(migration.migrationId.slice(4)),
        side: migration.role,
        isClaimed: migration.claimed,
        lostClaim: false,
      },
      told: null,
    });
  }
  world.table = { ...table, state: "served", forgotten };
}

/** Nobody told of it: for the table it has never been. */
function buryForgotten(world: World, forgotten: readonly number[]): void {
  for (const m of forgotten) {
    const { record } = moveAt(world, m);
    const verdict = { kind: "aborted", token: 0, by: "source", reason: "stream-failed", detail: "" } as const;
    putMove(world, m, { record: { ...record, stage: "ended", verdict } });
  }
}
