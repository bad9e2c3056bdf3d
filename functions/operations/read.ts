// Reading for the API and for decisions that no budget holds: what stands, put together from its items.

import { guestPageOf, guestPages, onlyPage } from "../../schemas/agent.ts";
import type { CopyRef } from "../../schemas/ids.ts";
import type { Migration } from "../../schemas/migration.ts";
import type { Problem } from "../../schemas/problems.ts";
import type { Vm } from "../../schemas/vm.ts";
import type { HostStanding } from "../domain/obstacles.ts";
import type {
  ClusterRecord,
  CopyDuty,
  Gap,
  GuestReports,
  HostFactsRecord,
  HostIdentity,
  MigrationState,
  Progress,
  QueueEntry,
  Session,
  Slot,
  VmRecord,
} from "../domain/records.ts";
import { hostTrouble } from "../domain/session.ts";
import type { Ports } from "../ports/ports.ts";
import type { Item, Key, RangeQuery } from "../ports/table.ts";
import { type Place, readItem, readPlace, type Stored } from "./items.ts";
import { copyPrefix, hostPartition, keys, nameOf, queuePartition } from "./keys.ts";
import { type InMotion, viewMigration, viewVm } from "./views.ts";

const keysAtOnce = 100;

/** As many keys as need be, and a place for each, in their order. */
export async function readPlaces<T>(ports: Ports, wanted: readonly Key[]): Promise<Place<T>[]> {
  const places: Place<T>[] = [];
  for (let start = 0; start < wanted.length; start += keysAtOnce) {
    const part = wanted.slice(start, start + keysAtOnce);
    const items = await ports.table.get(part);
    part.forEach((key, index) => {
      places.push(readPlace<T>(key, items[index]));
    });
  }
  return places;
}

export async function readOne<T>(ports: Ports, key: Key): Promise<Place<T>> {
  const [item] = await ports.table.get([key]);
  return readPlace<T>(key, item);
}

/** A whole partition (or the part under a prefix), page by page. */
export async function readAll<T>(ports: Ports, partition: string, prefix?: string): Promise<Stored<T>[]> {
  const items = await queryAll(ports, { partition, ...(prefix === undefined ? {} : { prefix }) });
  return items.map((item) => readItem<T>(item));
}

/** Page after page, in the order asked for. */
export async function queryAll(ports: Ports, query: Omit<RangeQuery, "limit" | "after">): Promise<Item[]> {
  const all: Item[] = [];
  let after: string | null = null;
  do {
    const page: { items: Item[]; next: string | null } = await ports.table.query({
      ...query,
      limit: 1000,
      ...(after === null ? {} : { after }),
    });
    all.push(...page.items);
    after = page.next;
  } while (after !== null);
  return all;
}

export async function readCluster(ports: Ports, clusterId: string): Promise<Place<ClusterRecord>> {
  return readOne<ClusterRecord>(ports, keys.cluster(clusterId));
}

export function clusterUnknown(clusterId: string): Problem {
  return { code: "cluster-unknown", detail: `There is no cluster "${clusterId}"; create it, or check its name.` };
}

export type HostPlaces = {
  hostId: string;
  identity: Stored<HostIdentity>;
  facts: Stored<HostFactsRecord>;
  session: Stored<Session>;
  slot: Stored<Slot>;
};

export async function readHosts(ports: Ports, clusterId: string, hostIds: readonly string[]): Promise<HostPlaces[]> {
  const parts = [keys.identity, keys.facts, keys.session, keys.slot];
  const places = await readPlaces<unknown>(
    ports,
    hostIds.flatMap((hostId) => parts.map((key) => key(clusterId, hostId))),
  );
  return hostIds.flatMap((hostId, index) => {
    const [identity, facts, session, slot] = places.slice(index * 4, index * 4 + 4);
    if (!identity?.value || !facts?.value || !session?.value || !slot?.value) return [];
    const host = { hostId, identity, facts, session, slot };
    return [host as HostPlaces];
  });
}

/** A host, how many guests it has and how much of its memory is promised: to its own copies, to one arriving, to those
 *  in the queue for it. Whoever promises more writes the host's slot as well, read before (`takeRoom`), so that no two promise the same. */
export async function readStanding(
  ports: Ports,
  clusterId: string,
  hostId: string,
  options: { queue: boolean } = { queue: true },
): Promise<HostStanding> {
  const items = await readAll<unknown>(ports, hostPartition(clusterId, hostId));
  const at = <T>(sort: string) => items.find((item) => item.key.sort === sort)?.value as T | undefined;
  const facts = at<HostFactsRecord>("facts");
  const session = at<Session>("session");
  const slot = at<Slot>("slot");
  if (!facts || !session) return null;
  const duties = items.filter((item) => item.key.sort.startsWith(copyPrefix)).map((item) => item.value as CopyDuty);
  const arriving = slot?.migration?.role === "destination" ? slot.migration.assignment : null;
  const waiting = options.queue ? await readQueue(ports, clusterId) : [];
  const queue = waiting.filter((entry) => entry.value.destination === hostId);
  const promised = [
    ...duties.map((duty) => duty.spec.memoryMiB),
    ...queue.map((entry) => entry.value.memoryMiB),
    arriving && !duties.some((duty) => duty.copyId === arriving.destination.copyId) ? arriving.spec.memoryMiB : 0,
  ];
  const guests = promised.filter((mib) => mib > 0).length;
  return { hostId, facts: facts.facts, session, guests, promisedMiB: promised.reduce((sum, mib) => sum + mib, 0) };
}

