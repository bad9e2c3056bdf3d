// Follows a migration to its end through the API, telling what happens as it happens.
import { isTerminal, type Migration, type Round } from "../schemas/migration.ts";
import type { Api } from "./api.ts";
import { CommandFailure } from "./exit.ts";
import type { Progress } from "./progress.ts";
import { showAlarm, showBytes, showDuration, showRate, showSending } from "./units.ts";

const waitMs = 2000;
/** Where lines stay, a long round says how it fares this often. */
const sayAgainMs = 5000;

export const nameOf = ({ vm, source, destination }: Migration): string => `${vm} ${source} → ${destination}`;

/** Resolves with the ended migration. Giving up on `signal` leaves the migration alone.
 *  @param stuckAfterMs gives up as well when nothing has become of it for so long
 *  @throws CommandFailure then, with the alarms of its guest */
export async function followMigration(
  api: Api,
  cluster: string,
  begun: Migration,
  progress: Progress,
  { signal, stuckAfterMs = Number.POSITIVE_INFINITY }: { signal?: AbortSignal; stuckAfterMs?: number } = {},
): Promise<Migration> {
  const name = nameOf(begun);
  const toldRounds = new Set<number>();
  const toldAlarms = new Set<string>();
  let migration = begun;
  let phase = "";
  let toldAtMs = performance.now();
  let movedAtMs = performance.now();
  for (;;) {
    for (const round of migration.rounds) {
      if (toldRounds.has(round.round)) continue;
      toldRounds.add(round.round);
      if (!progress.live) tell(describeRound(round));
    }
    if (migration.phase !== phase) {
      phase = migration.phase;
      if (!progress.live) tell(phase);
    }
    const { currentRound } = migration;
    const round = currentRound ?? migration.rounds.at(-1);
    progress.status(begun.id, `${name}  ${phase}${round ? `  ${describeRound(round)}` : ""}`);
    if (currentRound && !progress.live && performance.now() - toldAtMs >= sayAgainMs) {
      tell(`${describeRound(currentRound)} so far`);
    }
    if (isTerminal(migration.phase)) {
      progress.status(begun.id, null);
      return migration;
    }
    const next = await api.waitMigration(cluster, begun.id, migration.revision, waitMs, signal);
    if (next.revision === migration.revision) {
      await tellAlarms();
      if (performance.now() - movedAtMs > stuckAfterMs) {
        const since = `nothing has become of it for ${Math.round(stuckAfterMs / 1000)} s`;
        throw new CommandFailure(`${name} is in ${phase}, and ${since}`);
      }
    }
    if (next.revision !== migration.revision || next.phase === "queued") movedAtMs = performance.now();
    migration = next;
  }

  function tell(what: string): void {
    toldAtMs = performance.now();
    progress.line(`${name}: ${what}`);
  }

  async function tellAlarms(): Promise<void> {
    const { alarms } = await api.getVm(cluster, begun.vm);
    for (const alarm of alarms) {
      const { code, since } = alarm;
      if (toldAlarms.has(code + since)) continue;
      toldAlarms.add(code + since);
      progress.alarm(`${begun.vm}: ${showAlarm(alarm)}`);
    }
  }
}

function describeRound(round: Round): string {
  const parts = [
    `round ${round.round}`,
    `${showBytes(round.bytes)} in ${showDuration(round.durationMs)}`,
    `${showBytes(round.remainingBytes)} left`,
    `sending ${showSending(round)}`,
    `dirtied ${showRate(round.dirtyBytesPerSecond)}`,
  ];
  if (round.throttlePercent > 0) parts.push(`throttled ${round.throttlePercent} %`);
  return parts.join(", ");
}
