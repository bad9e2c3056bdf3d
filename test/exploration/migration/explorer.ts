// Breadth-first over every state the world of one migration can reach within a bound on faults. Answers the shortest
// way to harm, if there is one, and whether every state has a way on without further faults.
import { type Bounds, isSettled, stepsFrom } from "./steps.ts";
import { initialWorld, type World } from "./world.ts";

export type Exploration = {
  states: number;
  isExhausted: boolean;
  violation: { what: string; trace: string[] } | null;
  /** A state from which nothing settles without further faults: the shortest way there. */
  stuck: { count: number; trace: string[]; world: World } | null;
  deepest: number;
};

export function explore(bounds: Bounds, stateLimit: number): Exploration {
  const ids = new Map<string, number>();
  const parents: number[] = [];
  const names: string[] = [];
  const depths: number[] = [];
  const backwards: number[][] = [];
  const settled: number[] = [];

  const register = (world: World, parent: number, name: string): { id: number; isNew: boolean } => {
    const key = JSON.stringify(world);
    const known = ids.get(key);
    if (known !== undefined) return { id: known, isNew: false };
    const id = parents.length;
    ids.set(key, id);
    parents.push(parent);
    names.push(name);
    depths.push(parent < 0 ? 0 : (depths[parent] ?? 0) + 1);
    backwards.push([]);
    if (isSettled(world)) settled.push(id);
    return { id, isNew: true };
  };
  const traceTo = (id: number): string[] => {
    const trace: string[] = [];
    for (let at = id; at > 0; at = parents[at] ?? 0) trace.unshift(names[at] ?? "");
    return trace;
  };

  const first = initialWorld();
  register(first, -1, "");
  let head = 0;
  const queue: { id: number; world: World }[] = [{ id: 0, world: first }];
  while (head < queue.length) {
    const entry = queue[head];
    queue[head] = undefined as never;
    head += 1;
    if (!entry) continue;
    if (parents.length > stateLimit) return finish(false);
    for (const { name, isFault, world } of stepsFrom(entry.world, bounds)) {
      const { id, isNew } = register(world, entry.id, name);
      if (!isFault) backwards[id]?.push(entry.id);
      if (world.violation) {
        return { ...finish(false), violation: { what: world.violation, trace: traceTo(id) } };
      }
      if (isNew) queue.push({ id, world });
    }
  }
  return finish(true);

  function finish(isExhausted: boolean): Exploration {
    const states = parents.length;
    const deepest = depths.reduce((a, b) => Math.max(a, b), 0);
    if (!isExhausted) return { states, isExhausted, violation: null, stuck: null, deepest };
    const canSettle = new Uint8Array(states);
    const work = [...settled];
    for (const id of settled) canSettle[id] = 1;
    while (work.length > 0) {
      for (const id of backwards[work.pop() ?? 0] ?? []) {
        if (canSettle[id]) continue;
        canSettle[id] = 1;
        work.push(id);
      }
    }
    let count = 0;
    let shortest = -1;
    for (let id = 0; id < states; id += 1) {
      if (canSettle[id]) continue;
      count += 1;
      if (shortest < 0) shortest = id;
    }
    if (shortest < 0) return { states, isExhausted, violation: null, stuck: null, deepest };
    const key = [...ids].find(([, id]) => id === shortest)?.[0] ?? "{}";
    return {
      states,
      isExhausted,
      violation: null,
      stuck: { count, trace: traceTo(shortest), world: JSON.parse(key) as World },
      deepest,
    };
  }
}
