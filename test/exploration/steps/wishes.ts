// What users ask: to move a virtual machine, to cancel, to stop, to start again from its disk.
import { hasEnded, stopVm } from "../../../functions/domain/vms.ts";
import { abortUnclaimed, cancelMove, openMove } from "../world/control-plane.ts";
import { guestAt, hostAt, hostIds, hostOf, moveAt, sidesAt, vmAt, type World } from "../world/world.ts";
import { supersedeOwner } from "./operators.ts";
import type { Adders } from "./steps.ts";

export function wishSteps(adders: Adders): void {
  const { before, add, options } = adders;
  if (before.table && before.table.state !== "served") return;
  for (let v = 0; v < before.vms.length; v += 1) {
    const vm = vmAt(before, v);
    moveSteps(adders, v);
    const { owner } = vm;
    const isGone = guestAt(before, v).copies.every(({ id, machine }) => id !== owner?.copyId || machine === "ended");
    const isAsleep = before.rules.habits.startsOnlyAtRest ? vm.migrationId === null && hasEnded(vm) : isGone;
    if (options.features.has("start") && isAsleep && startsOf(before, v) < options.startsPerVm) {
      for (const h of before.hosts.keys()) {
        if (hostAt(before, h).agent === "gone") continue;
        add(`${vm.vmId} is started on ${hostIds[h]}`, "wish", (world) => {
          const copyId = `copy_${vm.vmId}_${startsOf(world, v)}`;
          world.vms[v] = world.rules.startVm(vm, { hostId: hostIds[h] as string, copyId }, 0);
          supersedeOwner(world, v, vm);
        });
      }
    }
    if (options.features.has("stop") && vm.wantedRunState === "running" && !hasEnded(vm)) {
      add(`${vm.vmId} is stopped by its user`, "wish", (world) => {
        const m = world.moves.findIndex(({ record }) => record.id === vm.migrationId);
        if (m >= 0) {
          abortUnclaimed(world, m);
          cancelMove(world, m, "vm-stopped");
        }
        world.vms[v] = stopVm(vmAt(world, v));
      });
    }
  }
  for (const [m, { record }] of before.moves.entries()) {
    if (record.verdict.kind !== "open") continue;
    if (options.features.has("cancel") && !record.cancelRequested) {
      add(`M${m} a user cancels`, "wish", (world) => {
        if (!isClaimedAtSource(world, m)) abortUnclaimed(world, m);
        cancelMove(world, m, "cancelled-by-user");
      });
    }
    if (record.cancelRequested && !before.rules.habits.leavesAbortsToHosts) {
      add(`M${m} the control plane aborts`, "plain", (world) => abortUnclaimed(world, m));
    }
  }
}

const isClaimedAtSource = (world: World, m: number): boolean =>
  hostAt(world, hostOf(moveAt(world, m), "source")).slot?.isClaimed ?? true;

export const startsOf = (world: World, v: number): number => {
  const ids = new Set(guestAt(world, v).copies.map(({ id }) => id));
  const { owner } = vmAt(world, v);
  if (owner) ids.add(owner.copyId);
  return [...ids].filter((id) => id.startsWith("copy_vm")).length;
};

function moveSteps({ before, add, options }: Adders, v: number): void {
  const vm = vmAt(before, v);
  if (vm.migrationId !== null || vm.runState !== "running" || vm.wantedRunState !== "running" || !vm.owner) return;
  const moves = before.moves.filter(({ record }) => record.vmId === vm.vmId);
  if (moves.length >= options.movesPerVm) return;
  if (!options.overlaps && before.hosts.some(({ slot }) => slot)) return;
  const from = hostIds.indexOf(vm.owner.hostId);
  if (hostAt(before, from).slot) return;
  for (const [to, host] of before.hosts.entries()) {
    if (
      to === from ||
      host.slot ||
      host.agent !== "up" ||
      host.isDeclaredLost ||
      host.isLate ||
      isTwinOfEarlier(before, to, from)
    )
      continue;
    add(`${vm.vmId} is to move from ${hostIds[from]} to ${hostIds[to]}`, "wish", (world) => openMove(world, v, to));
  }
}

/** Hosts that know and have the same are alike: the first of them stands for all. */
function isTwinOfEarlier(world: World, h: number, from: number): boolean {
  if (!isIdle(world, h)) return false;
  const text = JSON.stringify(hostAt(world, h));
  for (let earlier = 0; earlier < h; earlier += 1) {
    if (earlier !== from && isIdle(world, earlier) && JSON.stringify(hostAt(world, earlier)) === text) return true;
  }
  return false;
}
function isIdle(world: World, h: number): boolean {
  return sidesAt(world, h).length === 0 && world.guests.every(({ copies }) => copies.every((copy) => copy.host !== h));
}
