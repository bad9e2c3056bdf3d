// What the destination's runner makes of its machine's commands (agents/domain/destination.ts decides; whole traces are
// in test/exploration/replay).
import assert from "node:assert/strict";
import { test } from "node:test";
import type { CopyEvent } from "../../../agents/ports/copies.ts";
import type { AgentReport } from "../../../schemas/agent.ts";
import { RelinquishedWord } from "../../../schemas/peer.ts";
import { openDocument, verifierFrom } from "../../../schemas/signing.ts";
import {
  applied,
  assignment,
  FakeLink,
  hosts,
  makeDestination,
  migrationId,
  provenOf,
  recordOf,
  records,
  settle,
  signedAssignment,
  until,
  vmId,
} from "./role-bench.ts";

type Bench = ReturnType<typeof makeDestination>;
type Of<K extends AgentReport["kind"]> = Extract<AgentReport, { kind: K }>;
const lastOf = <K extends AgentReport["kind"]>(bench: Bench, kind: K) =>
  bench.reports.findLast((report): report is Of<K> => report.kind === kind);
const endpoint = { address: assignment.destination.address, port: 4000 };
const { copyId } = assignment.destination;
const identity = { assignment, signedAssignment };

/** Everything has arrived; what it reports is answered with what stands. */
async function makeLoaded(record = records.committed): Promise<Bench> {
  const bench = makeDestination();
  bench.answer = ({ kind }) => (kind === "destination-commits" ? applied(record) : applied());
  await bench.beginLoading();
  await bench.says({ kind: "loaded" });
  return bench;
}

test("it starts a process that waits for its guest, and listens for its source", async () => {
  const bench = makeDestination();
  await bench.begin();
  assert.deepEqual(bench.done, [
    ["launch", { vmId, copyId, spec: assignment.spec, arriving: true, migrationId }],
    ["expect", identity],
  ]);
  assert.deepEqual(bench.launched, [bench.copy]);
  assert.deepEqual([bench.listeners.size, bench.reports], [1, []]);
  assert.deepEqual([bench.role.hasLeft(), bench.role.isBeforeGate(), bench.role.isCritical()], [false, false, false]);
});

test("an assignment that has expired is not begun", async () => {
  const bench = makeDestination();
  bench.nowMs = assignment.expiresAt + 1;
  await bench.begin();
  assert.deepEqual(bench.done, []);
  assert.equal(lastOf(bench, "destination-aborts")?.reason, "preparation-failed");
  assert.equal(bench.role.hasLeft(), true);
});

test("a process that cannot be started ends the attempt; what was begun of it goes with it", async () => {
  for (const isBegun of [true, false]) {
    const bench = makeDestination();
    bench.does["launch"] = () => {
      throw new Error("no memory");
    };
    const other = { copyId: "copy_other", destroy: () => assert.fail("it is another's") } as unknown as Bench["copy"];
    bench.found = isBegun ? [other, bench.copy] : [other];
    await bench.begin();
    assert.equal(bench.names().includes("destroy"), isBegun);
    assert.deepEqual([lastOf(bench, "destination-aborts")?.detail, bench.launched], ["no memory", []]);
  }
  const unlisted = makeDestination();
  unlisted.does["launch"] = () => {
    throw new Error("no memory");
  };
  unlisted.does["list"] = () => {
    throw new Error("nor a list");
  };
  await unlisted.begin();
  assert.equal(lastOf(unlisted, "destination-aborts")?.detail, "no memory");
});

test("what is just being started when the attempt ends is awaited, and ended with it", async () => {
  const bench = makeDestination();
  const { promise, resolve } = Promise.withResolvers<void>();
  bench.does["launch"] = () => promise;
  await bench.begin();
  await bench.linked();
  await bench.link.says({ kind: "failed", reason: "stream-failed", detail: "changed its mind" });
  assert.deepEqual([bench.stages(), bench.reports], [["discarding"], []]);
  let isSettled = false;
  void bench.role.settled().then(() => {
    isSettled = true;
  });
  await settle();
  assert.equal(isSettled, false);
  resolve();
  await settle();
  assert.equal(isSettled, true);
  assert.equal(bench.names().at(-1), "destroy");
  assert.equal(lastOf(bench, "destination-aborts")?.detail, "changed its mind");
});

