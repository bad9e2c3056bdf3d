// Many traces, drawn under a seed, each replayed once.
import { seededRandom } from "../../support/seeded-random.ts";
import { type Scenario, scenarios } from "../scenarios.ts";
import type { Feature } from "../steps/steps.ts";
import type { Seed } from "./host-double.ts";
import { type Divergence, replay } from "./replay.ts";
import { type Coverage, walk } from "./trace.ts";

/** What an operator does, or a user with a machine at rest, or a table that goes back, is not a role's to carry out. */
const others: Feature[] = ["operator", "restores", "stop", "start"];
const replayed: readonly Scenario[] = scenarios.filter(
  ({ setting }) => !others.some((one) => setting.features.has(one)),
);

export type Replays = {
  traces: number;
  steps: number;
  /** What each role was told in which stage. */
  seen: Coverage;
  divergences: Divergence[];
};

/** @param count so many that differ */
export async function replayMany(
  count: number,
  { seed = 1, sown = {}, divergences: atMost = 1 }: { seed?: number; sown?: Seed; divergences?: number } = {},
): Promise<Replays> {
  const random = seededRandom(seed);
  const known = new Set<string>();
  const found: Replays = { traces: 0, steps: 0, seen: new Map(), divergences: [] };
  for (let drawn = 0; found.traces < count && found.divergences.length < atMost; drawn += 1) {
    const scenario = replayed[drawn % replayed.length] as Scenario;
    const trace = walk(scenario, random, found.seen);
    const text = [scenario.name, ...trace.steps.map(({ name }) => name)].join("\n");
    if (known.has(text)) continue;
    known.add(text);
    found.traces += 1;
    found.steps += trace.steps.length;
    const divergence = await replay(trace, sown);
    if (divergence) found.divergences.push(divergence);
  }
  return found;
}
