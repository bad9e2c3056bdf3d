// Progress and measurements: each has an item of its own with one writer, so that they never conflict with a verdict.
import type { AgentReport, ReportAnswer } from "../../schemas/agent.ts";
import type { Round } from "../../schemas/migration.ts";
import { isAsAssigned, recordOf, roleOf } from "../domain/migrations.ts";
import type { Gap, MigrationState, Progress } from "../domain/records.ts";
import type { Ports } from "../ports/ports.ts";
import { type AgentCall, type AgentRequest, batchOf, type Found, signRecord } from "./agent-call.ts";
import { keys } from "./keys.ts";
import { migrationUnknown } from "./read.ts";
import { notYours, refusal } from "./refusals.ts";

type Progressed = Extract<AgentReport, { kind: "migration-progressed" }>;
type GapMeasured = Extract<AgentReport, { kind: "gap-measured" }>;

export const noProgress: Progress = { phase: "setup", rounds: [], encrypted: null, frozenSince: null, summary: null };

export function reportProgress(ports: Ports, call: AgentCall, report: Progressed): AgentRequest<ReportAnswer> {
  const key = keys.progress(call.clusterId, report.migrationId);
  const what = `Migration ${report.migrationId}`;
  return {
    manner: "write",
    read: { keys: [keys.migration(call.clusterId, report.migrationId), key] },
    async decide(found) {
      const migration = migrationIn(found, call, report.migrationId);
      if (!migration) return { kind: "refuse", problem: migrationUnknown(report.migrationId) };
      const isMine = roleOf(migration, call.hostId) === "source" && isAsAssigned(migration, "source", report);
      if (!isMine) return { kind: "refuse", problem: notYours(what) };
      if (report.fencingToken !== migration.openedUnderToken) {
        const record = await signRecord(ports, recordOf(call.clusterId, migration));
        return { kind: "refuse", problem: refusal("stale-fencing-token", what), record };
      }
      const batch = batchOf(found);
      const place = found.at<Progress>(key);
      const before = place.value ?? noProgress;
      const after: Progress = {
        ...before,
        phase: report.phase,
        ...addRounds(before, report.rounds),
        currentRound: report.currentRound,
        encrypted: report.encrypted ?? before.encrypted,
        frozenSince: report.frozen ? (before.frozenSince ?? found.now) : null,
      };
      const isOver = migration.stage === "ended";
      if (!isOver) {
        batch.put(place, after);
        const isFrozen = after.frozenSince !== null;
        if (after.phase !== before.phase || isFrozen !== (before.frozenSince !== null)) {
          const data = { phase: after.phase, frozen: isFrozen };
          const subject = { kind: "migration", id: migration.id } as const;
          batch.event({ kind: "migration-phase-changed", subject, data }, place);
        }
      }
      const isChanged = !batch.isEmpty;
      return {
        kind: "accept",
        batch,
        answer: async () => ({
          outcome: isChanged ? "applied" : "unchanged",
          assignmentsRevision: found.slot.value?.assignmentsRevision ?? 0,
          record: await signRecord(ports, recordOf(call.clusterId, migration)),
        }),
      };
    },
  };
}

const newestRounds = 200;

/** Each round once, in order, whatever was repeated: the first and the newest, the others counted. */
export function addRounds(known: Progress, more: readonly Round[]): Pick<Progress, "rounds" | "leftOut"> {
  const { leftOut } = known;
  // What was left out lies after the first round; told again, it is not counted again.
  const oldest = leftOut ? (known.rounds[1]?.round ?? 0) : 0;
  const news = more.filter(({ round }) => round >= oldest || round === known.rounds[0]?.round);
  const byNumber = new Map([...known.rounds, ...news].map((round) => [round.round, round]));
  const [first, ...others] = [...byNumber.values()].sort((one, other) => one.round - other.round);
  if (!first) return { rounds: [] };
  const surplus = others.slice(0, Math.max(0, others.length - newestRounds));
  const rounds = [first, ...others.slice(surplus.length)];
  if (surplus.length === 0) return { rounds, ...(leftOut ? { leftOut } : {}) };
  const bytes = surplus.reduce((sum, round) => sum + round.bytes, leftOut?.bytes ?? 0);
  return { rounds, leftOut: { rounds: (leftOut?.rounds ?? 0) + surplus.length, bytes } };
}

export function reportGap(_ports: Ports, call: AgentCall, report: GapMeasured): AgentRequest<ReportAnswer> {
  const key = keys.gap(call.clusterId, report.migrationId);
  return {
    manner: "write",
    read: { keys: [keys.migration(call.clusterId, report.migrationId), key] },
    decide(found) {
      const migration = migrationIn(found, call, report.migrationId);
      if (!migration) return { kind: "refuse", problem: migrationUnknown(report.migrationId) };
      const isMine = roleOf(migration, call.hostId) === "destination";
      if (!isMine) return { kind: "refuse", problem: notYours(`migration ${report.migrationId}`) };
      const batch = batchOf(found);
      batch.put<Gap>(found.at(key), { guestGapMs: report.guestGapMs });
      const outcome = batch.isEmpty ? "unchanged" : "applied";
      const assignmentsRevision = found.slot.value?.assignmentsRevision ?? 0;
      return { kind: "accept", batch, answer: async () => ({ outcome, assignmentsRevision, record: null }) };
    },
  };
}

function migrationIn(found: Found, call: AgentCall, migrationId: string): MigrationState | null {
  return found.at<MigrationState>(keys.migration(call.clusterId, migrationId)).value;
}
