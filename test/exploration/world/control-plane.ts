// The table: what a host or a user writes, decided by the production rules; and the record as an agent would get it.

import type { ReportOutcome } from "../../../agents/domain/role.ts";
import { admit } from "../../../functions/domain/admission.ts";
import { newMigration, recordOf } from "../../../functions/domain/migrations.ts";
import type { Context, Motion } from "../../../functions/domain/motion.ts";
import type { MigrationState, Role, Slot, SlotMigration } from "../../../functions/domain/records.ts";
import type { VerdictEvent } from "../../../functions/domain/verdict.ts";
import { dutyOf, isOwner } from "../../../functions/domain/vms.ts";
import type { AgentReport } from "../../../schemas/agent.ts";
import type { EndReason, MigrationRecord } from "../../../schemas/migration.ts";
import { isRefused } from "./agents.ts";
import {
  blame,
  type Host,
  hostAt,
  hostIds,
  hostOf,
  idleQueue,
  idleWire,
  moveAt,
  putHost,
  putMove,
  type Side,
  sides,
  vmAt,
  vmOf,
  type World,
} from "./world.ts";

export const clusterId = "c";
export const limits = {
  downtimeLimitMs: 100,
  downtimeCeilingMs: 500,
  roundLimit: 30,
  bandwidthLimitBytesPerSecond: null,
  throttleCeilingPercent: 0,
};
/** Why something ended decides nothing. */
export const someReason: { reason: EndReason; detail: string } = { reason: "stream-failed", detail: "" };
export const context = (actor: Role | null, world?: World): Context => ({
  clusterId,
  at: 0,
  restoreEpoch: world?.table?.epoch ?? 0,
  actor,
});

export function recordNow(world: World, m: number): MigrationRecord {
  return { ...recordOf(clusterId, moveAt(world, m).record), issuedAt: 0 };
}

export function slotAt(world: World, h: number): Slot {
  const { slot } = hostAt(world, h);
  if (!slot) return { assignmentsRevision: 0, migration: null };
  const { record } = moveAt(world, slot.move);
  const migration: SlotMigration = {
    migrationId: record.id,
    role: slot.side,
    claimed: slot.isClaimed,
    // Of the assignment only the two copies decide anything.
    assignment: { source: record.source, destination: record.destination } as SlotMigration["assignment"],
    record: recordOf(clusterId, record),
  };
  return { assignmentsRevision: 0, migration };
}

/** As a host of this world has it. */
export function slotOf({ migration }: Slot): Host["slot"] {
  if (!migration) return null;
  const { migrationId, role: side, claimed: isClaimed } = migration;
  return { move: moveNumber(migrationId), side, isClaimed, lostClaim: false };
}
export const moveNumber = (migrationId: string): number => Number(migrationId.slice(4));

export function motionOf(world: World, m: number): Motion {
  const { record } = moveAt(world, m);
  const slot = (side: Side): Slot => slotAt(world, hostOf(moveAt(world, m), side));
  return {
    migration: record,
    vm: vmAt(world, vmOf(moveAt(world, m))),
    slots: { source: slot("source"), destination: slot("destination") },
  };
}

export function putMotion(world: World, m: number, motion: Motion): void {
  const move = moveAt(world, m);
  putMove(world, m, { record: plain(motion.migration) });
  world.vms[vmOf(move)] = motion.vm;
  for (const side of sides) {
    const h = hostOf(move, side);
    const isMine = hostAt(world, h).slot?.move === m;
    if (isMine && motion.slots[side] && !motion.slots[side].migration) putHost(world, h, { slot: null });
  }
}

/** Without what decides nothing. */
export function plain(migration: MigrationState): MigrationState {
  const { verdict, seen } = migration;
  const bare = "detail" in verdict ? { ...verdict, ...someReason } : verdict;
  const seenBare = (side: Side) => seen[side] && { ...seen[side], detail: "" };
  return {
    ...migration,
    startedAt: null,
    endedAt: null,
    verdict:
      bare.kind === "committed" && bare.confirmed ? { ...bare, confirmed: { ...bare.confirmed, detail: "" } } : bare,
    seen: { source: seenBare("source"), destination: seenBare("destination") },
  };
}

