// What the source's runner makes of its machine's commands (agents/domain/source.ts decides; whole traces are in
// test/exploration/replay).
import assert from "node:assert/strict";
import { test } from "node:test";
import type { CopyEvent } from "../../../agents/ports/copies.ts";
import type { StreamSample } from "../../../agents/ports/hypervisor.ts";
import { PeerRefused } from "../../../agents/ports/peer-link.ts";
import type { AgentReport } from "../../../schemas/agent.ts";
import type { RelinquishedWord } from "../../../schemas/peer.ts";
import { type Sign, signDocument, toBase64Url } from "../../../schemas/signing.ts";
import {
  applied,
  assignment,
  FakeLink,
  hosts,
  makeSource,
  migrationId,
  provenOf,
  recordOf,
  records,
  refusedFor,
  settle,
  signedAssignment,
  unheard,
  until,
  vmId,
} from "./role-bench.ts";

type Bench = ReturnType<typeof makeSource>;
type Of<K extends AgentReport["kind"]> = Extract<AgentReport, { kind: K }>;
const reportsOf = <K extends AgentReport["kind"]>(bench: Bench, kind: K) =>
  bench.reports.filter((report): report is Of<K> => report.kind === kind);
const lastOf = <K extends AgentReport["kind"]>(bench: Bench, kind: K) => reportsOf(bench, kind).at(-1);

const sampleOf = (changes: Partial<StreamSample> = {}): StreamSample => ({
  round: 0,
  bytes: 1000,
  durationMs: 10,
  remainingBytes: 500,
  dirtyBytesPerSecond: 0,
  bandwidthBytesPerSecond: 1_000_000,
  throttlePercent: 0,
  roundDone: true,
  totalBytes: 1000,
  encrypted: true,
  ...changes,
});
const sampled = (changes: Partial<StreamSample> = {}) => ({ kind: "sampled", sample: sampleOf(changes) }) as CopyEvent;
const peer = { copyId: assignment.destination.copyId };
const identity = { assignment, signedAssignment };

test("it permits its peer's copy, and then connects to it", async () => {
  const bench = makeSource();
  await bench.begin();
  assert.deepEqual(bench.done, [
    ["permitNext", peer],
    ["connect", identity, 30_000],
  ]);
  assert.deepEqual([bench.reports, bench.stages(), bench.role.isBeforeGate()], [[], [], true]);
  assert.deepEqual(
    [bench.role.migrationId, bench.role.vmId, bench.role.copyId],
    [migrationId, vmId, assignment.source.copyId],
  );
});

test("a guest that had ended before anybody listened ends the attempt", async () => {
  const bench = makeSource();
  bench.status = { ...bench.status, machine: "ended", ended: { how: "crashed", detail: "triple fault" } };
  await bench.begin();
  assert.deepEqual(bench.done, []);
  assert.deepEqual(
    [lastOf(bench, "source-aborts")?.reason, lastOf(bench, "source-aborts")?.detail],
    ["guest-ended", "crashed: triple fault"],
  );
  assert.equal(bench.role.hasLeft(), true);
  assert.equal(bench.role.isBeforeGate(), false);
});

test("a guest whose process does not answer is not moved, and why is said", async () => {
  const bench = makeSource();
  bench.does["status"] = () => new Promise(() => {});
  const begun = bench.role.start();
  await bench.pass(4999);
  assert.deepEqual(bench.reports, []);
  await bench.pass(1);
  await begun;
  const { reason, detail } = lastOf(bench, "source-aborts") ?? {};
  assert.equal(reason, "preparation-failed");
  assert.match(detail ?? "", /has not answered for 5 s: is it stopped or starved\? If it stays so, .* guest-silent$/);
});

