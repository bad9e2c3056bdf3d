// The long poll: a host waits at its door until somebody rings.
import type { Problem } from "../../schemas/problems.ts";
import type { Ports } from "../ports/ports.ts";
import { type AgentCall, type AgentOutcome, answerAgent, batchOf } from "./agent-call.ts";

export async function waitDoorbell(
  ports: Ports,
  call: AgentCall,
  request: { waitMs: number } | Problem,
  signal: AbortSignal,
): Promise<AgentOutcome<{ rang: boolean }>> {
  const invalid = "code" in request ? request : null;
  const admitted = await answerAgent<null>(ports, call, {
    manner: "read",
    invalid,
    read: { keys: [] },
    decide: (found) => ({ kind: "accept", batch: batchOf(found), answer: async () => null }),
  });
  if (admitted.kind === "refuse" || "code" in request) return admitted as AgentOutcome<never>;
  if (!ports.doorbell.wait) {
    const detail = "This deployment rings its hosts by another doorbell; wait at the one that the join answered.";
    return { kind: "refuse", problem: { code: "doorbell-elsewhere", detail }, counter: admitted.counter };
  }
  const rang = await ports.doorbell.wait({ clusterId: call.clusterId, hostId: call.hostId }, request.waitMs, signal);
  return { kind: "answer", answer: { rang }, counter: admitted.counter };
}
