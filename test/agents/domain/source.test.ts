import assert from "node:assert/strict";
import { test } from "node:test";
import {
  advanceSource,
  beginSource,
  recoverSource,
  type SourceCommand,
  type SourceEvent,
  type SourceState,
  type SourceStep,
} from "../../../agents/domain/source.ts";
import type { MigrationRecord, VerdictKind } from "../../../schemas/migration.ts";

const own = { hostId: "host-a", copyId: "copy_A" };
const peer = { hostId: "host-b", copyId: "copy_B" };
const begun = beginSource({
  migrationId: "mig_1",
  vmId: "vm-1",
  openToken: 7,
  own,
  peer,
  limits: {
    downtimeLimitMs: 100,
    downtimeCeilingMs: 500,
    roundLimit: 30,
    bandwidthLimitBytesPerSecond: null,
    throttleCeilingPercent: 0,
  },
  commitMs: 10,
});
const round = {
  round: 1,
  bytes: 1,
  durationMs: 10,
  remainingBytes: 0,
  dirtyBytesPerSecond: 0,
  bandwidthBytesPerSecond: 1e8,
  throttlePercent: 0,
};

function recordWith(verdict: VerdictKind, changes: Partial<MigrationRecord> = {}): MigrationRecord {
  const isOpen = verdict === "open";
  return {
    type: "drover-record-1",
    clusterId: "demo",
    migrationId: "mig_1",
    vmId: "vm-1",
    openedUnderToken: 7,
    source: own,
    destination: peer,
    verdict,
    verdictToken: isOpen ? 7 : 8,
    owner: verdict === "committed" ? peer : own,
    confirmed: false,
    cancelRequested: null,
    issuedAt: 0,
    ...changes,
  };
}

/** Feeds events one after the other; answers the last state and all commands since the last but `skip` events. */
function run(state: SourceState, ...events: (SourceEvent | [SourceEvent, number])[]): SourceStep {
  let step: SourceStep = { state, commands: [] };
  for (const entry of events) {
    const [event, atMs] = Array.isArray(entry) ? entry : [entry, 0];
    step = advanceSource(step.state, event, atMs);
  }
  return step;
}
const kinds = (commands: SourceCommand[]): string[] =>
  commands.map((command) => (command.kind === "report" ? command.report.kind : command.kind));

const toCopying: SourceEvent[] = [
  { kind: "started", isExpired: false },
  { kind: "permitted" },
  { kind: "peer-linked" },
  { kind: "peer-said", message: { kind: "ready", endpoint: { address: "127.0.0.12", port: 4000 } } },
  { kind: "streaming" },
];
const fits: SourceEvent = { kind: "sampled", round, roundDone: true };
const toHolding: SourceEvent[] = [
  ...toCopying,
  fits,
  { kind: "gate-read", ask: 1, record: recordWith("open") },
  { kind: "peer-said", message: { kind: "gate-open", ask: 1 } },
];
const toDoubt: SourceEvent[] = [...toHolding, { kind: "held" }, { kind: "gate-stands", decision: "past" }];

test("the lock file permits the destination before anything is sent", () => {
  assert.deepEqual(run(begun, { kind: "started", isExpired: false }).commands[0], {
    kind: "permit-next",
    copyId: "copy_B",
  });
});

test("S1: the guest is stopped only after both sides answered this ask with open", () => {
  const own = run(begun, ...toCopying, fits, { kind: "gate-read", ask: 1, record: recordWith("open") });
  assert.deepEqual(own.commands, []);
  const both = run(own.state, { kind: "peer-said", message: { kind: "gate-open", ask: 1 } });
  assert.deepEqual(kinds(both.commands), ["hold-at-gate"]);
  const stale = run(own.state, { kind: "peer-said", message: { kind: "gate-open", ask: 0 } });
  assert.deepEqual(stale.commands, [], "an answer to an earlier ask opens nothing");
});

test("S1: while either side cannot reach the control plane the source goes on copying, and asks again later", () => {
  const shut = run(begun, ...toCopying, fits, { kind: "gate-read", ask: 1, record: null });
  assert.equal(shut.state.stage, "copying");
  const again = run(shut.state, [fits, 10], [fits, 1000]);
  assert.deepEqual(kinds(again.commands), ["read-gate", "send-peer"]);
  assert.equal(again.state.excusedRounds, 1);
});

test("S1: answers that took longer than they are good for do not open the gate", () => {
  const own = run(begun, ...toCopying, fits, { kind: "gate-read", ask: 1, record: recordWith("open") });
  const late = run(own.state, [{ kind: "peer-said", message: { kind: "gate-open", ask: 1 } }, 5000]);
  assert.equal(late.state.stage, "copying");
});

