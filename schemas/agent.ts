// What agents and the control plane say to each other. Requests are signed (schemas/signing.ts); the headers of every
// request carry host, incarnation and counters, those of every answer the counter and the control plane's time.
import { z } from "zod";
import { HostFacts } from "./host.ts";
import { ClusterId, CopyId, CopyRef, FencingToken, HostId, Instant, MigrationId, VmId } from "./ids.ts";
import { EndReason, MigrationLimits, MigrationMode, MigrationTimings, Round } from "./migration.ts";
import { Signed } from "./signing.ts";
import { saidText } from "./text.ts";
import { GuestReport, VmSpec, WantedRunState } from "./vm.ts";

export const agentProtocol = 1;

/** Request headers of an agent. `counter` numbers this host's requests; `acknowledged` is the highest counter that an
 *  answer has confirmed: a table that knows a lower one has gone back. */
export const agentHeaders = {
  host: "drover-host", // <cluster>/<host>
  incarnation: "drover-incarnation",
  counter: "drover-counter",
  acknowledged: "drover-acknowledged",
  time: "drover-time", // answers only: the control plane's clock, ms since the epoch
} as const;

/** Digits of a counter at most, so that each is exact as a number. */
export const counterDigits = 15;
export const counterRule = `a whole number of at most ${counterDigits} digits, without leading zeros`;
const counterText = new RegExp(`^(0|[1-9]\\d{0,${counterDigits - 1}})$`);

/** A counter as a header has it; null for anything else. */
export const readCounter = (text: string): number | null => (counterText.test(text) ? Number(text) : null);

/** Signed by the control plane's key, which is not in the table: only so does a host's key count. */
export const HostCertificate = z.object({
  type: z.literal("drover-host-certificate-1"),
  clusterId: ClusterId,
  hostId: HostId,
  publicKey: z.string().meta({ description: "Ed25519, raw, base64url." }),
  issuedAt: Instant,
});
export type HostCertificate = z.infer<typeof HostCertificate>;

export const JoinRequest = z
  .strictObject({
    token: z.string().min(20).max(200),
    host: HostId,
    publicKey: z.string().regex(/^[A-Za-z0-9_-]{43}$/, "an Ed25519 public key: 32 bytes in base64url"),
    facts: HostFacts,
  })
  .meta({ id: "JoinRequest" });
export type JoinRequest = z.infer<typeof JoinRequest>;

export const DoorbellAddress = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("long-poll") }),
  z.object({ kind: z.literal("sqs"), queueUrl: z.string(), region: z.string(), endpoint: z.string().nullable() }),
]);
export type DoorbellAddress = z.infer<typeof DoorbellAddress>;

export const JoinAnswer = z
  .object({
    cluster: ClusterId,
    host: HostId,
    certificate: Signed,
    verificationKey: z.string().meta({ description: "The control plane's Ed25519 key, raw, base64url." }),
    doorbell: DoorbellAddress,
    tableId: z.string(),
  })
  .meta({ id: "JoinAnswer" });
export type JoinAnswer = z.infer<typeof JoinAnswer>;

/** Something wrong with a copy that only its host can see; it stands for as long as heartbeats say so.
 *  lock-file-not-held: the guest executes without its lock file. run-refused: it may run and cannot.
 *  guest-silent: it is to execute, and its own heartbeat stands. */
export const CopyAlarm = z.object({
  vm: VmId,
  copyId: CopyId,
  code: z.enum(["lock-file-not-held", "run-refused", "guest-silent"]),
  detail: saidText(1000),
  standsForMs: z.int().min(0).optional().meta({ description: "For how long by now, where the host can tell." }),
});
export type CopyAlarm = z.infer<typeof CopyAlarm>;

/** Something wrong with a host as a whole. cannot-journal: its own disk takes no journal, so it begins no migration and
 *  takes over no guest; what runs there goes on. */
export const HostAlarm = z.object({ code: z.enum(["cannot-journal"]), detail: z.string().max(1000) });
export type HostAlarm = z.infer<typeof HostAlarm>;

/** A host with many guests tells of them in pages, one with each heartbeat: a copy is always on the same page, which
 *  has all that is told of it. */
export const guestPages = 8;
/** Far more than come together on one page of a host that is full. */
export const guestsOnPageAtMost = 512;
export const alarmsOnPageAtMost = 1024;
const base32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/** Ids are random at their end, so that pages fill evenly. */
export const guestPageOf = (copyId: string): number => base32.indexOf(copyId.slice(-1)) % guestPages;

