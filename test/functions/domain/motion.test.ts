// A migration in motion, rule by rule: what a verdict and what was seen mean for its record, its VM and both slots.
import assert from "node:assert/strict";
import { test } from "node:test";
import { recordOf } from "../../../functions/domain/migrations.ts";
import {
  bumpSlot,
  decideMotion,
  isLost,
  loseHost,
  type Motion,
  migrationEvents,
  motionEvents,
  noSlots,
  recordSeen,
  requestCancel,
  requestTakeBack,
  settle,
} from "../../../functions/domain/motion.ts";
import type { MigrationState, Role, Seen, VmRecord } from "../../../functions/domain/records.ts";
import type { VerdictEvent } from "../../../functions/domain/verdict.ts";
import { admitted, cause, context, destination, seen, verdicts } from "../support/motions.ts";

type VerdictName = keyof typeof verdicts;

const commits: VerdictEvent = { kind: "destination-commits", by: "host-b", fencingToken: 7 };
const controlPlaneAborts: VerdictEvent = { kind: "control-plane-aborts", sourceHasClaimed: false, ...cause };

function under(verdict: VerdictName, changes: Parameters<typeof admitted>[0] = {}): Motion {
  return admitted({ ...changes, migration: { verdict: verdicts[verdict], ...changes.migration } });
}

test("M1: a verdict names the VM's owner and its token, and both slots show it", () => {
  const decision = decideMotion(admitted({}), commits, context);
  assert.ok(decision.kind === "move");
  const { vm, migration, slots } = decision.motion;
  assert.deepEqual([migration.verdict.kind, migration.verdict.token], ["committed", 8]);
  assert.deepEqual([vm.owner, vm.fencingToken, vm.migrationId], [destination, 8, "mig_1"]);
  for (const role of ["source", "destination"] as const) {
    assert.deepEqual(slots[role]?.migration?.record, recordOf("test", migration));
  }
});

test("a verdict that is refused, or stands already, moves nothing", () => {
  const stale = { ...commits, fencingToken: 6 } as VerdictEvent;
  assert.deepEqual(decideMotion(admitted({}), stale, context), { kind: "refuse", problem: "stale-fencing-token" });
  assert.deepEqual(decideMotion(under("committed"), commits, context), { kind: "unchanged" });
});

test("a verdict needs the VM to be held by this migration, under the token of the verdict before", () => {
  const refused = { kind: "refuse", problem: "stale-fencing-token" };
  for (const vm of [{ migrationId: "mig_2" }, { migrationId: null }, { fencingToken: 8 }, { fencingToken: 6 }]) {
    assert.deepEqual(decideMotion(admitted({ vm }), commits, context), refused, JSON.stringify(vm));
  }
});

test("the control plane aborts a migration that does not hold its VM, and leaves the VM alone", () => {
  const motion = admitted({ vm: { migrationId: "mig_2", fencingToken: 9 } });
  const decision = decideMotion(motion, controlPlaneAborts, context);
  assert.ok(decision.kind === "move");
  assert.equal(decision.motion.migration.verdict.kind, "aborted");
  assert.equal(decision.motion.vm, motion.vm);
});