test("S1: a cancel read at the gate ends the attempt, and the guest never stops", () => {
  const cancelled = recordWith("open", { cancelRequested: "cancelled-by-user" });
  const step = run(begun, ...toCopying, fits, { kind: "gate-read", ask: 1, record: cancelled });
  assert.deepEqual(kinds(step.commands), ["cancel-stream", "send-peer", "source-aborts"]);
});

test("S2: what goes wrong between stop and past is answered by cancelling at the gate", () => {
  const step = run(begun, ...toHolding, { kind: "stream-failed", detail: "cut" }, { kind: "held" });
  assert.deepEqual(kinds(step.commands), ["cancel-at-gate"]);
  const after = run(step.state, { kind: "gate-stands", decision: "cancelled" });
  assert.ok(kinds(after.commands).includes("source-aborts"));
});

test("S2: a supervisor that took the guest back wins over the agent that wants to pass", () => {
  const step = run(begun, ...toHolding, { kind: "held" }, { kind: "gate-stands", decision: "cancelled" });
  assert.equal(step.state.stage, "aborting");
});

test("S3: past the gate nothing but the record lets the guest run again", () => {
  const doubting = run(begun, ...toDoubt).state;
  const quiet: SourceEvent[] = [
    { kind: "stream-sent" },
    { kind: "peer-said", message: { kind: "arrived", commitMs: 1 } },
    { kind: "record-known", record: recordWith("open") },
    { kind: "record-known", record: recordWith("committed") },
    { kind: "resumed-by-supervisor" },
    { kind: "woke" },
    { kind: "peer-lost" },
    { kind: "stream-failed", detail: "" },
  ];
  for (const event of quiet) {
    const { state, commands } = advanceSource(doubting, event, 1e9);
    assert.equal(state.stage, "in-doubt", event.kind);
    assert.ok(!kinds(commands).includes("run-copy"), event.kind);
  }
});

test("S3: aborted and returned let it run, under the record's token, the stream ended first", () => {
  for (const verdict of ["aborted", "returned"] as const) {
    const record = recordWith(verdict, { verdictToken: verdict === "returned" ? 9 : 8 });
    const step = run(begun, ...toDoubt, { kind: "record-known", record });
    assert.deepEqual(step.commands, [
      { kind: "cancel-stream" },
      { kind: "run-copy", fencingToken: record.verdictToken },
    ]);
  }
});

test("S3: a record of another migration, under no higher token, or naming another copy moves nothing", () => {
  const doubting = run(begun, ...toDoubt).state;
  const harmless = [
    recordWith("aborted", { migrationId: "mig_0" }),
    recordWith("aborted", { verdictToken: 7 }),
    recordWith("aborted", { owner: { hostId: "host-a", copyId: "copy_OLD" } }),
    recordWith("aborted", { owner: peer }),
  ];
  for (const record of harmless) {
    const step = run(doubting, { kind: "record-known", record });
    assert.ok(!kinds(step.commands).includes("run-copy"), JSON.stringify(record.owner));
  }
});

test("S3: the destination's word lets it run under the token it opened under", () => {
  const step = run(begun, ...toDoubt, { kind: "word-verified" });
  assert.deepEqual(step.commands.at(-1), { kind: "run-copy", fencingToken: 7 });
  const runs = run(step.state, { kind: "run-answered", isGranted: true, detail: "" });
  assert.ok(kinds(runs.commands).includes("source-aborts"), "the record is to follow before the slot is freed");
});

test("S3: the word is asked for only while the control plane cannot be reached", () => {
  assert.deepEqual(kinds(run(begun, ...toDoubt, { kind: "record-unknown" }).commands), ["ask-word"]);
});

test("S3: a refused lock file is tried again and alarmed, the guest standing meanwhile", () => {
  const step = run(
    begun,
    ...toDoubt,
    { kind: "record-known", record: recordWith("aborted") },
    { kind: "run-answered", isGranted: false, detail: "lock-held" },
  );
  assert.equal(step.state.stage, "resuming");
  assert.deepEqual(kinds(step.commands), ["migration-progressed", "wake"]);
});

test("S4: a source that loses the copy it stated to have says so", () => {
  const lost: SourceEvent = { kind: "guest-ended", how: "killed", detail: "" };
  const committed: SourceEvent = { kind: "record-known", record: recordWith("committed") };
  const linked: SourceEvent = { kind: "peer-linked" };
  const said = run(begun, ...toDoubt, linked, committed, lost).commands.flatMap((command) =>
    command.kind === "send-peer" ? [command.message.kind] : [],
  );
  assert.deepEqual(said, ["failed"]);
  assert.ok(!run(begun, ...toDoubt, lost).commands.some(({ kind }) => kind === "send-peer"), "nothing was stated yet");
});

