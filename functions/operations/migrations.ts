// Migrations as operators ask for them, watch them and cancel them.
import type { Migration, MigrationRequest } from "../../schemas/migration.ts";
import type { Problem } from "../../schemas/problems.ts";
import { hasWaitedLong } from "../domain/admission.ts";
import { newMigration } from "../domain/migrations.ts";
import { decideMotion, requestCancel } from "../domain/motion.ts";
import { findObstacles, nameObstacles } from "../domain/obstacles.ts";
import type { MigrationState, QueueEntry, VmRecord } from "../domain/records.ts";
import { isSame } from "../domain/same.ts";
import type { Ports } from "../ports/ports.ts";
import { admitNext, putAdmission } from "./admit-next.ts";
import { type Place, readItem, type Stored } from "./items.ts";
import { keys, migrationsPartition } from "./keys.ts";
import { bothEnds, hasFreedSlot, hasSourceClaimed, motionOf, putMotion, readMotionById } from "./moving.ts";
import { type Answer, type Operator, type Outcome, operate } from "./operate.ts";
import {
  clusterUnknown,
  type HostPlaces,
  migrationUnknown,
  readCluster,
  readHosts,
  readOne,
  readPlaces,
  readQueue,
  readStanding,
  showMigrations,
} from "./read.ts";
import { refuse } from "./refusals.ts";
import { viewMigration } from "./views.ts";

/** Takes the VM, and both hosts' slots too if they are free: then it opens in the same commit. Else it is queued. */
export function requestMigration(
  ports: Ports,
  operator: Operator,
  clusterId: string,
  request: MigrationRequest,
): Promise<Outcome> {
  const id = `mig_${ports.newId()}`;
  const copyId = `copy_${ports.newId()}`;
  return operate(ports, operator, clusterId, async (batch, at) => {
    const [cluster, vm, earlier] = await readPlaces<unknown>(ports, [
      keys.cluster(clusterId),
      keys.vm(clusterId, request.vm),
      ...(request.retryOf ? [keys.migration(clusterId, request.retryOf)] : []),
    ]);
    if (!cluster?.value) return refuse(clusterUnknown(clusterId));
    if (request.retryOf && !earlier?.value) return refuse(retryUnknown(request.retryOf));
    if (earlier?.value && (earlier.value as MigrationState).vmId !== request.vm) {
      return refuse(retryOfAnother(earlier.value as MigrationState));
    }
    const vmPlace = vm as Place<VmRecord>;
    const isNamed = request.destination !== "auto";
    const hostIds = [vmPlace.value?.owner?.hostId, isNamed ? request.destination : undefined].filter(
      (hostId) => hostId !== undefined,
    );
    const ends = await readHosts(ports, clusterId, [...new Set(hostIds)]); // Before the standing, as it says.
    const destination = isNamed ? await readStanding(ports, clusterId, request.destination) : null;
    const owningHost = vmPlace.value?.owner?.hostId;
    const source = ends.find(({ hostId }) => hostId === owningHost)?.session.value ?? null;
    const obstacle = nameObstacles(findObstacles(request, vmPlace.value, destination, at, source));
    if (obstacle) return refuse(obstacle);
    if (!vmPlace.value?.owner || request.destination === "auto") throw new Error("an obstacle was overlooked");

    const { owner } = vmPlace.value;
    const by = operator.keyId;
    const migration = newMigration({
      id,
      copyId,
      request,
      destination: request.destination,
      vm: vmPlace.value,
      owner,
      by,
      at,
    });
    const place: Place<MigrationState> = { key: keys.migration(clusterId, id), revision: 0, value: null };
    const opened = (await isHeld(ports, clusterId, ends, at))
      ? null
      : putAdmission(batch, clusterId, ports, { migration: place, vm: vmPlace, ends, at }, migration);
    if (!opened) {
      batch.put(place, migration);
      const entry: QueueEntry = {
        migrationId: id,
        vmId: request.vm,
        source: owner.hostId,
        destination: request.destination,
        memoryMiB: vmPlace.value.spec.memoryMiB,
        since: at,
      };
      batch.put<QueueEntry>({ key: keys.queued(clusterId, id), revision: 0, value: null }, entry);
      batch.event({ kind: "migration-queued", subject: { kind: "migration", id }, data: { vm: request.vm } }, place);
    }
    const data = { vm: request.vm, source: owner.hostId, destination: request.destination };
    batch.event({ kind: "migration-requested", subject: { kind: "migration", id }, data }, place);
    batch.put(vmPlace, { ...vmPlace.value, migrationId: id });
    return {
      kind: "accept",
      batch,
      rings: opened ? bothEnds(clusterId, opened) : [],
      answer: answerOf(clusterId, viewMigration(opened ?? migration, { progress: null, gap: null, revision: 1 })),
      // A slot may have come free between reading and writing.
      afterwards: async () =>
        !opened && (await admitNext(ports, clusterId)) > 0 ? freshAnswer(ports, clusterId, id) : null,
    };
  });
}

