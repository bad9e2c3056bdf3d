// What a host says of one of its copies (domain/copies.ts has the rules). It is also the report that frees a slot, so
// whoever waits for this host is admitted in passing.
import type { ReportAnswer } from "../../schemas/agent.ts";
import { type CopySeen, seeCopy } from "../domain/copies.ts";
import { recordOf, roleOf } from "../domain/migrations.ts";
import { bumpSlot, decideMotion, type Motion } from "../domain/motion.ts";
import {
  type CopyDuty,
  type MigrationState,
  otherRole,
  type Progress,
  type Role,
  type Slot,
  type VmRecord,
} from "../domain/records.ts";
import type { VerdictEvent } from "../domain/verdict.ts";
import { hasEnded, vmEvents } from "../domain/vms.ts";
import type { HostAddress } from "../ports/doorbell.ts";
import type { Ports } from "../ports/ports.ts";
import type { Key } from "../ports/table.ts";
import { admitNext, admitQueued } from "./admit-next.ts";
import { type AgentCall, type AgentRequest, batchOf, type Found, signRecord } from "./agent-call.ts";
import type { Batch, Place } from "./items.ts";
import { keys } from "./keys.ts";
import { hasFreedSlot, putMotion } from "./moving.ts";
import { migrationUnknown, vmUnknown } from "./read.ts";
import { refusal } from "./refusals.ts";
import { addRounds, noProgress } from "./report-progress.ts";
import { supersedeOlder } from "./vms.ts";

export function reportCopy(ports: Ports, call: AgentCall, report: CopySeen): AgentRequest<ReportAnswer> {
  const { clusterId, hostId } = call;
  const vmKey = keys.vm(clusterId, report.vmId);
  const dutyKey = keys.copy(clusterId, hostId, report.copyId);
  const ofMigration = (id: string | null): Key[] =>
    id === null ? [] : [keys.migration(clusterId, id), keys.progress(clusterId, id)];
  return {
    manner: "write",
    read: { keys: [vmKey, dutyKey, ...ofMigration(report.migrationId)] },
    async decide(found) {
      const vm = found.at<VmRecord>(vmKey);
      if (!vm.value) return { kind: "refuse", problem: vmUnknown(report.vmId) };
      const slot = found.slot;
      if (!slot.value) throw new Error(`host ${hostId} has no slot item`);
      const migrationId = report.migrationId ?? endedUnasked(report, slot.value);
      await found.also(ofMigration(migrationId));
      const migration = migrationId === null ? null : found.at<MigrationState>(keys.migration(clusterId, migrationId));
      if (migration && (!migration.value || migration.value.vmId !== report.vmId)) {
        return { kind: "refuse", problem: migrationUnknown(migration.key.sort) };
      }
      const duty = found.at<CopyDuty>(dutyKey);
      const standing = {
        hostId,
        vm: vm.value,
        duty: duty.value,
        slot: slot.value,
        migration: migration?.value ?? null,
      };
      const context = { clusterId, at: found.now, restoreEpoch: ports.settings.restoreEpoch };
      // The copy's id is proof enough where the host could not know the token that its migration opened under.
      const isAsSaid = report.migrationId === migrationId || report.fencingToken < (duty.value?.fencingToken ?? 0);
      const opened = standing.migration?.openedUnderToken ?? 0;
      const heard = isAsSaid ? report : { ...report, fencingToken: Math.max(report.fencingToken, opened) };
      const decision = seeCopy(standing, heard, context);
      if (decision.kind === "refuse") {
        const problem = refusal(decision.problem, `Copy ${report.copyId} of VM "${report.vmId}"`);
        if (!migration?.value) return { kind: "refuse", problem, mayBeTorn: true };
        const record = await signRecord(ports, recordOf(clusterId, migration.value));
        return { kind: "refuse", problem, record, mayBeTorn: true };
      }
      const batch = batchOf(found);
      if (decision.duty) batch.put<CopyDuty>(duty, decision.duty);
      else batch.remove(duty);
      let slotAfter = decision.slot;
      let migrationAfter = decision.migration;
      const rings: HostAddress[] = [];
      if (migration?.value && decision.migration) {
        const role = roleOf(decision.migration, hostId) ?? "source";
        const peer = decision.migration[otherRole(role)].hostId;
        const isVain = role === "source" && report.state === "gone" && isUnclaimed(slot.value, decision.migration);
        if (isVain) await found.also([keys.slot(clusterId, peer)]);
        const peerSlot = isVain ? found.at<Slot>(keys.slot(clusterId, peer)) : null;
        const places = {
          migration: { ...migration, value: migration.value },
          vm: { ...vm, value: vm.value },
          slots: slotsOf(role, { ...slot, value: slot.value }, peerSlot?.value ? peerSlot : null),
        };
        const slots = slotsOf(role, decision.slot, peerSlot?.value ?? null);
        let after: Motion = { migration: decision.migration, vm: decision.vm, slots };
        const ended = isVain ? decideMotion(after, guestEnded(report), { ...context, actor: role }) : null;
        if (ended?.kind === "move") {
          after = ended.motion;
          rings.push({ clusterId, hostId: peer });
        }
        slotAfter = after.slots[role] ?? decision.slot;
        // The verdict raised the token: what the host still has from before is to be ended under that one.
        const isFreed = slot.value.migration !== null && slotAfter.migration === null;
        if (isFreed && (await supersedeOlder(ports, batch, call, after.vm, report.copyId))) {
          slotAfter = bumpSlot(slotAfter);
          after.slots[role] = slotAfter;
        }
        migrationAfter = after.migration;
        putMotion(batch, places, after);
        if (role === "source") putSummary(batch, found, clusterId, decision.migration.id, report);
      } else {
        batch.put<VmRecord>(vm, decision.vm);
        batch.events(vmEvents(vm.value, decision.vm), { vm });
        batch.put<Slot>(slot, decision.slot);
      }
      const isChanged = !batch.isEmpty;
      return {
        kind: "accept",
        batch,
        rings,
        answer: async () => ({
          outcome: isChanged ? "applied" : "unchanged",
          assignmentsRevision: slotAfter.assignmentsRevision,
          record: migrationAfter && (await signRecord(ports, recordOf(clusterId, migrationAfter))),
        }),
        afterwards: () =>
          housekeeping(ports, clusterId, standing.migration, { vm: decision.vm, migration: migrationAfter }),
      };
    },
  };
}