test("a process that is up when the agent has ended is its next life's", async () => {
  const bench = makeDestination();
  const { promise, resolve } = Promise.withResolvers<void>();
  bench.does["launch"] = () => promise;
  await bench.begin();
  bench.role.abandon();
  resolve();
  await settle();
  assert.deepEqual([bench.launched, bench.listeners.size], [[], 0]);
});

test("a listener that cannot be opened is tried again, ever more slowly, and the fault is said", async () => {
  const bench = makeDestination();
  bench.does["expect"] = () => {
    throw new Error("address in use");
  };
  await bench.begin();
  const tries = () => bench.names().filter((name) => name === "expect").length;
  assert.deepEqual(bench.logged, [{ event: "listen-failed", migrationId, error: "address in use" }]);
  const counts: number[] = [];
  for (const milliseconds of [99, 1, 199, 1, 399, 1, 799, 1, 999]) {
    await bench.pass(milliseconds);
    counts.push(tries());
  }
  assert.deepEqual(counts, [1, 2, 2, 3, 3, 4, 4, 5, 5]);
  await bench.pass(1);
  assert.equal(tries(), 6, "a second at most");
  await bench.pass(1000);
  assert.equal(lastOf(bench, "destination-aborts")?.detail, "the peer link cannot be opened: address in use");
});

test("it listens once, and no more once the agent has ended, whatever comes of it then", async () => {
  const bench = makeDestination();
  await bench.begin();
  bench.role.abandon();
  assert.equal(bench.names().at(-1), "stop-expecting");
  const late = makeDestination();
  const { promise, resolve } = Promise.withResolvers<void>();
  late.does["expect"] = () => promise;
  await late.begin();
  late.role.abandon();
  resolve();
  await settle();
  assert.equal(late.names().at(-1), "stop-expecting");
  const failing = makeDestination();
  const refused = Promise.withResolvers<void>();
  failing.does["expect"] = () => refused.promise;
  await failing.begin();
  failing.role.abandon();
  refused.reject(new Error("address in use"));
  await failing.pass(5000);
  assert.deepEqual([failing.logged, failing.names()], [[], ["launch", "expect"]]);
});

test("once the source has come, the stream is opened to it alone, and where is said", async () => {
  const bench = makeDestination();
  await bench.beginLoading();
  assert.deepEqual(bench.done.at(-1), [
    "receive",
    {
      address: assignment.destination.address,
      peerAddress: assignment.source.address,
      key: bench.link.streamKey,
      migrationId,
    },
  ]);
  assert.deepEqual(bench.link.sent, [{ kind: "ready", endpoint }]);
  assert.deepEqual(bench.stages(), ["loading"]);
  await bench.linked();
  assert.equal(bench.names().filter((name) => name === "receive").length, 1);
});

test("the stream is opened once both the process and the link are there, whichever comes first, and once", async () => {
  const bench = makeDestination();
  const { promise, resolve } = Promise.withResolvers<void>();
  bench.does["launch"] = () => promise;
  await bench.beginLoading();
  assert.deepEqual([bench.names(), bench.link.sent], [["launch", "expect"], []]);
  const opened = Promise.withResolvers<typeof endpoint>();
  bench.does["receive"] = () => opened.promise;
  resolve();
  await settle();
  bench.link = new FakeLink();
  await bench.linked();
  assert.equal(bench.names().filter((name) => name === "receive").length, 1);
  opened.resolve(endpoint);
  await settle();
  assert.deepEqual(bench.link.sent, [{ kind: "ready", endpoint }], "to the source as it is linked now");
  assert.equal(bench.names().filter((name) => name === "receive").length, 1);
});

test("a stream that cannot be opened ends the attempt", async () => {
  const bench = makeDestination();
  bench.does["receive"] = () => {
    throw new Error("no port");
  };
  await bench.beginLoading();
  assert.deepEqual(
    [lastOf(bench, "destination-aborts")?.reason, lastOf(bench, "destination-aborts")?.detail],
    ["preparation-failed", "no port"],
  );
});

test("no stream is opened once the attempt is being ended", async () => {
  const bench = makeDestination();
  await bench.begin();
  bench.does["destroy"] = () => new Promise(() => {});
  await bench.linked();
  const ended = makeDestination();
  ended.does["destroy"] = () => new Promise(() => {});
  await ended.begin();
  ended.role.noteRecord(provenOf(records.aborted));
  await settle();
  await ended.linked();
  assert.ok(!ended.names().includes("receive"));
});