/** One that has waited long holds these hosts; who comes now goes behind it. */
async function isHeld(ports: Ports, clusterId: string, ends: HostPlaces[], at: number): Promise<boolean> {
  const waiting = (await readQueue(ports, clusterId))
    .map(({ value }) => value)
    .filter((entry) => hasWaitedLong(entry, at));
  return waiting.some((entry) => ends.some(({ hostId }) => hostId === entry.source || hostId === entry.destination));
}

function retryUnknown(id: string): Problem {
  return { ...migrationUnknown(id), errors: [{ pointer: "/retryOf", detail: "name a migration of this cluster" }] };
}

function retryOfAnother({ id, vmId }: MigrationState): Problem {
  const detail = `Migration ${id} was of VM "${vmId}"; a retry is of the same VM.`;
  return { code: "invalid-request", detail, errors: [{ pointer: "/retryOf", detail: "name a migration of this VM" }] };
}

export const migrationPath = (clusterId: string, id: string): string => `/v1/clusters/${clusterId}/migrations/${id}`;

function answerOf(clusterId: string, migration: Migration): Answer {
  return { status: 202, body: { ...migration }, location: migrationPath(clusterId, migration.id) };
}

async function freshAnswer(ports: Ports, clusterId: string, id: string): Promise<Answer | null> {
  const migration = await getMigration(ports, clusterId, id);
  return "code" in migration ? null : answerOf(clusterId, migration);
}

export async function getMigration(ports: Ports, clusterId: string, id: string): Promise<Migration | Problem> {
  const [cluster, place] = await readPlaces<unknown>(ports, [keys.cluster(clusterId), keys.migration(clusterId, id)]);
  if (!cluster?.value) return clusterUnknown(clusterId);
  if (!place?.value) return migrationUnknown(id);
  const [migration] = await showMigrations(ports, clusterId, [place as Stored<MigrationState>]);
  return migration ?? migrationUnknown(id);
}

/** Newest first. @param cursor the id that the page before ended with */
export async function listMigrations(
  ports: Ports,
  clusterId: string,
  page: { limit: number; cursor: string | null },
): Promise<{ items: Migration[]; nextCursor: string | null } | Problem> {
  if (!(await readCluster(ports, clusterId)).value) return clusterUnknown(clusterId);
  const { items, next } = await ports.table.query({
    partition: migrationsPartition(clusterId),
    order: "descending",
    limit: page.limit,
    ...(page.cursor === null ? {} : { after: page.cursor }),
  });
  const migrations = items.map((item) => readItem<MigrationState>(item));
  return { items: await showMigrations(ports, clusterId, migrations), nextCursor: next };
}

/** Ends what has not begun, asks the agents to end what has, and says so when it is too late. */
export function cancelMigration(ports: Ports, operator: Operator, clusterId: string, id: string): Promise<Outcome> {
  return operate(ports, operator, clusterId, async (batch, at) => {
    if (!(await readCluster(ports, clusterId)).value) return refuse(clusterUnknown(clusterId));
    const places = await readMotionById(ports, clusterId, id);
    if (!places) return refuse(migrationUnknown(id));
    const tooLate = cancelTooLate(places.migration.value);
    if (tooLate) return refuse(tooLate);
    const context = { clusterId, at, restoreEpoch: ports.settings.restoreEpoch, actor: null };
    const motion = motionOf(places);
    const reason = "cancelled-by-user";
    const detail = "cancelled before its source had begun";
    const ended = decideMotion(
      motion,
      { kind: "control-plane-aborts", sourceHasClaimed: hasSourceClaimed(motion), reason, detail },
      context,
    );
    const after = ended.kind === "move" ? ended.motion : requestCancel(motion, reason, context);
    if (motion.migration.stage === "queued" && after.migration.stage === "ended") {
      batch.remove(await readOne<QueueEntry>(ports, keys.queued(clusterId, id)));
    }
    putMotion(batch, places, after);
    const isChanged = !isSame(after.migration, motion.migration);
    const place = {
      ...places.migration,
      revision: places.migration.revision + (isChanged ? 1 : 0),
      value: after.migration,
    };
    const [shown] = await showMigrations(ports, clusterId, [place]);
    if (!shown) throw new Error(`showing migration ${id}`);
    return {
      kind: "accept",
      batch,
      rings: bothEnds(clusterId, after.migration),
      answer: answerOf(clusterId, shown),
      afterwards: async () => {
        if (hasFreedSlot(motion.migration, after.migration)) await admitNext(ports, clusterId);
        return null;
      },
    };
  });
}

function cancelTooLate({ id, verdict, destination }: MigrationState): Problem | null {
  if (verdict.kind === "open") return null;
  if (verdict.kind === "committed") {
    const seen = verdict.confirmed ? `, and it was seen ${verdict.confirmed.outcome} there` : "";
    const detail = `Host "${destination.hostId}" owns the guest since it committed migration ${id}${seen}; migrate it back instead.`;
    return { code: "too-late-committed", detail, holder: id };
  }
  const detail = `Migration ${id} is over (${verdict.kind}); there is nothing to cancel.`;
  return { code: "migration-over", detail, holder: id };
}