/** A host that has not read of its migration yet reports the end of the guest without naming it. */
function endedUnasked(report: CopySeen, { migration }: Slot): string | null {
  if (report.state !== "gone" || !migration) return null;
  return migration.assignment[migration.role].copyId === report.copyId ? migration.migrationId : null;
}

function isUnclaimed(slot: Slot, migration: MigrationState): boolean {
  return migration.verdict.kind === "open" && slot.migration?.migrationId === migration.id && !slot.migration.claimed;
}

function guestEnded(report: CopySeen): VerdictEvent {
  const detail = `the guest had ended (${report.because}) before its source began`;
  return { kind: "control-plane-aborts", sourceHasClaimed: false, reason: "guest-ended", detail };
}

const slotsOf = <T>(role: Role, own: T, peer: T | null): { [R in Role]: T | null } =>
  role === "source" ? { source: own, destination: peer } : { source: peer, destination: own };

function putSummary(batch: Batch, found: Found, clusterId: string, migrationId: string, report: CopySeen): void {
  if (!report.summary) return;
  const place: Place<Progress> = found.at(keys.progress(clusterId, migrationId));
  const before = place.value ?? noProgress;
  const { timings, bytes, rounds, encrypted } = report.summary;
  batch.put<Progress>(place, {
    ...before,
    ...addRounds(before, rounds),
    encrypted: encrypted ?? before.encrypted,
    frozenSince: null,
    summary: { timings, bytes },
  });
}

async function housekeeping(
  ports: Ports,
  clusterId: string,
  before: MigrationState | null,
  after: { vm: VmRecord; migration: MigrationState | null },
): Promise<void> {
  if (before && after.migration && hasFreedSlot(before, after.migration)) await admitNext(ports, clusterId);
  // Its guest ended while it was still waiting for hosts.
  if (after.vm.migrationId !== null && hasEnded(after.vm)) await admitQueued(ports, clusterId, after.vm.migrationId);
}
