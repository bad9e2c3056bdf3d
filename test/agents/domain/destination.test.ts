import assert from "node:assert/strict";
import { test } from "node:test";
import {
  advanceDestination,
  beginDestination,
  type DestinationCommand,
  type DestinationEvent,
  type DestinationState,
  type DestinationStep,
  recoverDestination,
} from "../../../agents/domain/destination.ts";
import type { MigrationRecord, VerdictKind } from "../../../schemas/migration.ts";

const own = { hostId: "host-b", copyId: "copy_B" };
const peer = { hostId: "host-a", copyId: "copy_A" };
const begun = beginDestination({ migrationId: "mig_1", vmId: "vm-1", openToken: 7, own, peer }, 0);

function recordWith(verdict: VerdictKind, changes: Partial<MigrationRecord> = {}): MigrationRecord {
  return {
    type: "drover-record-1",
    clusterId: "demo",
    migrationId: "mig_1",
    vmId: "vm-1",
    openedUnderToken: 7,
    source: peer,
    destination: own,
    verdict,
    verdictToken: verdict === "open" ? 7 : 8,
    owner: verdict === "committed" ? own : peer,
    confirmed: false,
    cancelRequested: null,
    issuedAt: 0,
    ...changes,
  };
}

function run(state: DestinationState, ...events: (DestinationEvent | [DestinationEvent, number])[]): DestinationStep {
  let step: DestinationStep = { state, commands: [] };
  for (const entry of events) {
    const [event, atMs] = Array.isArray(entry) ? entry : [entry, 0];
    step = advanceDestination(step.state, event, atMs);
  }
  return step;
}
const kinds = (commands: DestinationCommand[]): string[] =>
  commands.map((command) => {
    if (command.kind === "report") return command.report.kind;
    if (command.kind === "journal") return `journal ${command.what}`;
    return command.kind === "send-peer" ? command.message.kind : command.kind;
  });

const toLoading: DestinationEvent[] = [
  { kind: "started", isExpired: false },
  { kind: "launched" },
  { kind: "peer-linked" },
  { kind: "receiving", endpoint: { address: "127.0.0.12", port: 4000 } },
];
const toCommitting: DestinationEvent[] = [
  ...toLoading,
  { kind: "loaded" },
  { kind: "journalled", what: "commit-sent" },
];
const committed: DestinationEvent = {
  kind: "report-answered",
  report: "destination-commits",
  outcome: "applied",
  record: recordWith("committed"),
};
const toStarting: DestinationEvent[] = [...toCommitting, committed, { kind: "journalled", what: "run-intent" }];

test("D1: a commit is journalled before it is sent, and only when the stream has loaded completely", () => {
  const loaded = run(begun, ...toLoading, { kind: "loaded" });
  assert.deepEqual(kinds(loaded.commands), ["loaded", "journal commit-sent"]);
  assert.deepEqual(kinds(run(loaded.state, { kind: "journalled", what: "commit-sent" }).commands), [
    "destination-commits",
  ]);
  assert.ok(
    !kinds(run(loaded.state, { kind: "journal-failed", detail: "disk full" }).commands).includes("destination-commits"),
  );
});

test("D1: an unknown answer to the commit is read again, never guessed", () => {
  const unknown = run(begun, ...toCommitting, {
    kind: "report-answered",
    report: "destination-commits",
    outcome: "unknown",
    record: null,
  });
  assert.deepEqual(kinds(run(unknown.state, { kind: "woke" }).commands), ["read-record", "wake"]);
  const open = run(unknown.state, { kind: "record-known", record: recordWith("open") });
  assert.deepEqual(kinds(open.commands), ["destination-commits"], "still open: written again");
  const landed = run(unknown.state, { kind: "record-known", record: recordWith("committed") });
  assert.deepEqual(kinds(landed.commands), ["journal run-intent"]);
});

test("D1: a dead source does not stop a loaded destination", () => {
  const step = run(begun, ...toLoading, { kind: "peer-lost" }, { kind: "loaded" });
  assert.ok(kinds(step.commands).includes("journal commit-sent"));
});

