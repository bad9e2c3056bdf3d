// S1, S5: what a guest is let run, paused, resumed and reset under. Each step in its order: what is durable comes first.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  copyId,
  granted,
  incoming,
  laterMigration,
  migrationId,
  otherCopy,
  outgoing,
  SupervisorBench,
} from "./bench.ts";

const refusedBy = (by: string, detail: string) => ({ kind: "refused", by, detail });
const ended = refusedBy("hypervisor", "the guest has ended");

test("S1: a guest is let run once its token is remembered and its lock file taken; asked again, nothing is done", async () => {
  const bench = new SupervisorBench();
  assert.deepEqual(await bench.supervisor.run(5), granted);
  assert.deepEqual(bench.taken(), ["memo lockToken", "take 5", "run"]);
  assert.equal(bench.memo.lockToken, 5);
  assert.deepEqual(await bench.supervisor.run(5), granted);
  assert.deepEqual(bench.taken(), ["memo"]);
});

test("S1: nothing executes before both the token is remembered and the lock file taken", async () => {
  for (const slow of ["memo lockToken", "take 5"]) {
    const bench = new SupervisorBench();
    const go = bench.hang(slow);
    const outcome = bench.supervisor.run(5);
    await bench.pass(1000);
    assert.deepEqual([slow, bench.taken()], [slow, ["memo lockToken", "take 5"]]);
    go();
    assert.deepEqual(await outcome, granted);
    assert.deepEqual(bench.taken(), ["run"]);
  }
});

test("S1: a lock file that another holds lets nothing run, and the claim to it is taken back", async () => {
  const bench = new SupervisorBench();
  await bench.replaceLockFile(5);
  const outcome = await bench.supervisor.run(5);
  assert.deepEqual(outcome, refusedBy("lock-held", "another process holds the lock file"));
  assert.deepEqual(bench.taken(), ["memo lockToken", "take 5", "memo lockToken"]);
  assert.equal(bench.memo.lockToken, null);
  bench.fail("memo lockToken");
  assert.deepEqual(await bench.supervisor.run(5), outcome, "the lock file's word, also where nothing can be written");
});

test("S1: a token that cannot be remembered lets nothing run, and gives the lock file back", async () => {
  const bench = new SupervisorBench();
  bench.fail("memo lockToken");
  assert.deepEqual(await bench.supervisor.run(5), refusedBy("hypervisor", "memo lockToken failed"));
  assert.deepEqual(bench.taken(), ["memo lockToken", "take 5", "release", "memo"]);
  assert.equal((await bench.supervisor.status()).lock, "free");
});

test("a hypervisor's refusal gives back what was not held before, and only that", async () => {
  const bench = new SupervisorBench();
  bench.runRefusal = "busy";
  assert.deepEqual(await bench.supervisor.run(5), refusedBy("hypervisor", "busy"));
  assert.deepEqual(bench.taken(), ["memo lockToken", "take 5", "run", "release", "memo lockToken"]);
  bench.runRefusal = null;
  await bench.running(5);
  await bench.supervisor.pause();
  bench.runRefusal = "busy";
  bench.taken();
  assert.deepEqual(await bench.supervisor.resume(6), refusedBy("hypervisor", "busy"));
  assert.deepEqual(bench.taken(), ["memo", "run", "memo"]);
  assert.equal((await bench.supervisor.status()).lock, "held");
  assert.equal(bench.memo.lockToken, 5);
});

test("a refusal whose claim cannot be taken back is a refusal", async () => {
  const bench = new SupervisorBench();
  bench.runRefusal = "busy";
  bench.meet("release", () => bench.fail("memo lockToken"));
  assert.deepEqual(await bench.supervisor.run(5), refusedBy("hypervisor", "busy"));
  assert.equal((await bench.supervisor.status()).lock, "free");
});

test("a guest whose start had no answer may execute: it is asked again, under the lock file that it keeps", async () => {
  const bench = new SupervisorBench();
  bench.fail("run");
  await assert.rejects(bench.supervisor.run(5), /run failed/);
  assert.equal((await bench.supervisor.status()).lock, "held");
  bench.mend("run");
  bench.taken();
  assert.deepEqual(await bench.supervisor.run(5), granted);
  assert.deepEqual(bench.taken(), ["memo", "run"]);
});

test("whether a guest runs is not known while it is being let run again: it is asked for once more", async () => {
  const bench = new SupervisorBench();
  await bench.running();
  bench.fail("stop");
  await assert.rejects(bench.supervisor.pause(), /stop failed/);
  bench.mend("stop");
  bench.taken();
  await bench.supervisor.run(5);
  assert.deepEqual(bench.taken(), ["memo", "run"], "it may stand");
});

test("S1: a token below the one that the lock file is held under is refused, and nothing is done under it", async () => {
  const bench = new SupervisorBench();
  await bench.running(5);
  await bench.supervisor.pause();
  bench.taken();
  const below = refusedBy("lock-superseded", "the lock file bears token 5, which is above 4");
  const { supervisor } = bench;
  for (const permit of [() => supervisor.run(4), () => supervisor.resume(4), () => supervisor.arrivePaused(4)]) {
    assert.deepEqual(await permit(), below);
  }
  assert.deepEqual(bench.taken(), []);
  assert.deepEqual(await supervisor.resume(5), granted);
});

