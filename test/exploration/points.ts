// What was reached on the way, read off the parts that the states were made of: an exploration that never came to
// `returned` has proved nothing about it.
import type { DestinationState } from "../../agents/domain/destination.ts";
import type { SourceState } from "../../agents/domain/source.ts";
import type { MigrationState } from "../../functions/domain/records.ts";
import type { Wire } from "./world/world.ts";

export function pointsOf(parts: readonly (object | null)[]): Set<string> {
  const points = new Set<string>();
  for (const part of parts) {
    if (!part) continue;
    if ("asks" in part) points.add(`source ${(part as SourceState).stage}`);
    else if ("nonce" in part) points.add(`destination ${(part as DestinationState).stage}`);
    else if ("verdict" in part) addVerdict(points, part as MigrationState);
    else if ("gate" in part) addWire(points, part as Wire);
  }
  return points;
}

function addVerdict(points: Set<string>, { verdict, source }: MigrationState): void {
  if (source.copyId === "") return; // forgotten
  if (verdict.kind === "aborted") points.add(`aborted by ${verdict.by}`);
  else if (verdict.kind === "committed") points.add(`committed, ${verdict.confirmed?.outcome ?? "unconfirmed"}`);
  else points.add(verdict.kind);
}

function addWire(points: Set<string>, { gate, journal, toSource, toDestination }: Wire): void {
  if (gate) points.add(`gate ${gate}`);
  if (journal.source?.isLost) points.add("source's journal lost");
  if (journal.destination?.relinquished) points.add("relinquished");
  for (const message of [...toSource, ...toDestination]) {
    if (message.kind === "relinquished") points.add("word given");
    if (message.kind === "relayed") points.add(`${message.record.verdict} relayed`);
  }
}
