// A migration: what is asked, what is recorded, what is shown. Phase (what it is doing, or how it ended) and
// verdict (who owns the guest) are two fields, never one.
import { z } from "zod";
import { CopyRef, FencingToken, HostId, Instant, MigrationId, VmId } from "./ids.ts";
import { text } from "./text.ts";

export const MigrationLimits = z
  .strictObject({
    downtimeLimitMs: z
      .int()
      .min(10)
      .max(60_000)
      .default(100)
      .meta({
        description: "Longest pause aimed at, from the last instruction on the source to the first on the destination.",
        examples: [100],
      }),
    downtimeCeilingMs: z.int().min(10).max(60_000).default(500).meta({
      description: "How far the limit may grow when rounds stall; at least downtimeLimitMs.",
    }),
    roundLimit: z.int().min(2).max(1000).default(30).meta({ description: "Rounds before it counts as stalled." }),
    bandwidthLimitBytesPerSecond: z.int().min(1_000_000).max(100_000_000_000).nullable().default(null).meta({
      description: "Cap on the stream; null for none.",
    }),
    throttleCeilingPercent: z.int().min(0).max(99).default(90).meta({
      description: "How far the guest may be slowed as the last remedy; 0 forbids it.",
    }),
  })
  .refine((limits) => limits.downtimeCeilingMs >= limits.downtimeLimitMs, {
    path: ["downtimeCeilingMs"],
    message: "at least downtimeLimitMs",
  })
  .meta({ id: "MigrationLimits" });
export type MigrationLimits = z.infer<typeof MigrationLimits>;

export const MigrationMode = z.enum(["live", "quick"]).meta({ description: "quick: saved, moved, restored." });
export type MigrationMode = z.infer<typeof MigrationMode>;

const destinationRule = '"auto", or the name of a host: 1 to 63 of a-z, 0-9 and -, beginning with a letter';

export const MigrationRequest = z
  .strictObject({
    vm: VmId,
    destination: z.union([z.literal("auto"), HostId], { error: destinationRule }).meta({
      description: "The host to move to; `auto` lets placement choose and say why.",
    }),
    mode: MigrationMode.default("live"),
    limits: MigrationLimits.prefault({}),
    ticket: text(200).min(1).optional().meta({ description: "The change it belongs to; recorded, not read." }),
    retryOf: MigrationId.optional().meta({ description: "The migration that this one tries again." }),
  })
  .meta({ id: "MigrationRequest" });
export type MigrationRequest = z.infer<typeof MigrationRequest>;

export const Phase = z.enum([
  "queued",
  "awaiting-approval",
  "setup",
  "precopy",
  "switchover",
  "cleanup",
  "completed",
  "cancelled",
  "failed",
]);
export type Phase = z.infer<typeof Phase>;

export const VerdictKind = z.enum(["open", "committed", "aborted", "returned", "forced"]);
export type VerdictKind = z.infer<typeof VerdictKind>;

/** Why a migration did not complete. */
export const EndReason = z.enum([
  "cancelled-by-user",
  "vm-stopped", // a stop or delete won against the migration
  "guest-ended", // it powered itself off or crashed before the gate
  "not-converging",
  "stream-failed",
  "peer-unreachable",
  "peer-refused",
  "preparation-failed",
  "destination-lost-copy",
  "source-lost-copy",
  "run-refused", // the destination could not let the guest run
  "agent-restarted",
  "guest-lost",
  "host-declared-lost", // an operator decided it
  "table-restored", // the table went back; what stands now is what the hosts told
]);
export type EndReason = z.infer<typeof EndReason>;

/** What became of a cancel, by a user or by a stop of the VM. */
export const CancelOutcome = z.enum(["pending", "took-effect", "too-late-committed", "overtaken"]).meta({
  description:
    "pending: the hosts are to act on it. took-effect: it ended the migration. too-late-committed: the destination had the guest first. overtaken: the migration ended for another reason first. null: nobody asked.",
});
export type CancelOutcome = z.infer<typeof CancelOutcome>;

/** One pass over dirty memory, measured by the hypervisor on the source. Round 0 is the full copy. */
export const Round = z
  .object({
    round: z.int().min(0),
    bytes: z.int().min(0).meta({ description: "Sent in this round." }),
    durationMs: z.number().min(0),
    remainingBytes: z.int().min(0).meta({ description: "Found dirty at its end." }),
    dirtyBytesPerSecond: z.number().min(0),
    bandwidthBytesPerSecond: z.number().min(0),
    throttlePercent: z.int().min(0).max(99),
  })
  .meta({ id: "Round" });
