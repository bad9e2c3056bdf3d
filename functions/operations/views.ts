// What the API shows. Times become RFC 3339 here and nowhere else; alarms are worked out as they are read.
import type { Host } from "../../schemas/host.ts";
import type { Migration } from "../../schemas/migration.ts";
import type { GuestReport, Vm } from "../../schemas/vm.ts";
import { cancelOutcomeOf, isConfirmed, phaseOf, reasonOf } from "../domain/migrations.ts";
import type {
  Gap,
  HostFactsRecord,
  MigrationState,
  Progress,
  Role,
  Session,
  Slot,
  VmRecord,
} from "../domain/records.ts";
import { isAlive } from "../domain/session.ts";
import { isResetPending } from "../domain/vms.ts";

export const instantText = (atMs: number): string => new Date(atMs).toISOString();

export function viewHost(
  clusterId: string,
  hostId: string,
  host: { facts: HostFactsRecord; session: Session; slot: Slot; revision: number },
  nowMs: number,
): Host {
  const { session } = host;
  return {
    host: hostId,
    cluster: clusterId,
    facts: host.facts.facts,
    incarnation: session.incarnation,
    incarnationNumber: session.incarnationNumber,
    alive: isAlive(session, nowMs),
    leaseExpiresAt: session.leaseExpiresAt === null ? null : instantText(session.leaseExpiresAt),
    declaredLost: session.lost ? { ...session.lost, at: instantText(session.lost.at) } : null,
    migration: host.slot.migration?.migrationId ?? null,
    alarms: (session.alarms ?? []).map((alarm) => ({ ...alarm, since: instantText(alarm.since) })),
    revision: host.revision,
  };
}

/** What a VM in motion shows beside its own record. */
export type InMotion = {
  migration: MigrationState;
  progress: Progress | null;
  sessions: { [R in Role]: Session | null };
};

export function viewVm(
  vm: VmRecord,
  revision: number,
  beside: {
    guest: GuestReport | null;
    /** What its owner's host says stands wrong with it. */
    alarms: readonly { code: string; detail: string; since: number }[];
    motion: InMotion | null;
  },
  nowMs: number,
): Vm {
  const motion = beside.motion?.migration.id === vm.migrationId ? beside.motion : null;
  const frozenSince = motion && !isConfirmed(motion.migration) ? (motion.progress?.frozenSince ?? null) : null;
  const hasEnded = vm.runState === "stopped" || vm.runState === "guest-lost";
  return {
    vm: vm.vmId,
    spec: vm.spec,
    wantedRunState: vm.wantedRunState,
    runState: frozenSince !== null && !hasEnded ? "frozen" : vm.runState,
    stoppedBecause: vm.stoppedBecause,
    owner: vm.owner,
    fencingToken: vm.fencingToken,
    migration: vm.migrationId,
    deleteRequested: vm.deleteRequested,
    resetPending: isResetPending(vm),
    alarms: [
      ...beside.alarms.map((alarm) => ({ ...alarm, since: instantText(alarm.since) })),
      ...(motion ? alarmsOf(motion, frozenSince, nowMs) : []),
    ],
    guest: beside.guest,
    revision,
  };
}

function alarmsOf({ migration, sessions }: InMotion, frozenSince: number | null, nowMs: number): Vm["alarms"] {
  const alarms: Vm["alarms"] = [];
  if (frozenSince !== null) {
    alarms.push({
      code: "guest-frozen",
      since: instantText(frozenSince),
      detail: `The guest stands still, whole, because nobody can know yet who owns it; it goes on when the control plane or the peer of migration ${migration.id} is reached. If a host is gone for good: docs/lost-host.md.`,
    });
  }
  if (migration.takeBack?.refused) {
    alarms.push({
      code: "take-back-refused",
      since: instantText(migration.startedAt ?? migration.createdAt),
      detail: `The source of migration ${migration.id} cannot take its copy back: ${migration.takeBack.refused}. Start the VM from its disk: docs/lost-host.md.`,
    });
  }
  if (migration.stage !== "admitted") return alarms;
  for (const role of ["source", "destination"] as const) {
    const session = sessions[role];
    if (!migration.holds[role] || isAlive(session, nowMs)) continue;
    alarms.push({
      code: "lease-lapsed",
      since: instantText(session?.leaseExpiresAt ?? migration.createdAt),
      detail: `Host "${migration[role].hostId}", ${role} of migration ${migration.id}, has not renewed its lease. If it is gone for good: docs/lost-host.md.`,
    });
  }
  return alarms;
}

const noTimings = {
  setupMs: null,
  precopyMs: null,
  downtimeMs: null,
  totalMs: null,
  gateCheckMs: null,
  commitMs: null,
  loadMs: null,
};

export function viewMigration(
  migration: MigrationState,
  beside: { progress: Progress | null; gap: Gap | null; waitsFor?: string | null; revision: number },
): Migration {
  const { progress } = beside;
  const reason = reasonOf(migration);
  const optional = (at: number | null) => (at === null ? null : instantText(at));
  const phase = phaseOf(migration, progress);
  return {
    id: migration.id,
    vm: migration.vmId,
    source: migration.source.hostId,
    destination: migration.destination.hostId,
    mode: migration.mode,
    limits: migration.limits,
    phase,
    verdict: migration.verdict.kind,
    confirmed: isConfirmed(migration),
    reason: reason?.reason ?? null,
    detail: reason?.detail ?? beside.waitsFor ?? null,
    cancelRequested: migration.cancelRequested !== null,
    cancel: cancelOutcomeOf(migration),
    ticket: migration.ticket,
    retryOf: migration.retryOf,
    requestedBy: migration.requestedBy,
    createdAt: instantText(migration.createdAt),
    startedAt: optional(migration.startedAt),
    endedAt: optional(migration.endedAt),
    bytes: progress?.summary?.bytes ?? bytesOf(progress),
    encrypted: progress?.encrypted ?? null,
    guestGapMs: beside.gap?.guestGapMs ?? null,
    timings: progress?.summary?.timings ?? noTimings,
    rounds: progress?.rounds ?? [],
    currentRound: phase === "precopy" ? (progress?.currentRound ?? null) : null,
    roundsLeftOut: progress?.leftOut?.rounds ?? 0,
    revision: beside.revision,
  };
}

function bytesOf(progress: Progress | null): number {
  if (!progress) return 0;
  const { rounds, leftOut, currentRound } = progress;
  return [...rounds, ...(currentRound ? [currentRound] : [])].reduce(
    (sum, { bytes }) => sum + bytes,
    leftOut?.bytes ?? 0,
  );
}
