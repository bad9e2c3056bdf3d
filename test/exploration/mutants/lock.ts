// Rule 10: the lock file, which must hold by itself.
import { habit, type Mutant } from "./mutant.ts";

export const lockMutants: Mutant[] = [
  {
    name: "lock-not-taken",
    rule: "10: the lock file is taken before the guest executes",
    change: habit({ takesLock: false }),
  },
  {
    name: "resumes-without-its-lock",
    rule: "4, 10: the source takes its lock file again before it resumes",
    change: habit({ retakesBeforeResuming: false }),
    features: ["links"],
    faults: 1,
  },
  {
    name: "lock-not-stamped",
    rule: "5, 10: the lock file is stamped with the copy that may execute, and its token",
    change: (rules) => ({
      ...rules,
      stampFor(found, copyId, fencingToken, manner) {
        const stamp = rules.stampFor(found, copyId, fencingToken, manner);
        return stamp && found ? { ...stamp, copyId: found.copyId, fencingToken: found.fencingToken } : stamp;
      },
    }),
    features: ["supervisors"],
    faults: 1,
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