/** Each: under which verdict, whose slot, what its host last said, whether it has claimed its part; is its slot kept? */
for (const [why, verdict, role, last, claimed, isKept] of [
  ["it may still be streaming", "open", "source", null, true, true],
  ["it may still be streaming", "open", "source", seen("running", 7), true, true],
  ["it may still be streaming", "open", "destination", null, false, true],
  ["it never began", "aborted", "source", null, false, false],
  ["it never began", "aborted", "destination", null, false, false],
  ["it has not said what it has", "aborted", "source", null, true, true],
  ["it has not said what it has", "aborted", "destination", null, true, true],
  ["it has not said what it has", "committed", "source", null, false, true],
  ["it has not said what it has", "returned", "destination", null, false, true],
  ["the source runs again", "aborted", "source", seen("running", 8), true, false],
  ["the source has it again", "aborted", "source", seen("paused", 8), true, false],
  ["a frozen guest does not run again", "aborted", "source", seen("frozen", 8), true, true],
  ["that was said before the verdict", "aborted", "source", seen("running", 7), true, true],
  ["the source runs again", "returned", "source", seen("running", 9), true, false],
  ["the source runs again", "forced back", "source", seen("running", 8), true, false],
  ["it has what is another's", "confirmed", "source", seen("running", 8), true, true],
  ["it has what is another's", "forced elsewhere", "source", seen("paused", 8), true, true],
  ["its guest is not confirmed", "committed", "destination", seen("running", 8), true, true],
  ["the new owner has it", "confirmed", "destination", seen("running", 8), true, false],
  ["that was said before the verdict", "confirmed", "destination", seen("running", 7), true, true],
  ["nothing is decided yet", "open", "source", seen("gone", 7), true, true],
  ["its copy is gone", "committed", "source", seen("gone", 8), true, false],
  ["a destination's part lasts until it is settled", "open", "destination", seen("gone", 7), true, true],
  ["a destination's part lasts until it is settled", "committed", "destination", seen("gone", 8), true, true],
  ["its copy is gone", "aborted", "destination", seen("gone", 7), true, false],
  ["its copy is gone", "confirmed", "destination", seen("gone", 8), true, false],
  ["M5: a lost host may come back", "open", "source", seen("gone", 7, "host-declared-lost"), true, true],
  ["M5: a lost host may come back", "committed", "source", seen("gone", 8, "host-declared-lost"), true, true],
  ["M5: it is settled", "confirmed", "source", seen("gone", 8, "host-declared-lost"), true, false],
] as const satisfies readonly [string, VerdictName, Role, Seen | null, boolean, boolean][]) {
  const said = last ? `seen ${last.state} under ${last.underToken}` : claimed ? "silent" : "never claimed";
  test(`M2: ${verdict}, ${role} ${said}: its slot is ${isKept ? "kept" : "freed"}, ${why}`, () => {
    const before = under(verdict, { claimed, migration: { seen: { source: null, destination: null, [role]: last } } });
    const after = settle(before, context);
    assert.equal(after.migration.holds[role], isKept);
    assert.equal(after.slots[role]?.migration?.migrationId ?? null, isKept ? "mig_1" : null);
    assert.deepEqual(settle(after, context), after, "drawing the consequences twice changes nothing");
  });
}

test("M2: a slot that is not at hand, or has another migration, says nothing of a claim, and is not touched", () => {
  const motion = under("aborted", { claimed: false });
  const other = under("aborted", { claimed: false, migration: { id: "mig_2" } }).slots.source;
  assert.ok(other?.migration);
  const ofAnother = { ...other, migration: { ...other.migration, migrationId: "mig_2" } };
  const after = settle({ ...motion, slots: { source: ofAnother, destination: null } }, context);
  assert.deepEqual(after.migration.holds, { source: true, destination: true });
  assert.equal(after.slots.source, ofAnother);
  assert.equal(after.slots.destination, null);
});

test("M2: with no slot at hand none is made", () => {
  assert.deepEqual(settle({ ...under("confirmed"), slots: noSlots }, context).slots, {
    source: null,
    destination: null,
  });
});

test("M2: a slot that was freed is not taken again", () => {
  const holds = { source: false, destination: false };
  assert.deepEqual(settle(under("committed", { migration: { holds } }), context).migration.holds, holds);
});

test("a migration has ended when it is decided and holds no slot, once and for all", () => {
  const bothSeen = { source: seen("gone", 8), destination: seen("running", 8) };
  const ended = settle(under("confirmed", { migration: { seen: bothSeen } }), context).migration;
  assert.deepEqual([ended.stage, ended.endedAt], ["ended", 5000]);
  const later = settle({ ...under("confirmed"), migration: ended }, { ...context, at: 9000 }).migration;
  assert.equal(later.endedAt, 5000);
  for (const half of [
    { ...bothSeen, source: null },
    { ...bothSeen, destination: null },
  ]) {
    const { stage, endedAt } = settle(under("confirmed", { migration: { seen: half } }), context).migration;
    assert.deepEqual([stage, endedAt], ["admitted", null], "one slot is held");
  }
  const holds = { source: false, destination: false };
  assert.equal(settle(under("open", { migration: { holds } }), context).migration.stage, "admitted", "it is open");
});

