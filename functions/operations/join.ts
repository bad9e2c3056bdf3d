// A host joins with a one-time token and gets a certificate for its key. The token is used up by the same commit that
// makes the host, so of many who come with it one gets in; that one may ask again if the answer was lost.
import type { HostCertificate, JoinAnswer, JoinRequest } from "../../schemas/agent.ts";
import type { Problem } from "../../schemas/problems.ts";
import { sha256Hex, signDocument } from "../../schemas/signing.ts";
import type {
  ClusterRecord,
  HostFactsRecord,
  HostIdentity,
  JoinTokenRecord,
  Session,
  Slot,
} from "../domain/records.ts";
import { newSession } from "../domain/session.ts";
import type { Ports } from "../ports/ports.ts";
import { checkAddress, takeAddress } from "./addresses.ts";
import { clusterFull } from "./clusters.ts";
import { Batch, type Place } from "./items.ts";
import { keys } from "./keys.ts";
import { readOne, readPlaces } from "./read.ts";
import { isShut, readRecovery, refusalOf } from "./recovery.ts";
import { refuse } from "./refusals.ts";
import { type Attempt, retryConflicts } from "./retry.ts";

type Joined = { kind: "refuse"; problem: Problem } | { kind: "joined"; clusterId: string };

export async function join(
  ports: Ports,
  request: JoinRequest,
): Promise<{ kind: "refuse"; problem: Problem } | { kind: "answer"; answer: JoinAnswer }> {
  const key = keys.joinToken(await sha256Hex(request.token));
  const retried = await retryConflicts<Joined>(ports, "join", () => attemptJoin(ports, request, key));
  if (retried.kind === "busy") return { kind: "refuse", problem: retried.problem };
  if (retried.result.kind === "refuse") return retried.result;
  const { clusterId } = retried.result;
  const { host, publicKey } = request;
  const certificate: HostCertificate = {
    type: "drover-host-certificate-1",
    clusterId,
    hostId: host,
    publicKey,
    issuedAt: ports.clock.nowMs(),
  };
  return {
    kind: "answer",
    answer: {
      cluster: clusterId,
      host,
      certificate: await signDocument(certificate, ports.signing.sign),
      verificationKey: ports.signing.publicKey,
      doorbell: await ports.doorbell.install({ clusterId, hostId: host }),
      tableId: ports.settings.tableId,
    },
  };
}

async function attemptJoin(
  ports: Ports,
  request: JoinRequest,
  key: { partition: string; sort: string },
): Promise<Attempt<Joined>> {
  const refused = (problem: Problem): Attempt<Joined> => ({ kind: "done", result: refuse(problem) });
  const token: Place<JoinTokenRecord> = await readOne(ports, key);
  const at = ports.clock.nowMs();
  const { host, publicKey } = request;
  const isMine = token.value?.hostId === host && (token.value.usedBy ?? publicKey) === publicKey;
  if (!token.value || !isMine || token.value.expiresAt <= at) {
    const detail = `Make a new join token for host "${host}"; one serves once, for the host it names, until it expires.`;
    return refused({ code: "join-token-invalid", detail });
  }
  const { clusterId } = token.value;
  const result: Joined = { kind: "joined", clusterId };
  if (token.value.usedBy === publicKey) return { kind: "done", result };

  const places = await readPlaces<unknown>(ports, [
    keys.cluster(clusterId),
    ...[keys.identity, keys.facts, keys.session, keys.slot].map((of) => of(clusterId, host)),
    keys.hostKey(publicKey),
  ]);
  const [cluster, identity, facts, session, slot, hostKey] = places as [
    Place<ClusterRecord>,
    Place<HostIdentity>,
    Place<HostFactsRecord>,
    Place<Session>,
    Place<Slot>,
    Place<{ clusterId: string; hostId: string }>,
  ];
  if (!cluster.value) throw new Error(`join token of cluster ${clusterId}, which does not exist`);
  const { value: recovery } = await readRecovery(ports, clusterId);
  if (recovery && isShut(recovery)) return refused(await refusalOf(ports, clusterId, recovery));
  const full = clusterFull(cluster.value, host);
  if (full) return refused(full);
  if (identity.value && identity.value.publicKey !== publicKey) {
    const detail = `Host "${host}" has joined with another key; bring its data folder back, or join under another name.`;
    return refused({ code: "host-exists", detail });
  }
  if (hostKey.value && (hostKey.value.clusterId !== clusterId || hostKey.value.hostId !== host)) {
    const detail =
      "Another host has joined with this key; give this one a data folder of its own, where it makes a key.";
    const errors = [{ pointer: "/publicKey", detail: "is another host's" }];
    return refused({ code: "host-key-reused", detail, errors });
  }
  const batch = new Batch({ clusterId, by: `host/${host}`, at });
  batch.put(hostKey, { clusterId, hostId: host });
  batch.put(token, { ...token.value, usedBy: publicKey });
  const unfit =
    checkAddress(request.facts.migrationAddress) ??
    (await takeAddress(batch, { clusterId, hostId: host }, { facts: request.facts }, facts.value, (key) =>
      readOne(ports, key),
    ));
  if (unfit) return refused(unfit);
  const factsRevision = batch.put(facts, { facts: request.facts });
  if (!identity.value) {
    batch.put(cluster, { ...cluster.value, hosts: [...cluster.value.hosts, host].sort() });
    batch.put(identity, { hostId: host, publicKey, joinedAt: at });
    batch.put(session, newSession);
    batch.put(slot, { assignmentsRevision: 1, migration: null });
    batch.event({ kind: "host-joined", subject: { kind: "host", id: host }, data: { publicKey } }, identity);
  } else if (factsRevision !== facts.revision) {
    batch.event({ kind: "host-facts-changed", subject: { kind: "host", id: host }, data: {} }, facts);
  }
  return { kind: "commit", changes: batch.changes, result };
}
