// What a replay of many traces found.
import { replayMany } from "./replays.ts";

/** @returns whether no runner did anything else than its machine had ordered */
export async function reportReplays(count: number, seed: number, say: (line: string) => void): Promise<boolean> {
  const beganAtMs = performance.now();
  const { traces, steps, seen, divergences } = await replayMany(count, { seed, divergences: 10 });
  for (const { what, trace } of divergences) say(`DIVERGES: ${what}\n    ${trace.join("\n    ")}`);
  const told = [...seen].sort(([a], [b]) => (a < b ? -1 : 1)).map(([point, times]) => `${point} ${times}`);
  say(`told in which stage, how often: ${told.join(", ")}`);
  const seconds = Math.round((performance.now() - beganAtMs) / 1000);
  say(`${traces} traces, ${steps} steps, ${seen.size} pairs of stage and event, seed ${seed}, ${seconds} s`);
  say(`${divergences.length} divergences`);
  return divergences.length === 0 && traces === count;
}
