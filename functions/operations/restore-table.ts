// `drover restore`: stamps a table that was restored from a backup with a new id and a higher epoch, and marks every
// cluster of it as recovering. It is done on the table itself, before any control plane serves it: none would, under
// either name. Doing it again after a crash goes on where it was.
import type { RecoveryRecord } from "../domain/records.ts";
import { beginRecovery } from "../domain/session.ts";
import type { Ports } from "../ports/ports.ts";
import { listClusterIds } from "./clusters.ts";
import { Batch } from "./items.ts";
import { readTableName, type TableName } from "./name-table.ts";
import { readCluster, readHosts } from "./read.ts";
import { readRecovery } from "./recovery.ts";
import { type Attempt, retryConflicts } from "./retry.ts";

export type RestorePlan = {
  /** Null: a table in use that was never named. */
  stands: TableName | null;
  becomes: TableName;
  clusters: { cluster: string; hosts: string[]; recovers: boolean }[];
};
export type RestoreOutcome = { kind: "refuse"; detail: string } | { kind: "done" | "planned"; plan: RestorePlan };

export const highestEpoch = 2 ** 20;

export async function restoreTable(
  ports: Ports,
  becomes: TableName,
  options: { dryRun: boolean },
): Promise<RestoreOutcome> {
  const name = await readTableName(ports);
  const clusterIds = await listClusterIds(ports);
  const isDone = name.value?.tableId === becomes.tableId && name.value.restoreEpoch === becomes.restoreEpoch;
  const barred = isDone ? null : restoreBarred(name.value, becomes, clusterIds.length);
  if (barred) return { kind: "refuse", detail: barred };
  const clusters: RestorePlan["clusters"] = [];
  for (const cluster of clusterIds) {
    const { value } = await readCluster(ports, cluster);
    const recovery = await readRecovery(ports, cluster);
    clusters.push({ cluster, hosts: value?.hosts ?? [], recovers: !isBegun(recovery.value, becomes) });
  }
  const plan: RestorePlan = { stands: name.value, becomes, clusters };
  if (options.dryRun) return { kind: "planned", plan };
  // The name comes last: until then no control plane serves the table, and all of this may be done again.
  for (const { cluster, recovers } of clusters) {
    if (!recovers) continue;
    const begun = await retryConflicts<null>(ports, "recovery-begun", () => beginOne(ports, cluster, becomes));
    if (begun.kind === "busy") return { kind: "refuse", detail: "Others write to this table; stop whoever serves it." };
  }
  const named = await retryConflicts<null>(ports, "table-renamed", async () => {
    const batch = new Batch({ clusterId: null, by: "restore", at: ports.clock.nowMs() });
    batch.put<TableName>(await readTableName(ports), becomes);
    return batch.isEmpty ? { kind: "done", result: null } : { kind: "commit", changes: batch.changes, result: null };
  });
  if (named.kind === "busy") return { kind: "refuse", detail: "Others write to this table; stop whoever serves it." };
  return { kind: "done", plan };
}

function restoreBarred(stands: TableName | null, becomes: TableName, clusters: number): string | null {
  if (!stands && clusters === 0) return "This table holds nothing: there is nothing to restore. Name the restored one.";
  if (!stands) return null;
  if (becomes.restoreEpoch <= stands.restoreEpoch) {
    return `The epoch must be higher than every one before: this table's is ${stands.restoreEpoch}, so give ${stands.restoreEpoch + 1} or more, and above the epoch of the table that was lost.`;
  }
  if (becomes.tableId === stands.tableId) {
    return `A restored table is another table: give it another id than "${stands.tableId}".`;
  }
  return null;
}

function isBegun(recovery: RecoveryRecord | null, { restoreEpoch }: TableName): boolean {
  return recovery !== null && recovery.kind !== "went-back" && recovery.restoreEpoch >= restoreEpoch;
}

async function beginOne(ports: Ports, clusterId: string, becomes: TableName): Promise<Attempt<null>> {
  const recovery = await readRecovery(ports, clusterId);
  const { value: cluster } = await readCluster(ports, clusterId);
  if (!cluster || isBegun(recovery.value, becomes)) return { kind: "done", result: null };
  const { restoreEpoch, tableId } = becomes;
  const at = ports.clock.nowMs();
  const batch = new Batch({ clusterId, by: "restore", at });
  batch.put<RecoveryRecord>(recovery, { kind: "recovering", at, by: "restore", restoreEpoch });
  const subject = { kind: "cluster", id: clusterId } as const;
  batch.event({ kind: "recovery-begun", subject, data: { tableId, restoreEpoch } }, recovery);
  for (const { session } of await readHosts(ports, clusterId, cluster.hosts)) {
    batch.put(session, beginRecovery(session.value, restoreEpoch));
  }
  return { kind: "commit", changes: batch.changes, result: null };
}
