// Rule 10: the lock file, which must hold by itself.
import { habit, type Mutant } from "./mutant.ts";

export const lockMutants: Mutant[] = [
  {
    name: "lock-not-taken",
    rule: "10: the lock file is taken before the guest executes",
    change: habit({ takesLock: false }),
  },
  {
    name: "lock-not-given-up",
    rule: "2, 10: the lock file is given up when the gate is past",
    change: habit({ yieldsLock: false }),
  },
  {
    name: "lock-not-retaken",
    rule: "10: a supervisor that died takes it again",
    change: habit({ retakesLock: false }),
    features: ["supervisors"],
    faults: 1,
  },
  {
    name: "lock-taken-by-anyone",
    rule: "10: never under a lower token, nor by a copy it does not name",
    change: (rules) => ({
      ...rules,
      stampFor: (found, copyId, fencingToken) =>
        rules.stampFor(found, copyId, fencingToken) ?? { copyId, fencingToken, next: null },
      // Whom the record would have stopped as well: a source that resumes on a timer.
      advanceSource(state, event, atMs) {
        const step = rules.advanceSource(state, event, atMs);
        if (event.kind !== "woke" || state.stage !== "in-doubt") return step;
        return { state: step.state, commands: [...step.commands, { kind: "run-copy", fencingToken: state.openToken }] };
      },
    }),
    features: ["guests"],
    faults: 1,
  },
];