export const GuestPage = z
  .object({
    index: z
      .int()
      .min(0)
      .max(guestPages - 1),
    of: z.union([z.literal(1), z.literal(guestPages)]),
  })
  .meta({ id: "GuestPage" });
export type GuestPage = z.infer<typeof GuestPage>;
export const onlyPage: GuestPage = { index: 0, of: 1 };

export const HeartbeatRequest = z
  .object({
    facts: HostFacts.optional().meta({
      description: "When they changed, and at the first heartbeat of an incarnation.",
    }),
    page: GuestPage.default(onlyPage).meta({
      description: "Of whom `guests` and `alarms` tell: of all, or of those on this page.",
    }),
    guests: z
      .array(z.object({ vm: VmId, copyId: CopyId, report: GuestReport }))
      .max(guestsOnPageAtMost)
      .default([]),
    alarms: z
      .array(CopyAlarm)
      .max(alarmsOnPageAtMost)
      .optional()
      .meta({ description: "All that stand now; left out: none." }),
    hostAlarms: z.array(HostAlarm).max(8).optional().meta({ description: "Likewise, of the host as a whole." }),
  })
  .meta({ id: "HeartbeatRequest" });
export type HeartbeatRequest = z.infer<typeof HeartbeatRequest>;

export const HeartbeatAnswer = z
  .object({
    incarnationNumber: z.int().min(1),
    leaseMs: z.int().min(1),
    heartbeatMs: z.int().min(1).meta({ description: "When to send the next one, idle." }),
    busyHeartbeatMs: z.int().min(1).meta({ description: "When to send the next one, migrating." }),
    assignmentsRevision: z.int().min(0).meta({ description: "When it is not the one last claimed, claim." }),
    restoreEpoch: z.int().min(0).default(0).meta({ description: "Tokens of an older one count no more." }),
    recovering: z.boolean().default(false).meta({
      description: "The table was restored: tell what this host has, and decide nothing until this is false.",
    }),
  })
  .meta({ id: "HeartbeatAnswer" });
export type HeartbeatAnswer = z.infer<typeof HeartbeatAnswer>;

/** What a host is to do about one copy of a guest outside of a migration. */
export const CopyDuty = z.object({
  vmId: VmId,
  copyId: CopyId,
  fencingToken: FencingToken.meta({ description: "The VM's token when this duty was written." }),
  spec: VmSpec,
  wantedRunState: WantedRunState,
  resets: z.int().min(0).optional().meta({
    description: "How many resets were asked for since this copy came to own the guest; each is made once at most.",
  }),
  hasRun: z
    .boolean()
    .meta({ description: "It was seen executing. If it is not there any more it is lost, and never built anew." }),
  replaceLockFile: z.boolean().optional().meta({
    description:
      "An operator has said that no process holds the VM's disk any more, whatever the lock file looks like.",
  }),
});
export type CopyDuty = z.infer<typeof CopyDuty>;

/** One migration as both ends get it, signed by the control plane; both check it against each other's. */
export const Assignment = z.object({
  type: z.literal("drover-assignment-1"),
  clusterId: ClusterId,
  migrationId: MigrationId,
  vmId: VmId,
  fencingToken: FencingToken.meta({ description: "The token it opened under." }),
  mode: MigrationMode,
  spec: VmSpec,
  limits: MigrationLimits,
  source: z.object({ ...CopyRef.shape, address: z.string(), publicKey: z.string() }),
  destination: z.object({ ...CopyRef.shape, address: z.string(), publicKey: z.string() }),
  issuedAt: Instant,
  expiresAt: Instant.meta({ description: "To be begun before this, on the control plane's clock as last answered." }),
});
export type Assignment = z.infer<typeof Assignment>;

export const ClaimAnswer = z
  .object({
    assignmentsRevision: z.int().min(0),
    copies: z
      .array(CopyDuty)
      .meta({ description: "Every copy this host owns by the record. Incoming ones are in the assignment." }),
    assignment: z
      .object({
        role: z.enum(["source", "destination"]),
        signed: Signed,
        record: Signed.nullable(),
        claimedBefore: z.boolean().meta({
          description: "This host has claimed it already. A host with no journal of it has lost its journal.",
        }),
      })
      .nullable(),
  })
  .meta({ id: "ClaimAnswer" });