const outcome = (kind: "running" | "paused" | "ended" | "guest-lost", told: { resetsAtSource?: number } = {}) => ({
  kind: "committed" as const,
  token: 8,
  confirmed: { outcome: kind, detail: "", ...told },
});
const of = ({ owner, fencingToken, migrationId, wantedRunState, runState, stoppedBecause }: VmRecord): string =>
  [
    owner?.hostId.slice(-1) ?? "none",
    fencingToken,
    migrationId ? "held" : "free",
    wantedRunState,
    runState,
    stoppedBecause ?? "-",
  ].join(" ");

/** Each: the migration, what differs of the VM; the VM's owner, its token, is it free, what is wanted, what it is, why. */
for (const [why, migration, vm, expected] of [
  ["open: nothing is decided", {}, {}, "a 7 held running running -"],
  [
    "open: also where its copy is said to be gone",
    { seen: { source: seen("gone", 7, "killed"), destination: null } },
    {},
    "a 7 held running running -",
  ],
  [
    "open: the source runs it, and holds it",
    { seen: { source: seen("running", 7), destination: null } },
    {},
    "a 7 held running running -",
  ],
  ["committed: the guest stands", { verdict: verdicts.committed }, {}, "b 8 held running running -"],
  ["confirmed as running", { verdict: outcome("running") }, {}, "b 8 free running running -"],
  ["confirmed as paused", { verdict: outcome("paused") }, {}, "b 8 free running paused -"],
  ["confirmed, ended since", { verdict: outcome("ended") }, {}, "b 8 free stopped stopped ended"],
  ["confirmed as lost", { verdict: outcome("guest-lost") }, {}, "b 8 free stopped guest-lost guest-lost"],
  ["aborted: not seen yet", { verdict: verdicts.aborted }, {}, "a 8 held running running -"],
  [
    "aborted: the source runs it",
    { verdict: verdicts.aborted, seen: { source: seen("running", 8), destination: null } },
    { runState: "frozen" },
    "a 8 free running running -",
  ],
  [
    "aborted: the source has it paused",
    { verdict: verdicts.aborted, seen: { source: seen("paused", 8), destination: null } },
    {},
    "a 8 free running paused -",
  ],
  [
    "aborted: the source has it frozen",
    { verdict: verdicts.aborted, seen: { source: seen("frozen", 8), destination: null } },
    {},
    "a 8 held running running -",
  ],
  [
    "aborted: seen before the verdict",
    { verdict: verdicts.aborted, seen: { source: seen("running", 7), destination: null } },
    {},
    "a 8 held running running -",
  ],
  [
    "aborted: what the destination has is not asked",
    { verdict: verdicts.aborted, seen: { source: null, destination: seen("running", 8) } },
    {},
    "a 8 held running running -",
  ],
  [
    "aborted: the source never began",
    { verdict: verdicts.aborted, holds: { source: false, destination: true } },
    { runState: "paused" },
    "a 8 free running paused -",
  ],
  [
    "aborted: it powered itself off",
    { verdict: verdicts.aborted, seen: { source: seen("gone", 8, "powered-off"), destination: null } },
    {},
    "a 8 free stopped stopped powered-off",
  ],
  [
    "aborted: it was killed",
    { verdict: verdicts.aborted, seen: { source: seen("gone", 7, "killed"), destination: null } },
    {},
    "a 8 free stopped guest-lost killed",
  ],
  [
    "returned: the source runs it",
    { verdict: verdicts.returned, seen: { source: seen("running", 9), destination: null } },
    {},
    "a 9 free running running -",
  ],
  ["forced back: not seen yet", { verdict: verdicts["forced back"] }, {}, "a 8 held running running -"],
  [
    "forced back: the source runs it",
    { verdict: verdicts["forced back"], seen: { source: seen("running", 8), destination: null } },
    {},
    "a 8 free running running -",
  ],
  [
    "forced elsewhere: started from its disk",
    { verdict: verdicts["forced elsewhere"] },
    {},
    "c 8 free running starting -",
  ],
  [
    "forced elsewhere: to be deleted, it never runs again",
    { verdict: verdicts["forced elsewhere"] },
    { deleteRequested: true },
    "c 8 free stopped stopping -",
  ],
  ["a higher token stays", { verdict: verdicts.committed }, { fencingToken: 20 }, "b 20 held running running -"],
  [
    "a tombstone has no owner",
    { verdict: verdicts.committed },
    { deleted: true, owner: null },
    "none 8 held running running -",
  ],
  [
    "held by another migration",
    { verdict: verdicts.committed },
    { migrationId: "mig_2" },
    "a 7 held running running -",
  ],
] as const satisfies readonly [string, Partial<MigrationState>, Partial<VmRecord>, string][]) {
  test(`M1, M3: ${why}: ${expected}`, () => {
    assert.equal(of(settle(admitted({ migration, vm }), context).vm), expected);
  });
}