test("a source that comes anew takes the place of the one before, whose end is nothing then", async () => {
  const bench = makeDestination();
  await bench.beginLoading();
  const old = bench.link;
  bench.link = new FakeLink();
  await bench.linked();
  assert.deepEqual([old.isClosed, bench.link.isClosed], [true, false]);
  await old.breaks();
  await bench.pass(6000);
  assert.deepEqual(bench.stages(), ["loading"]);
  await bench.link.breaks();
  await bench.pass(7000);
  assert.equal(bench.stages().includes("settling"), true);
});

test("a link that is gone is not sent over", async () => {
  const bench = await makeLoaded();
  const { sent } = bench.link;
  await bench.link.breaks();
  const many = sent.length;
  bench.role.noteRecord(provenOf(records.confirmed));
  await settle();
  assert.equal(sent.length, many);
});

test("a source that comes when the agent has ended is turned away", async () => {
  const bench = makeDestination();
  await bench.begin();
  bench.role.abandon();
  await bench.linked();
  assert.deepEqual([bench.link.isClosed, bench.link.on], [true, null]);
});

test("a gate that is asked for is answered with a fresh reading of the record", async () => {
  const bench = makeDestination();
  await bench.beginLoading();
  bench.record = recordOf();
  await bench.link.says({ kind: "ask-gate", ask: 4 });
  assert.deepEqual([bench.link.sent.at(-1), bench.reads], [{ kind: "gate-open", ask: 4 }, 1]);
  bench.record = "unknown";
  await bench.link.says({ kind: "ask-gate", ask: 5 });
  assert.deepEqual([bench.link.sent.at(-1), bench.reads], [{ kind: "gate-shut", ask: 5 }, 2]);
  bench.record = { ...recordOf(), migrationId: "mig_other" };
  await bench.link.says({ kind: "ask-gate", ask: 6 });
  assert.deepEqual(bench.link.sent.at(-1), { kind: "gate-shut", ask: 6 });
});

test("a guest that has arrived: the commit is journalled, written, and how long that took told to the source", async () => {
  const bench = makeDestination();
  await bench.beginLoading();
  const answered = Promise.withResolvers<ReturnType<typeof applied>>();
  bench.answer = ({ kind }) => (kind === "destination-commits" ? answered.promise : applied());
  await bench.link.says({ kind: "guest-stands", resets: 3 });
  await bench.says({ kind: "loaded" });
  assert.equal(bench.journal.migration(migrationId)?.commitSent, true);
  assert.deepEqual([bench.stages().at(-1), bench.role.isCritical()], ["committing", true]);
  await bench.pass(40);
  answered.resolve(applied(records.committed));
  await settle();
  assert.deepEqual(bench.done.at(-2), ["run", 6]);
  assert.deepEqual(
    bench.link.sent.map(({ kind }) => kind),
    ["ready", "loaded", "arrived", "record"],
  );
  assert.deepEqual(bench.link.sent[2], { kind: "arrived", commitMs: 40 });
  const { runIntent, runRefused, arrivesPaused } = bench.journal.migration(migrationId) ?? {};
  assert.deepEqual([runIntent, runRefused, arrivesPaused], [1, undefined, undefined]);
  assert.deepEqual(
    [lastOf(bench, "guest-confirmed")?.outcome, lastOf(bench, "guest-confirmed")?.resetsAtSource],
    ["running", 3],
  );
  assert.equal(lastOf(bench, "copy-seen")?.state, "running");
  await bench.role.over;
  assert.equal(bench.journal.migration(migrationId)?.over, true);
  assert.deepEqual([bench.listeners.size, bench.done.at(-1)], [0, ["stop-expecting"]]);
});

test("a commit that came to nothing yet is not what took its time", async () => {
  const bench = makeDestination();
  await bench.beginLoading();
  await bench.says({ kind: "loaded" });
  await bench.pass(30);
  bench.record = records.committed;
  await bench.pass(1000);
  const arrived = bench.link.sent.find(({ kind }) => kind === "arrived");
  assert.deepEqual(arrived, { kind: "arrived", commitMs: 0 });
});

test("a guest that is to arrive paused does, and the journal says so with its intent", async () => {
  const bench = await makeLoaded({ ...records.committed, arrivesPaused: true });
  assert.ok(bench.done.some(([name, token]) => name === "arrivePaused" && token === 6));
  assert.ok(!bench.names().includes("run"));
  assert.equal(bench.journal.migration(migrationId)?.arrivesPaused, true);
  assert.equal(lastOf(bench, "guest-confirmed")?.outcome, "paused");
});

