// Guests' processes and their supervisors, and what a host owes the guests it owns outside of migrations
// (agents/duties.ts).
import { ownerBy } from "../../../functions/domain/verdict.ts";
import { dutyOf, hasEnded } from "../../../functions/domain/vms.ts";
import type { AgentReport } from "../../../schemas/agent.ts";
import { feedDestination, feedSource, raiseToken } from "../world/agents.ts";
import { seeAtRest } from "../world/control-plane.ts";
import { breakStream, endCopy, execute, loseSupervisor, takeBackAtGate, takeLock } from "../world/copies.ts";
import { mayDecide } from "../world/table.ts";
import {
  blame,
  type Copy,
  guestAt,
  hostAt,
  hostIds,
  isComplete,
  isUnfinished,
  moveAt,
  putCopy,
  putGuest,
  putWire,
  sides,
  sidesAt,
  vmAt,
  type World,
} from "../world/world.ts";
import type { Adders } from "./steps.ts";

export function guestSteps(adders: Adders): void {
  for (let v = 0; v < adders.before.guests.length; v += 1) {
    for (const copy of guestAt(adders.before, v).copies) {
      if (copy.machine === "ended") continue;
      copySteps(adders, v, copy);
      gateSteps(adders, v, copy);
      orphanSteps(adders, v, copy);
    }
    dutySteps(adders, v);
  }
}

function copySteps({ before, add, fault }: Adders, v: number, copy: Copy): void {
  fault("guests", `${copy.id}'s process is killed`, (world) => {
    excuseLoss(world, v, copy);
    endCopy(world, v, copy.id, "killed");
    for (const { m, side } of endsOf(world, copy.id)) {
      breakStream(world, m);
      if (side === "source") feedSource(world, m, { kind: "guest-ended", how: "killed", detail: "" });
      else feedDestination(world, m, { kind: "guest-ended", how: "killed", detail: "" });
    }
  });
  if (copy.isWatched) fault("supervisors", `${copy.id}'s supervisor dies`, (world) => loseSupervisor(world, v, copy));
  if (copy.isWatched || hostAt(before, copy.host).agent === "gone") return;
  add(`${copy.id}'s supervisor is back`, "plain", (world) => {
    putCopy(world, v, copy.id, { isWatched: true });
    const leaving = endsOf(world, copy.id).find(
      ({ m, side }) => side === "source" && moveAt(world, m).wire.gate !== null,
    );
    const gate = leaving ? moveAt(world, leaving.m).wire.gate : null;
    const { lock } = guestAt(world, v);
    const hadIt = lock.copyId === copy.id; // its memo names the token that the lock file bears
    const gaveItUp = gate === "past" && copy.machine !== "running";
    if (hadIt && !gaveItUp && world.rules.habits.retakesLock) takeLock(world, v, copy.id, lock.fencingToken);
    if (leaving && gate === "cancelled" && copy.machine === "stopped") {
      takeBackAtGate(world, leaving.m);
      feedSource(world, leaving.m, { kind: "resumed-by-supervisor" });
    }
  });
}

function endsOf(world: World, copyId: string): { m: number; side: "source" | "destination" }[] {
  return world.moves.flatMap((move, m) =>
    sides.filter((side) => move.record[side].copyId === copyId).map((side) => ({ m, side })),
  );
}

/** Rule 2: with its agent dead or silent, the supervisor takes the guest back from the gate. */
function gateSteps({ before, add, fault }: Adders, _v: number, copy: Copy): void {
  if (copy.machine !== "stopped" || !copy.isWatched) return;
  for (const { m, side } of endsOf(before, copy.id)) {
    const { source, wire } = moveAt(before, m);
    if (side !== "source" || wire.journal.source?.isOver !== false) continue;
    const gate = before.rules.decideGate(wire.gate, "cancelled");
    if (gate !== "cancelled" || wire.gate === "cancelled") continue;
    const take = (world: World): void => {
      putWire(world, m, { gate });
      takeBackAtGate(world, m);
      feedSource(world, m, { kind: "resumed-by-supervisor" });
    };
    if (!source) add(`M${m} the source's supervisor takes the guest back`, "plain", take);
    else fault("impatience", `M${m} the source's supervisor thinks its agent dead`, take);
  }
}

