// The control plane over HTTPS. Every signed document is verified before it is handed on; an answer that is not what
// it should be counts as no answer.
import type { z } from "zod";
import {
  type AgentReport,
  Assignment,
  ClaimAnswer,
  HeartbeatAnswer,
  type HeartbeatRequest,
  RecordAnswer,
  ReportAnswer,
} from "../../schemas/agent.ts";
import { InventoryAnswer } from "../../schemas/inventory.ts";
import { MigrationRecord } from "../../schemas/migration.ts";
import { type Problem, ProblemDetails } from "../../schemas/problems.ts";
import { openDocument, Signed, type Verify, verifierFrom } from "../../schemas/signing.ts";
import type { Claim, ClaimedAssignment, ControlPlane, ProvenRecord, Refused, Unknown } from "../ports/control-plane.ts";
import { RequestQueue, type Urgency } from "./request-queue.ts";
import { type SignedRequestOptions, SignedRequests } from "./signed-requests.ts";

export type HttpControlPlaneOptions = SignedRequestOptions & {
  /** The control plane's Ed25519 key, as it was told at joining. */
  verificationKey: string;
  timeoutMs?: number;
};

export type HttpControlPlane = ControlPlane & {
  /** For what needs no turn in the queue: the doorbell. */
  readonly requests: SignedRequests;
};

type Answered<T> = { kind: "answered"; value: T };

const tries = 4;

export async function createHttpControlPlane(options: HttpControlPlaneOptions): Promise<HttpControlPlane> {
  const { cluster, acknowledged, clock, timeoutMs = 5000 } = options;
  const verify = await verifierFrom(options.verificationKey);
  const requests = new SignedRequests(options);
  const queue = new RequestQueue(clock);

  const ask = <T>(urgency: Urgency, path: string, body: unknown, schema: z.ZodType<T>) =>
    queue.add(urgency, (signal) => exchange(path, body, schema, signal));

  async function exchange<T>(
    path: string,
    body: unknown,
    schema: z.ZodType<T>,
    signal: AbortSignal,
  ): Promise<Answered<T> | Refused | Unknown> {
    let refused: Refused | Unknown = { kind: "unknown", detail: "not asked" };
    for (let attempt = 1; attempt <= tries; attempt++) {
      let answer: { status: number; body: unknown };
      try {
        answer = await requests.exchange("POST", path, body, signal, timeoutMs);
      } catch (error) {
        return { kind: "unknown", detail: `${path}: ${describe(error)}` };
      }
      if (answer.status >= 200 && answer.status < 300) {
        const parsed = schema.safeParse(answer.body);
        if (parsed.success) return { kind: "answered", value: parsed.data };
        return { kind: "unknown", detail: `${path}: answer not understood: ${parsed.error.issues[0]?.message ?? ""}` };
      }
      refused = await readProblem(path, answer, verify, cluster);
      // Both tell what the next try must say (its headers are learnt already); neither has changed anything.
      const isCurable = refused.kind === "refused" && ["counter-stale", "clock-skew"].includes(refused.problem.code);
      if (!isCurable) return refused;
    }
    return refused;
  }

  const proven = async (signed: Signed | null, migrationId: string | null) =>
    signed ? prove(signed, migrationId, verify, cluster) : null;

  return {
    requests,

    async heartbeat(request: HeartbeatRequest) {
      await acknowledged.sync().catch(() => {}); // A disk that fails must not end the host's lease.
      const answer = await ask("routine", "/v1/agent/heartbeat", request, HeartbeatAnswer);
      return answer.kind === "answered" ? { kind: "answered", answer: answer.value } : answer;
    },

    async claim() {
      const answer = await ask("routine", "/v1/agent/claim", {}, ClaimAnswer);
      if (answer.kind !== "answered") return answer;
      const claim = await openClaim(answer.value, verify, cluster);
      return claim ? { kind: "answered", claim } : unproven("/v1/agent/claim");
    },

    async readRecord(migrationId) {
      const answer = await ask("verdict", "/v1/agent/record", { migrationId }, RecordAnswer);
      if (answer.kind !== "answered") return answer;
      const record = await proven(answer.value.record, migrationId);
      return record ? { kind: "answered", record } : unproven("/v1/agent/record");
    },

    async report(report: AgentReport) {
      const isRoutine = report.kind === "migration-progressed" || report.kind === "gap-measured";
      const answer = await ask(isRoutine ? "routine" : "verdict", "/v1/agent/report", report, ReportAnswer);
      if (answer.kind !== "answered") return answer;
      const { outcome, assignmentsRevision, record: signed } = answer.value;
      const record = await proven(signed, report.kind === "copy-seen" ? null : report.migrationId);
      if (signed && !record) return unproven("/v1/agent/report");
      return { kind: outcome, assignmentsRevision, record };
    },

    async tellInventory(inventory) {
      const answer = await ask("routine", "/v1/agent/inventory", inventory, InventoryAnswer);
      return answer.kind === "answered" ? { kind: "answered", answer: answer.value } : answer;
    },

    prove: (signed, migrationId) => prove(signed, migrationId, verify, cluster),
    controlPlaneNowMs: () => requests.controlPlaneNowMs(),
  };
}

async function prove(
  signed: Signed,
  migrationId: string | null,
  verify: Verify,
  cluster: string,
): Promise<ProvenRecord | null> {
  const record = await openDocument(signed, MigrationRecord, verify);
  if (!record || record.clusterId !== cluster) return null;
  return migrationId === null || record.migrationId === migrationId ? { record, signed } : null;
}

async function openClaim(answer: ClaimAnswer, verify: Verify, cluster: string): Promise<Claim | null> {
  const { assignmentsRevision, copies } = answer;
  if (!answer.assignment) return { assignmentsRevision, copies, assignment: null, claimedBefore: false };
  const { role, signed, record: signedRecord, claimedBefore } = answer.assignment;
  const assignment = await openDocument(signed, Assignment, verify);
  if (!assignment || assignment.clusterId !== cluster) return null;
  const record = signedRecord ? await prove(signedRecord, assignment.migrationId, verify, cluster) : null;
  if (signedRecord && !record) return null;
  const claimed: ClaimedAssignment = { role, assignment, signed, record };
  return { assignmentsRevision, copies, assignment: claimed, claimedBefore };
}

/** A refusal with a code is definite; a fault of the server's says nothing about what happened. */
async function readProblem(
  path: string,
  answer: { status: number; body: unknown },
  verify: Verify,
  cluster: string,
): Promise<Refused | Unknown> {
  const parsed = ProblemDetails.safeParse(answer.body);
  if (!parsed.success) return { kind: "unknown", detail: `${path}: status ${answer.status} without a known problem` };
  const { code, detail, errors, holder } = parsed.data;
  if (answer.status >= 500) return { kind: "unknown", detail: `${path}: ${code}: ${detail}` };
  const problem: Problem = { code, detail, ...(errors ? { errors } : {}), ...(holder ? { holder } : {}) };
  const signed = Signed.safeParse((answer.body as { record?: unknown }).record);
  return { kind: "refused", problem, record: signed.success ? await prove(signed.data, null, verify, cluster) : null };
}

const unproven = (path: string): Unknown => ({
  kind: "unknown",
  detail: `${path}: the control plane's signature does not hold, or it is about something else`,
});

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : "";
  return `${error.message}${cause}`;
}
