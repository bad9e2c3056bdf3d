// All that can happen to the record of one migration, its VM and both hosts' slots: every event by every host under
// every token, in any order and repeated, as the production rules answer it. No network and no agents: here hosts may
// say anything at any time, and the record must stand it.
import { admit } from "../../../functions/domain/admission.ts";
import { recordOf } from "../../../functions/domain/migrations.ts";
import {
  type Context,
  type decideMotion,
  isLost,
  loseHost,
  type Motion,
  recordSeen,
  requestCancel,
  requestTakeBack,
  settle,
} from "../../../functions/domain/motion.ts";
import type { MigrationState, Role, Seen, VmRecord } from "../../../functions/domain/records.ts";
import { isSame } from "../../../functions/domain/same.ts";
import { isOfHost, ownerBy, type VerdictEvent } from "../../../functions/domain/verdict.ts";
import { deleteVm, stopVm } from "../../../functions/domain/vms.ts";

const clusterId = "paris-1";
const openToken = 5;
const hosts = { source: "host-a", destination: "host-b" } as const;
const roles = ["source", "destination"] as const;
/** A copy that an operator has started from the disk. */
const third = { hostId: "host-c", copyId: "copy_C" };
const spec = {
  hypervisor: "simulated",
  image: "selftest",
  memoryMiB: 16,
  dirtyMiBPerSecond: 1,
  workingSetMiB: 1,
} as const;
const limits = {
  downtimeLimitMs: 100,
  downtimeCeilingMs: 500,
  roundLimit: 30,
  bandwidthLimitBytesPerSecond: null,
  throttleCeilingPercent: 90,
};
const context = (actor: Role | null): Context => ({ clusterId, at: 1, restoreEpoch: 0, actor });

const vm: VmRecord = {
  vmId: "vm-1",
  spec,
  wantedRunState: "running",
  runState: "running",
  stoppedBecause: null,
  owner: { hostId: hosts.source, copyId: "copy_A" },
  fencingToken: openToken,
  migrationId: "mig_1",
  deleteRequested: false,
  deleted: false,
  createdAt: 0,
  createdBy: "ops",
};

const queued: MigrationState = {
  id: "mig_1",
  vmId: "vm-1",
  source: { hostId: hosts.source, copyId: "copy_A" },
  destination: { hostId: hosts.destination, copyId: "copy_B" },
  mode: "live",
  limits,
  ticket: null,
  retryOf: null,
  requestedBy: "ops",
  createdAt: 0,
  startedAt: null,
  endedAt: null,
  stage: "queued",
  openedUnderToken: openToken,
  verdict: { kind: "open", token: openToken },
  cancelRequested: null,
  arrivesPaused: false,
  resetsBefore: 0,
  seen: { source: null, destination: null },
  holds: { source: false, destination: false },
};

export const initial: Motion = {
  migration: queued,
  vm,
  slots: {
    source: { assignmentsRevision: 1, migration: null },
    destination: { assignmentsRevision: 1, migration: null },
  },
};

export type Step = { name: string; event: VerdictEvent | null; from: Motion; to: Motion; answer: string };

/** Everything that can be tried in this state, and what becomes of it. */
export function stepsFrom(motion: Motion, decide: typeof decideMotion): Step[] {
  const step = (name: string, to: Motion): Step => ({ name, event: null, from: motion, to, answer: "" });
  const steps: Step[] = verdictEvents(motion).map((event) => {
    const decision = decide(motion, event, context(actorOf(event)));
    const to = decision.kind === "move" ? decision.motion : motion;
    const answer = decision.kind === "refuse" ? decision.problem : decision.kind;
    const by = isOfHost(event) ? ` by ${event.by} under ${event.fencingToken}` : "";
    return { name: `${event.kind}${by}`, event, from: motion, to, answer };
  });
  if (motion.migration.stage === "queued") steps.push(step("admitted", admitted(motion)));
  for (const role of roles) {
    const slot = motion.slots[role];
    if (slot?.migration && !slot.migration.claimed) {
      const claimed = { ...slot, migration: { ...slot.migration, claimed: true } };
      steps.push(step(`${role} claims`, { ...motion, slots: { ...motion.slots, [role]: claimed } }));
    }
    if (motion.migration.stage === "queued") continue;
    steps.push(step(`${role} is declared lost`, loseHost(motion, role, "power cut", context(null))));
    for (const state of ["running", "frozen", "gone"] as const) {
      // A destination that never held the guest cannot have seen it run.
      if (role === "destination" && state !== "gone" && motion.migration.verdict.kind === "open") continue;
      const seen: Seen = { state, because: "killed", detail: "", underToken: motion.migration.verdict.token };
      // As the operation reads it: only the reporting host's slot is at hand.
      const own = { ...motion, slots: { source: null, destination: null, [role]: slot } };
      const after = recordSeen(own, role, seen, context(role));
      steps.push(
        step(`${role}'s copy is ${state}`, { ...after, slots: { ...motion.slots, [role]: after.slots[role] } }),
      );
    }
  }
  // As the operation does it: only of a committed migration whose destination is lost.
  const isTakeable = motion.migration.verdict.kind === "committed" && isLost(motion.migration, "destination");
  if (isTakeable) {
    steps.push(
      step(
        "take-back is wished",
        requestTakeBack(motion, { statement: "host-b is off", refused: null }, context(null)),
      ),
    );
  }
  steps.push(step("cancel is wished", requestCancel(motion, "cancelled-by-user", context(null))));
  steps.push(step("stop is wished", { ...motion, vm: stopVm(motion.vm) }));
  if (!motion.vm.deleted) steps.push(step("delete is wished", { ...motion, vm: deleteVm(motion.vm, 0) }));
  return steps;
}

