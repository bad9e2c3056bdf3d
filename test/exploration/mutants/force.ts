// What an operator may force of a host that was declared lost, what its word ends, and what that host does when it
// comes back (`force`, rules 8 and 10).
import { resume } from "../../../agents/domain/source-steps.ts";
import { revisedDuty, supersededDuty } from "../../../functions/domain/lost-host.ts";
import { isLost, type Motion } from "../../../functions/domain/motion.ts";
import { startVm } from "../../../functions/domain/vms.ts";
import { context } from "../world/control-plane.ts";
import type { Rules } from "../world/rules.ts";
import { atSource, habit, type Mutant } from "./mutant.ts";

/** Two hosts, one that is gone or only silent, and a start that may be forced on either. */
const small = { hosts: 2, startsPerVm: 1 };
const atRest = { ...small, movesPerVm: 0 };

const withLost =
  (see: (migration: Motion["migration"], lost: ReturnType<Rules["lostEnds"]>) => ReturnType<Rules["lostEnds"]>) =>
  (rules: Rules): Rules => ({
    ...rules,
    lostEnds: (motion, sessions) => see(motion.migration, rules.lostEnds(motion, sessions)),
  });

export const forceMutants: Mutant[] = [
  {
    name: "forces-at-rest-unasked",
    rule: "force: a guest at rest is started elsewhere only where it was lost with its host, never on a lapsed lease",
    change: (rules) => ({
      ...rules,
      forceAtRest: (vm, owner, { restoreEpoch }) => ({ kind: "start", vm: startVm(vm, owner, restoreEpoch) }),
    }),
    features: ["cuts", "operator"],
    faults: 1,
    setting: atRest,
  },
  {
    name: "force-takes-no-token",
    rule: "force: a forced start is a conditional write that raises the token",
    change: (rules) => ({
      ...rules,
      forceAtRest(vm, owner, wish) {
        const forced = rules.forceAtRest(vm, owner, wish);
        return forced.kind === "start" ? { ...forced, vm: { ...forced.vm, fencingToken: vm.fencingToken } } : forced;
      },
    }),
    features: ["losses", "operator"],
    faults: 1,
    setting: atRest,
  },
  {
    name: "forces-over-an-open-one",
    rule: "force: an open migration only when both ends are lost",
    change: withLost((migration, lost) =>
      migration.verdict.kind === "open" && lost.source ? { ...lost, destination: true } : lost,
    ),
    features: ["losses", "operator"],
    faults: 1,
    setting: small,
  },
  {
    name: "forces-over-a-living-destination",
    rule: "force: a commit only when its destination is lost",
    change: withLost((migration, lost) =>
      migration.verdict.kind === "committed" ? { ...lost, destination: true } : lost,
    ),
    features: ["operator"],
    setting: small,
  },
  {
    name: "forces-over-a-later-life",
    rule: "force: the word is of one incarnation; a host that came back under another may decide",
    change: withLost((migration, lost) => ({ ...lost, destination: isLost(migration, "destination") })),
    features: ["cuts", "operator", "lies"],
    faults: 1,
    setting: small,
  },
  {
    name: "the-lost-are-heard",
    rule: "force: nothing counts any more that the lost incarnation says",
    change: habit({ refusesTheLost: false }),
    features: ["cuts", "operator", "lies"],
    faults: 1,
    setting: small,
  },
  {
    name: "no-new-life",
    rule: "force: a host that was called lost and lives goes on under a new incarnation",
    change: habit({ takesANewLife: false }),
    features: ["cuts", "operator", "lies"],
    faults: 1,
    setting: atRest,
  },
  {
    name: "takeBack",
    rule: "force: a stopped copy is only asked to be taken back, never given back by the operator's word alone",
    change: (rules) => ({
      ...rules,
      wishTakeBack(motion, lost, statement) {
        const wished = rules.wishTakeBack(motion, lost, statement, context(null));
        if (wished.kind !== "wish") return wished;
        const owner = motion.migration.source;
        const forced = rules.decideMotion(motion, { kind: "operator-forces", owner, lost, statement }, context(null));
        return forced.kind === "move" ? { kind: "wish", motion: forced.motion } : wished;
      },
    }),
    features: ["losses", "operator"],
    faults: 1,
    setting: { hosts: 2 },
  },
  {
    name: "takes-back-without-the-lock",
    rule: "force: the source holds the lock file before it says that it takes its copy back",
    change: atSource((state, event, step) =>
      event.kind === "record-known" && event.record.takeBackRequested && state.stage === "in-doubt"
        ? {
            state: step.state,
            commands: [
              {
                kind: "report",
                report: {
                  kind: "source-takes-back",
                  migrationId: state.migrationId,
                  vmId: state.vmId,
                  fencingToken: state.openToken,
                  peerHostId: state.peer.hostId,
                },
              },
            ],
          }
        : null,
    ),
    features: ["losses", "operator"],
    faults: 1,
    setting: { hosts: 2 },
  },
  {
    name: "takes-back-anybodys-lock",
    rule: "force: only where the lock file proves that the destination never took it",
    change: (rules) => ({
      ...rules,
      stampFor: (found, copyId, fencingToken, manner) =>
        manner === "own-only" ? { copyId, fencingToken, next: null } : rules.stampFor(found, copyId, fencingToken),
    }),
    features: ["losses", "operator"],
    faults: 1,
    setting: { hosts: 2 },
  },
  {
    name: "take-back-over-a-living-destination",
    rule: "force: a copy is asked to be taken back only where the destination is lost",
    change: (rules) => ({
      ...rules,
      wishTakeBack: (motion, lost, statement, about) =>
        rules.wishTakeBack(motion, { ...lost, destination: true }, statement, about),
    }),
    features: ["operator"],
    setting: { hosts: 2 },
  },
  {
    name: "force-waits-for-no-lock",
    rule: "10, force: refused while the lock file is held",
    change: habit({ waitsForLock: false }),
    features: ["cuts", "operator", "lies"],
    faults: 1,
    setting: atRest,
  },
  {
    name: "resumes-though-forced-elsewhere",
    rule: "4, force: only on a record that names its copy",
    change: atSource((state, event) =>
      event.kind === "record-known" && event.record.verdict === "forced" && state.stage === "in-doubt"
        ? resume(state, event.record.verdictToken)
        : null,
    ),
    features: ["losses", "operator", "returns"],
    faults: 1,
    setting: { startsPerVm: 1 },
  },
  {
    name: "lost-in-motion",
    rule: "force: in motion the verdict decides what becomes of the guest, not its host's loss",
    change: (rules) => ({
      ...rules,
      lostWithHost(vm, hostId, session, migration, epoch) {
        const after = rules.lostWithHost({ ...vm, migrationId: null }, hostId, session, migration, epoch);
        return after && { ...after, fencingToken: vm.fencingToken + 1 };
      },
    }),
    features: ["losses", "operator", "returns"],
    faults: 1,
    setting: small,
  },
  {
    name: "loss-ends-nothing",
    rule: "force: the word ends that host's part in its migration",
    change: (rules) => ({ ...rules, loseHost: (motion) => motion }),
    features: ["losses", "operator"],
    faults: 1,
    setting: small,
  },
  {
    name: "stale-copy-kept",
    rule: "8, force: a host that returns ends the copy that another has superseded",
    change: (rules) => ({ ...rules, revisedDuty: (duty) => duty, supersededDuty: (duty) => duty }),
    features: ["cuts", "operator", "lies"],
    faults: 1,
    setting: atRest,
  },
  {
    name: "return-ends-the-owners",
    rule: "8, force: it ends nothing that the record still names",
    change: (rules) => ({ ...rules, revisedDuty: (duty, vm) => supersededDuty(duty, vm) }),
    features: ["cuts", "operator", "lies"],
    faults: 1,
    setting: atRest,
  },
  {
    name: "return-begins-anew",
    rule: "force: a guest that was lost with its host is not begun again unasked when the host returns",
    change: (rules) => ({
      ...rules,
      revisedDuty: (duty, vm, hostId) => ({ ...revisedDuty(duty, vm, hostId), hasRun: false }),
    }),
    features: ["losses", "operator", "returns", "stop", "start"],
    faults: 1,
    setting: { ...atRest, hosts: 1 },
  },
  {
    name: "begins-beside-its-part",
    rule: "force: a host begins a forced copy only once its part in the migration is over",
    change: habit({ awaitsItsPart: false }),
    features: ["losses", "operator", "returns"],
    faults: 1,
    setting: small,
  },
];
