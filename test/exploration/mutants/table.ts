// Verdicts, slots, starts: what the table decides (rules 8 and 9, who may write which verdict).
import type { Motion } from "../../../functions/domain/motion.ts";
import type { Verdict } from "../../../functions/domain/verdict.ts";
import type { Rules } from "../world/rules.ts";
import { atTable, habit, type Mutant } from "./mutant.ts";

const withVerdict = (motion: Motion, verdict: Verdict): Motion => ({
  ...motion,
  vm: { ...motion.vm, migrationId: motion.migration.id, fencingToken: verdict.token },
  migration: { ...motion.migration, verdict },
});
/** Late writes and old records are watched on: under the rules they could move nothing. */
const watching = habit({ watchesLateWrites: true });

export const tableMutants: Mutant[] = [
  {
    name: "anyone-aborts",
    rule: "verdicts: the control plane aborts nothing that the source has claimed",
    change: (rules) => ({
      ...habit({ leavesAbortsToHosts: false })(rules),
      decideMotion: (motion, event, context) =>
        rules.decideMotion(
          motion,
          event.kind === "control-plane-aborts" ? { ...event, sourceHasClaimed: false } : event,
          context,
        ),
    }),
    features: ["cancel", "guests"],
    faults: 1,
  },
  {
    name: "commits-an-aborted",
    rule: "verdicts: `committed` only from `open`",
    change: (rules) =>
      atTable((motion, event) =>
        event.kind === "destination-commits" && motion.migration.verdict.kind === "aborted"
          ? withVerdict(motion, { kind: "open", token: motion.migration.verdict.token })
          : motion,
      )(watching(rules)),
    features: ["cancel"],
  },
  {
    name: "aborts-a-committed",
    rule: "verdicts: `aborted` only from `open`",
    change: atTable((motion, event) =>
      event.kind === "source-aborts" && motion.migration.verdict.kind === "committed"
        ? withVerdict(motion, { kind: "open", token: motion.migration.verdict.token })
        : motion,
    ),
    features: ["cancel"],
  },
  {
    name: "token-not-raised",
    rule: "verdicts: every verdict raises the token",
    change: (rules) => ({
      ...rules,
      decideMotion(motion, event, context) {
        const decision = rules.decideMotion(motion, event, context);
        if (decision.kind !== "move" || event.kind !== "destination-commits") return decision;
        const { migration, vm } = decision.motion;
        const token = motion.migration.verdict.token;
        return {
          kind: "move",
          motion: {
            ...decision.motion,
            vm: { ...vm, fencingToken: token },
            migration: { ...migration, verdict: { ...migration.verdict, token } },
          },
        };
      },
    }),
  },
  {
    name: "slot-freed-by-verdict",
    rule: "9: a slot frees on its host's own report",
    change: (rules) => ({
      ...watching(rules),
      decideMotion(motion, event, context) {
        const decision = rules.decideMotion(motion, event, context);
        if (decision.kind !== "move" || event.kind !== "source-aborts") return decision;
        const { migration, vm, slots } = decision.motion;
        const free = { assignmentsRevision: 0, migration: null };
        return {
          kind: "move",
          motion: {
            vm: { ...vm, migrationId: null },
            migration: { ...migration, holds: { source: false, destination: false }, stage: "ended" },
            slots: { source: slots.source && free, destination: slots.destination && free },
          },
        };
      },
    }),
    features: ["cancel"],
    setting: { movesPerVm: 2, overlaps: true },
  },
  {
    name: "vm-freed-by-commit",
    rule: "9: the VM is held until its owner has reported it",
    change: freedByCommit,
    features: ["reboots"],
    faults: 1,
  },
  {
    name: "start",
    rule: "starts: refused while a migration is open or unconfirmed",
    change: habit({ startsOnlyAtRest: false }),
    features: ["start", "guests"],
    faults: 1,
    setting: { startsPerVm: 1 },
  },
  {
    name: "start-under-the-old-token",
    rule: "starts: a conditional write that raises the token",
    change: (rules) => ({
      ...rules,
      startVm: (vm, owner, restoreEpoch) => ({
        ...rules.startVm(vm, owner, restoreEpoch),
        fencingToken: vm.fencingToken,
      }),
    }),
    features: ["start", "stop"],
    setting: { startsPerVm: 1 },
  },
  {
    name: "starts-again-unasked",
    rule: "starts: a guest that is gone is not started again unasked",
    change: habit({ startsOnlyWhenAsked: false }),
    features: ["guests"],
    faults: 1,
  },
  {
    name: "copyId",
    rule: "8: what is compared is the copy, not only its host",
    change: (rules) => ({
      ...watching(rules),
      seeCopy(standing, report, context) {
        const { vm, hostId } = standing;
        const isHere = vm.owner?.hostId === hostId && report.state === "gone" && vm.migrationId === null;
        if (!isHere || !vm.owner) return rules.seeCopy(standing, report, context);
        const said = { ...report, copyId: vm.owner.copyId, migrationId: null, fencingToken: vm.fencingToken };
        return rules.seeCopy({ ...standing, migration: null }, said, context);
      },
    }),
    features: ["echoes"],
    faults: 1,
    only: /source: copy-seen/,
    setting: { movesPerVm: 2, hosts: 2 },
  },
];

function freedByCommit(rules: Rules): Rules {
  return {
    ...rules,
    decideMotion(motion, event, context) {
      const decision = rules.decideMotion(motion, event, context);
      if (decision.kind !== "move" || event.kind !== "destination-commits") return decision;
      return {
        kind: "move",
        motion: { ...decision.motion, vm: { ...decision.motion.vm, migrationId: null } },
      };
    },
  };
}