test("D2: it runs the guest only under committed, after its intent is journalled", () => {
  assert.deepEqual(run(begun, ...toStarting).commands, [{ kind: "run-copy", fencingToken: 8, paused: false }]);
  for (const verdict of ["open", "aborted", "returned"] as const) {
    const step = run(begun, ...toCommitting, { kind: "record-known", record: recordWith(verdict) });
    assert.ok(!kinds(step.commands).includes("run-copy"), verdict);
    assert.ok(!kinds(step.commands).includes("journal run-intent"), verdict);
  }
});

test("D2: a guest that is wanted paused arrives paused, and is reported so, with its source's count of resets", () => {
  const committed = { ...recordWith("committed"), arrivesPaused: true };
  const starting = run(
    begun,
    ...toLoading,
    { kind: "peer-said", message: { kind: "guest-stands", resets: 2 } },
    { kind: "loaded" },
    { kind: "journalled", what: "commit-sent" },
    { kind: "record-known", record: committed },
    { kind: "journalled", what: "run-intent" },
  );
  assert.deepEqual(starting.commands, [{ kind: "run-copy", fencingToken: 8, paused: true }]);
  const arrived = run(starting.state, { kind: "run-answered", answer: "granted", detail: "" });
  const said = arrived.commands.find((command) => command.kind === "report");
  assert.ok(said?.kind === "report" && said.report.kind === "guest-confirmed");
  assert.deepEqual([said.report.outcome, said.report.resetsAtSource], ["paused", 2]);
  const over = run(arrived.state, {
    kind: "report-answered",
    report: "guest-confirmed",
    outcome: "applied",
    record: committed,
  });
  const last = over.commands.find((command) => command.kind === "report");
  assert.ok(last?.kind === "report" && last.report.kind === "copy-seen");
  assert.equal(last.report.state, "paused");
});

test("D2: a relayed record serves as well as one read by itself", () => {
  const step = run(begun, ...toCommitting, { kind: "record-known", record: recordWith("committed") });
  assert.deepEqual(kinds(step.commands), ["journal run-intent"]);
});

test("D2: an unknown answer of the hypervisor is looked into before anything else is done", () => {
  const step = run(begun, ...toStarting, { kind: "run-answered", answer: "unknown", detail: "" });
  assert.deepEqual(kinds(step.commands), ["look-at-machine"]);
  assert.ok(kinds(run(step.state, { kind: "machine-seen", machine: "running" }).commands).includes("guest-confirmed"));
});

test("D3: a refused guest is offered back only after the source's statement and a journalled refusal of the last try", () => {
  let state = run(begun, ...toStarting).state;
  for (let attempt = 1; attempt <= 10; attempt += 1) {
    const refused = run(state, { kind: "run-answered", answer: "refused", detail: "lock-held" });
    assert.deepEqual(kinds(refused.commands), ["journal run-refused"]);
    const journalled = run(refused.state, { kind: "journalled", what: "run-refused" });
    assert.ok(!kinds(journalled.commands).includes("destroy-copy"), "the source has not said that its copy is whole");
    if (attempt === 10) state = journalled.state;
    else state = run(journalled.state, { kind: "woke" }, { kind: "journalled", what: "run-intent" }).state;
  }
  const stated = run(state, { kind: "peer-said", message: { kind: "source-complete" } });
  assert.deepEqual(kinds(stated.commands), ["destroy-copy"]);
  assert.deepEqual(kinds(run(stated.state, { kind: "destroyed" }).commands), ["destination-returns"]);
});

