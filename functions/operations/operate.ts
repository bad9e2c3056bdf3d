// An operator's write: authorised before, decided and committed here together with the record of the operation itself,
// so that a repeated request (same idempotency key) has one effect, also after days, and so that an unknown outcome is
// settled by looking whether that record is there.

import type { Problem } from "../../schemas/problems.ts";
import { sha256Hex } from "../../schemas/signing.ts";
import type { RecoveryRecord } from "../domain/records.ts";
import type { HostAddress } from "../ports/doorbell.ts";
import type { Ports } from "../ports/ports.ts";
import type { Json } from "../ports/table.ts";
import { finish, ringAll } from "./agent-call.ts";
import { Batch, readPlace } from "./items.ts";
import { keys } from "./keys.ts";
import { isShut, refusalOf } from "./recovery.ts";
import { retryConflicts } from "./retry.ts";

/** Who asks, under which idempotency key (null: none was given), and what: method, path and body in one line. */
export type Operator = {
  keyId: string;
  idempotencyKey: string | null;
  fingerprint: string;
  /** What its commit is called. */
  step?: string;
};

export type Answer = { status: 200 | 201 | 202; body: { [name: string]: Json }; location?: string };
export type Outcome = { kind: "answer"; answer: Answer } | { kind: "refuse"; problem: Problem };

export type OperatorDecision =
  | { kind: "refuse"; problem: Problem }
  | {
      kind: "accept";
      batch: Batch;
      answer: Answer;
      rings?: HostAddress[];
      /** Housekeeping after the commit; what it answers replaces the answer. */
      afterwards?: () => Promise<Answer | null>;
    };

type OperationRecord = { fingerprint: string; answer: Answer; at: number };

/** @param clusterId null for what belongs to the deployment
 *  @param decide reads and decides; called again when others were quicker */
export async function operate(
  ports: Ports,
  operator: Operator,
  clusterId: string | null,
  decide: (batch: Batch, at: number) => Promise<OperatorDecision>,
  /** Also while the cluster recovers from a table that went back. */
  options: { whileRecovering?: boolean } = {},
): Promise<Outcome> {
  const operationId = operator.idempotencyKey ?? `once ${ports.newId()}`;
  const key = keys.operation(operator.keyId, await sha256Hex(operationId));
  const fingerprint = await sha256Hex(operator.fingerprint);
  const retried = await retryConflicts<OperatorDecision | { kind: "repeated"; record: OperationRecord }>(
    ports,
    operator.step ?? "operator",
    async ({ unsure }) => {
      const recoveryKey = clusterId === null ? [] : [keys.recovery(clusterId)];
      const isNew = operator.idempotencyKey === null && !unsure;
      const wanted = isNew ? recoveryKey : [...recoveryKey, key];
      const items = wanted.length === 0 ? [] : await ports.table.get(wanted);
      const place = readPlace<OperationRecord>(key, isNew ? null : items.at(-1));
      if (place.value) return { kind: "done", result: { kind: "repeated", record: place.value } };
      const recovery = clusterId === null ? null : readPlace<RecoveryRecord>(keys.recovery(clusterId), items[0]).value;
      if (clusterId !== null && recovery && isShut(recovery)) {
        const isHeard = options.whileRecovering && recovery.kind === "recovering";
        if (!isHeard) {
          const problem = await refusalOf(ports, clusterId, recovery);
          return { kind: "done", result: { kind: "refuse", problem } };
        }
      }
      const at = ports.clock.nowMs();
      const decided = await decide(new Batch({ clusterId, by: `key/${operator.keyId}`, at }), at);
      if (decided.kind === "refuse") return { kind: "done", result: decided };
      // Under a key even what changed nothing is remembered: repeated later, it must not have an effect then.
      if (decided.batch.isEmpty && operator.idempotencyKey === null) return { kind: "done", result: decided };
      decided.batch.put(place, { fingerprint, answer: decided.answer, at });
      return { kind: "commit", changes: decided.batch.changes, result: decided };
    },
  );
  if (retried.kind === "busy") return { kind: "refuse", problem: retried.problem };
  const { result } = retried;
  if (result.kind === "refuse") return result;
  if (result.kind === "repeated") {
    if (result.record.fingerprint === fingerprint) return { kind: "answer", answer: result.record.answer };
    const detail = "This Idempotency-Key was used for another request; use a new one for a new request.";
    const errors = [{ pointer: "", detail: "not the request that this Idempotency-Key was first used for" }];
    return { kind: "refuse", problem: { code: "idempotency-key-reused", detail, errors } };
  }
  await finish(ports, () => ringAll(ports, result.rings ?? []));
  const fresher = result.afterwards ? await result.afterwards().catch(() => null) : null; // What was committed stands.
  return { kind: "answer", answer: fresher ?? result.answer };
}
