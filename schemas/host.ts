// A host: what it says of itself, and as the API shows it.
import { z } from "zod";
import { ClusterId, HostId, Incarnation, MigrationId } from "./ids.ts";

export const NetworkInterface = z
  .object({
    name: z.string().max(64),
    address: z.string().max(64),
    prefixLength: z.int().min(0).max(128),
    linkSpeedMbps: z
      .int()
      .min(1)
      .nullable()
      .meta({ description: "Read from the system; null where it cannot be read." }),
  })
  .meta({ id: "NetworkInterface" });

export const HostFacts = z
  .object({
    cpu: z.object({
      vendor: z.string().max(64),
      model: z.string().max(128),
      features: z.array(z.string().max(32)).max(512),
      count: z.int().min(1).max(4096),
    }),
    memoryMiB: z.int().min(1).meta({ description: "For guests and all else." }),
    networks: z.array(NetworkInterface).max(64),
    migrationAddress: z.string().max(64),
    volumes: z
      .array(
        z.object({ id: z.string().max(64), path: z.string().max(1024), shared: z.boolean(), freeMiB: z.int().min(0) }),
      )
      .max(64),
    hypervisor: z.object({ kind: z.string().max(32), version: z.string().max(64) }),
    agent: z.object({ version: z.string().max(32), protocol: z.int().min(1) }),
    platform: z.object({ name: z.string().max(64), version: z.string().max(128), edition: z.string().max(128) }),
  })
  .meta({ id: "HostFacts" });
export type HostFacts = z.infer<typeof HostFacts>;

export const Host = z
  .object({
    host: HostId,
    cluster: ClusterId,
    facts: HostFacts,
    incarnation: Incarnation.nullable(),
    incarnationNumber: z.int().min(0),
    alive: z.boolean().meta({ description: "The lease has not lapsed, on the control plane's clock." }),
    leaseExpiresAt: z.iso.datetime().nullable(),
    migration: MigrationId.nullable().meta({ description: "The one migration that holds this host's slot." }),
    revision: z.int(),
  })
  .meta({ id: "Host" });
export type Host = z.infer<typeof Host>;