test("D3: a source's statement does not outlive its copy, nor the link it came over", () => {
  let refused = run(begun, ...toStarting, { kind: "peer-said", message: { kind: "source-complete" } }).state;
  refused = { ...run(refused, { kind: "run-answered", answer: "refused", detail: "" }).state, triesLeft: 0 };
  const handBack = (...events: DestinationEvent[]) =>
    kinds(run(refused, ...events, { kind: "journalled", what: "run-refused" }).commands);
  const message = { kind: "failed", reason: "guest-ended", detail: "" } as const;
  assert.deepEqual(handBack(), ["destroy-copy"]);
  assert.deepEqual(handBack({ kind: "peer-lost" }), ["wake"]);
  assert.deepEqual(handBack({ kind: "peer-said", message }), ["wake"]);
});

test("D4: a copy that may have run and is gone is reported lost, never returned", () => {
  const step = run(begun, ...toStarting, { kind: "guest-ended", how: "killed", detail: "" });
  assert.deepEqual(kinds(step.commands), ["guest-confirmed"]);
  assert.equal(step.state.outcome, "guest-lost");
});

test("D4: a copy that is gone while its intent is being journalled counts as having run", () => {
  const step = run(begun, ...toCommitting, committed, { kind: "guest-ended", how: "killed", detail: "" });
  assert.equal(step.state.outcome, "guest-lost");
});

test("D3: a committed copy that is gone before any intent is returned", () => {
  const before = run(
    begun,
    ...toCommitting,
    { kind: "guest-ended", how: "killed", detail: "" },
    {
      kind: "record-known",
      record: recordWith("committed"),
    },
  );
  assert.deepEqual(kinds(before.commands), ["destination-returns"]);
});

test("D5: an incomplete copy is ended before the abort is written", () => {
  const failed = run(begun, ...toLoading, { kind: "stream-failed", detail: "cut" });
  assert.deepEqual(kinds(failed.commands), ["settle-stream"]);
  const seen = run(failed.state, { kind: "machine-seen", machine: "incomplete" });
  assert.deepEqual(kinds(seen.commands), ["destroy-copy"]);
  assert.deepEqual(kinds(run(seen.state, { kind: "destroyed" }).commands), ["destination-aborts"]);
});

test("D5: a copy that turns out complete is committed, not discarded", () => {
  const step = run(
    begun,
    ...toLoading,
    { kind: "stream-failed", detail: "cut" },
    { kind: "machine-seen", machine: "complete" },
  );
  assert.ok(kinds(step.commands).includes("journal commit-sent"));
});

test("D6: the word is given when asked, cut off, and no commit was sent", () => {
  const asked = run(begun, ...toLoading, { kind: "peer-said", message: { kind: "ask-relinquish", nonce: "n" } });
  assert.deepEqual(kinds(asked.commands), ["read-record"], "first it looks whether it is cut off itself");
  const cutOff = run(asked.state, { kind: "record-unknown" });
  assert.deepEqual(kinds(cutOff.commands), ["journal relinquished"]);
  const destroyed = run(cutOff.state, { kind: "journalled", what: "relinquished" }, { kind: "destroyed" });
  assert.deepEqual(destroyed.commands[0], { kind: "give-word", nonce: "n" });
  const never = run(destroyed.state, { kind: "record-known", record: recordWith("open") });
  assert.ok(!kinds(never.commands).includes("destination-commits"));
});

test("D6: no word once a commit may have been sent, or unasked", () => {
  const asked: DestinationEvent = { kind: "peer-said", message: { kind: "ask-relinquish", nonce: "n" } };
  const sent = run(begun, ...toCommitting, asked, { kind: "record-unknown" });
  assert.ok(!kinds(sent.commands).includes("journal relinquished"));
  const unasked = run(begun, ...toLoading, { kind: "record-unknown" });
  assert.deepEqual(unasked.commands, []);
});

test("a guest that is refused here again and again: the record may name another by now, and is read with every try", () => {
  const refused = run(begun, ...toStarting, { kind: "run-answered", answer: "refused", detail: "lock-held" });
  const spent = run({ ...refused.state, triesLeft: 0 }, { kind: "journalled", what: "run-refused" });
  assert.deepEqual(kinds(run(spent.state, { kind: "woke" }).commands), ["read-record", "journal run-intent"]);
  const forced = recordWith("forced", { owner: { hostId: "host-c", copyId: "copy_C" }, verdictToken: 9 });
  const told = run(spent.state, { kind: "woke" }, { kind: "record-known", record: forced });
  assert.deepEqual([told.state.stage, kinds(told.commands)], ["discarding", ["destroy-copy"]]);
});

