// The promises, after every step.
import { hasEnded } from "../../../functions/domain/vms.ts";
import { blame, guestAt, hostAt, isComplete, machineOf, sides, sidesAt, vmAt, type World } from "./world.ts";

export function check(before: World, world: World, isFault: boolean): void {
  for (let v = 0; v < world.vms.length; v += 1) checkVm(before, world, v, isFault);
  for (let m = 0; m < before.moves.length; m += 1) {
    if (before.moves[m] !== world.moves[m]) checkMove(before, world, m);
  }
  for (let h = 0; h < world.hosts.length; h += 1) checkHost(world, h);
}

function checkVm(before: World, world: World, v: number, isFault: boolean): void {
  if (before.vms[v] === world.vms[v] && before.guests[v] === world.guests[v]) return;
  const vm = vmAt(world, v);
  const guest = guestAt(world, v);
  const running = guest.copies.filter(({ machine }) => machine === "running");
  if (running.length > 1) blame(world, "I1: two copies execute");
  for (const copy of running) {
    if (copy.id !== vm.owner?.copyId && !copy.isDisowned)
      blame(world, `I1: a copy executes while the record names another`);
  }
  const had = guestAt(before, v).copies.some(isComplete);
  if (had && !guest.copies.some(isComplete) && !isFault && !guest.isExcused) {
    blame(world, "I2: a step ended the last complete copy");
  }
  const was = vmAt(before, v);
  if (vm.owner?.copyId !== was.owner?.copyId && vm.fencingToken <= was.fencingToken) {
    blame(world, "I9: another copy owns the guest under no higher token");
  }
  if (vm.fencingToken < vmAt(before, v).fencingToken) blame(world, "I9: the token falls");
}

function checkMove(before: World, world: World, m: number): void {
  const [was, is] = [before.moves[m], world.moves[m]];
  if (!was || !is) return;
  const wasJournal = was.wire.journal.destination;
  if (machineOf(before, m, "destination") !== "running" && machineOf(world, m, "destination") === "running") {
    if (!wasJournal || wasJournal.runIntent === wasJournal.runRefused) {
      blame(world, "rule 5: the destination executes without a journalled intent");
    }
  }
  const { verdict } = is.record;
  const isNewlyConfirmed =
    verdict.kind === "committed" && verdict.confirmed?.outcome === "running" && was.record.verdict !== verdict;
  if (isNewlyConfirmed && ["incoming", "loaded"].includes(machineOf(world, m, "destination"))) {
    blame(world, "rule 8: confirmed as running while nothing executes");
  }
  if (was.record.verdict.kind !== "returned" && is.record.verdict.kind === "returned") {
    if (!["ended", "none"].includes(machineOf(world, m, "destination"))) {
      blame(world, "rule 6: returned while the destination's copy is there");
    }
  }
}

/** I3. A role that only waits for its last report to be heard, or has no copy and reads how it ended, takes part in
 *  nothing any more. */
function checkHost(world: World, h: number): void {
  const live = sidesAt(world, h).filter(({ m, side }) => {
    const role = world.moves[m]?.[side];
    return role && role.stage !== "reporting" && role.stage !== "copyless";
  });
  if (live.length > 1) blame(world, "I3: a host takes part in two migrations");
}

/** Everybody is done: every guest where its record says, or ended and known to be; nothing is left over. */
export function isSettled(world: World): boolean {
  if (world.table && world.table.state !== "served") return false;
  if (world.hosts.some(({ isFrozen, isLate, agent }) => isFrozen || (isLate && agent !== "gone"))) return false;
  for (const { slot, agent, isDeclaredLost } of world.hosts) {
    if (slot || (agent !== "up" && !(agent === "gone" && isDeclaredLost))) return false;
  }
  for (const move of world.moves) {
    if (move.record.stage !== "ended" || sides.some((side) => move[side])) return false;
  }
  return world.vms.every((vm, v) => {
    const { copies, lock } = guestAt(world, v);
    const alive = copies.filter(({ machine }) => machine !== "ended");
    if (vm.migrationId !== null) return false;
    if (hasEnded(vm)) return alive.length === 0;
    const [only] = alive;
    return alive.length === 1 && only?.machine === "running" && lock.holder === only.id && vm.runState === "running";
  });
}

/** A state that only an operator can end, by the name of why. */
export function nameOfRest(world: World): string | null {
  const gone = world.hosts.findIndex((host, h) => host.agent === "gone" && !hostAt(world, h).isDeclaredLost);
  return gone < 0 ? null : "a host is gone and nobody has said so";
}
