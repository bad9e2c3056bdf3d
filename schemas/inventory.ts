// What a host tells of itself while its cluster recovers from a table that went back: everything that a record could
// hang on. It is told until it is answered, and decides nothing by itself.
import { z } from "zod";
import { GuestPage, guestsOnPageAtMost, onlyPage } from "./agent.ts";
import { CopyId, FencingToken, MigrationId, VmId } from "./ids.ts";
import { Signed } from "./signing.ts";
import { VmSpec } from "./vm.ts";

/** What the lock file said when this copy's supervisor read it; null where the VM has none. */
export const LockSeen = z.union([
  z.literal("held"),
  z.object({ copyId: CopyId, fencingToken: FencingToken }).meta({ description: "Free, and last taken so." }),
]);
export type LockSeen = z.infer<typeof LockSeen>;

export const InventoryCopy = z.object({
  vmId: VmId,
  copyId: CopyId,
  spec: VmSpec,
  migrationId: MigrationId.nullable().meta({ description: "Launched for it, or leaving by it." }),
  machine: z.enum(["held", "incoming", "loaded", "running", "stopped", "ended"]),
  lockToken: FencingToken.nullable().meta({
    description: "The highest token it took its lock file under, which is before it executes; null: it never did.",
  }),
  lockFile: LockSeen.nullable(),
  gate: z.enum(["past", "cancelled"]).nullable(),
  isAtGate: z.boolean().meta({ description: "Stopped for a migration, and not let run since." }),
  wasPaused: z.boolean().meta({ description: "It stood by its user's wish when it came to that gate." }),
  ended: z.enum(["powered-off", "crashed", "killed"]).nullable(),
});
export type InventoryCopy = z.infer<typeof InventoryCopy>;

/** A host's journal of one migration. */
export const InventoryMigration = z.object({
  role: z.enum(["source", "destination"]),
  assignment: Signed.meta({ description: "As the control plane signed it." }),
  record: Signed.nullable().meta({ description: "The newest record that this host knows." }),
  commitSent: z.boolean(),
  runIntent: z.int().min(0).meta({ description: "Number of the last try to let the guest execute." }),
  runRefused: z.int().min(0).meta({ description: "Number of the try that was definitely refused." }),
  arrivesPaused: z
    .boolean()
    .default(false)
    .meta({ description: "It meant the guest to stand there, when it last tried." }),
  relinquished: z.boolean(),
  over: z.boolean().meta({ description: "The host is done with it." }),
});
export type InventoryMigration = z.infer<typeof InventoryMigration>;

export const InventoryReport = z
  .object({
    page: GuestPage.default(onlyPage).meta({
      description: "A host with much to tell does so in pages; it has told when all of them came.",
    }),
    copies: z.array(InventoryCopy).max(guestsOnPageAtMost),
    migrations: z.array(InventoryMigration).max(24),
    tokens: z
      .array(z.object({ vmId: VmId, fencingToken: FencingToken }))
      .max(1024)
      .meta({ description: "The highest this host has seen of each VM." }),
  })
  .meta({ id: "InventoryReport" });
export type InventoryReport = z.infer<typeof InventoryReport>;

export const InventoryAnswer = z
  .object({
    restoreEpoch: z.int().min(0),
    awaited: z.array(z.string()).meta({ description: "Hosts that have not reported yet." }),
  })
  .meta({ id: "InventoryAnswer" });
export type InventoryAnswer = z.infer<typeof InventoryAnswer>;