test("an assignment that has expired is not begun", async () => {
  for (const [nowMs, isBegun] of [
    [assignment.expiresAt + 1, false],
    [assignment.expiresAt, true],
  ] as const) {
    const bench = makeSource();
    bench.nowMs = nowMs;
    await bench.begin();
    assert.equal(bench.names().includes("permitNext"), isBegun);
    assert.equal(bench.reports.length, isBegun ? 0 : 1);
  }
});

test("a lock file that permits nobody ends the attempt, and the fault is named", async () => {
  const bench = makeSource();
  bench.does["permitNext"] = () => {
    throw new Error("disk full");
  };
  await bench.begin();
  assert.deepEqual(
    [lastOf(bench, "source-aborts")?.reason, lastOf(bench, "source-aborts")?.detail],
    ["preparation-failed", "disk full"],
  );
  assert.deepEqual(bench.logged, [
    { event: "copy-command-failed", migrationId, error: "disk full" },
    { event: "source-stage", migrationId, from: "linking", to: "aborting", why: "disk full" },
  ]);
});

test("a peer that refuses is told from one that cannot be reached", async () => {
  for (const [fault, reason] of [
    [new PeerRefused("no common version"), "peer-refused"],
    [new Error("no route"), "peer-unreachable"],
  ] as const) {
    const bench = makeSource();
    bench.connectFails = fault;
    await bench.begin();
    assert.deepEqual(
      [lastOf(bench, "source-aborts")?.reason, lastOf(bench, "source-aborts")?.detail],
      [reason, fault.message],
    );
  }
});

test("a link that comes when the agent has ended is closed", async () => {
  const bench = makeSource();
  const { promise, resolve } = Promise.withResolvers<void>();
  bench.does["connect"] = () => promise;
  await bench.begin();
  bench.role.abandon();
  resolve();
  await settle();
  assert.deepEqual([bench.link.isClosed, bench.link.on], [true, null]);
});

test("a link that breaks before the gate ends the attempt; nothing more is sent over it", async () => {
  const bench = makeSource();
  await bench.begin();
  await bench.link.breaks();
  assert.deepEqual([lastOf(bench, "source-aborts")?.reason, bench.link.sent], ["peer-unreachable", []]);
});

test("past the gate it connects anew, and says over the new link what it has", async () => {
  const bench = makeSource();
  await bench.beginInDoubt();
  const old = bench.link;
  bench.link = new FakeLink();
  await old.breaks();
  assert.equal(bench.names().filter((name) => name === "connect").length, 2);
  bench.record = records.committed;
  await bench.pass(300);
  assert.ok(!old.sent.some(({ kind }) => kind === "source-complete"));
  assert.ok(bench.link.sent.some(({ kind }) => kind === "source-complete"));
});

test("a guest that arrived before its record is known here has arrived all the same", async () => {
  const bench = makeSource();
  await bench.beginInDoubt();
  await bench.link.says({ kind: "arrived", commitMs: 6 });
  await bench.link.says({ kind: "record", record: provenOf(records.confirmed).signed });
  assert.equal(lastOf(bench, "copy-seen")?.summary?.timings.commitMs, 6);
});

test("a stream is not stuck that was long in beginning", async () => {
  const bench = makeSource();
  const { promise, resolve } = Promise.withResolvers<void>();
  bench.does["send"] = () => promise;
  await bench.beginCopying();
  await bench.pass(30_000);
  resolve();
  await bench.pass(20_000);
  assert.deepEqual(bench.stages(), ["copying"]);
  await bench.pass(25_000);
  assert.equal(lastOf(bench, "source-aborts")?.detail, "no progress of the memory stream for 40 s");
});

test("what cannot be undone of a stream is said, and stops nothing", async () => {
  const bench = makeSource();
  bench.does["cancelStream"] = () => {
    throw new Error("hung");
  };
  await bench.beginCopying();
  await bench.says({ kind: "stream-failed", detail: "reset by peer" });
  assert.deepEqual(bench.logged.at(-1), { event: "copy-command-failed", migrationId, error: "hung" });
  assert.deepEqual(lastOf(bench, "source-aborts"), {
    kind: "source-aborts",
    migrationId,
    vmId,
    fencingToken: 5,
    peerHostId: assignment.destination.hostId,
    reason: "stream-failed",
    detail: "reset by peer",
  });
});