test("a guest that runs here, and was started elsewhere by an operator's word: its copy goes once the record says so", () => {
  const journal = { commitSent: true, runIntent: 1, runRefused: 0, relinquished: false };
  const owner = { hostId: "host-c", copyId: "copy_C" };
  const heard = (record: MigrationRecord | null): DestinationEvent => ({
    kind: "report-answered",
    report: "guest-confirmed",
    outcome: "refused",
    record,
  });
  const { state } = recoverDestination(begun, journal, "running");
  const told = run(state, heard(recordWith("forced", { owner, verdictToken: 9 })));
  assert.deepEqual([told.state.stage, kinds(told.commands)], ["discarding", ["destroy-copy"]]);
  const gone = run({ ...state, isGone: true }, heard(recordWith("forced", { owner, verdictToken: 9 })));
  assert.equal(gone.state.stage, "reporting");
  assert.equal(run(state, heard(recordWith("committed", { confirmed: true }))).state.stage, "reporting");
  assert.equal(state.record, null);
  assert.equal(run(state, heard(null)).state.stage, "reporting");
});

test("D3, D4: a lost copy whose abort is refused by a commit is returned, or named lost if it may have run", () => {
  const refused: DestinationEvent = {
    kind: "report-answered",
    report: "destination-aborts",
    outcome: "refused",
    record: recordWith("committed"),
  };
  const after = (runIntent: number, runRefused: number) => {
    const journal = { commitSent: true, runIntent, runRefused, relinquished: false };
    return kinds(run(recoverDestination(begun, journal, "ended").state, refused).commands);
  };
  assert.deepEqual(after(1, 0), ["guest-confirmed"]);
  assert.deepEqual(after(1, 1), ["destination-returns"]);
  assert.deepEqual(after(0, 0), ["destination-returns"]);
});

test("a lost guest that an earlier life of the agent has reported is not returned for ever", () => {
  const journal = { commitSent: true, runIntent: 0, runRefused: 0, relinquished: false };
  const confirmed = recordWith("committed", { confirmed: true });
  const refused = {
    kind: "report-answered",
    report: "destination-aborts",
    outcome: "refused",
    record: confirmed,
  } as const;
  const step = run(recoverDestination(begun, journal, "ended").state, refused);
  assert.equal(step.state.stage, "reporting");
});

test("it answers the source's ask with its own fresh reading", () => {
  const answer = (record: MigrationRecord | null) =>
    kinds(run(begun, ...toLoading, { kind: "gate-read", ask: 3, record }).commands)[0];
  assert.equal(answer(recordWith("open")), "gate-open");
  assert.equal(answer(recordWith("open", { cancelRequested: "cancelled-by-user" })), "gate-shut");
  assert.equal(answer(null), "gate-shut");
});

test("a superseded copy is ended only under a higher token that names another copy", () => {
  const ended = run(begun, ...toCommitting, { kind: "record-known", record: recordWith("aborted") });
  assert.deepEqual(kinds(ended.commands), ["destroy-copy"]);
  const same = run(begun, ...toCommitting, {
    kind: "record-known",
    record: recordWith("aborted", { verdictToken: 7 }),
  });
  assert.deepEqual(same.commands, []);
});

const nothing = { commitSent: false, runIntent: 0, runRefused: 0, relinquished: false };
const ran = { ...nothing, commitSent: true, runIntent: 2, runRefused: 1 };
const gaveWord = { ...nothing, relinquished: true };