test("nothing is done that could not be journalled before; it is tried again, and the fault said", async () => {
  const bench = makeDestination();
  bench.answer = () => applied(records.committed);
  await bench.beginLoading();
  bench.disk.failing = true;
  await bench.says({ kind: "loaded" });
  assert.deepEqual([bench.stages().at(-1), bench.reports], ["intending", []]);
  assert.deepEqual(bench.logged.at(-1), {
    event: "journal-failed",
    migrationId,
    what: "commit-sent",
    error: "the journal cannot be written",
  });
  await bench.pass(300);
  assert.deepEqual(bench.reports, []);
  bench.disk.failing = false;
  await bench.pass(300);
  assert.equal(bench.kinds()[0], "destination-commits");
});

test("a guest that is refused here is journalled so, try for try, and why is told when it is given back", async () => {
  const bench = makeDestination();
  bench.does["run"] = () => ({ kind: "refused", by: "lock-held", detail: "by copy_A" });
  bench.answer = ({ kind }) => (kind === "destination-commits" ? applied(records.committed) : applied());
  await bench.beginLoading();
  await bench.says({ kind: "loaded" });
  assert.deepEqual(
    [bench.journal.migration(migrationId)?.runIntent, bench.journal.migration(migrationId)?.runRefused],
    [1, 1],
  );
  await bench.pass(300);
  assert.deepEqual(
    [bench.journal.migration(migrationId)?.runIntent, bench.journal.migration(migrationId)?.runRefused],
    [2, 2],
  );
  await bench.link.says({ kind: "source-complete" });
  bench.answer = ({ kind }) => (kind === "destination-returns" ? applied(records.returned) : applied());
  await bench.pass(10_000);
  assert.equal(lastOf(bench, "destination-returns")?.detail, "lock-held: by copy_A");
  assert.equal(bench.names().filter((name) => name === "destroy").length, 1);
  await bench.role.over;
});

test("whether a guest runs whose start got no answer, the machine says", async () => {
  const runs = makeDestination();
  runs.does["run"] = () => {
    throw new Error("timed out");
  };
  runs.status = { ...runs.status, machine: "running" };
  runs.answer = ({ kind }) => (kind === "destination-commits" ? applied(records.committed) : applied());
  await runs.beginLoading();
  await runs.says({ kind: "loaded" });
  assert.equal(lastOf(runs, "guest-confirmed")?.outcome, "running");
  assert.ok(!runs.names().includes("cancelStream"));
  const hangs = makeDestination();
  hangs.does["run"] = runs.does["run"] as never;
  hangs.does["status"] = () => {
    throw new Error("no answer");
  };
  hangs.answer = runs.answer;
  await hangs.beginLoading();
  await hangs.says({ kind: "loaded" });
  assert.deepEqual([hangs.stages().at(-1), hangs.role.isCritical()], ["starting", true]);
  hangs.does = {};
  hangs.status = { ...hangs.status, machine: "loaded" };
  await hangs.pass(199);
  assert.equal(lastOf(hangs, "guest-confirmed"), undefined);
  await hangs.pass(1);
  assert.equal(hangs.names().filter((name) => name === "run").length, 2, "loaded, it never ran: the same try again");
  assert.equal(hangs.journal.migration(migrationId)?.runIntent, 1);
  assert.equal(lastOf(hangs, "guest-confirmed")?.outcome, "running");
});

test("a guest that ended, ran, or broke off while it arrived is told of as it was", async () => {
  const broken = makeDestination();
  broken.status = { ...broken.status, machine: "incoming" };
  await broken.beginLoading();
  await broken.says({ kind: "stream-failed", detail: "reset by peer" });
  assert.deepEqual(broken.names().slice(-2), ["cancelStream", "destroy"]);
  assert.equal(lastOf(broken, "destination-aborts")?.detail, "reset by peer");
  const ended = makeDestination();
  await ended.beginLoading();
  await ended.says({ kind: "ended", how: "crashed", detail: "triple fault" });
  assert.equal(lastOf(ended, "destination-aborts")?.detail, "crashed: triple fault");
  const lost = makeDestination();
  await lost.beginLoading();
  const many = lost.logged.length;
  await lost.says({ kind: "guest-reported", report: {} } as CopyEvent);
  assert.equal(lost.logged.length, many);
  await lost.says({ kind: "supervisor-lost" });
  assert.deepEqual(lost.logged.at(-1), { event: "supervisor-lost", copyId });
});