test("a copy whose end fails as the agent ends is its next life's to end", async () => {
  const bench = makeSource();
  const { promise, reject } = Promise.withResolvers<void>();
  bench.does["destroy"] = () => promise;
  await bench.beginInDoubt();
  bench.role.noteRecord(provenOf(records.confirmed));
  await settle();
  bench.role.abandon();
  reject(new Error("its process stays"));
  await bench.pass(5000);
  assert.equal(bench.names().filter((name) => name === "destroy").length, 1);
});

test("memory goes to the address that was assigned, under the link's key and the limits asked for", async () => {
  const bench = makeSource();
  await bench.beginCopying();
  assert.deepEqual(bench.done.at(-1), [
    "send",
    {
      endpoint: { address: assignment.destination.address, port: 4000 },
      localAddress: assignment.source.address,
      key: bench.link.streamKey,
      migrationId,
      limits: { bandwidthLimitBytesPerSecond: null },
    },
  ]);
  assert.deepEqual([bench.role.isBeforeGate(), bench.role.isCritical(), bench.role.hasLeft()], [true, false, false]);
});

test("memory goes to no other address, whatever the destination names", async () => {
  const bench = makeSource();
  await bench.begin();
  await bench.link.says({ kind: "ready", endpoint: { address: "10.9.9.9", port: 4000 } });
  assert.ok(!bench.names().includes("send"));
  const { reason, detail } = lastOf(bench, "source-aborts") ?? {};
  assert.deepEqual(
    [reason, detail],
    ["stream-failed", "the destination named 10.9.9.9, which is not its migration address"],
  );
});

test("a stream that cannot begin, or breaks, ends the attempt, and why is said", async () => {
  const bench = makeSource();
  bench.does["send"] = () => {
    throw new Error("no socket");
  };
  await bench.beginCopying();
  assert.deepEqual(
    [lastOf(bench, "source-aborts")?.reason, lastOf(bench, "source-aborts")?.detail],
    ["stream-failed", "no socket"],
  );
  const broken = makeSource();
  await broken.beginCopying();
  await broken.says({ kind: "stream-failed", detail: "reset by peer" });
  assert.deepEqual(
    [lastOf(broken, "source-aborts")?.reason, lastOf(broken, "source-aborts")?.detail],
    ["stream-failed", "reset by peer"],
  );
  assert.equal(broken.names().at(-1), "cancelStream");
  assert.equal(broken.link.sent.at(-1)?.kind, "failed");
});

test("how far it has come is told twice a second while memory is copied, and what was heard not again", async () => {
  const bench = makeSource();
  await bench.beginCopying();
  assert.equal(bench.reports.length, 1);
  await bench.says(sampled({ round: 0, remainingBytes: 50_000_000, dirtyBytesPerSecond: 900_000 }));
  await bench.pass(499);
  assert.equal(bench.reports.length, 1);
  await bench.pass(1);
  assert.deepEqual(
    reportsOf(bench, "migration-progressed").map(({ phase, rounds, frozen, encrypted }) => [
      phase,
      rounds.length,
      frozen,
      encrypted,
    ]),
    [
      ["precopy", 0, false, null],
      ["precopy", 1, false, true],
    ],
  );
  bench.answer = () => applied(recordOf({ cancelRequested: "cancelled" as never }));
  await bench.pass(500);
  assert.equal(lastOf(bench, "migration-progressed")?.rounds.length, 1, "it was not heard before");
  assert.equal(bench.stages().at(-1), "aborting", "the record that came with the answer is heeded");
  const many = bench.reports.length;
  bench.answer = () => unheard;
  await bench.pass(1000);
  assert.deepEqual(
    bench.reports.slice(many).filter(({ kind }) => kind === "migration-progressed"),
    [],
  );
});

