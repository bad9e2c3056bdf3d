// What the supervisor of a copy must still know after it died: kept durably beside the copy, never a secret.
import { z } from "zod";
import { CopyId, FencingToken, MigrationId, VmId } from "../../schemas/ids.ts";
import { VmSpec } from "../../schemas/vm.ts";

export const CopyMemo = z.strictObject({
  request: z.strictObject({
    vmId: VmId,
    copyId: CopyId,
    spec: VmSpec,
    arriving: z.boolean(),
    migrationId: MigrationId.nullable(),
  }),
  /** How to find the guest's process; null before it was built. */
  machine: z.strictObject({ pid: z.int(), startedAt: z.string(), socket: z.string() }).nullable(),
  /** The token to retake the lock file under; null while this copy has no claim to it. Written before it is taken. */
  lockToken: FencingToken.nullable(),
  /** The migration it was last sent by. */
  leaving: z
    .strictObject({
      migrationId: MigrationId,
      /** Set before the guest is stopped. `over` once it was let run again: the gate is behind it then. */
      /** `ranBefore`: the guest is to run when it comes back. */
      gate: z.strictObject({ ranBefore: z.boolean(), agentSilenceMs: z.number(), over: z.boolean() }).nullable(),
    })
    .nullable(),
  /** How many resets were made; counted before one is made. */
  resets: z.int().min(0).optional(),
  ended: z.strictObject({ how: z.enum(["powered-off", "crashed", "killed"]), detail: z.string() }).nullable(),
});
export type CopyMemo = z.infer<typeof CopyMemo>;

/** Where the memo is kept. Every write is durable when it resolves. */
export interface CopyMemory {
  write(memo: CopyMemo): Promise<void>;
}
