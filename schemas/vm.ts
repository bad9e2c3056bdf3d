// A VM as its user defines it, and as the API shows it.
import { z } from "zod";
import { CopyRef, FencingToken, HostId, MigrationId, VmId } from "./ids.ts";
import { text } from "./text.ts";

/** Guests are built alike on both ends of a migration, so the definition holds all that the hypervisor is told. */
export const VmSpec = z
  .strictObject({
    hypervisor: z.enum(["embedded", "simulated"]).default("embedded").meta({
      description: "embedded: a 32-bit x86 machine with one processor, for trials. simulated: for tests.",
    }),
    image: z.enum(["selftest"]).default("selftest").meta({
      description: "selftest: Drover's own guest, which dirties memory at a set rate and checks itself.",
    }),
    memoryMiB: z
      .int()
      .min(16)
      .max(1024)
      .default(64)
      .meta({ description: "Guest memory.", examples: [64] }),
    dirtyMiBPerSecond: z.int().min(0).max(400).default(10).meta({ description: "How fast the selftest guest writes." }),
    workingSetMiB: z.int().min(1).max(512).default(8).meta({
      description: "How much memory the selftest guest writes to; at most half of its memory.",
    }),
  })
  .refine((spec) => spec.workingSetMiB * 2 <= spec.memoryMiB, {
    path: ["workingSetMiB"],
    message: "at most half of memoryMiB",
  })
  .meta({ id: "VmSpec" });
export type VmSpec = z.infer<typeof VmSpec>;

export const VmDefinition = z.strictObject({ vm: VmId, spec: VmSpec.prefault({}) }).meta({ id: "VmDefinition" });
export type VmDefinition = z.infer<typeof VmDefinition>;

export const VmStart = z
  .strictObject({ host: HostId.meta({ description: "Where to start it. Nothing else is chosen for you." }) })
  .meta({ id: "VmStart" });
export type VmStart = z.infer<typeof VmStart>;

/** What an operator must say to have a lock file replaced that looks held, to the letter. */
export const unlockStatement = "no process holds the disk of this vm any more";

/** For a VM whose owner's host was declared lost. */
export const VmForce = z
  .strictObject({
    reason: text(500).min(3).meta({ description: "Why, for the record." }),
    action: z.discriminatedUnion("kind", [
      z.strictObject({
        kind: z.literal("start-from-disk"),
        host: HostId,
        overrideLockFile: z
          .literal(unlockStatement, { error: `to the letter: "${unlockStatement}"` })
          .optional()
          .meta({ description: "Only where the lock file stays held although its holder is gone." }),
      }),
      z.strictObject({ kind: z.literal("take-back") }).meta({
        description:
          "The source of a committed migration whose destination was lost goes on with its stopped copy, where the lock file proves that the destination never ran the guest.",
      }),
    ]),
  })
  .meta({ id: "VmForce" });
export type VmForce = z.infer<typeof VmForce>;

export const WantedRunState = z.enum(["running", "paused", "stopped"]);
export type WantedRunState = z.infer<typeof WantedRunState>;

/** What the owner's host last said of the guest.
 *  starting: ordered, not yet seen. frozen: stands still, whole, because nobody can know who owns it.
 *  stopped: ended as wished, powered off or crashed (see `stoppedBecause`). guest-lost: its memory is gone. */
export const RunState = z.enum(["starting", "running", "paused", "stopping", "frozen", "stopped", "guest-lost"]);
export type RunState = z.infer<typeof RunState>;

/** What the selftest guest says of itself; null for guests that say nothing. */
export const GuestReport = z
  .object({
    bootId: z.string().max(32).meta({ description: "Made once per boot of the guest." }),
    heartbeats: z.int().min(0),
    memoryErrors: z
      .int()
      .min(0)
      .meta({ description: "Pages, registers or flags that were not as the guest left them." }),
    longestGapMs: z
      .number()
      .min(0)
      .meta({ description: "Longest pause between two heartbeats of the last second, in the guest's own time." }),
    uptimeMs: z.number().min(0),
    dirtyMiBPerSecond: z.number().min(0),
  })
  .meta({ id: "GuestReport" });
export type GuestReport = z.infer<typeof GuestReport>;

export const Vm = z
  .object({
    vm: VmId,
    spec: VmSpec,
    wantedRunState: WantedRunState,
    runState: RunState,
    stoppedBecause: z.string().nullable(),
    owner: CopyRef.nullable(),
    fencingToken: FencingToken,
    migration: MigrationId.nullable().meta({ description: "The migration that holds this VM." }),
    deleteRequested: z.boolean(),
    resetPending: z
      .boolean()
      .meta({ description: "A reset was asked for and its host has not said yet that it was made." }),
    alarms: z.array(z.object({ code: z.string(), since: z.iso.datetime(), detail: z.string() })),
    guest: GuestReport.nullable(),
    revision: z.int(),
  })
  .meta({ id: "Vm" });
export type Vm = z.infer<typeof Vm>;