test("M3: a wish to stop that came meanwhile is carried out by the new owner", () => {
  const stopping = admitted({ migration: { verdict: outcome("running") }, vm: { wantedRunState: "stopped" } });
  assert.equal(of(settle(stopping, context).vm), "b 8 free stopped stopping -");
});

test("M3: the new owner makes only those resets that its source has not made", () => {
  const left = (told: { resetsAtSource?: number }, resetsBefore?: number) => {
    const migration = { verdict: outcome("running", told), ...(resetsBefore === undefined ? {} : { resetsBefore }) };
    const before = admitted({ migration, vm: { resets: 5 } });
    if (resetsBefore === undefined) delete before.migration.resetsBefore;
    return settle(before, context).vm.resets;
  };
  assert.equal(left({ resetsAtSource: 4 }, 3), 1, "by the source's own count");
  assert.equal(left({ resetsAtSource: 0 }, 3), 5);
  assert.equal(left({}, 3), 2, "where it could not say: it may have made all that were asked for before");
  assert.equal(left({}), 5, "an older record counts none");
});

test("what the guest is to be like on arrival follows its user's wishes until the verdict, and no longer", () => {
  const wished = (motion: Motion) => {
    const { arrivesPaused, resetsBefore } = settle(motion, context).migration;
    return [arrivesPaused, resetsBefore];
  };
  const vm = { wantedRunState: "paused", resets: 2 } as const;
  const before = { arrivesPaused: false, resetsBefore: 1 };
  assert.deepEqual(wished(admitted({ vm, migration: before })), [true, 2]);
  assert.deepEqual(wished(admitted({ vm: { resets: 2 }, migration: { arrivesPaused: true } })), [false, 2]);
  assert.deepEqual(wished(under("committed", { vm, migration: before })), [false, 1], "it is decided");
  const elsewhere = { ...vm, migrationId: "mig_2" };
  assert.deepEqual(wished(admitted({ vm: elsewhere, migration: before })), [false, 1], "the VM is another's");
  const stopped = { wantedRunState: "stopped" } as const;
  assert.deepEqual(
    wished(admitted({ vm: stopped, migration: { arrivesPaused: true } })),
    [true, 0],
    "it ends as it is",
  );
  assert.deepEqual(wished(admitted({ vm: stopped, migration: { arrivesPaused: false } })), [false, 0]);
  const older = admitted({ vm: stopped });
  delete older.migration.arrivesPaused;
  delete older.vm.resets;
  assert.deepEqual(wished(older), [false, 0], "records of an older program");
});

test("M4: a host is told of every change that it did not make itself, and of nothing else", () => {
  const revisions = (motion: Motion) => [
    motion.slots.source?.assignmentsRevision,
    motion.slots.destination?.assignmentsRevision,
  ];
  const before = settle(admitted({}), context);
  assert.deepEqual(revisions(before), [4, 4]);
  assert.equal(settle(before, context).slots.source, before.slots.source, "no change is no news");
  const by = (actor: Role | null) => {
    const decision = decideMotion(before, commits, { ...context, actor });
    assert.ok(decision.kind === "move");
    return revisions(decision.motion);
  };
  assert.deepEqual(by(null), [5, 5]);
  assert.deepEqual(by("destination"), [5, 4]);
  assert.deepEqual(by("source"), [4, 5]);
});