test("what was heard of the rounds is not told again, and the round under way as it stands", async () => {
  const bench = makeSource();
  bench.answer = () => applied();
  await bench.beginCopying();
  await bench.says(sampled({ round: 0, remainingBytes: 50_000_000, dirtyBytesPerSecond: 900_000 }));
  await bench.says(sampled({ round: 1, roundDone: false, bytes: 7 }));
  await bench.pass(500);
  await bench.pass(500);
  assert.deepEqual(
    reportsOf(bench, "migration-progressed").map(({ rounds, currentRound }) => [rounds.length, currentRound?.bytes]),
    [
      [0, undefined],
      [1, 7],
      [0, 7],
    ],
  );
});

const toGate = async (bench: Bench) => {
  await bench.beginCopying();
  bench.record = recordOf();
  await bench.says(sampled());
};
const throughGate = async (bench: Bench) => {
  await toGate(bench);
  await bench.link.says({ kind: "gate-open", ask: 1 });
};

test("no progress is told while the gate is asked for", async () => {
  const bench = makeSource();
  await toGate(bench);
  assert.deepEqual(bench.link.sent.at(-1), { kind: "ask-gate", ask: 1 });
  const many = bench.reports.length;
  await bench.pass(500);
  assert.equal(bench.reports.length, many);
});

test("a guest that writes faster than it is sent is throttled", async () => {
  const bench = makeSource();
  await bench.beginCopying();
  for (let round = 0; round < 6; round++) {
    await bench.says(
      sampled({
        round,
        remainingBytes: 50_000_000,
        dirtyBytesPerSecond: 2_000_000,
        bandwidthBytesPerSecond: 1_000_000,
      }),
    );
  }
  const throttled = bench.done.find(([name]) => name === "throttle");
  assert.ok(typeof throttled?.[1] === "number" && throttled[1] > 0);
});

test("at the gate the guest is stopped, its resets are told, and the gate is passed", async () => {
  const bench = makeSource();
  await throughGate(bench);
  assert.deepEqual(bench.done.slice(-2), [["holdAtGate", 777], ["passGate"]]);
  assert.deepEqual(bench.link.sent.at(-1), { kind: "guest-stands", resets: 2 });
  assert.deepEqual(bench.stages(), ["copying", "holding", "deciding", "in-doubt"]);
  assert.deepEqual([bench.role.isBeforeGate(), bench.role.isCritical()], [false, true]);
});

test("a guest that cannot be stopped, or a gate that cannot be read, is taken as its machine says", async () => {
  const unheld = makeSource();
  unheld.does["holdAtGate"] = () => {
    throw new Error("hung");
  };
  unheld.does["cancelAtGate"] = () => {
    throw new Error("also hung");
  };
  await throughGate(unheld);
  assert.deepEqual(unheld.stages().at(-1), "releasing");
  assert.equal(unheld.role.isCritical(), false);
  unheld.does = {};
  await unheld.pass(300);
  assert.deepEqual([unheld.stages().at(-1), lastOf(unheld, "source-aborts")?.detail], ["aborting", "hung"]);
  const unknown = makeSource();
  unknown.does["passGate"] = () => {
    throw new Error("no answer");
  };
  await throughGate(unknown);
  assert.equal(unknown.stages().at(-1), "deciding");
  assert.equal(unknown.role.isCritical(), true);
  unknown.does = {};
  await unknown.pass(300);
  assert.equal(unknown.stages().at(-1), "in-doubt");
});

test("a guest that ended at the gate is critical no more, and not before it either", async () => {
  const bench = makeSource();
  await throughGate(bench);
  await bench.says({ kind: "ended", how: "killed", detail: "" });
  assert.deepEqual([bench.role.isCritical(), bench.role.hasLeft(), bench.stages().at(-1)], [false, true, "copyless"]);
});