test("what arrived whole, though its stream was ended, is committed and not given up", async () => {
  const bench = makeDestination();
  bench.answer = () => applied(records.committed);
  bench.status = { ...bench.status, machine: "loaded" };
  await bench.beginLoading();
  await bench.says({ kind: "stream-failed", detail: "reset by peer" });
  assert.ok(bench.names().includes("run"));
  assert.ok(!bench.names().includes("destroy"));
});

test("a stream that cannot be ended is tried again, and the fault is said", async () => {
  const bench = makeDestination();
  bench.does["cancelStream"] = () => {
    throw new Error("hung");
  };
  bench.status = { ...bench.status, machine: "incoming" };
  await bench.beginLoading();
  await bench.says({ kind: "stream-failed", detail: "" });
  assert.deepEqual(bench.logged.at(-1), { event: "settle-failed", migrationId, error: "hung" });
  bench.does = {};
  await bench.pass(199);
  assert.equal(bench.stages().at(-1), "settling");
  await bench.pass(1);
  assert.equal(bench.stages().includes("discarding"), true);
});

test("after a restart the journal and the copy say what stands", async () => {
  const recovered = async (machine: Parameters<Bench["role"]["recover"]>[0], changes = {}, hasCopy = true) => {
    const bench = makeDestination(changes, hasCopy);
    bench.status = { ...bench.status, machine };
    bench.role.recover(machine);
    await settle();
    return bench;
  };
  const running = await recovered("running", { commitSent: true, runIntent: 1 });
  assert.deepEqual([running.kinds(), running.listeners.size], [["guest-confirmed"], 1]);
  assert.deepEqual((await recovered("stopped", { commitSent: true, runIntent: 1 })).kinds(), ["guest-confirmed"]);
  const loaded = await recovered("loaded");
  assert.deepEqual([loaded.names(), loaded.kinds()], [["expect"], ["destination-commits"]]);
  for (const machine of ["held", "incoming"] as const) {
    const incomplete = await recovered(machine);
    assert.deepEqual(incomplete.names(), ["cancelStream", "destroy"], machine);
  }
  const ended = await recovered("ended", {}, false);
  assert.deepEqual([ended.listeners.size, ended.kinds(), ended.role.hasLeft()], [0, ["destination-aborts"], true]);
  const gaveWord = await recovered("ended", { relinquished: true }, false);
  assert.deepEqual([gaveWord.stages(), gaveWord.kinds()], [["relinquished"], []]);
  const returned = await recovered("ended", { commitSent: true, runIntent: 2, runRefused: 2 }, false);
  returned.role.noteRecord(provenOf(records.committed));
  await settle();
  assert.equal(returned.kinds().at(-1), "destination-returns");
  const lost = await recovered("ended", { commitSent: true, runIntent: 2, runRefused: 1 }, false);
  lost.role.noteRecord(provenOf(records.committed));
  await settle();
  assert.deepEqual([lost.kinds().at(-1), lastOf(lost, "guest-confirmed")?.outcome], ["guest-confirmed", "guest-lost"]);
});

test("a copy that is not there is not run, and was not there", async () => {
  const bench = makeDestination({ commitSent: true });
  bench.answer = () => applied(records.committed);
  bench.role.recover("loaded");
  await settle();
  assert.ok(!bench.names().includes("run"));
  assert.equal(bench.role.hasLeft(), true);
});

test("rule 7: the word is journalled and the copy ended before it is given, signed for exactly this migration", async () => {
  const bench = makeDestination();
  await bench.beginLoading();
  await bench.link.says({ kind: "ask-relinquish", nonce: "n-1" });
  assert.equal(bench.journal.migration(migrationId)?.relinquished, true);
  assert.equal(bench.names().at(-1), "destroy");
  await until(() => bench.link.sent.at(-1)?.kind === "relinquished");
  const said = bench.link.sent.at(-1);
  assert.ok(said?.kind === "relinquished");
  const verify = await verifierFrom(hosts.destination.publicKey);
  assert.deepEqual(await openDocument(said.word, RelinquishedWord, verify), {
    type: "drover-relinquished-1",
    migrationId,
    fencingToken: 5,
    sourceCopyId: assignment.source.copyId,
    destinationCopyId: copyId,
    sourceIncarnation: "inc-peer",
    destinationIncarnation: "inc-own",
    nonce: "n-1",
  });
});

