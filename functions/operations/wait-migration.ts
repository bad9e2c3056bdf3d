// Waiting for a migration: answers as soon as it differs from what the caller knows, or is over.
import { isTerminal, type Migration } from "../../schemas/migration.ts";
import type { Problem } from "../../schemas/problems.ts";
import type { Ports } from "../ports/ports.ts";
import { getMigration } from "./migrations.ts";

/** How often it is read again, for changes that another instance made. */
export const rereadMs = 250;

export async function waitMigration(
  ports: Ports,
  clusterId: string,
  id: string,
  known: { timeoutMs: number; revision: number | null },
  /** Resolves when it may have changed, or after so long. */
  mayHaveChanged: (timeoutMs: number) => Promise<void>,
  signal: AbortSignal,
): Promise<Migration | Problem> {
  const until = ports.clock.nowMs() + known.timeoutMs;
  for (;;) {
    const migration = await getMigration(ports, clusterId, id);
    if ("code" in migration) return migration;
    const leftMs = until - ports.clock.nowMs();
    const isNews = known.revision !== null && migration.revision !== known.revision;
    if (isNews || isTerminal(migration.phase) || leftMs <= 0 || signal.aborted) return migration;
    await mayHaveChanged(Math.min(rereadMs, leftMs));
  }
}
