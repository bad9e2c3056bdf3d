// A cluster whose table went back: who noticed, who is still to tell what it has, and what is refused meanwhile.
import type { ClusterRecovery } from "../../schemas/cluster.ts";
import type { Problem } from "../../schemas/problems.ts";
import type { RecoveryRecord } from "../domain/records.ts";
import { isAwaited, isDeclaredLost, noticeWentBack } from "../domain/session.ts";
import type { Ports } from "../ports/ports.ts";
import { Batch, type Place } from "./items.ts";
import { keys } from "./keys.ts";
import { type HostPlaces, readCluster, readHosts, readOne } from "./read.ts";
import { retryConflicts } from "./retry.ts";
import { instantText } from "./views.ts";

export function readRecovery(ports: Ports, clusterId: string): Promise<Place<RecoveryRecord>> {
  return readOne<RecoveryRecord>(ports, keys.recovery(clusterId));
}

export const isShut = (recovery: RecoveryRecord | null): boolean => recovery !== null && recovery.kind !== "open";

/** Nothing is admitted, decided or given up while the cluster recovers. */
export async function isRecovering(ports: Ports, clusterId: string): Promise<boolean> {
  return isShut((await readRecovery(ports, clusterId)).value);
}

export async function refusalOf(ports: Ports, clusterId: string, recovery: RecoveryRecord): Promise<Problem> {
  return explain(recovery, recovery.kind === "recovering" ? await readAwaited(ports, clusterId) : []);
}

/** Hosts that are still to tell what they have. */
export async function readAwaited(ports: Ports, clusterId: string): Promise<string[]> {
  const { value } = await readCluster(ports, clusterId);
  return awaitedOf(await readHosts(ports, clusterId, value?.hosts ?? []));
}

function explain(recovery: RecoveryRecord, awaited: readonly string[]): Problem {
  if (recovery.kind === "went-back") {
    const detail = `Host "${recovery.by}" was told more than this table knows: it was restored from a backup, or replaced. Run "drover restore" on it, or serve the right one; until then nothing is decided.`;
    return { code: "table-went-back", detail };
  }
  const who = awaited.length > 0 ? `Awaited: ${awaited.join(", ")}` : "All hosts have told; it opens in a moment";
  const detail = `The table was restored, and hosts are to tell what they have before anything is decided. ${who}. Start their agents, or declare those lost that are off for good.`;
  return { code: "recovering", detail };
}

export function awaitedOf(hosts: readonly HostPlaces[]): string[] {
  return hosts.filter(({ session }) => isAwaited(session.value)).map(({ hostId }) => hostId);
}

export async function viewRecovery(
  ports: Ports,
  clusterId: string,
  hostIds: readonly string[],
): Promise<ClusterRecovery | null> {
  const { value: recovery } = await readRecovery(ports, clusterId);
  if (!recovery || recovery.kind === "open") return null;
  const since = instantText(recovery.at);
  if (recovery.kind === "went-back") {
    const { detail } = explain(recovery, []);
    return { state: "table-went-back", since, detail, restoreEpoch: null, reported: [], awaited: [], lost: [] };
  }
  const hosts = await readHosts(ports, clusterId, hostIds);
  const awaited = awaitedOf(hosts);
  const lost = hosts.filter(({ session }) => isDeclaredLost(session.value)).map(({ hostId }) => hostId);
  return {
    state: "recovering",
    since,
    detail: explain(recovery, awaited).detail,
    restoreEpoch: recovery.restoreEpoch,
    reported: hosts.map(({ hostId }) => hostId).filter((host) => !awaited.includes(host) && !lost.includes(host)),
    awaited,
    lost,
  };
}

/** A host has been told more than the table knows: from now on nothing is decided for its cluster. A table that was
 *  restored since that was seen numbers its requests from above. */
export async function noticeTableWentBack(
  ports: Ports,
  clusterId: string,
  { hostId, acknowledged }: { hostId: string; acknowledged: number },
): Promise<void> {
  await retryConflicts<null>(ports, "went-back-noticed", async () => {
    const recovery = await readRecovery(ports, clusterId);
    if (recovery.value?.kind === "went-back") return { kind: "done", result: null };
    const { value: cluster } = await readCluster(ports, clusterId);
    const hosts = await readHosts(ports, clusterId, cluster?.hosts ?? []);
    const knows = hosts.find((host) => host.hostId === hostId)?.session.value.counter;
    if (knows === undefined || acknowledged <= knows) return { kind: "done", result: null };
    const at = ports.clock.nowMs();
    const batch = new Batch({ clusterId, by: `host/${hostId}`, at });
    batch.put<RecoveryRecord>(recovery, { kind: "went-back", at, by: hostId });
    const subject = { kind: "cluster", id: clusterId } as const;
    batch.event({ kind: "table-went-back", subject, data: { noticedBy: hostId } }, recovery);
    for (const { session } of hosts) batch.put(session, noticeWentBack(session.value, hostId));
    return { kind: "commit", changes: batch.changes, result: null };
  });
}
