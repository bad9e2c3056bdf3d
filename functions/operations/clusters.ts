// Clusters, the tokens by which hosts join them, and the hosts as operators see them.

import type { Cluster, ClusterRecovery } from "../../schemas/cluster.ts";
import type { Host } from "../../schemas/host.ts";
import type { Problem } from "../../schemas/problems.ts";
import { sha256Hex, toBase64Url } from "../../schemas/signing.ts";
import type { ClusterRecord, JoinTokenRecord } from "../domain/records.ts";
import type { Ports } from "../ports/ports.ts";
import type { Place } from "./items.ts";
import { clustersPartition, keys } from "./keys.ts";
import { type Operator, type Outcome, operate } from "./operate.ts";
import { clusterUnknown, readAll, readCluster, readHosts, readOne } from "./read.ts";
import { viewRecovery } from "./recovery.ts";
import { instantText, viewHost } from "./views.ts";

export const hostsPerCluster = 16;

export function createCluster(ports: Ports, operator: Operator, clusterId: string): Promise<Outcome> {
  return operate(ports, operator, clusterId, async (batch, at) => {
    const place = await readCluster(ports, clusterId);
    if (place.value) {
      const errors = [{ pointer: "/cluster", detail: "is taken" }];
      const detail = `Cluster "${clusterId}" exists already; choose another name.`;
      return { kind: "refuse", problem: { code: "cluster-exists", detail, errors } };
    }
    const record: ClusterRecord = { clusterId, hosts: [], createdAt: at, createdBy: operator.keyId };
    const revision = batch.put(place, record);
    batch.put(await readOne<{ clusterId: string }>(ports, keys.clusterName(clusterId)), { clusterId });
    batch.event({ kind: "cluster-created", subject: { kind: "cluster", id: clusterId }, data: {} }, place);
    return { kind: "accept", batch, answer: { status: 201, body: { ...viewCluster(record, revision) } } };
  });
}

function viewCluster(record: ClusterRecord, revision: number, recovery: ClusterRecovery | null = null): Cluster {
  const { clusterId: cluster, hosts, createdAt } = record;
  return { cluster, hosts, createdAt: instantText(createdAt), recovery, revision };
}

export async function getCluster(ports: Ports, clusterId: string): Promise<Cluster | Problem> {
  const place = await readCluster(ports, clusterId);
  if (!place.value) return clusterUnknown(clusterId);
  return viewCluster(place.value, place.revision, await viewRecovery(ports, clusterId, place.value.hosts));
}

export async function listClusterIds(ports: Ports): Promise<string[]> {
  return (await readAll<{ clusterId: string }>(ports, clustersPartition)).map(({ value }) => value.clusterId);
}

/** The token is worked out from the operation with the signing key, so that a repeated request gets the same one
 *  although the table never sees it. */
export async function createJoinToken(
  ports: Ports,
  operator: Operator,
  clusterId: string,
  request: { host: string; validForMs: number },
): Promise<Outcome> {
  const operationId = operator.idempotencyKey ?? ports.newId();
  const seed = ["drover-join-token-1", clusterId, request.host, operator.keyId, operationId].join("\n");
  const token = toBase64Url(await ports.signing.sign(new TextEncoder().encode(seed)));
  const outcome = await operate(ports, operator, clusterId, async (batch, at) => {
    const cluster = await readCluster(ports, clusterId);
    if (!cluster.value) return { kind: "refuse", problem: clusterUnknown(clusterId) };
    const full = clusterFull(cluster.value, request.host);
    if (full) return { kind: "refuse", problem: full };
    const place: Place<JoinTokenRecord> = await readOne(ports, keys.joinToken(await sha256Hex(token)));
    const expiresAt = at + request.validForMs;
    batch.put(place, { clusterId, hostId: request.host, expiresAt, usedBy: null });
    const tokenId = place.key.sort.slice(0, 16);
    const data = { host: request.host, expiresAt };
    batch.event({ kind: "join-token-created", subject: { kind: "key", id: tokenId }, data }, place);
    return {
      kind: "accept",
      batch,
      answer: { status: 201, body: { host: request.host, expiresAt: instantText(expiresAt) } },
    };
  });
  if (outcome.kind === "refuse") return outcome;
  return { kind: "answer", answer: { ...outcome.answer, body: { token, ...outcome.answer.body } } };
}

export function clusterFull(cluster: ClusterRecord, hostId: string): Problem | null {
  if (cluster.hosts.includes(hostId) || cluster.hosts.length < hostsPerCluster) return null;
  const detail = `Cluster "${cluster.clusterId}" has ${hostsPerCluster} hosts, the most there can be.`;
  return { code: "cluster-full", detail };
}

export async function listHosts(ports: Ports, clusterId: string): Promise<Host[] | Problem> {
  const { value } = await readCluster(ports, clusterId);
  return value ? showHosts(ports, clusterId, value.hosts) : clusterUnknown(clusterId);
}

export async function getHost(ports: Ports, clusterId: string, hostId: string): Promise<Host | Problem> {
  const { value } = await readCluster(ports, clusterId);
  if (!value) return clusterUnknown(clusterId);
  const [host] = await showHosts(ports, clusterId, [hostId]);
  return host ?? { code: "host-unknown", detail: `No host "${hostId}" has joined cluster "${clusterId}".` };
}

async function showHosts(ports: Ports, clusterId: string, hostIds: readonly string[]): Promise<Host[]> {
  const hosts = await readHosts(ports, clusterId, hostIds);
  return hosts.map(({ hostId, facts, session, slot }) =>
    viewHost(
      clusterId,
      hostId,
      {
        facts: facts.value,
        session: session.value,
        slot: slot.value,
        revision: facts.revision + session.revision + slot.revision,
      },
      ports.clock.nowMs(),
    ),
  );
}