test("S1: what is remembered is the token that the lock file bears, so that the next life can take it again", async () => {
  const bench = new SupervisorBench();
  await bench.running(5);
  assert.deepEqual(await bench.supervisor.run(9), granted);
  assert.equal(bench.memo.lockToken, 5);
  assert.deepEqual(await bench.volume.as({}).read("vm-1"), "held");
  await bench.dieAndSettle();
  assert.deepEqual(bench.taken(), ["take 5"]);
  assert.equal((await bench.supervisor.status()).lock, "held");
});

test("S1: where the lock file was replaced and is taken anew, the new one's token is remembered", async () => {
  const bench = new SupervisorBench();
  await bench.running(5);
  const other = await bench.replaceLockFile(6);
  await other.release();
  bench.taken();
  assert.deepEqual(await bench.supervisor.run(7), granted);
  assert.deepEqual(bench.taken(), ["memo lockToken", "release", "take 7"]);
  await bench.dieAndSettle();
  assert.deepEqual(bench.taken(), ["take 7"]);
  assert.equal((await bench.supervisor.status()).lock, "held");
});

test("an operator's word replaces a lock file for a start alone", async () => {
  const bench = new SupervisorBench();
  await bench.replaceLockFile(4);
  assert.equal((await bench.supervisor.run(5, false)).kind, "refused");
  bench.taken();
  assert.deepEqual(await bench.supervisor.run(5, true), granted);
  assert.deepEqual(bench.taken(), ["memo lockToken", "take 5 replace", "run"]);
});

test("a guest that arrives paused has its lock file, and nothing executes", async () => {
  const bench = new SupervisorBench({ state: "loaded" });
  assert.deepEqual(await bench.supervisor.arrivePaused(6), granted);
  assert.deepEqual(bench.taken(), ["memo lockToken", "take 6"]);
});

test("a guest that ended is let do nothing", async () => {
  const gone = { how: "crashed", detail: "triple fault" } as const;
  for (const bench of [new SupervisorBench({ memo: { ended: gone } }), new SupervisorBench()]) {
    if (!bench.memo.ended) await bench.dieAndSettle({ withMachine: false });
    bench.taken();
    const { supervisor } = bench;
    assert.deepEqual(await supervisor.run(5), ended);
    assert.deepEqual(await supervisor.resume(5), ended);
    assert.deepEqual(await supervisor.arrivePaused(5), ended);
    await assert.rejects(supervisor.pause(), /the guest has ended/);
    await assert.rejects(supervisor.reset(1), /the guest has ended/);
    await assert.rejects(supervisor.throttle(30), /the guest has ended/);
    await assert.rejects(supervisor.receive(incoming()), /the guest has ended/);
    await assert.rejects(supervisor.send(outgoing()), /the guest has ended/);
    await assert.rejects(supervisor.holdAtGate(1), /the guest has ended/);
    await supervisor.cancelStream();
    await supervisor.settle();
    assert.deepEqual(bench.taken(), []);
    assert.equal((await supervisor.status()).machine, "ended");
  }
});

test("a pause stops the guest and keeps its lock file; a resume checks it first", async () => {
  const bench = new SupervisorBench();
  await bench.running();
  await bench.supervisor.pause();
  assert.deepEqual(bench.taken(), ["stop"]);
  assert.deepEqual(await bench.supervisor.resume(5), granted);
  assert.deepEqual(bench.taken(), ["memo", "run"]);
  assert.deepEqual(await bench.supervisor.resume(5), granted);
  assert.deepEqual(bench.taken(), ["memo"]);
  await bench.supervisor.pause();
  await bench.replaceLockFile(6);
  bench.taken();
  assert.equal((await bench.supervisor.resume(5)).kind, "refused");
  assert.ok(!bench.taken().includes("run"));
});

test("a reset is counted before it is made, and each is made once", async () => {
  const bench = new SupervisorBench();
  await bench.running();
  await bench.supervisor.reset(1);
  assert.deepEqual(bench.taken(), ["memo resets", "reset"]);
  await bench.supervisor.reset(1);
  assert.deepEqual(bench.taken(), []);
  bench.fail("reset");
  await assert.rejects(bench.supervisor.reset(2), /reset failed/);
  bench.mend("reset");
  assert.equal((await bench.supervisor.status()).resets, 2);
  await bench.dieAndSettle();
  bench.taken();
  await bench.supervisor.reset(2);
  assert.deepEqual(bench.taken(), [], "one that was begun is not made again");
  await bench.supervisor.reset(3);
  assert.deepEqual(bench.taken(), ["memo resets", "reset"]);
});

test("a copy that was never reset has made none", async () => {
  const bench = new SupervisorBench();
  assert.equal((await bench.supervisor.status()).resets, 0);
  await bench.supervisor.reset(0);
  assert.deepEqual(bench.taken(), []);
});

