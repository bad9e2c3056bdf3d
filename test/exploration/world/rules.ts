// The production code that decides, in one place, so that a mutant can take one piece of it away.
import { stampFor } from "../../../agents/adapters/lock-rule.ts";
import { advanceDestination, recoverDestination } from "../../../agents/domain/destination.ts";
import { mayActOn } from "../../../agents/domain/role.ts";
import { advanceSource, recoverSource } from "../../../agents/domain/source.ts";
import { seeCopy } from "../../../functions/domain/copies.ts";
import { forceAtRest, lostEnds, refuseTakeBack, wishTakeBack } from "../../../functions/domain/force.ts";
import { recoverLate } from "../../../functions/domain/late-host.ts";
import { lostWithHost, revisedDuty, supersededDuty } from "../../../functions/domain/lost-host.ts";
import { decideMotion, loseHost, recordSeen, requestCancel, settle } from "../../../functions/domain/motion.ts";
import { recoverSlot, recoverVm } from "../../../functions/domain/recovery.ts";
import { standingsOf } from "../../../functions/domain/standings.ts";
import { startVm } from "../../../functions/domain/vms.ts";
import type { Side } from "./world.ts";

export type Rules = {
  advanceSource: typeof advanceSource;
  recoverSource: typeof recoverSource;
  advanceDestination: typeof advanceDestination;
  recoverDestination: typeof recoverDestination;
  decideMotion: typeof decideMotion;
  recordSeen: typeof recordSeen;
  requestCancel: typeof requestCancel;
  settle: typeof settle;
  seeCopy: typeof seeCopy;
  startVm: typeof startVm;
  loseHost: typeof loseHost;
  lostWithHost: typeof lostWithHost;
  lostEnds: typeof lostEnds;
  forceAtRest: typeof forceAtRest;
  wishTakeBack: typeof wishTakeBack;
  refuseTakeBack: typeof refuseTakeBack;
  revisedDuty: typeof revisedDuty;
  supersededDuty: typeof supersededDuty;
  recoverVm: typeof recoverVm;
  recoverSlot: typeof recoverSlot;
  recoverLate: typeof recoverLate;
  standingsOf: typeof standingsOf;
  stampFor: typeof stampFor;
  mayActOn: typeof mayActOn;
  /** What stands at the gate after somebody wanted to create one or the other. */
  decideGate(found: Gate, wanted: "past" | "cancelled"): "past" | "cancelled";
  /** What a missing journal counts as. */
  worstCase: { commitSent: boolean; runIntent: number; gateUnknown: boolean };
  /** The parts of a supervisor's and an agent's work that are not pure functions in production. */
  habits: Habits;
  /** Refusals to run before the guest is offered back; production has more, to the same effect. */
  tries: number;
  /** Whether a host journals a record's token at once or, as slow as can be, never; in production it is soon after. */
  keepsTokensAtOnce: boolean;
};
type Gate = "past" | "cancelled" | null;
export type Habits = {
  /** `past` is durable before anything follows from it. */
  journalsPast: boolean;
  /** The lock file is given up when the gate is past. */
  yieldsLock: boolean;
  /** The lock file is taken before the guest executes. */
  takesLock: boolean;
  /** A hypervisor that fails behind its gate leaves the guest standing. */
  staysStopped: boolean;
  /** A fact is durable before the machine hears that it is. */
  journalsFacts: boolean;
  /** The control plane aborts nothing by itself that the source has claimed. */
  leavesAbortsToHosts: boolean;
  /** A guest that is gone is not started again unasked. */
  startsOnlyWhenAsked: boolean;
  /** A word is taken only from the lives it was asked of. */
  provesWord: boolean;
  /** Writes that can move nothing any more are watched on, for rules that let them. */
  watchesLateWrites: boolean;
  /** A start is refused while a migration is open or unconfirmed. */
  startsOnlyAtRest: boolean;
  /** A supervisor that died takes the lock file again. */
  retakesLock: boolean;
  /** Records of other migrations are heard. */
  hearsOthersRecords: boolean;
  /** Nothing counts that an incarnation says which was declared lost. */
  refusesTheLost: boolean;
  /** A copy begins on a host only once its part in an earlier migration of the same guest is over. */
  awaitsItsPart: boolean;
  /** A start from disk waits for the lock file. */
  waitsForLock: boolean;
  /** A host that hears that its incarnation was declared lost goes on under a new one. */
  takesANewLife: boolean;
  /** A host that was told more than the table knows says so. */
  noticesTheTable: boolean;
  /** Nothing is decided while the cluster recovers, and by no host that is frozen. */
  standsStill: boolean;
  /** A host halts before it tells what it has. */
  haltsFirst: boolean;
  /** A frozen host is frozen still when its agent comes back. */
  staysFrozen: boolean;
  /** The cluster opens again when all hosts have told. */
  awaitsAll: boolean;
  /** Tokens of before the restore count no more. */
  raisesTheFloor: boolean;
  /** A guest at its gate, and not past it, is given back before its host tells. */
  emptiesTheGate: boolean;
  /** Who takes a relayed record that the control plane never signed. */
  believesUnsigned: Side | "nobody";
  /** Who takes a relayed record of another cluster. */
  believesOtherClusters: Side | "nobody";
  /** What follows by itself where a host's lease has run out. */
  leaseDecides: "nothing" | "slot" | "verdict";
  /** Assignments and duties under a token lower than the highest journalled are left alone. */
  refusesLowerTokens: boolean;
  /** The source takes its lock file again before it resumes. */
  retakesBeforeResuming: boolean;
  /** After a reboot a host goes on with what its journal has begun, and tells what it has. */
  goesOnAfterReboot: boolean;
  /** Journal and gate of a migration are kept until both hosts are done with it. */
  keepsUntilBothAreDone: boolean;
  /** A copy that is nobody's duty is ended only once its migration is decided. */
  awaitsVerdictOfOrphans: boolean;
};

export const production: Rules = {
  advanceSource,
  recoverSource,
  advanceDestination,
  recoverDestination,
  decideMotion,
  recordSeen,
  requestCancel,
  settle,
  seeCopy,
  startVm,
  loseHost,
  lostWithHost,
  lostEnds,
  forceAtRest,
  wishTakeBack,
  refuseTakeBack,
  revisedDuty,
  supersededDuty,
  recoverVm,
  recoverSlot,
  recoverLate,
  standingsOf,
  stampFor,
  mayActOn,
  decideGate: (found, wanted) => found ?? wanted,
  worstCase: { commitSent: true, runIntent: 1, gateUnknown: true },
  habits: {
    journalsPast: true,
    yieldsLock: true,
    takesLock: true,
    staysStopped: true,
    journalsFacts: true,
    leavesAbortsToHosts: true,
    startsOnlyWhenAsked: true,
    provesWord: true,
    watchesLateWrites: false,
    hearsOthersRecords: false,
    startsOnlyAtRest: true,
    retakesLock: true,
    refusesTheLost: true,
    awaitsItsPart: true,
    waitsForLock: true,
    takesANewLife: true,
    noticesTheTable: true,
    standsStill: true,
    haltsFirst: true,
    staysFrozen: true,
    awaitsAll: true,
    raisesTheFloor: true,
    emptiesTheGate: true,
    believesUnsigned: "nobody",
    believesOtherClusters: "nobody",
    leaseDecides: "nothing",
    refusesLowerTokens: true,
    retakesBeforeResuming: true,
    goesOnAfterReboot: true,
    keepsUntilBothAreDone: true,
    awaitsVerdictOfOrphans: true,
  },
  tries: 1,
  keepsTokensAtOnce: false,
};
