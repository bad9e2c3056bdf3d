// Where things are in the table. What changes at different paces lives in different items, so that no heartbeat
// conflicts with a migration; what one request needs is reached by keys that the request itself names.
import type { GuestPage } from "../../schemas/agent.ts";
import type { Key } from "../ports/table.ts";

/** For maps and sets: no two keys share one. */
export const nameOf = ({ partition, sort }: Key): string => `${partition}\n${sort}`;

export const clusterPartition = (clusterId: string): string => `c/${clusterId}`;
export const hostPartition = (clusterId: string, hostId: string): string => `c/${clusterId}/h/${hostId}`;
export const vmsPartition = (clusterId: string): string => `c/${clusterId}/vms`;
export const migrationsPartition = (clusterId: string): string => `c/${clusterId}/migrations`;
export const queuePartition = (clusterId: string): string => `c/${clusterId}/queue`;
/** Every event, until it has a sequence number: this partition is the index of those that lack one. */
export const pendingEventsPartition = (clusterId: string | null): string =>
  clusterId === null ? "events/pending" : `c/${clusterId}/events/pending`;
/** What the hosts told while the cluster recovers. */
export const inventoriesPartition = (clusterId: string): string => `c/${clusterId}/inventories`;
export const clustersPartition = "clusters";
export const keysPartition = "keys";
const joinPartition = "join";
export const copyPrefix = "copy/";

const ofHost =
  (sort: string) =>
  (clusterId: string, hostId: string): Key => ({ partition: hostPartition(clusterId, hostId), sort });

export const keys = {
  cluster: (clusterId: string): Key => ({ partition: clusterPartition(clusterId), sort: "cluster" }),
  /** Of a table that went back. */
  recovery: (clusterId: string): Key => ({ partition: clusterPartition(clusterId), sort: "recovery" }),
  inventory: (clusterId: string, hostId: string, page: GuestPage): Key => ({
    partition: inventoriesPartition(clusterId),
    sort: page.of === 1 ? hostId : `${hostId}/${page.index}`,
  }),
  clusterName: (clusterId: string): Key => ({ partition: clustersPartition, sort: clusterId }),
  identity: ofHost("identity"),
  /** Whose a public key is. */
  hostKey: (publicKey: string): Key => ({ partition: "host-keys", sort: publicKey }),
  /** Whose a migration address is. */
  address: (clusterId: string, address: string): Key => ({ partition: `c/${clusterId}/addresses`, sort: address }),
  facts: ofHost("facts"),
  session: ofHost("session"),
  slot: ofHost("slot"),
  /** What is told of its guests: of all of them, or of those on one page. */
  guests: (clusterId: string, hostId: string, page: GuestPage): Key => ({
    partition: hostPartition(clusterId, hostId),
    sort: page.of === 1 ? "guests" : `guests/${page.index}`,
  }),
  copy: (clusterId: string, hostId: string, copyId: string): Key => ({
    partition: hostPartition(clusterId, hostId),
    sort: `${copyPrefix}${copyId}`,
  }),
  /** Every life of a host that was ever heard of, so that an older one is known when it speaks again. */
  incarnation: (clusterId: string, hostId: string, incarnation: string): Key => ({
    partition: `c/${clusterId}/incarnations`,
    sort: `${hostId}/${incarnation}`,
  }),
  vm: (clusterId: string, vmId: string): Key => ({ partition: vmsPartition(clusterId), sort: vmId }),
  migration: (clusterId: string, id: string): Key => ({ partition: migrationsPartition(clusterId), sort: id }),
  progress: (clusterId: string, id: string): Key => ({ partition: `c/${clusterId}/progress`, sort: id }),
  gap: (clusterId: string, id: string): Key => ({ partition: `c/${clusterId}/gaps`, sort: id }),
  queued: (clusterId: string, id: string): Key => ({ partition: queuePartition(clusterId), sort: id }),
  apiKey: (hash: string): Key => ({ partition: keysPartition, sort: hash }),
  joinToken: (hash: string): Key => ({ partition: joinPartition, sort: hash }),
  operation: (keyId: string, hash: string): Key => ({ partition: `idempotency/${keyId}`, sort: hash }),
} as const;

/** @param ordinal of this event among those of its commit */
export function eventKey(
  clusterId: string | null,
  subject: { kind: string; id: string },
  cause: { item: string; revision: number },
  ordinal: number,
): Key {
  const order = `${String(cause.revision).padStart(12, "0")}/${String(ordinal).padStart(3, "0")}`;
  return { partition: pendingEventsPartition(clusterId), sort: `${subject.kind}/${subject.id}/${cause.item}/${order}` };
}

/** The name of an item in events. What only its hash names goes without. */
export function itemName({ partition, sort }: Key): string {
  const table = partition.slice(partition.lastIndexOf("/") + 1);
  return partition === keysPartition || partition === joinPartition ? table : `${table}/${sort}`;
}

export const sameKey = (one: Key, other: Key): boolean => one.partition === other.partition && one.sort === other.sort;