test("a supervisor that took its guest back while it was being stopped ends the attempt", async () => {
  const bench = makeSource();
  bench.does["holdAtGate"] = () => new Promise(() => {});
  await throughGate(bench);
  await bench.says({ kind: "resumed-by-supervisor" });
  assert.equal(bench.stages().at(-1), "releasing");
  await bench.says({ kind: "supervisor-lost" });
  assert.deepEqual(bench.logged.at(-1), { event: "supervisor-lost", copyId: assignment.source.copyId });
  const many = bench.logged.length;
  await bench.says({ kind: "guest-reported", report: {} } as CopyEvent);
  assert.equal(bench.logged.length, many);
});

test("a stream that is sent whole is not one that failed", async () => {
  const bench = makeSource();
  await throughGate(bench);
  await bench.says({ kind: "sent" });
  assert.deepEqual(reportsOf(bench, "source-aborts"), []);
  await bench.says({ kind: "stream-failed", detail: "late" });
  assert.equal(lastOf(bench, "source-aborts")?.detail, "late");
});

test("a migration that went well: the copy is ended, and what was measured is told with it", async () => {
  const bench = makeSource();
  bench.answer = () => applied();
  await bench.beginCopying();
  await bench.pass(500);
  bench.record = recordOf();
  await bench.says(sampled());
  await bench.pass(40);
  await bench.link.says({ kind: "gate-open", ask: 1 });
  await bench.pass(20);
  await bench.link.says({ kind: "loaded" });
  await bench.pass(10);
  await bench.link.says({ kind: "arrived", commitMs: 6 });
  await bench.link.says({ kind: "record", record: provenOf(records.confirmed).signed });
  assert.equal(bench.names().at(-1), "destroy");
  const seen = lastOf(bench, "copy-seen");
  assert.deepEqual([seen?.state, seen?.because], ["gone", "migration-over"]);
  assert.deepEqual(seen?.summary?.timings, {
    setupMs: 0,
    precopyMs: 537,
    downtimeMs: 33,
    totalMs: 570,
    gateCheckMs: 37,
    commitMs: 6,
    loadMs: 23,
  });
  await bench.role.over;
  assert.equal(bench.journal.migration(migrationId)?.over, true);
  assert.equal(bench.listeners.size, 0);
  assert.equal(bench.link.isClosed, true);
});

test("a guest that arrived paused stood by its user's wish: there is no downtime to tell", async () => {
  const bench = makeSource();
  bench.answer = () => applied();
  await throughGate(bench);
  const arrived = { ...records.confirmed, confirmed: false, arrivesPaused: true };
  await bench.link.says({ kind: "record", record: provenOf(arrived).signed });
  await bench.link.says({ kind: "arrived", commitMs: 6 });
  await bench.link.says({ kind: "record", record: provenOf({ ...arrived, confirmed: true }).signed });
  assert.equal(lastOf(bench, "copy-seen")?.summary?.timings.downtimeMs, null);
});

test("a record that the peer relays counts where the control plane signed it", async () => {
  const bench = makeSource();
  await bench.beginInDoubt();
  bench.provable = false;
  await bench.link.says({ kind: "record", record: provenOf(records.confirmed).signed });
  assert.deepEqual([bench.stages().at(-1), bench.role.latestRecord()], ["in-doubt", null]);
  bench.provable = true;
  await bench.link.says({ kind: "record", record: provenOf(records.confirmed).signed });
  assert.equal(bench.role.latestRecord()?.record.confirmed, true);
  assert.ok(bench.names().includes("destroy"));
});

