// A source that cannot take its stopped copy back says why: the lock file does not prove that the destination never ran
// the guest. The wish is dropped, and the operator is told.
import type { AgentReport, ReportAnswer } from "../../schemas/agent.ts";
import { refuseTakeBack } from "../domain/force.ts";
import { isAsAssigned, recordOf, roleOf } from "../domain/migrations.ts";
import type { MigrationState } from "../domain/records.ts";
import type { Ports } from "../ports/ports.ts";
import { type AgentCall, type AgentRequest, batchOf, signRecord } from "./agent-call.ts";
import { keys } from "./keys.ts";
import { motionOf, putMotion } from "./moving.ts";
import { migrationUnknown } from "./read.ts";
import { notYours } from "./refusals.ts";
import { placesOf } from "./report-verdict.ts";

export function reportTakeBackRefused(
  ports: Ports,
  call: AgentCall,
  report: Extract<AgentReport, { kind: "take-back-refused" }>,
): AgentRequest<ReportAnswer> {
  const { clusterId, hostId } = call;
  const migrationKey = keys.migration(clusterId, report.migrationId);
  return {
    manner: "write",
    read: { keys: [migrationKey, keys.vm(clusterId, report.vmId), keys.slot(clusterId, report.peerHostId)] },
    async decide(found) {
      const migration = found.at<MigrationState>(migrationKey);
      if (!migration.value) return { kind: "refuse", problem: migrationUnknown(report.migrationId) };
      if (roleOf(migration.value, hostId) !== "source" || !isAsAssigned(migration.value, "source", report)) {
        return { kind: "refuse", problem: notYours(`migration ${report.migrationId}`) };
      }
      const places = placesOf(found, migration, clusterId);
      const before = motionOf(places);
      const context = { clusterId, at: found.now, restoreEpoch: ports.settings.restoreEpoch, actor: "source" } as const;
      const refused = refuseTakeBack(before, report.detail, context);
      const after = refused ?? before;
      const batch = batchOf(found);
      putMotion(batch, places, after);
      return {
        kind: "accept",
        batch,
        answer: async () => ({
          outcome: refused ? "applied" : "unchanged",
          assignmentsRevision: after.slots.source?.assignmentsRevision ?? 0,
          record: await signRecord(ports, recordOf(clusterId, after.migration)),
        }),
      };
    },
  };
}
