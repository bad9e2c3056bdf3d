// Housekeeping that every request does as it passes by: migrations that wait for hosts begin as soon as these are
// free, and those that wait in vain end. No decision waits for a timer, though one exists as the last net.
import { admit, chooseAdmissible, isVain } from "../domain/admission.ts";
import { decideMotion, type Motion, migrationEvents } from "../domain/motion.ts";
import { hostObstacles, nameObstacles } from "../domain/obstacles.ts";
import type { MigrationState, QueueEntry, Slot, VmRecord } from "../domain/records.ts";
import { hostTrouble, isAlive } from "../domain/session.ts";
import type { VerdictEvent } from "../domain/verdict.ts";
import type { Ports } from "../ports/ports.ts";
import { ringAll } from "./agent-call.ts";
import { Batch, type Place, type Stored } from "./items.ts";
import { keys } from "./keys.ts";
import { bothEnds, motionOf, putMotion, readMotion } from "./moving.ts";
import { type HostPlaces, readHosts, readOne, readQueue, readStanding } from "./read.ts";
import { isRecovering } from "./recovery.ts";
import { retryConflicts } from "./retry.ts";

/** Admits every queued migration whose hosts are free, in the order of asking. @returns how many it admitted */
export async function admitNext(ports: Ports, clusterId: string): Promise<number> {
  let admitted = 0;
  for (let hasEnded = true; hasEnded; ) {
    const admissions = await admitOnce(ports, clusterId);
    admitted += admissions.filter((admission) => admission === "admitted").length;
    hasEnded = admissions.includes("ended"); // Those behind it may have its hosts.
  }
  return admitted;
}

async function admitOnce(ports: Ports, clusterId: string): Promise<Admission[]> {
  const queue = (await readQueue(ports, clusterId)).map((entry) => entry.value);
  if (queue.length === 0 || (await isRecovering(ports, clusterId))) return [];
  const named = [...new Set(queue.flatMap(({ source, destination }) => [source, destination]))];
  const hosts = await readHosts(ports, clusterId, named);
  const now = ports.clock.nowMs();
  const free = new Set(hosts.filter((host) => isFree(host, now)).map((host) => host.hostId));
  const admissions: Admission[] = [];
  const alive = new Set(hosts.filter(({ session }) => isAlive(session.value, now)).map(({ hostId }) => hostId));
  const chosen = chooseAdmissible(
    queue,
    now,
    (hostId) => free.has(hostId),
    (hostId) => alive.has(hostId),
  );
  for (const entry of chosen) {
    admissions.push(await admitQueued(ports, clusterId, entry.migrationId));
  }
  return admissions;
}

export function isFree({ slot, session }: HostPlaces, nowMs: number): boolean {
  // One that is to tell what it has is given its slot by that.
  if (session.value.recovery) return false;
  return slot.value.migration === null && isAlive(session.value, nowMs) && hostTrouble(session.value) === null;
}

type Admission = "admitted" | "ended" | "waits" | "gone";
type Admitting = { admission: Admission; migration?: MigrationState };

/** Begins one queued migration if its hosts are free now, or ends it if its guest runs no more or the destination has
 *  come to lack what it needs: it had all of it when it was asked, so waiting longer promises nothing. */