/** Opens a migration on two free hosts, as its admission does. */
export function openMove(world: World, v: number, to: number): void {
  const vm = vmAt(world, v);
  const { owner } = vm;
  if (!owner) throw new Error("nobody owns it");
  const m = world.moves.length;
  const id = `mig_${m}`;
  const destination = hostIds[to] as string;
  const request = { vm: vm.vmId, destination, mode: "live", limits } as Parameters<typeof newMigration>[0]["request"];
  const queued = newMigration({ id, copyId: `copy_${m}`, request, destination, vm, owner, by: "u", at: 0 });
  const held = { ...vm, migrationId: id };
  const from = hostIds.indexOf(owner.hostId);
  const end = (h: number) => ({
    identity: { hostId: hostIds[h] as string, publicKey: "", joinedAt: 0 },
    slot: slotAt(world, h),
    migrationAddress: "127.0.0.1",
  });
  const { migration } = admit(
    queued,
    held,
    { source: end(from), destination: end(to) },
    { clusterId, at: 0, assignmentMs: 1 },
  );
  world.vms[v] = held;
  world.moves.push({ record: plain(migration), source: null, destination: null, queue: idleQueue, wire: idleWire });
  putHost(world, from, { slot: { move: m, side: "source", isClaimed: false, lostClaim: false } });
  putHost(world, to, { slot: { move: m, side: "destination", isClaimed: false, lostClaim: false } });
}

/** A report of one end of a migration reaches the table. */
export function apply(world: World, m: number, side: Side, report: AgentReport): ReportOutcome {
  if (isRefused(world, m, side)) return "later";
  const { record } = moveAt(world, m);
  const outcome = take(world, m, side, report);
  if (
    moveAt(world, m).record.verdict !== record.verdict &&
    hostAt(world, hostOf(moveAt(world, m), side)).isDeclaredLost
  )
    blame(world, "force: a verdict is moved by an incarnation that was declared lost");
  return outcome;
}

function take(world: World, m: number, side: Side, report: AgentReport): ReportOutcome {
  switch (report.kind) {
    case "migration-progressed":
    case "gap-measured":
      return "applied";
    case "take-back-refused": {
      const refused = world.rules.refuseTakeBack(motionOf(world, m), "", context(side, world));
      if (refused) putMotion(world, m, refused);
      return "applied";
    }
    case "copy-seen":
      return see(world, m, side, report);
    default: {
      const { record } = moveAt(world, m);
      const by = record[side].hostId;
      const asked = record.takeBack && record.takeBack.refused === null ? record.takeBack : null;
      const event = { ...report, by, ...(report.kind === "source-takes-back" ? { asked } : {}) } as VerdictEvent;
      const decision = world.rules.decideMotion(motionOf(world, m), event, context(side, world));
      if (decision.kind === "move") putMotion(world, m, decision.motion);
      return decision.kind === "refuse" ? "refused" : "applied";
    }
  }
}

function see(world: World, m: number, side: Side, report: Extract<AgentReport, { kind: "copy-seen" }>): ReportOutcome {
  const move = moveAt(world, m);
  const vm = vmAt(world, vmOf(move));
  const { hostId, copyId } = move.record[side];
  const isAtRest = vm.migrationId === null && isOwner(vm, { hostId, copyId });
  const standing = {
    hostId,
    vm,
    duty: isAtRest ? dutyOf(vm, copyId) : null,
    slot: slotAt(world, hostOf(move, side)),
    migration: move.record,
  };
  const seen = world.rules.seeCopy(standing, report, context(side, world));
  if (seen.kind === "refuse") return "refused";
  const slots = { source: null, destination: null, [side]: seen.slot };
  putMotion(world, m, { migration: seen.migration ?? move.record, vm: seen.vm, slots });
  return "applied";
}

/** What a host says of a copy that it owns, outside of any migration. */
export function seeAtRest(world: World, v: number, state: "running" | "gone", because: "killed" | "ordered"): void {
  const vm = vmAt(world, v);
  const { owner } = vm;
  if (!owner) return;
  const duty = dutyOf(vm, owner.copyId);
  const standing = {
    hostId: owner.hostId,
    vm,
    duty,
    slot: { assignmentsRevision: 0, migration: null },
    migration: null,
  };
  const seen = world.rules.seeCopy(
    standing,
    {
      kind: "copy-seen",
      vmId: vm.vmId,
      copyId: owner.copyId,
      fencingToken: duty.fencingToken,
      state,
      because,
      detail: "",
      migrationId: null,
      summary: null,
    },
    context(null, world),
  );
  if (seen.kind === "accept") world.vms[v] = seen.vm;
}

export function cancelMove(world: World, m: number, reason: EndReason): void {
  putMotion(world, m, world.rules.requestCancel(motionOf(world, m), reason, context(null, world)));
}

/** The control plane's own abort: before the source has claimed, and never after. */
export function abortUnclaimed(world: World, m: number): void {
  const sourceHasClaimed = hostAt(world, hostOf(moveAt(world, m), "source")).slot?.isClaimed ?? true;
  const motion = motionOf(world, m);
  const event: VerdictEvent = { kind: "control-plane-aborts", sourceHasClaimed, ...someReason };
  const decision = world.rules.decideMotion(motion, event, context(null, world));
  if (decision.kind === "move") putMotion(world, m, decision.motion);
}
