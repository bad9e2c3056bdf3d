// Rules 7 and 8: what hosts remember, and for how long.
import type { Rules } from "../world/rules.ts";
import { habit, type Mutant } from "./mutant.ts";

export const takesLowerTokens = (rules: Rules): Rules =>
  habit({ refusesLowerTokens: false })({ ...rules, mayActOn: () => true, keepsTokensAtOnce: true });

export const memoryMutants: Mutant[] = [
  {
    name: "lower-tokens-taken",
    rule: "8: hosts journal the highest token that they saw of a VM, and refuse lower ones",
    // That the table went back is noticed by the host's counter before; and an abort late of a commit that the table has
    // forgotten has the same token, which no memory of tokens can tell.
    change: (rules) => takesLowerTokens(habit({ noticesTheTable: false })(rules)),
    features: ["restores", "forgets"],
    setting: { hosts: 2 },
    without: /source loses patience/,
  },
  {
    name: "journal-forgotten-early",
    rule: "7: the journal of a migration is kept until the source's copy is reported gone or running",
    change: habit({ keepsUntilBothAreDone: false }),
    features: ["restores", "forgets"],
    setting: { hosts: 2 },
  },
  {
    name: "orphan-ended-undecided",
    rule: "8: a copy that nobody works with any more is ended only by a record that is decided",
    change: habit({ awaitsVerdictOfOrphans: false }),
    features: ["journals", "guests"],
    faults: 2,
  },
];
