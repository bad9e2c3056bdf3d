// The fresh, strongly consistent reading of a migration's record: before the gate, and after an unknown answer.
import type { RecordAnswer } from "../../schemas/agent.ts";
import type { Problem } from "../../schemas/problems.ts";
import { recordOf, roleOf } from "../domain/migrations.ts";
import type { MigrationState } from "../domain/records.ts";
import type { Ports } from "../ports/ports.ts";
import { type AgentCall, type AgentOutcome, answerAgent, batchOf, signRecord } from "./agent-call.ts";
import { keys } from "./keys.ts";
import { migrationUnknown } from "./read.ts";
import { notYours } from "./refusals.ts";

export function readRecord(
  ports: Ports,
  call: AgentCall,
  request: { migrationId: string } | Problem,
): Promise<AgentOutcome<RecordAnswer>> {
  const key = "code" in request ? null : keys.migration(call.clusterId, request.migrationId);
  return answerAgent<RecordAnswer>(ports, call, {
    manner: "read",
    invalid: "code" in request ? request : null,
    read: { keys: key ? [key] : [] },
    decide(found) {
      const migration = key && found.at<MigrationState>(key).value;
      if (!migration) return { kind: "refuse", problem: migrationUnknown(key?.sort ?? "") };
      if (!roleOf(migration, call.hostId)) return { kind: "refuse", problem: notYours(migration.id) };
      const record = recordOf(call.clusterId, migration);
      return {
        kind: "accept",
        batch: batchOf(found),
        answer: async () => ({ record: await signRecord(ports, record) }),
      };
    },
  });
}
