// Hosts that play migrations to their end, each from its own claims alone: the source streams and steps back when the
// record says so; the destination commits once everything is there.
import assert from "node:assert/strict";
import { MigrationRecord } from "../../../schemas/migration.ts";
import type { Claimed, FakeHost } from "./fake-host.ts";
import type { Answer, Cluster } from "./world.ts";

/** Which migrations' memory has arrived completely. */
export class Stage {
  readonly arrived = new Set<string>();
  readonly told = new Map<string, string>();
}

const noTimings = { setupMs: 1, precopyMs: 2, downtimeMs: 3, totalMs: 6, gateCheckMs: 1, commitMs: 1, loadMs: 1 };
const round = {
  round: 0,
  bytes: 100,
  durationMs: 1,
  remainingBytes: 0,
  dirtyBytesPerSecond: 0,
  bandwidthBytesPerSecond: 1,
  throttlePercent: 0,
};

export function about({ role, assignment }: Claimed) {
  const peer = role === "source" ? assignment.destination : assignment.source;
  const { migrationId, fencingToken, vmId } = assignment;
  return { migrationId, fencingToken, vmId, peerHostId: peer.hostId };
}

/** One look of a host at what it is to do. @returns whether it did something */
export async function act(host: FakeHost, stage: Stage): Promise<boolean> {
  const { copies, assignment } = await host.claimed();
  let acted = false;
  for (const duty of copies) {
    if (assignment?.assignment[assignment.role].copyId === duty.copyId) continue;
    const { resets = 0 } = duty;
    const word = `${duty.wantedRunState} ${duty.fencingToken} ${resets}`;
    if (stage.told.get(duty.copyId) === word) continue;
    const state = duty.wantedRunState === "stopped" ? "gone" : duty.wantedRunState;
    ok(await host.seen({ vmId: duty.vmId, copyId: duty.copyId, fencingToken: duty.fencingToken, state, resets }));
    stage.told.set(duty.copyId, word);
    acted = true;
  }
  if (!assignment) return acted;
  return (await (assignment.role === "source" ? actAsSource : actAsDestination)(host, assignment, stage)) || acted;
}

async function readRecord(host: FakeHost, claimed: Claimed): Promise<MigrationRecord> {
  const { body } = ok(await host.record(claimed.assignment.migrationId));
  return host.open(body.record, MigrationRecord);
}

async function actAsSource(host: FakeHost, claimed: Claimed, stage: Stage): Promise<boolean> {
  const { migrationId, vmId, source } = claimed.assignment;
  const record = await readRecord(host, claimed);
  const last = { vmId, copyId: source.copyId, fencingToken: record.verdictToken, migrationId };
  switch (record.verdict) {
    case "open":
      if (record.cancelRequested) {
        const answer = await host.report({
          ...about(claimed),
          kind: "source-aborts",
          reason: record.cancelRequested,
          detail: "",
        });
        return answer.status === 200;
      }
      if (stage.arrived.has(migrationId)) return false;
      ok(
        await host.report({
          ...about(claimed),
          kind: "migration-progressed",
          phase: "precopy",
          rounds: [round],
          encrypted: true,
        }),
      );
      stage.arrived.add(migrationId);
      return true;
    case "committed":
      if (!record.confirmed) return false;
      ok(
        await host.seen({
          ...last,
          state: "gone",
          because: "migration-over",
          summary: { timings: noTimings, bytes: 100, rounds: [round], encrypted: true },
        }),
      );
      return true;
    default:
      ok(await host.seen({ ...last, state: "running" }));
      return true;
  }
}

async function actAsDestination(host: FakeHost, claimed: Claimed, stage: Stage): Promise<boolean> {
  const { migrationId, vmId, destination } = claimed.assignment;
  const record = await readRecord(host, claimed);
  const last = { vmId, copyId: destination.copyId, fencingToken: record.verdictToken, migrationId };
  switch (record.verdict) {
    case "open":
      if (!stage.arrived.has(migrationId) || record.cancelRequested) return false;
      await host.report({ ...about(claimed), kind: "destination-commits" });
      return true;
    case "committed":
      if (!record.confirmed) {
        const outcome = record.arrivesPaused ? "paused" : "running";
        ok(await host.report({ ...about(claimed), kind: "guest-confirmed", outcome }));
        ok(await host.report({ kind: "gap-measured", migrationId, guestGapMs: 12 }));
      }
      ok(await host.seen({ ...last, state: "running" }));
      return true;
    default:
      ok(await host.seen({ ...last, state: "gone", because: "migration-over" }));
      return true;
  }
}

export function ok(answer: Answer): Answer {
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer;
}

/** All hosts act, each on its own, until none has anything to do. */
export async function playAll(world: Pick<Cluster, "hosts">, stage = new Stage()): Promise<void> {
  for (let idle = false; !idle; ) {
    const acted = await Promise.all(Object.values(world.hosts).map((host) => act(host, stage)));
    idle = !acted.includes(true);
  }
}