test("throttle and the permission for the next copy are handed on", async () => {
  const bench = new SupervisorBench();
  await bench.running();
  await bench.supervisor.throttle(30);
  await bench.supervisor.permitNext({ copyId: otherCopy });
  assert.deepEqual(bench.taken(), ["throttle 30", `next ${otherCopy}`]);
});

test("S5: one listener for one migration, also when asked again; for another, or after a cancel, a new one", async () => {
  const bench = new SupervisorBench({ state: "incoming" });
  const first = await bench.supervisor.receive(incoming());
  assert.deepEqual(await bench.supervisor.receive(incoming()), first);
  assert.deepEqual(bench.taken(), ["receive"]);
  await bench.supervisor.receive(incoming(laterMigration));
  assert.deepEqual(bench.taken(), ["receive"]);
  await bench.supervisor.cancelStream();
  await bench.supervisor.receive(incoming(laterMigration));
  assert.deepEqual(bench.taken(), ["cancel", "receive"]);
});

test("S5: one stream for one migration, which is remembered before it begins", async () => {
  const bench = new SupervisorBench();
  await bench.running();
  await bench.supervisor.send(outgoing());
  assert.deepEqual(bench.taken(), ["memo leaving", "send"]);
  assert.deepEqual(bench.memo.leaving, { migrationId, gate: null });
  await bench.supervisor.send(outgoing());
  assert.deepEqual(bench.taken(), []);
});

test("a stream that failed, was cancelled or never began is begun anew; its migration is remembered already", async () => {
  const bench = new SupervisorBench();
  await bench.sending();
  bench.say({ kind: "stream-failed", detail: "cut" });
  await bench.supervisor.send(outgoing());
  assert.deepEqual(bench.taken(), ["send"]);
  bench.say({ kind: "sent" });
  await bench.supervisor.send(outgoing());
  assert.deepEqual(bench.taken(), []);
  await bench.supervisor.cancelStream();
  await bench.supervisor.send(outgoing());
  assert.deepEqual(bench.taken(), ["cancel", "send"]);
  await bench.supervisor.cancelStream();
  bench.fail("send");
  await assert.rejects(bench.supervisor.send(outgoing()), /send failed/);
  bench.mend("send");
  bench.taken();
  await bench.supervisor.send(outgoing());
  assert.deepEqual(bench.taken(), ["send"]);
});

test("S2: nothing is sent for a migration whose gate is decided", async () => {
  for (const decision of ["past", "cancelled"] as const) {
    const bench = new SupervisorBench();
    await bench.running();
    await bench.gate.decide(migrationId, decision);
    await assert.rejects(
      bench.supervisor.send(outgoing()),
      new RegExp(`says ${decision}: one migration is one stream`),
    );
    assert.deepEqual(bench.taken(), []);
    assert.equal(bench.memo.leaving, null);
    await bench.supervisor.send(outgoing(laterMigration));
    assert.deepEqual(bench.taken(), ["memo leaving", "send"]);
  }
});

test("S2: a guest at a gate is sent by no other migration", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  await assert.rejects(bench.supervisor.send(outgoing(laterMigration)), /at the gate of/);
  assert.deepEqual(bench.taken(), []);
  assert.equal(bench.memo.leaving?.migrationId, migrationId);
});

test("what a copy says of itself", async () => {
  const bench = new SupervisorBench();
  const status = { machine: "held", lock: "free", ended: null, gate: null, atGate: null, resets: 0 };
  const account = { lockToken: null, lockFile: null, wasPaused: false };
  assert.deepEqual(await bench.supervisor.status(), status);
  assert.deepEqual(await bench.supervisor.account(), { ...status, ...account });
  await bench.running();
  const { lockToken, lockFile } = await bench.supervisor.account();
  assert.deepEqual([lockToken, lockFile], [5, "held"]);
  await bench.supervisor.send(outgoing());
  assert.equal((await bench.supervisor.account()).wasPaused, false, "it has come to no gate");
  assert.equal(bench.supervisor.memo.request.copyId, copyId);
});

test("what the lock file says is told as far as it can be read", async () => {
  const bench = new SupervisorBench();
  const lockFile = async () => (await bench.supervisor.account()).lockFile;
  const other = await bench.replaceLockFile(6);
  assert.equal(await lockFile(), "held");
  await other.permitNext({ copyId });
  await other.release();
  assert.deepEqual(await lockFile(), { copyId: otherCopy, fencingToken: 6 });
  bench.volume.unreachable = true;
  assert.equal(await lockFile(), null);
});

test("how a guest ended is kept; one whose end nobody saw was killed", async () => {
  const bench = new SupervisorBench();
  bench.state = "ended";
  assert.deepEqual((await bench.supervisor.status()).ended, { how: "killed", detail: "" });
  bench.say({ kind: "ended", how: "powered-off", detail: "by itself" });
  assert.deepEqual((await bench.supervisor.status()).ended, { how: "powered-off", detail: "by itself" });
});
