// The demo's report as a document: what `--json` prints, and what the tables are drawn from. Every value is as the part
// that measured it reported it through the API.
import { z } from "zod";
import { HostId, MigrationId, VmId } from "../../schemas/ids.ts";
import type { Migration } from "../../schemas/migration.ts";
import { MigrationMode, Phase, VerdictKind } from "../../schemas/migration.ts";
import { CommandFailure } from "../exit.ts";

export const DemoMigration = z.strictObject({
  id: MigrationId,
  vm: VmId,
  source: HostId,
  destination: HostId,
  mode: MigrationMode,
  phase: Phase,
  verdict: VerdictKind,
  startedAt: z.iso.datetime(),
  endedAt: z.iso.datetime(),
  totalMs: z.number().min(0),
  downtimeMs: z.number().min(0),
  guestGapMs: z.number().min(0),
  bytes: z.int().min(0),
  encrypted: z.boolean(),
  rounds: z.array(
    z.strictObject({
      round: z.int().min(0),
      bytes: z.int().min(0),
      durationMs: z.number().min(0),
      remainingBytes: z.int().min(0),
      dirtyBytesPerSecond: z.number().min(0),
    }),
  ),
});
export type DemoMigration = z.infer<typeof DemoMigration>;

export const DemoGuest = z.strictObject({
  vm: VmId,
  memoryMiB: z.int(),
  dirtyMiBPerSecond: z.number().min(0),
  bootIdUnchanged: z.boolean(),
  memoryErrors: z.int().min(0),
  heartbeats: z.int().min(0),
});
export type DemoGuest = z.infer<typeof DemoGuest>;

export const DemoDocument = z.strictObject({
  hypervisor: z.string(),
  table: z.enum(["sqlite", "dynamodb"]),
  migrations: z.array(DemoMigration),
  guests: z.array(DemoGuest),
});
export type DemoDocument = z.infer<typeof DemoDocument>;

/** @throws CommandFailure when the migration did not complete, or something of it was not measured */
export function documentMigration(migration: Migration): DemoMigration {
  const { id, vm, source, destination, mode, phase, verdict } = migration;
  if (phase !== "completed" || verdict !== "committed") {
    const because = [migration.reason, migration.detail].filter((text) => text !== null).join(": ");
    throw new CommandFailure(
      `${id} (${vm}, ${source} to ${destination}) ended ${phase} with verdict ${verdict}: ${because}`,
    );
  }
  const measured = <T>(name: string, value: T | null): T => {
    if (value === null)
      throw new CommandFailure(`${id} (${vm}, ${source} to ${destination}) completed, but nobody reported its ${name}`);
    return value;
  };
  return {
    id,
    vm,
    source,
    destination,
    mode,
    phase,
    verdict,
    startedAt: measured("start", migration.startedAt),
    endedAt: measured("end", migration.endedAt),
    totalMs: measured("total time", migration.timings.totalMs),
    downtimeMs: measured("downtime", migration.timings.downtimeMs),
    guestGapMs: measured("gap in the guest's heartbeat", migration.guestGapMs),
    bytes: migration.bytes,
    encrypted: measured("encryption", migration.encrypted),
    rounds: migration.rounds.map(({ round, bytes, durationMs, remainingBytes, dirtyBytesPerSecond }) => ({
      round,
      bytes,
      durationMs,
      remainingBytes,
      dirtyBytesPerSecond,
    })),
  };
}
