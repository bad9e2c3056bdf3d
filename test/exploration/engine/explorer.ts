// Breadth-first over every state that a model can reach with at most so many faults: first all that needs none, then
// all that needs one, and so on. How many faults it took is therefore no part of a state, and every trace is one with
// the fewest faults, and among those with the fewest steps.
import { GrowingInts } from "./growing.ts";
import { Interner } from "./interner.ts";
import { unsettled } from "./liveness.ts";
import { StateTable } from "./state-table.ts";

/** plain: what the parts of the system do by themselves; only on these may a state count to come to its end.
 *  wish: what a user may ask, at no cost. fault: counted against the bound. */
export type StepKind = "plain" | "wish" | "fault";
export type Step<W> = { name: string; kind: StepKind; world: W };

export type Model<W> = {
  initial: W;
  width: number;
  /** The steps of one world, faults alone or the others. */
  steps(world: W, faults: boolean): Step<W>[];
  parts(world: W): (object | null)[];
  assemble(parts: (object | null)[]): W;
  harmOf(world: W): string | null;
  isSettled(world: W): boolean;
  /** The name of the class that the design allows to stand still, or null. */
  nameOfRest(world: W): string | null;
};

export type Exploration = {
  states: number;
  steps: number;
  /** Every state within the bound was seen, and every step from each was tried. */
  isExhausted: boolean;
  harm: { what: string; trace: string[] } | null;
  /** States with no way to an end without further faults or wishes, by the name of their class. */
  atRest: Map<string, { count: number; trace: string[] }>;
  stuck: { count: number; trace: string[]; parts: (object | null)[] } | null;
  /** Every distinct part of a state that was seen. */
  parts: readonly (object | null)[];
};

export function explore<W>(model: Model<W>, bound: { faults: number; states: number }): Exploration {
  const interner = new Interner();
  const table = new StateTable(model.width);
  const parents = new GrowingInts();
  const edges = { from: new GrowingInts(), to: new GrowingInts() };
  const settled = new GrowingInts();
  let steps = 0;

  const rowOf = (world: W): number[] => model.parts(world).map((part) => interner.partIdOf(part));
  const worldAt = (id: number): W => model.assemble(table.row(id).map((part) => interner.valueOf(part)));
  const traceTo = (id: number): string[] => {
    const trace: string[] = [];
    for (let at = id; at > 0; at = parents.at(at)) {
      const row = table.row(at).join();
      const from = worldAt(parents.at(at));
      const step = [...model.steps(from, false), ...model.steps(from, true)].find(
        ({ world }) => rowOf(world).join() === row,
      );
      trace.unshift(step ? `${step.name}${step.kind === "fault" ? " (fault)" : ""}` : "?");
    }
    return trace;
  };
  const add = (world: W, parent: number): { id: number; isNew: boolean } => {
    const found = table.add(rowOf(world));
    if (found < 0) return { id: -1 - found, isNew: false };
    parents.push(parent);
    if (model.isSettled(world)) settled.push(found);
    return { id: found, isNew: true };
  };
  const answer = (isExhausted: boolean, harm: Exploration["harm"] = null): Exploration => ({
    states: table.size,
    steps,
    isExhausted,
    harm,
    atRest: new Map(),
    stuck: null,
    parts: interner.parts(),
  });

  let level: number[] = [add(model.initial, -1).id];
  for (let faults = 0; ; faults += 1) {
    for (let head = 0; head < level.length; head += 1) {
      const id = level[head] as number;
      for (const { name, kind, world } of model.steps(worldAt(id), false)) {
        steps += 1;
        const harm = model.harmOf(world);
        if (harm) return answer(false, { what: harm, trace: [...traceTo(id), name] });
        const next = add(world, id);
        if (kind === "plain" && next.id !== id) {
          edges.from.push(id);
          edges.to.push(next.id);
        }
        if (next.isNew) level.push(next.id);
      }
      if (table.size > bound.states) return answer(false);
    }
    if (faults === bound.faults) break;
    const further: number[] = [];
    for (const id of level) {
      for (const { name, world } of model.steps(worldAt(id), true)) {
        steps += 1;
        const harm = model.harmOf(world);
        if (harm) return answer(false, { what: harm, trace: [...traceTo(id), `${name} (fault)`] });
        const next = add(world, id);
        if (next.isNew) further.push(next.id);
      }
      if (table.size > bound.states) return answer(false);
    }
    level = further;
  }

  const result = answer(true);
  for (const id of unsettled(table.size, edges, settled)) {
    const world = worldAt(id);
    const name = model.nameOfRest(world);
    if (name === null) {
      result.stuck ??= { count: 0, trace: traceTo(id), parts: model.parts(world) };
      result.stuck.count += 1;
      continue;
    }
    const known = result.atRest.get(name);
    if (known) known.count += 1;
    else result.atRest.set(name, { count: 1, trace: traceTo(id) });
  }
  return result;
}