export type Round = z.infer<typeof Round>;

/** Measured on the source, on its monotonic clock; what was not reached or not seen is null. */
export const MigrationTimings = z
  .object({
    setupMs: z.number().min(0).nullable().meta({ description: "Claim to first byte of round 0." }),
    precopyMs: z.number().min(0).nullable().meta({ description: "First byte of round 0 to the guest's stop." }),
    downtimeMs: z
      .number()
      .min(0)
      .nullable()
      .meta({ description: "Stop on the source to the word that it runs on the destination." }),
    totalMs: z.number().min(0).nullable().meta({ description: "Claim to the word that it runs on the destination." }),
    gateCheckMs: z
      .number()
      .min(0)
      .nullable()
      .meta({ description: "The fresh round trips before the stop; the guest runs." }),
    commitMs: z.number().min(0).nullable().meta({ description: "The destination's commit, within the downtime." }),
    loadMs: z.number().min(0).nullable().meta({ description: "Gate passed to loaded, within the downtime." }),
  })
  .meta({ id: "MigrationTimings" });
export type MigrationTimings = z.infer<typeof MigrationTimings>;

export const Migration = z
  .object({
    id: MigrationId,
    vm: VmId,
    source: HostId,
    destination: HostId,
    mode: MigrationMode,
    limits: MigrationLimits,
    phase: Phase,
    verdict: VerdictKind,
    confirmed: z.boolean(),
    reason: EndReason.nullable(),
    detail: z.string().nullable(),
    cancelRequested: z.boolean(),
    cancel: CancelOutcome.nullable(),
    ticket: z.string().nullable(),
    retryOf: MigrationId.nullable(),
    requestedBy: z.string(),
    createdAt: z.iso.datetime(),
    startedAt: z.iso.datetime().nullable().meta({ description: "Both hosts' slots taken." }),
    endedAt: z.iso.datetime().nullable(),
    bytes: z.int().min(0),
    encrypted: z
      .boolean()
      .nullable()
      .meta({ description: "As the stream's own transport says; null before it is open." }),
    guestGapMs: z.number().min(0).nullable().meta({
      description: "Longest gap in the guest's own heartbeat around the switchover, as the guest measured it.",
    }),
    timings: MigrationTimings,
    rounds: z.array(Round).meta({ description: "The first and the newest." }),
    currentRound: Round.nullable().default(null).meta({
      description: "The round under way while memory is copied: sent so far, and what it has yet to send.",
    }),
    roundsLeftOut: z.int().min(0).default(0).meta({ description: "How many lie between them." }),
    revision: z.int(),
  })
  .meta({ id: "Migration" });
export type Migration = z.infer<typeof Migration>;

export const terminalPhases = ["completed", "cancelled", "failed"] as const satisfies Phase[];
export const isTerminal = (phase: Phase): boolean => (terminalPhases as readonly Phase[]).includes(phase);

/** What the control plane tells an agent of a migration, signed, so that a peer may relay it. */
export const MigrationRecord = z
  .object({
    type: z.literal("drover-record-1"),
    clusterId: z.string(),
    migrationId: MigrationId,
    vmId: VmId,
    openedUnderToken: FencingToken,
    source: CopyRef,
    destination: CopyRef,
    verdict: VerdictKind,
    verdictToken: FencingToken.meta({
      description: "The token the verdict raised; while open, the one it opened under.",
    }),
    owner: CopyRef.meta({ description: "The copy that the verdict names." }),
    confirmed: z.boolean(),
    cancelRequested: EndReason.nullable(),
    arrivesPaused: z.boolean().optional().meta({
      description: "The guest is wanted paused; the destination lets it arrive so. Fixed once committed.",
    }),
    takeBackRequested: z.boolean().optional().meta({
      description: "An operator asks the source to take its stopped copy back, if the lock file proves that it may.",
    }),
    isOver: z
      .boolean()
      .optional()
      .meta({ description: "Both hosts have reported their copies: no journal of it is needed any more." }),
    issuedAt: Instant,
  })
  .meta({ id: "MigrationRecord" });
export type MigrationRecord = z.infer<typeof MigrationRecord>;