test("a copy that cannot be ended is tried again, until it is or the agent ends", async () => {
  const bench = makeSource();
  bench.does["destroy"] = () => {
    throw new Error("its process stays");
  };
  await bench.beginInDoubt();
  bench.role.noteRecord(provenOf(records.confirmed));
  await settle();
  assert.deepEqual(bench.logged.at(-1), {
    event: "destroy-failed",
    copyId: assignment.source.copyId,
    error: "its process stays",
  });
  assert.equal(bench.role.hasLeft(), false);
  await bench.pass(1000);
  bench.does = {};
  const tried = bench.names().filter((name) => name === "destroy").length;
  assert.equal(tried, 2);
  await bench.pass(1000);
  assert.deepEqual([bench.role.hasLeft(), lastOf(bench, "copy-seen")?.because], [true, "migration-over"]);
});

test("the source takes its guest back under the record's token, and tells whether it runs or stands", async () => {
  for (const [machine, state] of [
    ["running", "running"],
    ["stopped", "paused"],
    ["held", "paused"],
    ["loaded", "paused"],
    ["incoming", "running"],
  ] as const) {
    const bench = makeSource();
    bench.answer = () => applied();
    await bench.beginInDoubt();
    bench.status = { ...bench.status, machine };
    bench.role.noteRecord(provenOf(records.aborted));
    await settle();
    assert.deepEqual(bench.done.slice(-3), [["cancelStream"], ["run", 6], ["permitNext", null]]);
    assert.equal(lastOf(bench, "copy-seen")?.state, state, machine);
    assert.equal(bench.role.hasLeft(), false);
  }
});

test("a guest that does not answer how it is counts as one that runs; one that is gone is not asked", async () => {
  const bench = makeSource();
  await bench.beginInDoubt();
  bench.does["status"] = () => new Promise(() => {});
  bench.role.noteRecord(provenOf(records.aborted));
  await settle();
  await bench.pass(5000);
  assert.equal(lastOf(bench, "copy-seen")?.state, "running");
});

test("a guest that is refused its lock file stands, is alarmed until that is heard, and is tried again", async () => {
  const bench = makeSource();
  bench.does["run"] = () => ({ kind: "refused", by: "lock-held", detail: "by another" });
  await bench.beginInDoubt();
  bench.role.noteRecord(provenOf(records.aborted));
  await settle();
  const alarms = () => reportsOf(bench, "migration-progressed").filter(({ frozen }) => frozen).length;
  assert.equal(alarms(), 1);
  await bench.pass(999);
  assert.equal(alarms(), 1);
  await bench.pass(1);
  assert.equal(alarms(), 2, "it was not heard");
  bench.answer = () => refusedFor("busy");
  await bench.pass(1000);
  assert.equal(alarms(), 3, "that was not heard either");
  bench.answer = () => applied();
  await bench.pass(1000);
  assert.equal(alarms(), 4);
  await bench.pass(3000);
  assert.equal(alarms(), 4, "it was heard");
  bench.does["run"] = () => {
    throw new Error("its supervisor is gone");
  };
  await bench.pass(300);
  assert.equal(bench.stages().at(-1), "resuming");
  bench.does = {};
  await bench.pass(300);
  assert.deepEqual(bench.stages().slice(-2), ["reporting", "over"]);
});

test("an alarm that is true no more is not told again, nor once the agent has ended", async () => {
  const bench = makeSource();
  let isRefused = true;
  bench.does["run"] = () => (isRefused ? { kind: "refused", by: "lock-held", detail: "" } : { kind: "granted" });
  await bench.beginInDoubt();
  bench.role.noteRecord(provenOf(records.aborted));
  await settle();
  isRefused = false;
  await bench.pass(2000);
  assert.equal(reportsOf(bench, "migration-progressed").length, 1);
  const ended = makeSource();
  ended.does["run"] = () => ({ kind: "refused", by: "lock-held", detail: "" });
  await ended.beginInDoubt();
  ended.role.noteRecord(provenOf(records.aborted));
  await settle();
  ended.role.abandon();
  await ended.pass(2000);
  assert.equal(reportsOf(ended, "migration-progressed").length, 1);
});

test("the record that an alarm's answer brings is heeded", async () => {
  const bench = makeSource();
  await bench.beginInDoubt();
  bench.answer = ({ kind }) => (kind === "migration-progressed" ? applied(records.confirmed) : unheard);
  await bench.pass(2400);
  assert.ok(bench.names().includes("destroy"));
});