export async function admitQueued(ports: Ports, clusterId: string, migrationId: string): Promise<Admission> {
  const retried = await retryConflicts<Admitting>(ports, "admission", async () => {
    const at = ports.clock.nowMs();
    const [marker, migration] = await Promise.all([
      readOne<QueueEntry>(ports, keys.queued(clusterId, migrationId)),
      readOne<MigrationState>(ports, keys.migration(clusterId, migrationId)),
    ]);
    const places = await readMotion(ports, clusterId, migration);
    if (!marker.value || places?.migration.value.stage !== "queued")
      return { kind: "done", result: { admission: "gone" } };
    const batch = new Batch({ clusterId, by: "control-plane", at });
    batch.remove(marker);
    const motion = motionOf(places);
    if (isVain(motion.migration, motion.vm)) {
      const context = { clusterId, at, restoreEpoch: ports.settings.restoreEpoch, actor: null };
      const ended = decideMotion(motion, vainly(motion.vm), context);
      if (ended.kind !== "move") throw new Error(`ending queued migration ${migrationId}: ${JSON.stringify(ended)}`);
      putMotion(batch, places, ended.motion);
      return { kind: "commit", changes: batch.changes, result: { admission: "ended" } };
    }
    const ends = await readHosts(ports, clusterId, [
      motion.migration.source.hostId,
      motion.migration.destination.hostId,
    ]);
    const [source, destination] = ends;
    if (!source || !destination || !isFree(source, at) || !isFree(destination, at)) {
      return { kind: "done", result: { admission: "waits" } };
    }
    const lacking = await findLacking(ports, clusterId, motion, at);
    if (lacking) {
      const context = { clusterId, at, restoreEpoch: ports.settings.restoreEpoch, actor: null };
      const ended = decideMotion(motion, lacking, context);
      if (ended.kind !== "move") throw new Error(`ending queued migration ${migrationId}: ${JSON.stringify(ended)}`);
      putMotion(batch, places, ended.motion);
      batch.check(destination.slot);
      return { kind: "commit", changes: batch.changes, result: { admission: "ended" } };
    }
    if (!putAdmission(batch, clusterId, ports, { migration: places.migration, vm: places.vm, ends, at })) {
      return { kind: "done", result: { admission: "waits" } };
    }
    return { kind: "commit", changes: batch.changes, result: { admission: "admitted", migration: motion.migration } };
  });
  if (retried.kind === "busy") return "waits"; // Whoever comes by next tries again.
  const { admission, migration } = retried.result;
  if (migration) await ringAll(ports, bothEnds(clusterId, migration));
  return admission;
}

/** What bars the guest from its destination now; a host that is silent or cannot journal only makes it wait. */
async function findLacking(
  ports: Ports,
  clusterId: string,
  { migration, vm }: Motion,
  at: number,
): Promise<VerdictEvent | null> {
  const { hostId } = migration.destination;
  const standing = await readStanding(ports, clusterId, hostId, { queue: false });
  const lasting = hostObstacles(hostId, "/destination", vm.spec, standing, at);
  const problem = nameObstacles(
    lasting.filter(({ code }) => code !== "host-not-alive" && code !== "host-cannot-journal"),
  );
  if (!problem) return null;
  const detail = `${problem.code} when its hosts were free: ${problem.detail}`;
  return { kind: "control-plane-aborts", sourceHasClaimed: false, reason: "preparation-failed", detail };
}

function vainly(vm: VmRecord) {
  const isWish = vm.wantedRunState !== "running" && vm.stoppedBecause === null;
  const detail = `the guest was not running any more (${vm.stoppedBecause ?? vm.runState}) when its hosts were free`;
  return {
    kind: "control-plane-aborts",
    sourceHasClaimed: false,
    reason: isWish || vm.stoppedBecause === "ordered" ? "vm-stopped" : "guest-ended",
    detail,
  } as const;
}

/** Adds to the batch what opens the migration, if both ends are free. @returns the migration as opened, or null */
export function putAdmission(
  batch: Batch,
  clusterId: string,
  ports: Ports,
  facts: {
    migration: Place<MigrationState> & { value: MigrationState | null };
    vm: Stored<VmRecord>;
    ends: HostPlaces[];
    at: number;
  },
  /** The migration where it is not in the table yet. */
  fresh?: MigrationState,
): MigrationState | null {
  const [source, destination] = facts.ends;
  const migration = fresh ?? facts.migration.value;
  if (!source || !destination || !migration) return null;
  if (!isFree(source, facts.at) || !isFree(destination, facts.at)) return null;
  const end = (host: HostPlaces) => ({
    identity: host.identity.value,
    slot: host.slot.value,
    migrationAddress: host.facts.value.facts.migrationAddress,
  });
  const opened = admit(
    migration,
    facts.vm.value,
    { source: end(source), destination: end(destination) },
    {
      clusterId,
      at: facts.at,
      assignmentMs: ports.settings.assignmentMs,
    },
  );
  batch.put<MigrationState>(facts.migration, opened.migration);
  batch.put<Slot>(source.slot, opened.slots.source);
  batch.put<Slot>(destination.slot, opened.slots.destination);
  batch.check(facts.vm);
  batch.events(migrationEvents(migration, opened.migration), { migration: facts.migration });
  return opened.migration;
}