function verdictEvents(motion: Motion): VerdictEvent[] {
  const cause = { reason: "stream-failed", detail: "" } as const;
  const events: VerdictEvent[] = [];
  for (const by of [hosts.source, hosts.destination, "host-c"]) {
    for (const fencingToken of [openToken - 1, openToken, openToken + 1, openToken + 2]) {
      const spoken = { by, fencingToken };
      events.push(
        { kind: "destination-commits", ...spoken },
        { kind: "source-aborts", ...spoken, ...cause },
        { kind: "destination-aborts", ...spoken, ...cause },
        { kind: "destination-returns", ...spoken, ...cause },
        { kind: "source-takes-back", ...spoken, asked: motion.migration.takeBack ?? null },
      );
      for (const outcome of ["running", "ended", "guest-lost"] as const) {
        events.push({ kind: "guest-confirmed", ...spoken, outcome, detail: "" });
      }
    }
  }
  const sourceHasClaimed = motion.slots.source?.migration?.claimed ?? motion.migration.stage !== "queued";
  // A queued migration has no agents yet: only the control plane can speak of it.
  const spoken = motion.migration.stage === "queued" ? [] : events;
  const { seen } = motion.migration;
  const lost = { source: seen.source?.state === "gone", destination: isLost(motion.migration, "destination") };
  return [
    ...spoken,
    { kind: "control-plane-aborts", sourceHasClaimed, reason: "cancelled-by-user", detail: "" },
    { kind: "operator-forces", owner: third, lost, statement: "both are off" },
  ];
}

function actorOf(event: VerdictEvent): Role | null {
  if (!isOfHost(event)) return null;
  if (event.by === hosts.source) return "source";
  return event.by === hosts.destination ? "destination" : null;
}

function admitted(motion: Motion): Motion {
  const end = (role: Role) => ({
    identity: { hostId: hosts[role], publicKey: "", joinedAt: 0 },
    slot: motion.slots[role] ?? { assignmentsRevision: 1, migration: null },
    migrationAddress: "127.0.0.1",
  });
  const ends = { source: end("source"), destination: end("destination") };
  return { ...motion, ...admit(motion.migration, motion.vm, ends, { clusterId, at: 1, assignmentMs: 1 }) };
}

/** The promises of the record, in every state and across every step. @returns what is broken */
export function harmOf(step: Step): string | null {
  const { from, to, event, answer } = step;
  const [before, after] = [from.migration, to.migration];
  const same = from === to || isSame(from, to);
  if (to.vm.fencingToken < from.vm.fencingToken) return "I9: the VM's token fell";
  const isVerdict = before.verdict.kind !== after.verdict.kind;
  if (isVerdict && after.verdict.token !== before.verdict.token + 1)
    return "V7: a verdict that did not raise the token by one";
  if (!isVerdict && after.verdict.token !== before.verdict.token) return "V7: a token that moved without a verdict";
  const ways = {
    open: ["committed", "aborted", "forced"],
    committed: ["returned", "forced"],
    aborted: [],
    returned: [],
    forced: [],
  } as const;
  if (isVerdict && !(ways[before.verdict.kind] as readonly string[]).includes(after.verdict.kind))
    return "a verdict that was not final";
  if (isConfirmed(before) && !isConfirmed(after)) return "V5: a confirmation was taken back";
  const isForced = isVerdict && after.verdict.kind === "forced";
  if (isForced && !isLost(before, "destination")) return "V8: forced over a destination that may decide";
  if (isForced && before.verdict.kind === "open" && before.seen.source?.state !== "gone")
    return "V8: an open migration forced over its source";
  if (event && isOfHost(event)) {
    const isSources = event.kind === "source-aborts" || event.kind === "source-takes-back";
    const isOwnPart = event.by === (isSources ? hosts.source : hosts.destination);
    if (!isOwnPart && (answer !== "not-yours" || !same)) return "V2: a host spoke for another's part";
    if (isOwnPart && event.fencingToken !== openToken && (answer !== "stale-fencing-token" || !same))
      return "V1: a stale token moved something";
  }
  return same ? null : harmIn(to);
}

function harmIn(motion: Motion): string | null {
  const { migration, slots } = motion;
  const isHeld = motion.vm.migrationId === migration.id;
  const owner = ownerBy(migration.verdict, migration);
  if (!motion.vm.deleted && motion.vm.owner?.copyId !== owner.copyId) return "M1: the VM's owner is not the verdict's";
  if (isHeld && motion.vm.fencingToken < migration.verdict.token) return "M1: the VM's token is below the verdict's";
  const isOpen =
    migration.verdict.kind === "open" || (migration.verdict.kind === "committed" && !isConfirmed(migration));
  if (isOpen && !isHeld) return "the VM was let go while nobody had decided";
  if (migration.stage === "ended" && (isOpen || isHeld)) return "it ended while something of it was open";
  for (const role of roles) {
    const slot = slots[role]?.migration;
    if (migration.holds[role] !== (slot?.migrationId === migration.id)) return "a slot and its migration disagree";
    if (slot && !isSame(slot.record, recordOf(clusterId, migration))) return "a host would be told an old record";
  }
  const again = settle(motion, context(null));
  if (!isSame(again, motion)) return "drawing the consequences twice is not drawing them once";
  return null;
}

function isConfirmed({ verdict }: MigrationState): boolean {
  return verdict.kind === "committed" && verdict.confirmed !== null;
}

/** What moved once moves nothing the second time. */
export function repeatsHarm(step: Step, decide: typeof decideMotion): string | null {
  if (!step.event || step.answer !== "move") return null;
  const again = decide(step.to, step.event, context(actorOf(step.event)));
  return again.kind === "unchanged" ? null : `V6: ${step.name} was answered ${JSON.stringify(again)} the second time`;
}
