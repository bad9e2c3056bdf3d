// A trace: one walk through a scenario's world, with what each step told the machines and what they ordered then.
import type { DestinationCommand, DestinationEvent, DestinationState } from "../../../agents/domain/destination.ts";
import type { SourceCommand, SourceEvent, SourceState } from "../../../agents/domain/source.ts";
import type { StepKind } from "../engine/explorer.ts";
import { modelOf } from "../model.ts";
import type { Scenario } from "../scenarios.ts";
import { stepsFrom } from "../steps/steps.ts";
import { production, type Rules } from "../world/rules.ts";
import type { Side, World } from "../world/world.ts";

/** A machine was told something. Null: it was taken up again. */
export type Feed = {
  m: number;
  side: Side;
  event: SourceEvent | DestinationEvent | null;
  commands: (SourceCommand | DestinationCommand)[];
  state: SourceState | DestinationState;
  /** Far later than all that it remembers. */
  isLate: boolean;
};
export type TraceStep = { name: string; kind: StepKind; before: World; after: World; feeds: Feed[] };
export type Trace = { scenario: string; keepsTokensAtOnce: boolean; steps: TraceStep[] };

/** Production's rules, with all that the machines are told written down. */
function recorded(rules: Rules, feeds: Feed[]): Rules {
  const note = (
    side: Side,
    event: Feed["event"],
    atMs: number,
    step: { state: SourceState | DestinationState; commands: Feed["commands"] },
  ): void => {
    feeds.push({ m: Number(step.state.migrationId.slice(4)), side, event, isLate: atMs > 0, ...step });
  };
  return {
    ...rules,
    // As many as production has, whose runner counts them itself.
    tries: 10,
    advanceSource(state, event, atMs) {
      const step = rules.advanceSource(state, event, atMs);
      note("source", event, atMs, step);
      return step;
    },
    recoverSource(...facts) {
      const step = rules.recoverSource(...facts);
      note("source", null, 0, step);
      return step;
    },
    advanceDestination(state, event, atMs) {
      const step = rules.advanceDestination(state, event, atMs);
      note("destination", event, atMs, step);
      return step;
    },
    recoverDestination(...facts) {
      const step = rules.recoverDestination(...facts);
      note("destination", null, 0, step);
      return step;
    },
  };
}

/** What the machines were told in which stage, by how many steps so far. */
export type Coverage = Map<string, number>;

export const pointOf = (before: World, { m, side, event }: Feed): string =>
  `${side} ${before.moves[m]?.[side]?.stage ?? "-"} ${event?.kind ?? "recovered"}`;

const longest = 160;

/** A walk that prefers what was seldom seen.
 *  @param random from 0 up to 1 */
export function walk(scenario: Scenario, random: () => number, seen: Coverage): Trace {
  const feeds: Feed[] = [];
  const rules = recorded(scenario.rules ? scenario.rules(production) : production, feeds);
  let faultsLeft = scenario.faults === 0 ? 0 : Math.floor(random() * 4);
  // Where one try is refused, more are to follow: only the last of them leads on.
  const isStubborn = random() < 0.3;
  // Before its gate few failures lead anywhere but to an abort.
  const isForTheGate = random() < 0.6;
  // Both cut off while memory arrives: only then is the word asked for and given.
  const isCutOff = scenario.setting.features.has("cuts") && isForTheGate && random() < 0.4;
  if (isCutOff) faultsLeft = Math.max(2, faultsLeft);
  const moods = { isStubborn, isCutOff };
  const marks: number[] = [];
  const options = { ...scenario.setting, onStep: () => void marks.push(feeds.length) };
  const trace: Trace = { scenario: scenario.name, keepsTokensAtOnce: rules.keepsTokensAtOnce, steps: [] };
  let world = modelOf(scenario.setting, rules).initial;
  while (trace.steps.length < longest) {
    feeds.length = 0;
    marks.length = 0;
    const tried = stepsFrom(world, false, options);
    const isAtGate = world.moves.some(({ source, wire }) => wire.gate !== null || source?.stage === "holding");
    const mayFail = faultsLeft > 0 && (isAtGate || !isForTheGate);
    const isStarting = isStubborn && world.moves.some(({ destination }) => destination?.stage === "starting");
    if (mayFail || isStarting) tried.push(...stepsFrom(world, true, options));
    const found = tried.map((step, i) => ({ ...step, feeds: feeds.slice(marks[i], marks[i + 1]) }));
    const isAllowed = ({ name, kind }: { name: string; kind: StepKind }): boolean =>
      kind !== "fault" || mayFail || isRefusal(name);
    const allowed = found.filter(isAllowed);
    const faults = allowed.filter(({ kind }) => kind === "fault").length;
    const chosen = choose(
      allowed,
      (step) => weightOf(step, (isForTheGate ? 1.5 : 0.4) / faults, world, seen, moods),
      random,
    );
    if (!chosen) break;
    for (const feed of chosen.feeds) {
      const point = pointOf(world, feed);
      seen.set(point, (seen.get(point) ?? 0) + 1);
    }
    if (chosen.kind === "fault") faultsLeft -= 1;
    trace.steps.push({ name: chosen.name, kind: chosen.kind, before: world, after: chosen.world, feeds: chosen.feeds });
    world = chosen.world;
  }
  return trace;
}

const isRefusal = (name: string): boolean => name.endsWith("destination: run-copy is refused by the hypervisor");

/** @param ofFault the weight of one that may happen */
function weightOf(
  step: Omit<TraceStep, "before" | "after">,
  ofFault: number,
  world: World,
  seen: Coverage,
  { isStubborn, isCutOff }: { isStubborn: boolean; isCutOff: boolean },
): number {
  if (isStubborn && isRefusal(step.name)) return 20;
  if (isCutOff && step.name.endsWith("is cut off from the control plane")) return 5;
  if (isCutOff && /the destination loads|control plane again$/.test(step.name)) return 0.02;
  // Once it may have run, its loss is the guest's.
  const mayHaveRun = world.moves.some(({ destination }) => destination?.stage === "starting");
  if (mayHaveRun && step.name.endsWith("'s process is killed")) return 0.5;
  const rarest = Math.max(0, ...step.feeds.map((feed) => 1 / (1 + (seen.get(pointOf(world, feed)) ?? 0))));
  // Time passes seldom, and few things fail: else most walks would end before anything had happened.
  const isTime = /(wakes|loses patience)$/.test(step.name);
  const base = step.kind === "fault" ? ofFault : isTime ? 0.1 : 1;
  return base + 4 * rarest;
}

function choose<T>(all: T[], weightOfOne: (one: T) => number, random: () => number): T | null {
  const weights = all.map(weightOfOne);
  let left = random() * weights.reduce((sum, weight) => sum + weight, 0);
  for (const [i, one] of all.entries()) {
    left -= weights[i] as number;
    if (left <= 0) return one;
  }
  return all.at(-1) ?? null;
}
