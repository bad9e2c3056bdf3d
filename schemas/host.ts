// A host: what it says of itself, and as the API shows it.
import { z } from "zod";
import { ClusterId, HostId, Incarnation, MigrationId } from "./ids.ts";
import { text } from "./text.ts";

export const NetworkInterface = z
  .object({
    name: text(64),
    address: text(64),
    prefixLength: z.int().min(0).max(128),
    linkSpeedMbps: z
      .int()
      .min(1)
      .nullable()
      .meta({ description: "Read from the system; null where it cannot be read." }),
  })
  .meta({ id: "NetworkInterface" });

/** All of it at its largest fits into one item of the table (300 KB). */
export const HostFacts = z
  .object({
    cpu: z.object({
      vendor: text(64),
      model: text(128),
      features: z.array(text(32)).max(512),
      count: z.int().min(1).max(4096),
    }),
    memoryMiB: z.int().min(1).meta({ description: "For guests and all else." }),
    networks: z.array(NetworkInterface).max(64),
    migrationAddress: text(64),
    volumes: z.array(z.object({ id: text(64), path: text(512), shared: z.boolean(), freeMiB: z.int().min(0) })).max(64),
    hypervisor: z.object({ kind: text(32), version: text(64) }),
    agent: z.object({ version: text(32), protocol: z.int().min(1) }),
    platform: z.object({ name: text(64), version: text(128), edition: text(128) }),
  })
  .meta({ id: "HostFacts" });
export type HostFacts = z.infer<typeof HostFacts>;

/** What an operator must say to declare a host lost, to the letter. */
export const lostStatement = "this host is off and cannot come back as it was";

export const HostLoss = z
  .strictObject({
    incarnation: Incarnation.meta({ description: "The one that has ended, as the host's view shows it." }),
    reason: text(500)
      .min(3)
      .meta({ description: "How you know, for the record.", examples: ["power cut in rack 7"] }),
    statement: z.literal(lostStatement, { error: `to the letter: "${lostStatement}"` }),
  })
  .meta({ id: "HostLoss" });
export type HostLoss = z.infer<typeof HostLoss>;

export const Host = z
  .object({
    host: HostId,
    cluster: ClusterId,
    facts: HostFacts,
    incarnation: Incarnation.nullable(),
    incarnationNumber: z.int().min(0),
    alive: z.boolean().meta({ description: "The lease has not lapsed, on the control plane's clock." }),
    leaseExpiresAt: z.iso.datetime().nullable(),
    declaredLost: z
      .object({ incarnation: Incarnation, reason: z.string(), by: z.string(), at: z.iso.datetime() })
      .nullable()
      .meta({ description: "An operator's word that this incarnation has ended; nothing it says counts." }),
    migration: MigrationId.nullable().meta({ description: "The one migration that holds this host's slot." }),
    alarms: z
      .array(z.object({ code: z.string(), since: z.iso.datetime(), detail: z.string() }))
      .meta({ description: "What stands wrong with it, by its own last heartbeat." }),
    revision: z.int(),
  })
  .meta({ id: "Host" });
export type Host = z.infer<typeof Host>;