test("rule 7: no word is given where nobody is linked to hear it", async () => {
  const bench = makeDestination();
  await bench.beginLoading();
  const { promise, resolve } = Promise.withResolvers<void>();
  bench.does["destroy"] = () => promise;
  await bench.link.says({ kind: "ask-relinquish", nonce: "n-1" });
  await bench.link.breaks();
  resolve();
  await settle();
  assert.equal(bench.stages().at(-1), "relinquished");
  assert.ok(!bench.link.sent.some(({ kind }) => kind === "relinquished"));
});

test("a record that the source relays counts where the control plane signed it, and is no word of the source's", async () => {
  const bench = makeDestination();
  await bench.beginLoading();
  bench.provable = false;
  await bench.link.says({ kind: "record", record: provenOf(records.aborted).signed });
  assert.deepEqual([bench.stages(), bench.role.latestRecord()], [["loading"], null]);
  bench.provable = true;
  await bench.link.says({ kind: "record", record: provenOf(records.aborted).signed });
  assert.equal(bench.role.latestRecord()?.record.verdict, "aborted");
  assert.ok(bench.names().includes("destroy"));
});

test("a copy that cannot be ended is tried again; nothing is said of its end before", async () => {
  const bench = makeDestination();
  bench.does["destroy"] = () => {
    throw new Error("its process stays");
  };
  await bench.beginLoading();
  bench.role.noteRecord(provenOf(records.aborted));
  await settle();
  assert.deepEqual(bench.logged.at(-1), { event: "destroy-failed", copyId, error: "its process stays" });
  assert.deepEqual([bench.role.hasLeft(), bench.reports], [false, []]);
  bench.does = {};
  await bench.pass(1000);
  assert.deepEqual([bench.role.hasLeft(), lastOf(bench, "copy-seen")?.state], [true, "gone"]);
});

test("no copy is ended once the agent has ended", async () => {
  const bench = makeDestination();
  bench.does["destroy"] = () => {
    throw new Error("its process stays");
  };
  await bench.beginLoading();
  bench.role.noteRecord(provenOf(records.aborted));
  await settle();
  bench.role.abandon();
  await bench.pass(5000);
  assert.equal(bench.names().filter((name) => name === "destroy").length, 1);
});

test("what is left of a guest that ended by itself is cleared away, once", async () => {
  const bench = makeDestination();
  bench.answer = ({ kind }) => (kind === "destination-aborts" ? applied(records.aborted) : applied());
  await bench.beginLoading();
  await bench.says({ kind: "ended", how: "killed", detail: "" });
  await bench.role.over;
  assert.equal(bench.names().filter((name) => name === "destroy").length, 1);
});

test("where no record is known, none is relayed", async () => {
  const bench = makeDestination();
  bench.answer = () => applied();
  await bench.beginLoading();
  await bench.says({ kind: "ended", how: "killed", detail: "" });
  await bench.role.over;
  assert.deepEqual(
    bench.link.sent.map(({ kind }) => kind),
    ["ready"],
  );
});

test("a copy whose end fails as the agent ends is its next life's to end", async () => {
  const bench = makeDestination();
  const { promise, reject } = Promise.withResolvers<void>();
  bench.does["destroy"] = () => promise;
  await bench.beginLoading();
  bench.role.noteRecord(provenOf(records.aborted));
  await settle();
  bench.role.abandon();
  reject(new Error("its process stays"));
  await bench.pass(5000);
  assert.equal(bench.names().filter((name) => name === "destroy").length, 1);
});

test("a guest that ended after a restart is told of", async () => {
  const bench = makeDestination({ commitSent: true, runIntent: 1 }, true);
  bench.role.recover("running");
  await settle();
  await bench.says({ kind: "ended", how: "killed", detail: "out of memory" });
  assert.deepEqual(lastOf(bench, "guest-confirmed"), {
    kind: "guest-confirmed",
    migrationId,
    vmId,
    fencingToken: 5,
    peerHostId: assignment.source.hostId,
    outcome: "guest-lost",
    detail: "the destination's agent was restarted",
  });
});
