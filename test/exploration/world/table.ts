// The table goes back to a backup: who can notice, and what may be decided meanwhile (functions/domain/session.ts,
// agents/table-back.ts).
import { hostAt, putHost, putMove, putQueue, type World } from "./world.ts";

/** Every request of this host is refused: the table went back, or recovers from that. */
export function isShut(world: World, h: number): boolean {
  const { table } = world;
  const { standsStill, noticesTheTable } = world.rules.habits;
  if (table?.state === "served" && hostAt(world, h).isLate) return standsStill;
  if (!table || table.state === "served") return false;
  if (table.state === "recovering") return standsStill;
  return noticesTheTable && !hostAt(world, h).isBehind;
}

export function mayDecide(world: World, h: number): boolean {
  return !isShut(world, h) && !(hostAt(world, h).isFrozen && world.rules.habits.standsStill);
}

export function backUp(world: World): void {
  if (!world.table) return;
  const backup = {
    vms: world.vms,
    records: world.moves.map(({ record }) => record),
    slots: world.hosts.map(({ slot }) => slot),
  };
  world.table = { ...world.table, backup };
  // All others are heard within a heartbeat.
  for (const [h, { isAway, agent }] of world.hosts.entries()) {
    if (isAway || agent !== "up") putHost(world, h, { isBehind: true });
  }
}

/** Before the table went back: from now on this host was told more than the backup knows. */
export function beAcknowledged(world: World, h: number): void {
  const { isBehind, isAway, agent } = hostAt(world, h);
  if (isBehind && !isAway && agent === "up" && world.table?.state === "served") putHost(world, h, { isBehind: false });
}

export function goBack(world: World): void {
  const { table } = world;
  if (!table?.backup) return;
  const { vms, records, slots } = table.backup;
  world.vms = [...vms];
  const forgotten: number[] = [];
  for (const m of world.moves.keys()) {
    const record = records[m];
    if (record) putMove(world, m, { record });
    else forgotten.push(m);
    // What was sent to the table that is gone is never heard.
    putQueue(world, m, { late: [] });
  }
  for (const h of world.hosts.keys()) putHost(world, h, { slot: slots[h] ?? null });
  world.table = { ...table, state: "went-back", backup: null, forgotten };
}
