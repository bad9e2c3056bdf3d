// What the table holds, as plain values. How they are keyed is in operations/keys.ts; here is what they mean.

import type { Assignment, CopyAlarm, CopyDuty, CopyState, GuestPage, HostAlarm } from "../../schemas/agent.ts";
import type { Scope } from "../../schemas/api-key.ts";
import type { EventKind } from "../../schemas/events.ts";
import type { HostFacts } from "../../schemas/host.ts";
import type { CopyRef } from "../../schemas/ids.ts";
import type {
  EndReason,
  MigrationLimits,
  MigrationMode,
  MigrationRecord,
  MigrationTimings,
  Round,
} from "../../schemas/migration.ts";
import type { GuestReport, RunState, VmSpec, WantedRunState } from "../../schemas/vm.ts";
import type { TakeBack, Verdict } from "./verdict.ts";

/** Of a cluster whose table went back; kept as `open` afterwards, so that a restore done twice has one effect. */
export type RecoveryRecord = { at: number; by: string } & (
  | { kind: "went-back" }
  | { kind: "recovering"; restoreEpoch: number }
  | { kind: "open"; restoreEpoch: number }
);

export type ClusterRecord = { clusterId: string; hosts: string[]; createdAt: number; createdBy: string };

/** Written at the join, hardly ever after. */
export type HostIdentity = { hostId: string; publicKey: string; joinedAt: number };
export type HostFactsRecord = { facts: HostFacts };

/** Written with every agent request that writes. */
export type Session = {
  incarnation: string | null;
  incarnationNumber: number;
  /** Of the last request that wrote. */
  counter: number;
  leaseExpiresAt: number | null;
  /** An operator's word that this incarnation has ended; kept until a later one has been told what became of its copies. */
  lost?: LostIncarnation | null;
  /** The table went back, and this host has not taken up its work since. */
  recovery?: SessionRecovery | null;
  /** What its last heartbeat said stands wrong with the host as a whole. */
  alarms?: StandingAlarm[];
};
export type StandingAlarm = { code: HostAlarm["code"]; detail: string; since: number };
/** went-back: a host has noticed, and nobody has run `restore` yet. recovering: hosts are to tell what they have. */
export type SessionRecovery =
  | { kind: "went-back"; noticedBy: string }
  | {
      kind: "recovering";
      restoreEpoch: number;
      reportedAt: number | null;
      /** The pages that came, of so many; left out: none, or all that there is. */
      told?: { of: GuestPage["of"]; pages: number[] };
    };
export type LostIncarnation = { incarnation: string; reason: string; by: string; at: number };

export type Role = "source" | "destination";
export const otherRole = (role: Role): Role => (role === "source" ? "destination" : "source");

/** The record of a migration as agents get it, but for the time of signing. */
export type RecordData = Omit<MigrationRecord, "issuedAt">;

/** A host's one session. `assignmentsRevision` grows with every change of what the host is to do or to know that it
 *  did not make itself; the record is mirrored here so that a claim is one read. */
export type Slot = { assignmentsRevision: number; migration: SlotMigration | null };
export type SlotMigration = {
  migrationId: string;
  role: Role;
  claimed: boolean;
  /** The number of the host's request that claimed it first. */
  claimedWith?: number;
  assignment: Assignment;
  record: RecordData;
};

export type { CopyDuty };

export type StandingCopyAlarm = { code: CopyAlarm["code"]; detail: string; since: number };

/** What a host's guests last said of themselves, by copy: of all of them, or of those on one page. Of two items that
 *  could tell of a copy the newer one does. */
export type GuestReports = {
  at?: number;
  reports: { [copyId: string]: { vmId: string; report: GuestReport } };
  /** What stands wrong with copies of the host, by its last heartbeat. An older program kept one of each copy. */
  alarms: { [copyId: string]: StandingCopyAlarm[] | StandingCopyAlarm };
};

export type VmRecord = {
  vmId: string;
  spec: VmSpec;
  wantedRunState: WantedRunState;
  runState: RunState;
  stoppedBecause: string | null;
  owner: CopyRef | null;
  fencingToken: number;
  /** The migration that holds this VM. */
  migrationId: string | null;
  deleteRequested: boolean;
  /** Ended, as far as those hosts told that were heard when the table was restored, and nothing has run since: one that
   *  comes back late may have it. */
  mayBeLate?: true;
  /** Resets asked for, and those that its host says were made, since its copy came to own it. */
  resets?: number;
  resetsMade?: number;
  /** A tombstone: the id and the token stay, so that late copies are still told to go. */
  deleted: boolean;
  createdAt: number;
  createdBy: string;
};

/** How a copy ended, or that it runs, as its host last said. */
export type Seen = { state: CopyState; because: CopyEnd; detail: string; underToken: number };
export type CopyEnd =
  | "ordered"
  | "powered-off"
  | "crashed"
  | "killed"
  | "host-rebooted"
  | "host-declared-lost"
  | "never-started"
  | "migration-over";

export type MigrationState = {
  id: string;
  vmId: string;
  source: CopyRef;
  destination: CopyRef;
  mode: MigrationMode;
  limits: MigrationLimits;
  ticket: string | null;
  retryOf: string | null;
  requestedBy: string;
  createdAt: number;
  startedAt: number | null;
  endedAt: number | null;
  /** queued: no slot is taken. admitted: it holds slots, or a verdict is being carried out. */
  stage: "queued" | "admitted" | "ended";
  openedUnderToken: number;
  verdict: Verdict;
  cancelRequested: EndReason | null;
  /** As its user wants it: the guest arrives paused, after so many resets asked for. Fixed once it is not open. */
  arrivesPaused?: boolean;
  resetsBefore?: number;
  /** An operator asks the source to take its stopped copy back; it does so only where the lock file proves that the
   *  destination never took it. */
  takeBack?: TakeBack | null;
  /** What each host last reported of its copy. */
  seen: { [R in Role]: Seen | null };
  /** Whose slot it still holds. */
  holds: { [R in Role]: boolean };
};

/** Written by the source alone, so that progress never conflicts with a verdict. */
export type Progress = {
  phase: "setup" | "precopy" | "switchover";
  /** The first and the newest; an item has only so much room. */
  rounds: Round[];
  /** What was left out between them. */
  leftOut?: { rounds: number; bytes: number };
  currentRound?: Round | null;
  encrypted: boolean | null;
  frozenSince: number | null;
  summary: { timings: MigrationTimings; bytes: number } | null;
};

/** Written by the destination alone. */
export type Gap = { guestGapMs: number };

/** In the queue, in the order of ids, which is the order of asking. */
export type QueueEntry = {
  migrationId: string;
  vmId: string;
  source: string;
  destination: string;
  memoryMiB: number;
  since?: number;
};

/** `name` and `createdBy` are there where an operator made it. */
export type ApiKeyRecord = { keyId: string; scopes: Scope[]; createdAt: number; name?: string; createdBy?: string };
export type JoinTokenRecord = { clusterId: string; hostId: string; expiresAt: number; usedBy: string | null };

/** An event before it is given its place in the table. */
export type EventDraft = {
  kind: EventKind;
  subject: { kind: "cluster" | "host" | "vm" | "migration" | "key"; id: string };
  data: { [name: string]: string | number | boolean | null };
};