test("a lock file that is taken back proves that the destination never took it; a refusal is told", async () => {
  const asked = { ...records.committed, takeBackRequested: true };
  const bench = makeSource();
  await bench.beginInDoubt();
  bench.role.noteRecord(provenOf(asked));
  await settle();
  assert.deepEqual(bench.done.at(-1), ["takeBackLock", 6]);
  assert.equal(bench.kinds().at(-1), "source-takes-back");
  const refused = makeSource();
  refused.does["takeBackLock"] = () => ({ kind: "refused", by: "lock-superseded", detail: "names copy_B" });
  await refused.beginInDoubt();
  refused.role.noteRecord(provenOf(asked));
  await settle();
  assert.equal(lastOf(refused, "take-back-refused")?.detail, "destination-may-have-run: names copy_B");
});

test("rule 7: it asks with one nonce, which it keeps, and asks again with the same", async () => {
  const bench = makeSource();
  await bench.beginInDoubt();
  await bench.pass(300);
  const nonce = toBase64Url(new Uint8Array(24).fill(7));
  assert.deepEqual(bench.link.sent[0], { kind: "ask-relinquish", nonce });
  assert.equal(bench.journal.migration(migrationId)?.askedNonce, nonce);
  const again = makeSource({ askedNonce: "kept" });
  again.disk.failing = true;
  await again.beginInDoubt();
  await again.pass(300);
  assert.deepEqual(again.link.sent[0], { kind: "ask-relinquish", nonce: "kept" });
});

test("rule 7: a nonce that cannot be kept is not asked with", async () => {
  const bench = makeSource();
  bench.disk.failing = true;
  await bench.beginInDoubt();
  await bench.pass(300);
  assert.deepEqual(bench.link.sent, []);
  assert.deepEqual(bench.logged.at(-1), {
    event: "journal-failed",
    migrationId,
    error: "the journal cannot be written",
  });
});

const word: RelinquishedWord = {
  type: "drover-relinquished-1",
  migrationId,
  fencingToken: 5,
  sourceCopyId: assignment.source.copyId,
  destinationCopyId: assignment.destination.copyId,
  sourceIncarnation: "inc-own",
  destinationIncarnation: "inc-peer",
  nonce: "kept",
};

/** Once the signature was looked at, elsewhere in the process. */
async function verified(verify: { mock: { calls: readonly { result?: unknown }[] } }): Promise<void> {
  await until(() => verify.mock.calls.length > 0);
  await verify.mock.calls[0]?.result;
  await settle();
}

test("rule 7: the destination's word lets the guest run, for exactly this migration, and signed by that host alone", async (t) => {
  const runsBy = async (changes: Partial<RelinquishedWord>, sign: Sign = hosts.destination.sign) => {
    const verify = t.mock.method(crypto.subtle, "verify");
    const bench = makeSource({ askedNonce: "kept" });
    await bench.beginInDoubt();
    await bench.link.says({ kind: "relinquished", word: await signDocument({ ...word, ...changes }, sign) });
    await verified(verify);
    verify.mock.restore();
    return bench.done.some(([name, token]) => name === "run" && token === 5);
  };
  assert.equal(await runsBy({}), true);
  assert.equal(await runsBy({}, hosts.source.sign), false);
  for (const [name, value] of Object.entries(word)) {
    if (name === "type") continue;
    const other = typeof value === "number" ? value + 1 : `${value}x`;
    assert.equal(await runsBy({ [name]: other }), false, name);
  }
});

test("rule 7: a word counts no more once the link it came over is gone", async (t) => {
  const verify = t.mock.method(crypto.subtle, "verify");
  const bench = makeSource({ askedNonce: "kept" });
  await bench.beginInDoubt();
  const { on } = bench.link;
  bench.connectFails = new Error("no route");
  await bench.link.breaks();
  on?.message({ kind: "relinquished", word: await signDocument(word, hosts.destination.sign) });
  await verified(verify);
  assert.ok(!bench.names().includes("run"));
});

