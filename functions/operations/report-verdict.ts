// The reports that decide who owns the guest: one conditional write each (domain/verdict.ts has the rules).
import type { AgentReport, ReportAnswer } from "../../schemas/agent.ts";
import { isAsAssigned, recordOf, roleOf } from "../domain/migrations.ts";
import { bumpSlot, decideMotion } from "../domain/motion.ts";
import { type CopyDuty, type MigrationState, otherRole, type Slot, type VmRecord } from "../domain/records.ts";
import type { VerdictEvent } from "../domain/verdict.ts";
import { dutyOf, hasEnded } from "../domain/vms.ts";
import type { Ports } from "../ports/ports.ts";
import { admitNext } from "./admit-next.ts";
import { type AgentCall, type AgentRequest, batchOf, type Found, signRecord } from "./agent-call.ts";
import type { Stored } from "./items.ts";
import { keys } from "./keys.ts";
import { hasFreedSlot, type MotionPlaces, motionOf, putMotion } from "./moving.ts";
import { migrationUnknown } from "./read.ts";
import { notYours, refusal } from "./refusals.ts";

export type VerdictReport = Extract<
  AgentReport,
  {
    kind:
      | "destination-commits"
      | "source-aborts"
      | "destination-aborts"
      | "destination-returns"
      | "guest-confirmed"
      | "source-takes-back";
  }
>;

export function reportVerdict(ports: Ports, call: AgentCall, report: VerdictReport): AgentRequest<ReportAnswer> {
  const { clusterId, hostId } = call;
  const migrationKey = keys.migration(clusterId, report.migrationId);
  const beside = [keys.vm(clusterId, report.vmId), keys.slot(clusterId, report.peerHostId)];
  return {
    manner: "write",
    read: { keys: [migrationKey, ...beside] },
    async decide(found) {
      const migration = found.at<MigrationState>(migrationKey);
      if (!migration.value) return { kind: "refuse", problem: migrationUnknown(report.migrationId) };
      const role = roleOf(migration.value, hostId);
      if (!role || !isAsAssigned(migration.value, role, report)) {
        return { kind: "refuse", problem: notYours(`migration ${report.migrationId}`) };
      }
      const places = placesOf(found, migration, clusterId);
      const before = motionOf(places);
      const context = { clusterId, at: found.now, restoreEpoch: ports.settings.restoreEpoch, actor: role };
      const decision = decideMotion(before, eventOf(report, hostId, migration.value), context);
      const answerWith = async (outcome: ReportAnswer["outcome"], motion: typeof before): Promise<ReportAnswer> => ({
        outcome,
        assignmentsRevision: motion.slots[role]?.assignmentsRevision ?? 0,
        record: await signRecord(ports, recordOf(clusterId, motion.migration)),
      });
      if (decision.kind === "refuse") {
        const record = await signRecord(ports, recordOf(clusterId, migration.value));
        const problem = refusal(decision.problem, `Migration ${report.migrationId}`);
        // Under the right token only the VM's record can be what it fails on.
        const isUnderToken = report.fencingToken === migration.value.openedUnderToken;
        const mayBeTorn = decision.problem === "stale-fencing-token" && isUnderToken;
        return { kind: "refuse", problem, record, mayBeTorn };
      }
      const batch = batchOf(found);
      if (decision.kind === "unchanged") {
        return { kind: "accept", batch, answer: () => answerWith("unchanged", before) };
      }
      const after = decision.motion;
      const { copyId } = after.migration.destination;
      if (report.kind === "guest-confirmed" && !hasEnded(after.vm)) {
        const key = keys.copy(clusterId, hostId, copyId);
        batch.put<CopyDuty>({ key, revision: 0, value: null }, dutyOf(after.vm, copyId));
        if (after.slots.destination) after.slots.destination = bumpSlot(after.slots.destination);
      }
      putMotion(batch, places, after);
      const answer = () => answerWith("applied", after);
      // The guest stands still until a commit is answered: nothing else is done on the way. A source in doubt reads the
      // record by itself; a ring would only make it busy.
      if (report.kind === "destination-commits") return { kind: "accept", batch, answer };
      return {
        kind: "accept",
        batch,
        rings: [{ clusterId, hostId: after.migration[otherRole(role)].hostId }],
        answer,
        afterwards: async () => {
          if (hasFreedSlot(before.migration, after.migration)) await admitNext(ports, clusterId);
        },
      };
    },
  };
}

export function placesOf(found: Found, migration: Stored<MigrationState>, clusterId: string): MotionPlaces {
  const { vmId, source, destination } = migration.value;
  const vmKey = keys.vm(clusterId, vmId);
  const slotKeys = {
    source: keys.slot(clusterId, source.hostId),
    destination: keys.slot(clusterId, destination.hostId),
  };
  const vm = found.at<VmRecord>(vmKey);
  const slots = { source: found.at<Slot>(slotKeys.source), destination: found.at<Slot>(slotKeys.destination) };
  if (!vm.value || !slots.source.value || !slots.destination.value) {
    throw new Error(`migration ${migration.value.id} names a VM or a host that is not there`);
  }
  return { migration, vm, slots: { source: slots.source, destination: slots.destination } };
}

function eventOf(report: VerdictReport, by: string, { takeBack }: MigrationState): VerdictEvent {
  const { fencingToken } = report;
  switch (report.kind) {
    case "source-takes-back":
      return { kind: report.kind, by, fencingToken, asked: takeBack && !takeBack.refused ? takeBack : null };
    case "destination-commits":
      return { kind: report.kind, by, fencingToken };
    case "guest-confirmed": {
      const { outcome, detail, resetsAtSource } = report;
      return { kind: report.kind, by, fencingToken, outcome, detail, resetsAtSource };
    }
    default:
      return { kind: report.kind, by, fencingToken, reason: report.reason, detail: report.detail };
  }
}
