// Who may say what to the record, and under which token (I9): looked for where any host may say anything at any time.
import type { Motion } from "../../../functions/domain/motion.ts";
import { isOfHost, type VerdictEvent } from "../../../functions/domain/verdict.ts";
import type { Rules } from "../world/rules.ts";
import type { Mutant } from "./mutant.ts";

const heardAs =
  (hear: (event: VerdictEvent, motion: Motion) => VerdictEvent) =>
  (rules: Rules): Rules => ({
    ...rules,
    decideMotion: (motion, event, context) => rules.decideMotion(motion, hear(event, motion), context),
  });

export const recordMutants: Mutant[] = [
  {
    name: "stale-reports-count",
    rule: "verdicts, I9: what is said under any other token moves nothing",
    change: heardAs((event, { migration }) =>
      isOfHost(event) ? { ...event, fencingToken: migration.openedUnderToken } : event,
    ),
    isOfTheRecord: true,
  },
  {
    name: "anyone-commits",
    rule: "verdicts: `committed` by the destination's agent alone",
    change: heardAs((event, { migration }) =>
      event.kind === "destination-commits" ? { ...event, by: migration.destination.hostId } : event,
    ),
    isOfTheRecord: true,
  },
  {
    name: "anyone-speaks-for-the-source",
    rule: "verdicts: the source's abort by the source's agent alone",
    change: heardAs((event, { migration }) =>
      event.kind === "source-aborts" ? { ...event, by: migration.source.hostId } : event,
    ),
    isOfTheRecord: true,
  },
  {
    name: "anyone-returns",
    rule: "verdicts: `returned` by the destination's agent alone",
    change: heardAs((event, { migration }) =>
      event.kind === "destination-returns" ? { ...event, by: migration.destination.hostId } : event,
    ),
    isOfTheRecord: true,
  },
  {
    name: "returns-a-confirmed",
    rule: "6, verdicts: what is confirmed is never returned",
    change: (rules) => ({
      ...rules,
      decideMotion(motion, event, context) {
        const { migration } = motion;
        const { verdict } = migration;
        const isReturned = event.kind === "destination-returns" && verdict.kind === "committed";
        if (!isReturned) return rules.decideMotion(motion, event, context);
        // The VM, which is not this migration's any more, would refuse it as well.
        const seen = {
          ...motion,
          migration: { ...migration, verdict: { ...verdict, confirmed: null } },
          vm: { ...motion.vm, migrationId: migration.id, fencingToken: verdict.token },
        };
        return rules.decideMotion(seen, event, context);
      },
    }),
    isOfTheRecord: true,
  },
  {
    name: "returns-an-open-one",
    rule: "6, verdicts: `returned` only from `committed`",
    change: (rules) => ({
      ...rules,
      decideMotion(motion, event, context) {
        const { migration } = motion;
        const { verdict } = migration;
        const isOpen = event.kind === "destination-returns" && verdict.kind === "open";
        const seen = isOpen
          ? { ...migration, verdict: { kind: "committed", token: verdict.token, confirmed: null } as const }
          : migration;
        return rules.decideMotion({ ...motion, migration: seen }, event, context);
      },
    }),
    isOfTheRecord: true,
  },
  {
    name: "said-twice-counts-twice",
    rule: "5, verdicts: a condition that is refused may be one's own earlier write",
    change: (rules) => ({
      ...rules,
      decideMotion(motion, event, context) {
        const decision = rules.decideMotion(motion, event, context);
        return decision.kind === "unchanged" ? { kind: "refuse", problem: "stale-fencing-token" } : decision;
      },
    }),
    isOfTheRecord: true,
  },
];
