import type { Round } from "../schemas/migration.ts";
import { showBytes, showDuration, showRate, showSending, showTable } from "./units.ts";

/** The rounds of a migration, a line each. */
export function showRounds(rounds: Omit<Round, "bandwidthBytesPerSecond" | "throttlePercent">[], indent = ""): string {
  const head = ["round", "sent", "took", "left", "sending", "dirtied"];
  const rows = rounds.map((round) => [
    String(round.round),
    showBytes(round.bytes),
    showDuration(round.durationMs),
    showBytes(round.remainingBytes),
    showSending(round),
    showRate(round.dirtyBytesPerSecond),
  ]);
  return showTable([head, ...rows], indent);
}
