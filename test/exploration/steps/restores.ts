// The table is backed up and goes back, hosts stand still and tell what they have, and the records are drawn from that
// by production's own rules (functions/operations/restore-table.ts, reopen.ts).
import { underWay } from "../../../functions/domain/standings.ts";
import { firstToken } from "../../../functions/domain/tokens.ts";
import { dropRole, raiseToken, recoverRole } from "../world/agents.ts";
import { clusterId, moveNumber, plain, slotAt, slotOf } from "../world/control-plane.ts";
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
import { lateSteps } from "./late-hosts.ts";
import { countAsLost, putOwed } from "./operators.ts";
import type { Adders } from "./steps.ts";

export function restoreSteps(adders: Adders, { state, epoch, backup }: Table): void {
  const { before, add, options } = adders;
  const { habits } = before.rules;
  if (state === "served" && epoch === 0 && !backup) add("the table is backed up", "wish", backUp);
  if (state === "served" && backup) add("the table goes back", "wish", goBack);
  if (state === "went-back" && habits.noticesTheTable) {
    add("an operator gives the restored table its new name and epoch", "plain", beginRecovery);
  }
  for (const [h, host] of before.hosts.entries()) {
    if (host.agent !== "up" || host.isAway) continue;
    if (!host.isFrozen && !host.isDeclaredLost && isShut(before, h)) {
      add(`${hostIds[h]} hears that the table went back`, "plain", (world) => freeze(world, h));
    }
    const isAsked = state === "recovering" || (state === "served" && host.isLate && !host.told);
    if (host.isFrozen && isAsked && !host.isDeclaredLost && canTell(before, h)) {
      add(`${hostIds[h]} tells what it has`, "plain", (world) => tell(world, h));
    }
    if (host.isFrozen && state === "served" && !host.isLate)
      add(`${hostIds[h]} goes on`, "plain", (world) => thaw(world, h));
  }
  if (state === "served") lateSteps(adders);
  if (state !== "recovering") return;
  const awaited = before.hosts.filter(({ told, isDeclaredLost }) => told === null && !isDeclaredLost).length;
  if (habits.awaitsAll ? awaited === 0 : awaited < before.hosts.length) {
    add("the cluster opens again", "plain", reopen);
  }
  if (!options.features.has("called-lost")) return;
  for (const [h, { isDeclaredLost, told }] of before.hosts.entries()) {
    if (isDeclaredLost || told) continue;
    add(`an operator declares ${hostIds[h]} lost, which has not told`, "wish", (world) => {
      putHost(world, h, { isDeclaredLost: true });
      countAsLost(world, h);
    });
  }
}

function beginRecovery(world: World): void {
  if (world.table) world.table = { ...world.table, state: "recovering", epoch: 1 };
  for (const h of world.hosts.keys())
    putHost(world, h, { isBehind: false, isDeclaredLost: false, isLate: false, told: null });
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
  const lost = new Set(world.hosts.flatMap(({ isDeclaredLost }, h) => (isDeclaredLost ? [hostIds[h] as string] : [])));
  const told = world.hosts.flatMap((host) => (host.isDeclaredLost ? [] : (host.told ?? [])));
  const known = world.moves.filter((_, m) => !table.forgotten.includes(m)).map(({ record }) => record);
  const slots = world.hosts.map((_, h) => slotAt(world, h));
  const drawn = new Set<number>();
  for (const standing of rules.standingsOf(world.vms, known, told, lost)) {
    const v = world.vms.findIndex(({ vmId }) => vmId === standing.vmId);
    const recovered = rules.recoverVm(standing, context);
    if (!recovered) continue;
    world.vms[v] = recovered.vm;
    for (const migration of recovered.migrations) {
      drawn.add(moveNumber(migration.id));
      putMove(world, moveNumber(migration.id), { record: plain(migration) });
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
    const isLate = hostAt(world, h).isDeclaredLost;
    putHost(world, h, {
      slot: slotOf(rules.recoverSlot(clusterId, hostIds[h] as string, slot, open)),
      told: null,
      isLate,
    });
  }
  world.table = { ...table, state: "served", forgotten, settled: lost.size > 0 ? told : [] };
}

/** Nobody told of it: for the table it has never been. */
function buryForgotten(world: World, forgotten: readonly number[]): void {
  for (const m of forgotten) {
    const { record } = moveAt(world, m);
    const verdict = { kind: "aborted", token: 0, by: "source", reason: "stream-failed", detail: "" } as const;
    putMove(world, m, { record: { ...record, stage: "ended", verdict } });
  }
}
