// Hosts that were declared lost while the cluster recovered and come back after all: what each has is settled by what the
// records say by now (functions/operations/settle-late-host.ts).

import { staysOwed } from "../../../functions/domain/late-host.ts";
import { inventoryOf, underWayOf } from "../../../functions/domain/standings.ts";
import { hasEnded } from "../../../functions/domain/vms.ts";
import { clusterId, moveNumber, plain, slotAt, slotOf } from "../world/control-plane.ts";
import {
  blame,
  guestAt,
  type Host,
  hostAt,
  hostIds,
  moveAt,
  putHost,
  putMove,
  vmAt,
  type World,
} from "../world/world.ts";
import { ownAgain, putOwed } from "./operators.ts";
import type { Adders } from "./steps.ts";

const hasToldLate = ({ isLate, isDeclaredLost, told }: Host): boolean => isLate && !isDeclaredLost && told !== null;

/** One after the other, in the order that the cluster names them. */
export function lateSteps({ before, add }: Adders): void {
  const h = before.hosts.findIndex(hasToldLate);
  if (h >= 0) add(`${hostIds[h]}, late, is settled`, "plain", (world) => settleLate(world, h));
}

function settleLate(world: World, h: number): void {
  const { told } = hostAt(world, h);
  if (!told) return;
  const hostId = hostIds[h] as string;
  const { copies, parts } = told;
  for (const [v, { vmId }] of world.vms.entries()) {
    const isOf = copies.some((copy) => copy.vmId === vmId) || parts.some(({ assignment }) => assignment.vmId === vmId);
    if (isOf) settleVm(world, v, h);
  }
  const before = slotAt(world, h);
  const records = world.moves.map(({ record }) => record);
  const open = underWayOf(records, before, told);
  const slot = slotOf(world.rules.recoverSlot(clusterId, hostId, before, open));
  putHost(world, h, { slot, isLate: false, told: null, isDeclaredLost: false });
  const { table } = world;
  if (!table) return;
  const isLast = world.hosts.every(({ isLate }) => !isLate);
  world.table = { ...table, settled: isLast ? [] : [...table.settled, told] };
}

function settleVm(world: World, v: number, h: number): void {
  const hostId = hostIds[h] as string;
  const before = vmAt(world, v);
  const { vmId } = before;
  const hasNotTold = ({ isDeclaredLost, isLate, told }: Host): boolean => isDeclaredLost || (isLate && !told);
  const lostHosts = new Set(world.hosts.flatMap((host, at) => (hasNotTold(host) ? [hostIds[at] as string] : [])));
  const of = (hosts: Host[]) =>
    inventoryOf(
      hosts.flatMap(({ told }) => told ?? []),
      lostHosts,
      vmId,
    );
  const { copies, parts } = of([hostAt(world, h)]);
  const others = of(world.hosts.filter((host, at) => at !== h && hasToldLate(host)));
  const settled = inventoryOf(world.table?.settled ?? [], lostHosts, vmId);
  const forgotten = world.table?.forgotten ?? [];
  const underWay = [...parts, ...others.parts, ...settled.parts].filter(({ over }) => !over);
  const named = [before.migrationId ?? [], underWay.map(({ assignment }) => assignment.migrationId)].flat(2);
  const migrations = [...new Set(named)].flatMap((migrationId) => {
    const m = moveNumber(migrationId);
    return forgotten.includes(m) ? [] : [moveAt(world, m).record];
  });
  const epoch = world.table?.epoch ?? 0;
  const late = world.rules.recoverLate(
    { hostId, vmId, vm: before, migrations, copies, parts, others, settled, lostHosts },
    { clusterId, restoreEpoch: epoch, at: 0 },
  );
  const after = late.vm ?? before;
  world.vms[v] = after;
  for (const migration of late.migrations) {
    const m = moveNumber(migration.id);
    const was = moveAt(world, m).record;
    if (!forgotten.includes(m) && was.verdict.kind === "committed" && migration.verdict.kind === "aborted") {
      blame(world, "late: a commit since the restore is undone");
    }
    putMove(world, m, { record: plain(migration) });
    if (world.table) {
      world.table = { ...world.table, forgotten: world.table.forgotten.filter((other) => other !== m) };
    }
  }
  const isOwners = after.owner?.hostId === hostId && !hasEnded(after);
  const isOwed = (copyId: string) => staysOwed({ hostId, copyId }, copies, late);
  const stood = (guestAt(world, v).owed ?? []).filter(({ host, copyId }) => host !== h || isOwed(copyId));
  const owed = late.duties.filter(({ copyId }) => copyId !== after.owner?.copyId || !isOwners);
  putOwed(world, v, [
    ...stood.filter(({ copyId }) => !late.duties.some((duty) => duty.copyId === copyId)),
    ...owed.map((duty) => ({ copyId: duty.copyId, host: h, duty })),
  ]);
  const { owner } = after;
  if (!owner || !isOwners) return;
  const hasTold = copies.some(({ copyId }) => copyId === owner.copyId);
  if (hasTold && after.migrationId === null && !late.duties.some(({ copyId }) => copyId === owner.copyId)) {
    blame(world, "late: a copy owns the guest and is owed nothing");
  }
  ownAgain(world, v, owner.copyId);
}