for (const [what, journal, machine, expected] of [
  ["nothing journalled", nothing, "incomplete", "settling: settle-stream"],
  ["nothing journalled", nothing, "complete", "intending: expect-peer, loaded, journal commit-sent"],
  ["nothing journalled", nothing, "ended", "aborting: destination-aborts"],
  [
    "a commit sent",
    { ...nothing, commitSent: true },
    "complete",
    "intending: expect-peer, loaded, journal commit-sent",
  ],
  ["an intent to run", ran, "running", "confirming: arrived, guest-confirmed"],
  ["an intent to run", ran, "ended", "aborting: destination-aborts"], // the record decides
  ["the word given", gaveWord, "incomplete", "relinquishing: expect-peer, destroy-copy"],
  ["the word given", gaveWord, "complete", "relinquishing: expect-peer, destroy-copy"],
  ["the word given", gaveWord, "ended", "relinquished: expect-peer, read-record, wake"],
  ["the word given, and yet it runs", gaveWord, "running", "confirming: arrived, guest-confirmed"],
] as const) {
  test(`after the agent's restart, ${what}, its copy ${machine}: ${expected}`, () => {
    const { state, commands } = recoverDestination(begun, journal, machine);
    assert.equal(`${state.stage}: ${kinds(commands).join(", ")}`, expected);
    assert.equal(state.isGone, machine === "ended");
    const { commitSent, runIntent, runRefused, intentJournalled, hasRelinquished, migrationId } = state;
    assert.deepEqual({ commitSent, runIntent, runRefused, relinquished: hasRelinquished }, journal);
    assert.deepEqual([intentJournalled, migrationId], [journal.runIntent, "mig_1"]);
    assert.deepEqual(state.withdrawal, {
      reason: "agent-restarted",
      detail: "the destination's agent was restarted",
    });
  });
}

test("D2: without a record nothing is let run; what runs all the same is told", () => {
  const starting = { ...run(begun, ...toCommitting, committed).state, record: null };
  const journalled = run(starting, { kind: "journalled", what: "run-intent" });
  assert.deepEqual(journalled.commands, []);
  const arrived = run(journalled.state, { kind: "run-answered", answer: "granted", detail: "" });
  assert.deepEqual(kinds(arrived.commands), ["arrived", "guest-confirmed"]);
});

test("what is told in a report is as long as a report may be", () => {
  const failed: DestinationEvent = { kind: "launch-failed", detail: "x".repeat(1001) };
  const { commands } = run(begun, { kind: "started", isExpired: false }, failed, { kind: "destroyed" });
  const [command] = commands;
  assert.ok(command?.kind === "report" && command.report.kind === "destination-aborts");
  assert.equal(command.report.detail.length, 1000);
});

test("an assignment that has expired launches nothing, and the record says so", () => {
  const step = run(begun, { kind: "started", isExpired: true });
  assert.deepEqual(kinds(step.commands), ["destroy-copy"]);
  assert.deepEqual(kinds(run(step.state, { kind: "destroyed" }).commands), ["destination-aborts"]);
});

test("a listener that stays shut ends the preparation by name; what lasts a moment, and what comes later, does not", () => {
  const failed: DestinationEvent = { kind: "listen-failed", detail: "listen EADDRINUSE" };
  const preparing = run(begun, [{ kind: "started", isExpired: false }, 1000]).state;
  assert.deepEqual(run(preparing, [failed, 3900]), { state: preparing, commands: [] });
  const ended = run(preparing, { kind: "launched" }, [failed, 4000]);
  assert.equal(ended.state.stage, "discarding");
  assert.deepEqual(kinds(ended.commands), ["destroy-copy"]);
  assert.deepEqual(ended.state.withdrawal, {
    reason: "preparation-failed",
    detail: "the peer link cannot be opened: listen EADDRINUSE",
  });
  assert.deepEqual(kinds(run(ended.state, { kind: "destroyed" }).commands), ["destination-aborts"]);
  for (const later of [toLoading, toCommitting, toStarting]) {
    const { state } = run(begun, ...later);
    assert.deepEqual(run(state, [failed, 60_000]).state, state);
  }
});