test("a cancel is noted once, while nothing is decided", () => {
  const asked = requestCancel(admitted({}), "cancelled-by-user", context);
  assert.equal(asked.migration.cancelRequested, "cancelled-by-user");
  assert.equal(asked.slots.source?.migration?.record.cancelRequested, "cancelled-by-user");
  assert.equal(requestCancel(asked, "vm-stopped", context), asked, "the first reason stands");
  const decided = under("committed");
  assert.equal(requestCancel(decided, "cancelled-by-user", context), decided);
});

test("M5: a host's copy counts as gone by an operator's word, under the verdict's token", () => {
  const lost = loseHost(under("committed"), "destination", "host-b is off", context);
  assert.deepEqual(lost.migration.seen.destination, {
    state: "gone",
    because: "host-declared-lost",
    detail: "host-b is off",
    underToken: 8,
  });
  assert.deepEqual([isLost(lost.migration, "destination"), isLost(lost.migration, "source")], [true, false]);
  const gone = recordSeen(under("committed"), "source", seen("gone", 8, "killed"), context);
  assert.equal(isLost(gone.migration, "source"), false, "gone by itself");
});

test("what a host says last counts, but gone is final, and the other host's word is not touched", () => {
  const running = recordSeen(under("aborted"), "source", seen("running", 7), context);
  const paused = recordSeen(running, "source", seen("paused", 8), context);
  assert.equal(paused.migration.seen.source?.state, "paused");
  assert.equal(paused.migration.seen.destination, null);
  const gone = recordSeen(running, "source", seen("gone", 8, "killed"), context);
  const again = recordSeen(gone, "source", seen("running", 8), context);
  assert.deepEqual(again.migration.seen.source, seen("gone", 8, "killed"));
});

test("M5: a lost source that is back says itself that its copy is gone; nobody else's word is replaced by another", () => {
  const last = (role: Role, first: Seen, then: Seen) => {
    const motion = recordSeen(admitted({}), role, first, context);
    return recordSeen(motion, role, then, context).migration.seen[role];
  };
  const lost = seen("gone", 7, "host-declared-lost");
  const killed = seen("gone", 8, "killed");
  assert.equal(last("source", lost, killed), killed);
  assert.equal(last("source", lost, seen("running", 8)), lost, "what is gone is not there again");
  assert.equal(last("source", lost, { ...lost, detail: "said again" }), lost);
  assert.equal(last("source", killed, { ...killed, because: "crashed" }), killed);
  assert.equal(last("destination", lost, killed), lost);
});

test("a wish to take the guest back is told to the source, and dropped when it could not", () => {
  const asked = requestTakeBack(under("committed"), { statement: "host-b is off", refused: null }, context);
  assert.equal(asked.slots.source?.migration?.record.takeBackRequested, true);
  const refused = requestTakeBack(asked, { statement: "host-b is off", refused: "held" }, context);
  assert.equal(refused.slots.source?.migration?.record.takeBackRequested, false);
});

test("a slot's revision grows by one", () => {
  assert.deepEqual(bumpSlot({ assignmentsRevision: 3, migration: null }), { assignmentsRevision: 4, migration: null });
});

