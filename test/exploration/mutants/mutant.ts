// A seeded protocol bug: one clause of the commit rule left out of the production rules, and where to look for the harm.
import type {
  DestinationCommand,
  DestinationEvent,
  DestinationState,
  DestinationStep,
} from "../../../agents/domain/destination.ts";
import type { SourceEvent, SourceState, SourceStep } from "../../../agents/domain/source.ts";
import type { Motion } from "../../../functions/domain/motion.ts";
import type { VerdictEvent } from "../../../functions/domain/verdict.ts";
import { type Exploration, explore } from "../engine/explorer.ts";
import { modelOf, type Setting } from "../model.ts";
import { exploreRecord } from "../record/explorer.ts";
import type { Feature } from "../steps/steps.ts";
import { type Habits, production, type Rules } from "../world/rules.ts";

export type Mutant = {
  name: string;
  /** The clause of the rule that is left out (docs/consistency.md, the commit rule). */
  rule: string;
  change: (rules: Rules) => Rules;
  features?: Feature[];
  faults?: number;
  setting?: Partial<Setting>;
  /** Faults are tried only where their name says this. */
  only?: RegExp;
  /** What never happens here: other harm lies that way. */
  without?: RegExp;
  /** Looked for in the record alone, where any host may say anything. */
  isOfTheRecord?: true;
};

export type Hunt = Pick<Exploration, "states" | "harm" | "stuck" | "isExhausted">;

/** Enough to find every one of them; one that gets away costs no more than this. */
const stateLimit = 250_000;

export function hunt({ change, features = [], faults = 0, setting, only, without, isOfTheRecord }: Mutant): Hunt {
  if (isOfTheRecord) {
    const { states, harm } = exploreRecord(change(production).decideMotion);
    return { states, harm, stuck: null, isExhausted: harm === null };
  }
  const where: Setting = {
    hosts: 3,
    vms: 1,
    movesPerVm: 1,
    startsPerVm: 0,
    overlaps: false,
    features: new Set(features),
    ...setting,
  };
  const model = modelOf(where, change(production));
  const steps: typeof model.steps = (world, areFaults) =>
    model
      .steps(world, areFaults)
      .filter(({ name }) => !without?.test(name) && (!areFaults || !only || only.test(name)));
  return explore({ ...model, steps }, { faults, states: stateLimit });
}

/** What a hunt found: the harm, or where it is stuck; null when the mutant got away. */
export function caught({ harm, stuck }: Hunt): { what: string; trace: string[] } | null {
  if (harm) return harm;
  return stuck && { what: `stuck in ${stuck.count} states`, trace: stuck.trace };
}

export const habit =
  (change: Partial<Habits>) =>
  (rules: Rules): Rules => ({ ...rules, habits: { ...rules.habits, ...change } });

type AtSource = (state: SourceState, event: SourceEvent, step: SourceStep) => SourceStep | null;
/** On some event the source does something else; null: what it does anyway. */
export const atSource =
  (instead: AtSource) =>
  (rules: Rules): Rules => ({
    ...rules,
    advanceSource(state, event, atMs) {
      const step = rules.advanceSource(state, event, atMs);
      return instead(state, event, step) ?? step;
    },
  });

type AtDestination = (
  state: DestinationState,
  event: DestinationEvent,
  step: DestinationStep,
) => DestinationStep | null;
export const atDestination =
  (instead: AtDestination) =>
  (rules: Rules): Rules => ({
    ...rules,
    advanceDestination(state, event, atMs) {
      const step = rules.advanceDestination(state, event, atMs);
      return instead(state, event, step) ?? step;
    },
  });

export const hears = (step: { commands: { kind: string }[] }, kind: string): boolean =>
  step.commands.some((command) => command.kind === kind);

/** The command that a report is made of, for a destination. */
export function saying(
  state: DestinationState,
  kind: "destination-commits" | "destination-aborts" | "destination-returns" | "guest-confirmed",
): DestinationCommand {
  const { migrationId, vmId, openToken: fencingToken, peer } = state;
  const about = { migrationId, vmId, fencingToken, peerHostId: peer.hostId };
  const cause = { reason: "stream-failed", detail: "" } as const;
  switch (kind) {
    case "destination-commits":
      return { kind: "report", report: { kind, ...about } };
    case "guest-confirmed":
      return { kind: "report", report: { kind, ...about, outcome: "running", detail: "" } };
    default:
      return { kind: "report", report: { kind, ...about, ...cause } };
  }
}

/** The table takes an event as if the verdict were another. */
export const atTable =
  (see: (motion: Motion, event: VerdictEvent) => Motion) =>
  (rules: Rules): Rules => ({
    ...rules,
    decideMotion: (motion, event, context) => rules.decideMotion(see(motion, event), event, context),
  });