export function readQueue(ports: Ports, clusterId: string): Promise<Stored<QueueEntry>[]> {
  return readAll<QueueEntry>(ports, queuePartition(clusterId));
}

export async function showVms(ports: Ports, clusterId: string, vms: readonly Stored<VmRecord>[]): Promise<Vm[]> {
  const moving = vms.flatMap(({ value }) => (value.migrationId ? [value.migrationId] : []));
  const migrations = await readPlaces<MigrationState>(
    ports,
    moving.map((id) => keys.migration(clusterId, id)),
  );
  const progress = await readPlaces<Progress>(
    ports,
    moving.map((id) => keys.progress(clusterId, id)),
  );
  const saidOf = await readGuests(
    ports,
    clusterId,
    vms.flatMap(({ value }) => value.owner ?? []),
  );
  const ends = migrations.flatMap(({ value }) => (value ? [value.source.hostId, value.destination.hostId] : []));
  const involved = [...new Set(ends)];
  const sessions = await readPlaces<Session>(
    ports,
    involved.map((host) => keys.session(clusterId, host)),
  );
  const sessionOf = (host: string) => sessions[involved.indexOf(host)]?.value ?? null;
  const now = ports.clock.nowMs();
  return vms.map(({ value: vm, revision }) => {
    const { owner } = vm;
    const told = owner ? saidOf(owner) : null;
    const isThere = vm.runState !== "stopped" && vm.runState !== "guest-lost";
    const guest = owner && isThere ? told?.reports[owner.copyId] : undefined;
    const alarms = owner && isThere ? [told?.alarms?.[owner.copyId] ?? []].flat() : [];
    const index = vm.migrationId ? moving.indexOf(vm.migrationId) : -1;
    const migration = migrations[index]?.value ?? null;
    const motion: InMotion | null = migration && {
      migration,
      progress: progress[index]?.value ?? null,
      sessions: { source: sessionOf(migration.source.hostId), destination: sessionOf(migration.destination.hostId) },
    };
    return viewVm(vm, revision, { guest: guest?.report ?? null, alarms, motion }, now);
  });
}

/** What the hosts of these copies told of them. */
async function readGuests(
  ports: Ports,
  clusterId: string,
  copies: readonly CopyRef[],
): Promise<(copy: CopyRef) => GuestReports | null> {
  const keysOf = ({ hostId, copyId }: CopyRef): Key[] =>
    [onlyPage, { index: guestPageOf(copyId), of: guestPages } as const].map((page) =>
      keys.guests(clusterId, hostId, page),
    );
  const wanted = new Map(copies.flatMap(keysOf).map((key) => [nameOf(key), key]));
  const places = await readPlaces<GuestReports>(ports, [...wanted.values()]);
  const found = new Map(places.map(({ key, value }) => [nameOf(key), value]));
  return (copy) => {
    const [whole, page] = keysOf(copy).map((key) => found.get(nameOf(key)) ?? null);
    return (page?.at ?? -1) > (whole?.at ?? -1) ? (page ?? null) : (whole ?? null);
  };
}

export async function showVm(ports: Ports, clusterId: string, vm: Stored<VmRecord>): Promise<Vm> {
  const [shown] = await showVms(ports, clusterId, [vm]);
  if (!shown) throw new Error(`showing VM ${vm.value.vmId}`);
  return shown;
}

export async function showMigrations(
  ports: Ports,
  clusterId: string,
  migrations: readonly Stored<MigrationState>[],
): Promise<Migration[]> {
  const ids = migrations.map(({ value }) => value.id);
  const beside = await readPlaces<unknown>(ports, [
    ...ids.map((id) => keys.progress(clusterId, id)),
    ...ids.map((id) => keys.gap(clusterId, id)),
  ]);
  const waiting = migrations.filter(({ value }) => value.stage === "queued");
  const hosts = [...new Set(waiting.flatMap(({ value }) => [value.source.hostId, value.destination.hostId]))];
  const sessions = await readPlaces<Session>(
    ports,
    hosts.map((host) => keys.session(clusterId, host)),
  );
  return migrations.map(({ value, revision }, index) => {
    const progress = beside[index] as Place<Progress> | undefined;
    const gap = beside[ids.length + index] as Place<Gap> | undefined;
    return viewMigration(value, {
      progress: progress?.value ?? null,
      gap: gap?.value ?? null,
      waitsFor: value.stage === "queued" ? waitsFor(value) : null,
      // Grows with every change of anything shown.
      revision: revision + (progress?.revision ?? 0) + (gap?.revision ?? 0),
    });
  });

  function waitsFor({ source, destination }: MigrationState): string | null {
    for (const { hostId } of [source, destination]) {
      const trouble = hostTrouble(sessions[hosts.indexOf(hostId)]?.value ?? null);
      if (trouble) return `Waits for host "${hostId}", which ${trouble}.`;
    }
    return null;
  }
}

export function migrationUnknown(id: string): Problem {
  return { code: "migration-unknown", detail: `There is no migration ${id} in this cluster.` };
}

export function vmUnknown(vmId: string): Problem {
  return { code: "vm-unknown", detail: `There is no VM "${vmId}" in this cluster.` };
}

export function vmDeleted(vmId: string): Problem {
  return { code: "vm-deleted", detail: `VM "${vmId}" was deleted; its name is not used again.` };
}
