// The names of things. Operators choose the names of clusters, hosts and VMs; Drover makes the rest.
import { z } from "zod";

const chosenName = (what: string) =>
  z
    .string()
    .min(1)
    .max(63)
    .regex(
      /^[a-z]([a-z0-9-]*[a-z0-9])?$/,
      `${what}: 1 to 63 of a-z, 0-9 and -, beginning with a letter, not ending in -`,
    );

/** 26 characters of Crockford's base 32: 48 bits of time, 80 of randomness, so ids sort by age. */
const ulid = "[0-9A-HJKMNP-TV-Z]{26}";

export const ClusterId = chosenName("cluster").meta({ id: "ClusterId", examples: ["paris-1"] });
export type ClusterId = z.infer<typeof ClusterId>;

export const HostId = chosenName("host").meta({ id: "HostId", examples: ["host-a"] });
export type HostId = z.infer<typeof HostId>;

export const VmId = chosenName("vm").meta({ id: "VmId", examples: ["vm-1"] });
export type VmId = z.infer<typeof VmId>;

export const MigrationId = z
  .string()
  .regex(new RegExp(`^mig_${ulid}$`), "mig_ and 26 characters")
  .meta({ id: "MigrationId", examples: ["mig_01KB0000000000000000000000"] });
export type MigrationId = z.infer<typeof MigrationId>;

/** One process's memory of a guest on one host. */
export const CopyId = z
  .string()
  .regex(new RegExp(`^copy_${ulid}$`), "copy_ and 26 characters")
  .meta({ id: "CopyId", examples: ["copy_01KB0000000000000000000000"] });
export type CopyId = z.infer<typeof CopyId>;

/** One life of a host between boots: 128 random bits, made at boot. */
export const Incarnation = z
  .string()
  .regex(/^[0-9a-f]{32}$/, "32 hexadecimal digits")
  .meta({ id: "Incarnation" });
export type Incarnation = z.infer<typeof Incarnation>;

/** A token's high part is the restore epoch. */
export const tokensPerEpoch = 2 ** 32;

export const FencingToken = z.int().min(0).max(Number.MAX_SAFE_INTEGER).meta({
  id: "FencingToken",
  description: "Grows with every change of owner. Restore epoch in the high part (times 2^32).",
});
export type FencingToken = z.infer<typeof FencingToken>;

export const CopyRef = z.strictObject({ hostId: HostId, copyId: CopyId }).meta({ id: "CopyRef" });
export type CopyRef = z.infer<typeof CopyRef>;

/** Milliseconds since the epoch, on the control plane's clock. */
export const Instant = z.int().min(0).max(8_640_000_000_000_000);
export type Instant = z.infer<typeof Instant>;
