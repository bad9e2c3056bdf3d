// A claim tells a host all that it is to do. One query of its own partition has it all.
import type { ClaimAnswer } from "../../schemas/agent.ts";
import type { Problem } from "../../schemas/problems.ts";
import { signDocument } from "../../schemas/signing.ts";
import { dutiesByRecord } from "../domain/copies.ts";
import type { CopyDuty, Slot } from "../domain/records.ts";
import type { Ports } from "../ports/ports.ts";
import { type AgentCall, type AgentOutcome, answerAgent, batchOf, signRecord } from "./agent-call.ts";
import { copyPrefix, hostPartition } from "./keys.ts";
import { reviseDuties } from "./lost-hosts.ts";

export async function claim(
  ports: Ports,
  call: AgentCall,
  invalid: Problem | null,
): Promise<AgentOutcome<ClaimAnswer>> {
  const first = await claimOnce(ports, call, invalid);
  if (first.kind === "answer" || first.problem.code !== "duties-outdated") return first;
  // The host was declared lost before and is back: once, its duties are brought up to date first.
  await reviseDuties(ports, call.clusterId, call.hostId);
  return claimOnce(ports, call, invalid);
}

function claimOnce(ports: Ports, call: AgentCall, invalid: Problem | null): Promise<AgentOutcome<ClaimAnswer>> {
  return answerAgent<ClaimAnswer>(ports, call, {
    manner: "write",
    invalid,
    read: { partition: hostPartition(call.clusterId, call.hostId) },
    decide(found, session) {
      if (session.lost) {
        const detail = "Its copies may have been superseded while the host counted as lost.";
        return { kind: "refuse", problem: { code: "duties-outdated", detail } };
      }
      const batch = batchOf(found);
      const place = found.slot;
      if (!place.value) throw new Error(`host ${call.hostId} has no slot item`);
      const slot = place.value;
      if (slot.migration && !slot.migration.claimed) {
        const { migrationId, role } = slot.migration;
        batch.put<Slot>(place, {
          ...slot,
          migration: { ...slot.migration, claimed: true, claimedWith: call.counter },
        });
        const data = { migration: migrationId, role };
        batch.event({ kind: "migration-claimed", subject: { kind: "host", id: call.hostId }, data }, place);
      }
      const duties = found.all
        .filter((item) => item.sort.startsWith(copyPrefix))
        .map((item) => item.data as unknown as CopyDuty);
      return {
        kind: "accept",
        batch,
        answer: async () => ({
          assignmentsRevision: slot.assignmentsRevision,
          copies: dutiesByRecord(duties, slot),
          assignment: slot.migration && {
            role: slot.migration.role,
            signed: await signDocument(slot.migration.assignment, ports.signing.sign),
            record: await signRecord(ports, slot.migration.record),
            // A first claim whose answer was lost between here and the table finds its own.
            claimedBefore: slot.migration.claimed && slot.migration.claimedWith !== call.counter,
          },
        }),
      };
    },
  });
}
