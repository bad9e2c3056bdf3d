// Breadth-first over every state of the record; then backwards from the ends, to see that every state has a way there.
import { decideMotion, type Motion } from "../../../functions/domain/motion.ts";
import { harmOf, initial, repeatsHarm, stepsFrom } from "./world.ts";

export type Exploration = {
  states: number;
  steps: number;
  /** What is broken, and the shortest way there. */
  harm: { what: string; trace: string[] } | null;
  /** States from which the migration can never end. */
  stuck: string[][];
  /** Verdicts and ends that were reached, to show that none is out of reach. */
  reached: Set<string>;
};

export function exploreRecord(decide = decideMotion): Exploration {
  const first = JSON.stringify(initial);
  const cameFrom = new Map<string, { from: string; name: string } | null>([[first, null]]);
  const backwards = new Map<string, string[]>();
  const ended: string[] = [];
  const reached = new Set<string>();
  let steps = 0;
  let frontier: { id: string; motion: Motion }[] = [{ id: first, motion: initial }];
  const traceTo = (id: string): string[] => {
    const trace: string[] = [];
    for (let step = cameFrom.get(id); step; step = cameFrom.get(step.from)) trace.unshift(step.name);
    return trace;
  };
  while (frontier.length > 0) {
    const next: typeof frontier = [];
    for (const { id, motion } of frontier) {
      reached.add(`${motion.migration.stage} ${motion.migration.verdict.kind} ${motion.vm.runState}`);
      if (motion.migration.stage === "ended") ended.push(id);
      for (const step of stepsFrom(motion, decide)) {
        steps++;
        const what = harmOf(step) ?? repeatsHarm(step, decide);
        if (what)
          return {
            states: cameFrom.size,
            steps,
            harm: { what, trace: [...traceTo(id), step.name] },
            stuck: [],
            reached,
          };
        if (step.to === motion) continue; // Refused, or said before.
        const to = JSON.stringify(step.to);
        if (to === id) continue;
        backwards.set(to, [...(backwards.get(to) ?? []), id]);
        if (cameFrom.has(to)) continue;
        cameFrom.set(to, { from: id, name: step.name });
        next.push({ id: to, motion: step.to });
      }
    }
    frontier = next;
  }
  const mayEnd = new Set(ended);
  for (const id of mayEnd) for (const before of backwards.get(id) ?? []) mayEnd.add(before);
  const stuck = [...cameFrom.keys()].filter((id) => !mayEnd.has(id)).map(traceTo);
  return { states: cameFrom.size, steps, harm: null, stuck, reached };
}
