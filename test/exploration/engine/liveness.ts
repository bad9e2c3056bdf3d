// From which states does no way lead to an end? Backwards from the ends over the plain steps.
import type { GrowingInts } from "./growing.ts";

/** @returns the states without a way to a settled one, in the order they were found */
export function unsettled(
  states: number,
  edges: { from: GrowingInts; to: GrowingInts },
  settled: GrowingInts,
): number[] {
  const starts = new Int32Array(states + 1);
  for (let edge = 0; edge < edges.to.length; edge += 1)
    starts[edges.to.at(edge) + 1] = (starts[edges.to.at(edge) + 1] ?? 0) + 1;
  for (let state = 0; state < states; state += 1) starts[state + 1] = (starts[state + 1] ?? 0) + (starts[state] ?? 0);
  const fill = starts.slice();
  const comesFrom = new Int32Array(edges.from.length);
  for (let edge = 0; edge < edges.to.length; edge += 1) {
    const to = edges.to.at(edge);
    comesFrom[fill[to] as number] = edges.from.at(edge);
    fill[to] = (fill[to] as number) + 1;
  }
  const canSettle = new Uint8Array(states);
  const work: number[] = [];
  for (let index = 0; index < settled.length; index += 1) {
    canSettle[settled.at(index)] = 1;
    work.push(settled.at(index));
  }
  for (let state = work.pop(); state !== undefined; state = work.pop()) {
    for (let index = starts[state] as number; index < (starts[state + 1] as number); index += 1) {
      const before = comesFrom[index] as number;
      if (canSettle[before]) continue;
      canSettle[before] = 1;
      work.push(before);
    }
  }
  const rest: number[] = [];
  for (let state = 0; state < states; state += 1) if (!canSettle[state]) rest.push(state);
  return rest;
}