test("S4: a committed copy is kept until it is confirmed, then ended", () => {
  const committed = run(begun, ...toDoubt, { kind: "record-known", record: recordWith("committed") });
  assert.deepEqual(kinds(committed.commands), ["relay-record", "send-peer"]);
  const confirmed = run(committed.state, {
    kind: "record-known",
    record: recordWith("committed", { confirmed: true }),
  });
  assert.deepEqual(kinds(confirmed.commands), ["destroy-copy"]);
  const over = run(confirmed.state, { kind: "destroyed" });
  assert.deepEqual(kinds(over.commands), ["copy-seen"]);
});

const asked = recordWith("committed", { takeBackRequested: true });

test("S3: asked to take the guest back, it takes the lock file, then reports, and runs only on `forced` naming its copy", () => {
  const taking = run(begun, ...toDoubt, { kind: "record-known", record: asked });
  assert.deepEqual(taking.commands, [{ kind: "take-back-lock", fencingToken: 8 }]);
  const taken = run(taking.state, { kind: "lock-taken-back", refusal: null });
  assert.deepEqual(kinds(taken.commands), ["source-takes-back"]);
  const forced = run(taken.state, { kind: "record-known", record: recordWith("forced", { verdictToken: 9 }) });
  assert.deepEqual(forced.commands, [{ kind: "cancel-stream" }, { kind: "run-copy", fencingToken: 9 }]);
});

test("S4: `forced` naming another copy ends its own, also when it holds the lock file by then", () => {
  const third = { hostId: "host-c", copyId: "copy_C" };
  const forced = recordWith("forced", { verdictToken: 9, owner: third });
  for (const before of [[], [{ kind: "lock-taken-back", refusal: null }]] as SourceEvent[][]) {
    const step = run(begun, ...toDoubt, { kind: "record-known", record: asked }, ...before, {
      kind: "record-known",
      record: forced,
    });
    assert.deepEqual(kinds(step.commands), ["destroy-copy"]);
  }
});

test("a lock file held by or naming another is reported: the destination may have run; nothing resumes", () => {
  for (const by of ["lock-held", "lock-superseded"]) {
    const refusal = { by, detail: "the lock file names copy_B under token 8" };
    const step = run(begun, ...toDoubt, { kind: "record-known", record: asked }, { kind: "lock-taken-back", refusal });
    const [command] = step.commands;
    assert.equal(step.commands.length, 1);
    assert.ok(command?.kind === "report" && command.report.kind === "take-back-refused");
    assert.match(command.report.detail, /^destination-may-have-run: .*copy_B/);
  }
});

test("a lock file that cannot be reached proves nothing: taking it back is not refused, but tried again", () => {
  const refusal = { by: "lock-unreachable", detail: "the shared volume is not there" };
  const step = run(begun, ...toDoubt, { kind: "record-known", record: asked }, { kind: "lock-taken-back", refusal });
  assert.deepEqual(step.commands, []);
  assert.ok(kinds(run(step.state, { kind: "woke" }).commands).includes("read-record"));
  assert.deepEqual(kinds(run(step.state, { kind: "record-known", record: asked }).commands), ["take-back-lock"]);
});

test("a guest that powers itself off before the gate ends the migration with that reason", () => {
  const step = run(begun, ...toCopying, { kind: "guest-ended", how: "powered-off", detail: "" });
  const report = step.commands.find((command) => command.kind === "report");
  assert.ok(
    report?.kind === "report" && report.report.kind === "source-aborts" && report.report.reason === "guest-ended",
  );
});

test("a guest that does not converge ends in a clean abort with the numbers", () => {
  const hot = { ...round, remainingBytes: 1e9, dirtyBytesPerSecond: 1e9 };
  const step = run(
    begun,
    ...toCopying,
    { kind: "sampled", round: { ...hot, round: 0 }, roundDone: true },
    { kind: "sampled", round: hot, roundDone: true },
  );
  assert.equal(step.state.withdrawal?.reason, "not-converging");
  assert.match(step.state.withdrawal?.detail ?? "", /1000000000 bytes remained/);
});

