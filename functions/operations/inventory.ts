// A host tells what it has, while its cluster recovers from a table that went back. What it tells is kept until all have
// told; the last one opens the cluster.
import { Assignment, onlyPage } from "../../schemas/agent.ts";
import type { InventoryAnswer, InventoryReport } from "../../schemas/inventory.ts";
import { MigrationRecord } from "../../schemas/migration.ts";
import type { Problem } from "../../schemas/problems.ts";
import { openDocument, type Signed, verifierFrom } from "../../schemas/signing.ts";
import type { HostInventory, Part } from "../domain/last-run.ts";
import { afterInventory } from "../domain/session.ts";
import type { Ports } from "../ports/ports.ts";
import { type AgentCall, type AgentOutcome, answerAgent, batchOf } from "./agent-call.ts";
import { type InventoryPage, inventoryKeys } from "./inventories.ts";
import { keys } from "./keys.ts";
import { readAwaited } from "./recovery.ts";
import { reopen } from "./reopen.ts";

export async function takeInventory(
  ports: Ports,
  call: AgentCall,
  request: InventoryReport | Problem,
): Promise<AgentOutcome<InventoryAnswer>> {
  const { clusterId, hostId } = call;
  const told = "code" in request ? request : await openInventory(ports, call, request);
  const { page } = "code" in request ? { page: onlyPage } : request;
  const key = keys.inventory(clusterId, hostId, page);
  const all = inventoryKeys(clusterId, hostId, page.of);
  return answerAgent<InventoryAnswer>(ports, call, {
    manner: "inventory",
    invalid: "code" in told ? told : null,
    read: { keys: all },
    decide(found, session) {
      const batch = batchOf(found);
      const answer = async () => ({
        restoreEpoch: ports.settings.restoreEpoch,
        awaited: await readAwaited(ports, clusterId),
      });
      if (session.recovery?.kind !== "recovering" || "code" in told) return { kind: "accept", batch, answer };
      const { restoreEpoch, reportedAt } = session.recovery;
      const after = afterInventory(session, call, found.now, page);
      const isAll = after.recovery?.kind === "recovering" && after.recovery.reportedAt !== null;
      batch.put<InventoryPage>(found.at(key), { ...told, page, restoreEpoch });
      if (isAll && reportedAt === null) {
        batch.put(found.session, after);
        const others = all.filter(({ sort }) => sort !== key.sort).map((other) => found.at<InventoryPage>(other).value);
        const pages = [told, ...others.filter((other) => other !== null)];
        const data = {
          copies: pages.reduce((sum, { copies }) => sum + copies.length, 0),
          migrations: pages.reduce((sum, { parts }) => sum + parts.length, 0),
        };
        batch.event({ kind: "host-told-inventory", subject: { kind: "host", id: hostId }, data }, found.session);
      }
      return {
        kind: "accept",
        batch,
        session: after,
        answer,
        afterwards: async () => {
          await reopen(ports, clusterId);
        },
      };
    },
  });
}

/** Only what the control plane has signed counts as an assignment or a record. */
async function openInventory(
  ports: Ports,
  { clusterId, hostId }: AgentCall,
  { copies, migrations, tokens }: InventoryReport,
): Promise<HostInventory | Problem> {
  const verify = await verifierFrom(ports.signing.publicKey);
  const recordTokenOf = async (signed: Signed | null): Promise<number> => {
    const record = signed && (await openDocument(signed, MigrationRecord, verify));
    return record?.clusterId === clusterId ? record.verdictToken : 0;
  };
  const parts: Part[] = [];
  for (const [index, { assignment: signed, record, ...facts }] of migrations.entries()) {
    const assignment = await openDocument(signed, Assignment, verify);
    if (!assignment || assignment.clusterId !== clusterId || assignment[facts.role].hostId !== hostId) {
      const detail = "An assignment must bear this control plane's signature and name this host.";
      const errors = [{ pointer: `/migrations/${index}/assignment`, detail: "was not signed here for this host" }];
      return { code: "invalid-request", detail, errors };
    }
    parts.push({ ...facts, assignment, recordToken: await recordTokenOf(record) });
  }
  return { hostId, copies, parts, tokens };
}