/** What a host does about a copy of its own at rest. */
function dutySteps({ before, add, fault }: Adders, v: number): void {
  const vm = vmAt(before, v);
  if (vm.migrationId !== null || !vm.owner || hasEnded(vm)) return;
  const { copyId } = vm.owner;
  const h = hostIds.indexOf(vm.owner.hostId);
  const host = hostAt(before, h);
  const isInRole = endsOf(before, copyId).some(({ m, side }) => moveAt(before, m)[side]);
  if (host.agent !== "up" || host.isAway || host.isDeclaredLost || isInRole || !mayDecide(before, h)) return;
  const isWorking = sidesAt(before, h).some(
    ({ m, side }) =>
      moveAt(before, m).record.vmId === vm.vmId &&
      moveAt(before, m).record[side].copyId !== copyId &&
      isUnfinished(moveAt(before, m), side),
  );
  if (isWorking && before.rules.habits.awaitsItsPart) return;
  const duty = dutyOf(vm, copyId);
  if (duty.fencingToken < (host.tokens[v] ?? 0) && before.rules.habits.refusesLowerTokens) return;
  const copy = guestAt(before, v).copies.find(({ id }) => id === copyId);
  const name = `${vm.vmId}'s owner`;
  const isThere = copy && copy.machine !== "ended";
  if (duty.wantedRunState === "stopped" && isThere) {
    if (copy.isWatched) {
      add(`${name} stops it`, "plain", (world) => {
        putGuest(world, v, { isExcused: true });
        endCopy(world, v, copyId);
      });
    }
    return;
  }
  if (isThere && copy.machine === "running") {
    if (vm.runState !== "running") {
      add(`${name} says it runs`, "plain", (world) => {
        raiseToken(world, h, v, duty.fencingToken);
        seeAtRest(world, v, "running", "ordered");
      });
    }
    return;
  }
  if (isThere) {
    if (!copy.isWatched || !["stopped", "loaded"].includes(copy.machine)) return;
    add(`${name} lets it run`, "plain", (world) => {
      raiseToken(world, h, v, duty.fencingToken);
      if (takeLock(world, v, copyId, duty.fencingToken)) execute(world, v, copyId);
    });
    return;
  }
  if ((copy || duty.hasRun) && before.rules.habits.startsOnlyWhenAsked) {
    const because = duty.wantedRunState === "stopped" ? "ordered" : "killed";
    add(`${name} says it is gone`, "plain", (world) => seeAtRest(world, v, "gone", because));
    fault("requests", `${name} says it is gone, answer lost`, (world) => seeAtRest(world, v, "gone", because));
    return;
  }
  add(`${name} starts it from disk`, "plain", (world) => startFromDisk(world, v, h, copyId, duty.fencingToken));
}

export function startFromDisk(world: World, v: number, h: number, copyId: string, fencingToken: number): void {
  raiseToken(world, h, v, fencingToken);
  if (vmAt(world, v).runState !== "starting") blame(world, "starts: a guest begins again that nobody has started");
  if (!takeLock(world, v, copyId, fencingToken)) {
    if (world.rules.habits.waitsForLock) return;
    putGuest(world, v, { lock: { holder: copyId, copyId, fencingToken, next: null } });
  }
  const { copies } = guestAt(world, v);
  const others = copies.filter(({ id }) => id !== copyId);
  const lockToken = world.table ? { lockToken: fencingToken } : {};
  const copy: Copy = { id: copyId, host: h, machine: "loaded", isCurrent: true, isWatched: true, ...lockToken };
  putGuest(world, v, { copies: [...others, copy], isExcused: false });
  execute(world, v, copyId);
}

/** A copy that is nobody's duty: ended only on the word of the record of the migration that made it. */
function orphanSteps({ before, add }: Adders, v: number, copy: Copy): void {
  const host = hostAt(before, copy.host);
  if (host.agent !== "up" || host.isAway || host.isDeclaredLost || !copy.isWatched) return;
  if (!mayDecide(before, copy.host)) return;
  const ends = endsOf(before, copy.id);
  if (ends.some(({ m, side }) => moveAt(before, m)[side] || moveAt(before, m).wire.journal[side]?.isOver === false))
    return;
  if (vmAt(before, v).owner?.copyId === copy.id) return;
  const made = ends.find(({ side }) => side === "destination");
  if (!made) return;
  // Nobody can read what the table never knew: its host is told by its duties.
  if (before.table?.forgotten.includes(made.m)) return;
  const { verdict } = moveAt(before, made.m).record;
  const isOther = ownerBy(verdict, moveAt(before, made.m).record).copyId !== copy.id;
  if (guestAt(before, v).owed?.some(({ copyId }) => copyId === copy.id)) return;
  if ((verdict.kind === "open" && before.rules.habits.awaitsVerdictOfOrphans) || !isOther) return;
  add(`${copy.id} is an orphan and is ended`, "plain", (world) => endCopy(world, v, copy.id));
}

/** Ending this process may cost the guest: it is the only complete copy, or the owner's under a verdict, or the other
 *  one is already being given up (an abort or the word is on its way, or the destination hands it back). */
export function excuseLoss(world: World, v: number, copy: Copy): void {
  if (!isComplete(copy)) return;
  const others = guestAt(world, v).copies.filter((other) => other.id !== copy.id && isComplete(other));
  const vm = vmAt(world, v);
  const isAbort = (report: AgentReport): boolean =>
    report.kind === "source-aborts" || report.kind === "destination-aborts";
  const isGivenUp = world.moves.some(({ record, queue, wire, destination }) => {
    if (record.vmId !== vm.vmId) return false;
    const isUnderWay = queue.pending.some(
      (one) => one.kind === "command" && one.command.kind === "report" && isAbort(one.command.report),
    );
    const isWord = (wire.journal.source?.hasAsked ?? false) && !wire.journal.destination?.commitSent;
    const isHandedBack = destination?.stage === "returning" && record.source.copyId === copy.id;
    return isUnderWay || queue.late.some(isAbort) || isWord || isHandedBack;
  });
  // It was the owner's by a verdict that the table has forgotten.
  const isBack = world.table !== null && world.table.state !== "served";
  const mayHaveRun = world.moves.some(({ record, wire: { journal } }) => {
    const own = journal.destination;
    if (record.destination.copyId !== copy.id || !own) return false;
    return own.runIntent !== own.runRefused || (isBack && own.commitSent);
  });
  const isOwners = vm.owner?.copyId === copy.id && (vm.migrationId === null || isDecided(world, vm.migrationId));
  if (others.length === 0 || isOwners || mayHaveRun || isGivenUp) putGuest(world, v, { isExcused: true });
}

function isDecided(world: World, migrationId: string): boolean {
  return world.moves.some(({ record }) => record.id === migrationId && record.verdict.kind !== "open");
}