for (const [machine, gate, expected] of [
  // Past the gate only the record speaks, also of a copy that is gone; what runs again was let run by it.
  ["standing", "past", "in-doubt, stream failed, connecting: connect-peer, read-record, wake"],
  ["ended", "past", "copyless, stream failed: read-record"],
  ["running", "past", "aborting, stream failed, agent-restarted: send-peer, source-aborts"],
  // Before it the attempt is withdrawn: what stands at the gate is let run again.
  ["standing", null, "releasing, agent-restarted: cancel-at-gate"],
  ["standing", "cancelled", "releasing, agent-restarted: cancel-at-gate"],
  ["running", "cancelled", "releasing, agent-restarted: cancel-at-gate"],
  ["running", null, "aborting, agent-restarted: send-peer, source-aborts"],
  ["ended", null, "aborting, guest-ended: send-peer, source-aborts"],
  ["ended", "cancelled", "aborting, guest-ended: send-peer, source-aborts"],
] as const) {
  test(`after the agent's restart, ${machine}, gate ${gate ?? "undecided"}: ${expected}`, () => {
    const ended = machine === "ended" ? ({ how: "killed", detail: "signal 9" } as const) : null;
    const { state, commands } = recoverSource(begun, { machine, gate, ended }, 7000);
    const known = [
      state.stage,
      ...(state.stream === "failed" ? ["stream failed"] : []),
      ...(state.isConnecting ? ["connecting"] : []),
      ...(state.withdrawal ? [state.withdrawal.reason] : []),
    ];
    assert.equal(`${known.join(", ")}: ${kinds(commands).join(", ")}`, expected);
    assert.equal(state.pastAtMs, gate === "past" ? 7000 : 0);
    assert.deepEqual(state.ended, ended);
    assert.equal(state.migrationId, "mig_1");
    if (state.withdrawal && machine === "ended") assert.equal(state.withdrawal.detail, "signal 9");
    for (const command of commands) if (command.kind === "wake") assert.equal(command.afterMs, 300);
  });
}

test("after the agent's restart a copy that is gone without a word is told so all the same", () => {
  const { state } = recoverSource(begun, { machine: "ended", gate: null, ended: null }, 0);
  assert.deepEqual(state.withdrawal, { reason: "guest-ended", detail: "" });
});

test("a guest that outruns its stream is slowed down as far as its limits allow, then the migration ends", () => {
  const limits = { ...begun.limits, throttleCeilingPercent: 60 };
  const hot = { ...round, remainingBytes: 1e9, dirtyBytesPerSecond: 1e9 };
  const outrun = (throttlePercent: number, previousRemainingBytes = 1e9) =>
    advanceSource(
      { ...run({ ...begun, limits }, ...toCopying).state, previousRemainingBytes },
      { kind: "sampled", round: { ...hot, throttlePercent }, roundDone: true },
      0,
    );
  assert.deepEqual(outrun(0).commands, [{ kind: "throttle", percent: 50 }]);
  assert.deepEqual(outrun(50).commands, [{ kind: "throttle", percent: 60 }]);
  assert.equal(outrun(60).state.withdrawal?.reason, "not-converging");
  assert.deepEqual(outrun(0).state.downtimeLimitMs, 100);
});

test("what is told in a report is as long as a report may be", () => {
  const long = "x".repeat(1001);
  const detailsOf = ({ commands }: SourceStep) =>
    commands.flatMap((command) => (command.kind === "report" && "detail" in command.report ? [command.report] : []));
  const asked = run(begun, ...toDoubt, {
    kind: "record-known",
    record: recordWith("committed", { takeBackRequested: true }),
  }).state;
  const lockFile = { by: "lock-held", detail: long };
  for (const { kind, detail } of [
    ...detailsOf(run(begun, ...toCopying, { kind: "stream-failed", detail: long })),
    ...detailsOf(run(asked, { kind: "lock-taken-back", refusal: lockFile })),
    ...detailsOf(
      run(
        begun,
        ...toDoubt,
        { kind: "guest-ended", how: "killed", detail: long },
        { kind: "record-known", record: recordWith("aborted") },
      ),
    ),
  ]) {
    assert.equal(detail.length, 1000, kind);
  }
});

test("a report whose answer was lost is made again until it is answered", () => {
  const reporting = run(
    begun,
    ...toDoubt,
    { kind: "record-known", record: recordWith("aborted") },
    { kind: "run-answered", isGranted: true, detail: "" },
  );
  assert.equal(reporting.state.stage, "reporting");
  const unknown = run(
    reporting.state,
    { kind: "report-answered", report: "copy-seen", outcome: "unknown", record: null },
    { kind: "woke" },
  );
  assert.ok(kinds(unknown.commands).includes("copy-seen"));
  const done = run(unknown.state, { kind: "report-answered", report: "copy-seen", outcome: "applied", record: null });
  assert.deepEqual(done.commands, [{ kind: "finish" }]);
});

test("an assignment that has expired is not begun, and the record says so", () => {
  const step = run(begun, { kind: "started", isExpired: true });
  assert.ok(kinds(step.commands).includes("source-aborts"));
  assert.ok(!kinds(step.commands).includes("connect-peer"));
});