test("every change of a migration has its event, and what did not change has none", () => {
  const before = admitted({}).migration;
  const events = (from: MigrationState, changes: Partial<MigrationState>) =>
    migrationEvents(from, { ...from, ...changes }).map(({ kind, subject, data }) => [kind, subject.id, data] as const);
  const vm = { vm: "vm-1" };
  assert.deepEqual(events(before, {}), []);
  assert.deepEqual(events({ ...before, stage: "queued" }, { stage: "admitted" }), [
    ["migration-admitted", "mig_1", vm],
  ]);
  assert.deepEqual(events({ ...before, stage: "queued" }, { stage: "ended" }), [
    ["migration-ended", "mig_1", { ...vm, verdict: "open", reason: null }],
  ]);
  assert.deepEqual(events({ ...before, stage: "queued" }, { stage: "queued" }), []);
  const cancel = { cancelRequested: "cancelled-by-user" } as const;
  assert.deepEqual(events(before, cancel), [
    ["migration-cancel-requested", "mig_1", { ...vm, reason: "cancelled-by-user" }],
  ]);
  assert.deepEqual(events({ ...before, ...cancel }, cancel), []);

  const asked = { takeBack: { statement: "host-b is off", refused: null } };
  const refused = { takeBack: { statement: "host-b is off", refused: "held" } };
  assert.deepEqual(events(before, asked), [
    ["migration-take-back-requested", "mig_1", { ...vm, statement: "host-b is off" }],
  ]);
  assert.deepEqual(events({ ...before, ...asked }, refused), [
    ["migration-take-back-refused", "mig_1", { ...vm, detail: "held" }],
  ]);
  assert.deepEqual(events({ ...before, ...asked }, { takeBack: { ...asked.takeBack } }), [], "the same wish");
  assert.deepEqual(events({ ...before, ...asked }, { takeBack: null }), []);
  const { takeBack: _, ...older } = before;
  assert.deepEqual(events(older, asked).length, 1);

  const reached = { fencingToken: 8, owner: "host-a", reason: "stream-failed" };
  const decided: [VerdictName, string, object][] = [
    ["committed", "migration-committed", { fencingToken: 8, owner: "host-b", reason: null }],
    ["aborted", "migration-aborted", { ...reached, by: "source" }],
    ["returned", "migration-returned", { ...reached, fencingToken: 9 }],
    [
      "forced elsewhere",
      "migration-forced",
      { fencingToken: 8, owner: "host-c", reason: "host-declared-lost", statement: "both are off" },
    ],
  ];
  for (const [name, kind, data] of decided) {
    assert.deepEqual(events(before, { verdict: verdicts[name] }), [[kind, "mig_1", { ...vm, ...data }]]);
    assert.deepEqual(events({ ...before, verdict: verdicts[name] }, { verdict: { ...verdicts[name] } }), []);
  }
  const committed = { ...before, verdict: verdicts.committed };
  const confirmed = events(committed, { verdict: verdicts.confirmed });
  assert.deepEqual(confirmed, [["migration-confirmed", "mig_1", { ...vm, outcome: "running" }]]);
  assert.deepEqual(events({ ...before, verdict: verdicts.confirmed }, { verdict: { ...verdicts.confirmed } }), []);

  assert.deepEqual(events(before, { holds: { source: false, destination: true } }), [
    ["migration-phase-changed", "host-a", { migration: "mig_1", freed: "source" }],
  ]);
  assert.deepEqual(events(before, { holds: { source: true, destination: false } }), [
    ["migration-phase-changed", "host-b", { migration: "mig_1", freed: "destination" }],
  ]);
  const freed = { ...before, holds: { source: false, destination: false } };
  assert.deepEqual(events(freed, { holds: { source: true, destination: false } }), []);
  const aborted = { ...freed, verdict: verdicts.aborted };
  assert.deepEqual(events(aborted, { stage: "ended" }), [
    ["migration-ended", "mig_1", { ...vm, verdict: "aborted", reason: "stream-failed" }],
  ]);
  assert.deepEqual(events({ ...aborted, stage: "ended" }, {}), []);
});

test("the events of a motion are its migration's, of that subject, and then its VM's", () => {
  const before = admitted({});
  const decision = decideMotion(before, commits, context);
  assert.ok(decision.kind === "move");
  const events = motionEvents(before, decision.motion);
  assert.deepEqual(
    events.map(({ kind, subject }) => [kind, subject.kind, subject.id]),
    [
      ["migration-committed", "migration", "mig_1"],
      ["vm-owner-changed", "vm", "vm-1"],
    ],
  );
  const held = { ...before.migration, holds: { source: false, destination: true } };
  assert.deepEqual(migrationEvents(before.migration, held)[0]?.subject, { kind: "host", id: "host-a" });
});
