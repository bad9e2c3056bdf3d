// What a host says of one of its copies (domain/copies.ts has the rules). It is also the report that frees a slot, so
// whoever waits for this host is admitted in passing.
import type { ReportAnswer } from "../../schemas/agent.ts";
import { type CopySeen, seeCopy } from "../domain/copies.ts";
import { recordOf, roleOf } from "../domain/migrations.ts";
import { migrationEvents } from "../domain/motion.ts";
import type { CopyDuty, MigrationState, Progress, Slot, VmRecord } from "../domain/records.ts";
import { hasEnded, vmEvents } from "../domain/vms.ts";
import type { Ports } from "../ports/ports.ts";
import { admitNext, admitQueued } from "./admit-next.ts";
import { type AgentCall, type AgentRequest, batchOf, type Found, signRecord } from "./agent-call.ts";
import type { Batch, Place } from "./items.ts";
import { keys } from "./keys.ts";
import { hasFreedSlot } from "./moving.ts";
import { migrationUnknown, vmUnknown } from "./read.ts";
import { refusal } from "./refusals.ts";
import { addRounds, noProgress } from "./report-progress.ts";

export function reportCopy(ports: Ports, call: AgentCall, report: CopySeen): AgentRequest<ReportAnswer> {
  const { clusterId, hostId } = call;
  const { migrationId } = report;
  const vmKey = keys.vm(clusterId, report.vmId);
  const dutyKey = keys.copy(clusterId, hostId, report.copyId);
  const migrationKey = migrationId === null ? null : keys.migration(clusterId, migrationId);
  return {
    manner: "write",
    read: {
      keys: [
        vmKey,
        dutyKey,
        ...(migrationKey && migrationId ? [migrationKey, keys.progress(clusterId, migrationId)] : []),
      ],
    },
    async decide(found) {
      const vm = found.at<VmRecord>(vmKey);
      if (!vm.value) return { kind: "refuse", problem: vmUnknown(report.vmId) };
      const migration = migrationKey && found.at<MigrationState>(migrationKey);
      if (migration && (!migration.value || migration.value.vmId !== report.vmId)) {
        return { kind: "refuse", problem: migrationUnknown(migrationKey.sort) };
      }
      const slot = found.slot;
      if (!slot.value) throw new Error(`host ${hostId} has no slot item`);
      const duty = found.at<CopyDuty>(dutyKey);
      const standing = {
        hostId,
        vm: vm.value,
        duty: duty.value,
        slot: slot.value,
        migration: migration?.value ?? null,
      };
      const context = { clusterId, at: found.now, restoreEpoch: ports.settings.restoreEpoch };
      const decision = seeCopy(standing, report, context);
      if (decision.kind === "refuse") {
        const problem = refusal(decision.problem, `Copy ${report.copyId} of VM "${report.vmId}"`);
        if (!migration?.value) return { kind: "refuse", problem };
        return { kind: "refuse", problem, record: await signRecord(ports, recordOf(clusterId, migration.value)) };
      }
      const batch = batchOf(found);
      const vmRevision = batch.put<VmRecord>(vm, decision.vm);
      batch.events(vmEvents(vm.value, decision.vm), { vm: vmRevision });
      const slotRevision = batch.put<Slot>(slot, decision.slot);
      if (decision.duty) batch.put<CopyDuty>(duty, decision.duty);
      else batch.remove(duty);
      if (migration?.value && decision.migration) {
        const revision = batch.put<MigrationState>(migration, decision.migration);
        const drafts = migrationEvents(migration.value, decision.migration);
        batch.events(drafts, { migration: revision, host: slotRevision });
        if (roleOf(decision.migration, hostId) === "source")
          putSummary(batch, found, clusterId, decision.migration.id, report);
      }
      const isChanged = !batch.isEmpty;
      return {
        kind: "accept",
        batch,
        answer: async () => ({
          outcome: isChanged ? "applied" : "unchanged",
          assignmentsRevision: decision.slot.assignmentsRevision,
          record: decision.migration && (await signRecord(ports, recordOf(clusterId, decision.migration))),
        }),
        afterwards: () => housekeeping(ports, clusterId, standing.migration, decision),
      };
    },
  };
}

function putSummary(batch: Batch, found: Found, clusterId: string, migrationId: string, report: CopySeen): void {
  if (!report.summary) return;
  const place: Place<Progress> = found.at(keys.progress(clusterId, migrationId));
  const before = place.value ?? noProgress;
  const { timings, bytes, rounds, encrypted } = report.summary;
  batch.put<Progress>(place, {
    ...before,
    rounds: addRounds(before.rounds, rounds),
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