test("a copy that another was started in place of is ended, under a newer token alone", async () => {
  const bench = makeSource();
  bench.does["run"] = () => ({ kind: "refused", by: "lock-superseded", detail: "" });
  await bench.beginInDoubt();
  bench.role.noteRecord(provenOf(records.aborted));
  await settle();
  bench.role.superseded(6);
  await settle();
  assert.ok(!bench.names().includes("destroy"));
  bench.role.superseded(7);
  await settle();
  assert.ok(bench.names().includes("destroy"));
});

test("what is left of a guest that ended by itself is cleared away before its part is over", async () => {
  const bench = makeSource();
  bench.answer = () => applied();
  bench.does["destroy"] = () => {
    throw new Error("busy");
  };
  await bench.beginCopying();
  await bench.says({ kind: "ended", how: "powered-off", detail: "bye" });
  assert.deepEqual([lastOf(bench, "copy-seen")?.because, lastOf(bench, "copy-seen")?.detail], ["powered-off", "bye"]);
  assert.equal(bench.journal.migration(migrationId)?.over, undefined);
  bench.does = {};
  await bench.pass(1000);
  await bench.role.over;
  assert.equal(bench.journal.migration(migrationId)?.over, true);
  const kept = makeSource();
  kept.answer = () => applied();
  await kept.beginCopying();
  await kept.says({ kind: "stream-failed", detail: "" });
  await kept.role.over;
  assert.ok(!kept.names().includes("destroy"), "the guest runs on here");
});

test("an agent that has ended feeds and does nothing more", async () => {
  const bench = makeSource();
  await bench.beginCopying();
  assert.equal(bench.listeners.size, 1);
  const [listener] = bench.listeners;
  bench.role.abandon();
  assert.equal(bench.listeners.size, 0);
  await bench.role.over;
  const { on } = bench.link;
  const [done, told] = [bench.done.length, bench.reports.length];
  listener?.({ kind: "stream-failed", detail: "" });
  on?.message({ kind: "failed", reason: "stream-failed", detail: "" });
  await bench.pass(5000);
  assert.deepEqual([bench.done.length, bench.reports.length, bench.stages()], [done, told, ["copying"]]);
});

test("its copy is awaited when the agent is to come to rest", async () => {
  const bench = makeSource();
  const { promise, resolve } = Promise.withResolvers<void>();
  bench.does["send"] = () => promise;
  await bench.beginCopying();
  let isSettled = false;
  void bench.role.settled().then(() => {
    isSettled = true;
  });
  await settle();
  assert.equal(isSettled, false);
  resolve();
  await settle();
  assert.equal(isSettled, true);
});

test("an agent that has ended wakes no more", async () => {
  const bench = makeSource();
  await bench.begin();
  assert.equal(bench.clock.nextAtMs(), 2000);
  bench.role.abandon();
  assert.equal(bench.clock.nextAtMs(), null);
});

test("a record older than what this host has seen of the VM is none", async () => {
  const bench = makeSource();
  await bench.journal.raiseToken(vmId, 9);
  await bench.beginInDoubt();
  bench.role.noteRecord(provenOf(records.aborted));
  await settle();
  assert.deepEqual([bench.role.latestRecord(), bench.stages()], [null, ["in-doubt"]]);
});

test("a part is over though its journal cannot say so, and the fault is said", async () => {
  const bench = makeSource();
  bench.answer = () => applied();
  await bench.beginCopying();
  bench.disk.failing = true;
  await bench.says({ kind: "stream-failed", detail: "" });
  await bench.role.over;
  assert.deepEqual(bench.logged.at(-1), {
    event: "journal-failed",
    migrationId,
    error: "the journal cannot be written",
  });
});