export type ClaimAnswer = z.infer<typeof ClaimAnswer>;

/** The fresh round trip before the gate, and the reading again after an unknown answer. */
export const RecordRequest = z.object({ migrationId: MigrationId }).meta({ id: "RecordRequest" });
export const RecordAnswer = z
  .object({ record: Signed.meta({ description: "A MigrationRecord." }) })
  .meta({ id: "RecordAnswer" });
export type RecordAnswer = z.infer<typeof RecordAnswer>;

const onMigration = {
  migrationId: MigrationId,
  fencingToken: FencingToken,
  vmId: VmId.meta({ description: "As the assignment says; so one read finds all that the report is about." }),
  peerHostId: HostId.meta({ description: "The other end's host, as the assignment says." }),
};

/** What a host last saw of its copy. gone: no process, no memory. held: complete or loading, never executed.
 *  frozen: past the gate, in doubt, standing still. */
export const CopyState = z.enum(["running", "paused", "held", "frozen", "gone"]);
export type CopyState = z.infer<typeof CopyState>;

export const AgentReport = z
  .discriminatedUnion("kind", [
    z.object({
      kind: z.literal("migration-progressed"),
      ...onMigration,
      phase: z.enum(["precopy", "switchover"]),
      rounds: z.array(Round).max(100).meta({ description: "Those not reported before." }),
      currentRound: Round.nullable().default(null).meta({ description: "The one under way." }),
      encrypted: z.boolean().nullable(),
      frozen: z
        .boolean()
        .default(false)
        .meta({ description: "In doubt past the gate: an alarm stands until it is over." }),
    }),
    z.object({ kind: z.literal("destination-commits"), ...onMigration }),
    z.object({ kind: z.literal("source-aborts"), ...onMigration, reason: EndReason, detail: saidText(1000) }),
    z.object({
      kind: z.literal("destination-aborts"),
      ...onMigration,
      reason: EndReason,
      detail: saidText(1000),
    }),
    z.object({
      kind: z.literal("destination-returns"),
      ...onMigration,
      reason: EndReason,
      detail: saidText(1000),
    }),
    z.object({ kind: z.literal("source-takes-back"), ...onMigration }).meta({
      description: "It holds the lock file, which still named its own copy: the destination never took it.",
    }),
    z.object({ kind: z.literal("take-back-refused"), ...onMigration, detail: saidText(1000) }),
    z.object({
      kind: z.literal("guest-confirmed"),
      ...onMigration,
      outcome: z.enum(["running", "paused", "ended", "guest-lost"]),
      detail: saidText(1000).default(""),
      resetsAtSource: z.int().min(0).optional().meta({
        description: "How many resets the source had made when the guest left it; left out where it could not say.",
      }),
    }),
    z.object({
      kind: z.literal("copy-seen"),
      vmId: VmId,
      copyId: CopyId,
      fencingToken: FencingToken.meta({ description: "The highest this host has seen for the VM." }),
      state: CopyState,
      because: z
        .enum(["ordered", "powered-off", "crashed", "killed", "host-rebooted", "never-started", "migration-over"])
        .default("ordered"),
      detail: saidText(1000).default(""),
      migrationId: MigrationId.nullable()
        .default(null)
        .meta({ description: "The migration whose slot this report frees." }),
      resets: z.int().min(0).optional().meta({ description: "How many of the resets asked for this copy has made." }),
      summary: z
        .object({
          timings: MigrationTimings,
          bytes: z.int().min(0),
          rounds: z.array(Round).max(100),
          encrypted: z.boolean().nullable(),
        })
        .nullable()
        .default(null),
    }),
    z.object({
      kind: z.literal("gap-measured"),
      migrationId: MigrationId,
      guestGapMs: z.number().min(0),
    }),
  ])
  .meta({ id: "AgentReport" });
export type AgentReport = z.infer<typeof AgentReport>;

export const ReportAnswer = z
  .object({
    outcome: z.enum(["applied", "unchanged"]),
    assignmentsRevision: z.int().min(0),
    record: Signed.nullable().meta({ description: "The migration's record after this report, where it is about one." }),
  })
  .meta({ id: "ReportAnswer" });
export type ReportAnswer = z.infer<typeof ReportAnswer>;

export const DoorbellAnswer = z.object({ rang: z.boolean() }).meta({ id: "DoorbellAnswer" });
