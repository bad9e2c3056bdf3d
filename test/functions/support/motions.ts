// A migration in motion as plain values: its record, its VM and both slots, as they are once it was admitted.
import { admit } from "../../../functions/domain/admission.ts";
import { newMigration } from "../../../functions/domain/migrations.ts";
import type { Context, Motion } from "../../../functions/domain/motion.ts";
import type { MigrationState, Seen, Slot, VmRecord } from "../../../functions/domain/records.ts";
import type { Verdict } from "../../../functions/domain/verdict.ts";
import { newVm } from "../../../functions/domain/vms.ts";
import { spec } from "../../support/assignments.ts";

export const source = { hostId: "host-a", copyId: "copy_A" };
export const destination = { hostId: "host-b", copyId: "copy_B" };
export const third = { hostId: "host-c", copyId: "copy_C" };
export const cause = { reason: "stream-failed", detail: "cut" } as const;

export const context: Context = { clusterId: "test", at: 5000, restoreEpoch: 0, actor: null };

export const verdicts = {
  open: { kind: "open", token: 7 },
  committed: { kind: "committed", token: 8, confirmed: null },
  confirmed: { kind: "committed", token: 8, confirmed: { outcome: "running", detail: "" } },
  aborted: { kind: "aborted", token: 8, by: "source", ...cause },
  returned: { kind: "returned", token: 9, ...cause },
  "forced back": { kind: "forced", token: 8, owner: source, statement: "host-b is off" },
  "forced elsewhere": { kind: "forced", token: 8, owner: third, statement: "both are off" },
} as const satisfies { [name: string]: Verdict };

export const seen = (state: Seen["state"], underToken: number, because: Seen["because"] = "ordered"): Seen => ({
  state,
  because,
  detail: "",
  underToken,
});

export const runningVm = (changes: Partial<VmRecord> = {}): VmRecord => ({
  ...newVm({ vm: "vm-1", spec }, "ops", 0, 0),
  wantedRunState: "running",
  runState: "running",
  owner: source,
  fencingToken: 7,
  migrationId: "mig_1",
  resets: 0,
  resetsMade: 0,
  ...changes,
});

/** Admitted, both hosts with their part in their slots. */
export function admitted(changes: {
  migration?: Partial<MigrationState>;
  vm?: Partial<VmRecord>;
  claimed?: boolean;
}): Motion {
  const vm = runningVm(changes.vm);
  const limits = {
    downtimeLimitMs: 100,
    downtimeCeilingMs: 500,
    roundLimit: 30,
    bandwidthLimitBytesPerSecond: null,
    throttleCeilingPercent: 0,
  };
  const queued = newMigration({
    id: "mig_1",
    copyId: destination.copyId,
    request: { vm: "vm-1", destination: destination.hostId, mode: "live", limits },
    destination: destination.hostId,
    vm: runningVm(),
    owner: source,
    by: "ops",
    at: 1000,
  });
  const slot: Slot = { assignmentsRevision: 3, migration: null };
  const end = (hostId: string) => ({
    identity: { hostId, publicKey: `key of ${hostId}`, joinedAt: 0 },
    slot,
    migrationAddress: "127.0.0.1",
  });
  const ends = { source: end("host-a"), destination: end("host-b") };
  const opened = admit(queued, vm, ends, { clusterId: context.clusterId, at: 2000, assignmentMs: 60_000 });
  const claimed = (part: Slot): Slot =>
    part.migration ? { ...part, migration: { ...part.migration, claimed: changes.claimed ?? true } } : part;
  return {
    vm,
    migration: { ...opened.migration, ...changes.migration },
    slots: { source: claimed(opened.slots.source), destination: claimed(opened.slots.destination) },
  };
}
