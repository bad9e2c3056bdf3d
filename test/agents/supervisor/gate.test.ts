// S2, S3: the gate, decided once and durably before anything follows from it; and the lock file on the way through it.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  granted,
  laterMigration,
  migrationId,
  otherCopy,
  outgoing,
  SupervisorBench,
  silenceMs,
  turn,
} from "./bench.ts";

const gateOf = (bench: SupervisorBench) => bench.memo.leaving?.gate;
const decisionOf = async (bench: SupervisorBench) => (await bench.supervisor.status()).gate;

/** Past the gate of the first migration, given back by it, and on the way by a later one. */
async function leavingAgain(): Promise<SupervisorBench> {
  const bench = new SupervisorBench();
  await bench.pastGate();
  await bench.supervisor.run(7);
  await bench.supervisor.send(outgoing(laterMigration));
  bench.taken();
  return bench;
}

test("S2: that the guest is held is remembered before it is stopped", async () => {
  const bench = new SupervisorBench();
  await bench.sending();
  assert.deepEqual(await bench.supervisor.holdAtGate(silenceMs), { standsForMs: 0, resets: 0 });
  assert.deepEqual(bench.taken(), ["memo leaving", "stop"]);
  assert.deepEqual(gateOf(bench), { ranBefore: true, agentSilenceMs: silenceMs, over: false });
  const { machine, atGate, gate } = await bench.supervisor.status();
  assert.deepEqual(
    { machine, atGate, gate },
    { machine: "stopped", atGate: { migrationId, isOver: false }, gate: null },
  );
});

test("a guest held again at its gate comes back as it was when it came there", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  await bench.supervisor.holdAtGate(silenceMs);
  assert.deepEqual(bench.taken(), ["stop"]);
  assert.equal(gateOf(bench)?.ranBefore, true);
});

test("how long the guest stands is counted from before it is stopped, and its resets are told", async () => {
  const bench = new SupervisorBench();
  await bench.sending();
  await bench.supervisor.reset(3);
  await bench.pass(500);
  bench.meet("stop", () => bench.clock.sleep(30));
  const held = bench.supervisor.holdAtGate(silenceMs);
  await bench.pass(100);
  assert.deepEqual(await held, { standsForMs: 30, resets: 3 });
});

test("only a guest that is being sent comes to a gate", async () => {
  const bench = new SupervisorBench();
  await bench.running();
  const { supervisor } = bench;
  const calls = [() => supervisor.holdAtGate(1), () => supervisor.passGate(), () => supervisor.cancelAtGate()];
  for (const call of [...calls, () => supervisor.takeBackLock(6)]) await assert.rejects(call(), /not being sent/);
  await supervisor.send(outgoing());
  await assert.rejects(supervisor.passGate(), /not at the gate/);
  await assert.rejects(supervisor.takeBackLock(6), /not past its gate/);
  assert.equal(await decisionOf(bench), null);
});

test("S2, S3: past is decided, the lock file given up, and only then is the guest handed over", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  assert.equal(await bench.supervisor.passGate(), "past");
  assert.deepEqual(bench.taken(), ["gate past", "release", "finish"]);
  const { lock, gate, atGate } = await bench.supervisor.status();
  assert.deepEqual({ lock, gate, atGate }, { lock: "free", gate: "past", atGate: { migrationId, isOver: false } });
  await bench.pass(60_000);
  assert.deepEqual(bench.taken(), [], "silence means nothing any more");
});

test("S5: asked again past the gate, nothing is handed over twice; a later migration hands over its own", async () => {
  const bench = new SupervisorBench();
  await bench.pastGate();
  assert.equal(await bench.supervisor.passGate(), "past");
  assert.ok(!bench.taken().includes("finish"));
  assert.deepEqual(await bench.supervisor.run(7), granted);
  await bench.supervisor.send(outgoing(laterMigration));
  await bench.supervisor.holdAtGate(silenceMs);
  bench.taken();
  assert.equal(await bench.supervisor.passGate(), "past");
  assert.deepEqual(bench.taken(), ["gate past", "release", "finish"]);
});

test("S2: a gate that cannot be written is not passed, and nothing follows", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  bench.fail("gate past");
  await assert.rejects(bench.supervisor.passGate(), /gate past failed/);
  assert.deepEqual(bench.taken(), ["gate past"]);
  assert.equal((await bench.supervisor.status()).lock, "held");
  await bench.pass(silenceMs + 100);
  assert.equal(await decisionOf(bench), "cancelled", "its agent's silence is still watched");
});

test("S2: a guest that may not stand is stopped before its gate is passed", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  await bench.dieAndSettle();
  bench.taken();
  assert.equal(await bench.supervisor.passGate(), "past");
  assert.deepEqual(bench.taken(), ["stop", "gate past", "release", "finish"]);

  const unsure = new SupervisorBench();
  await unsure.sending();
  unsure.fail("stop");
  await assert.rejects(unsure.supervisor.holdAtGate(silenceMs), /stop failed/);
  await assert.rejects(unsure.supervisor.passGate(), /stop failed/);
  assert.equal(await decisionOf(unsure), null, "a guest that cannot be stopped passes no gate");
});

test("a stream that fails past the gate is told, and past stands", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  bench.heard();
  bench.fail("finish");
  assert.equal(await bench.supervisor.passGate(), "past");
  assert.deepEqual(bench.events.splice(0), [{ kind: "stream-failed", detail: "finish failed" }]);
});

test("nothing is handed over of a guest that ended at its gate", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  bench.say({ kind: "ended", how: "crashed", detail: "" });
  assert.equal(await bench.supervisor.passGate(), "cancelled");
  assert.deepEqual(bench.taken(), ["release", "memo ended", "gate cancelled"]);
  const lost = new SupervisorBench();
  await lost.atGate();
  await lost.dieAndSettle({ withMachine: false });
  assert.equal(await lost.supervisor.passGate(), "cancelled");
  assert.deepEqual(lost.taken(), ["gate cancelled"]);
});

test("S2: cancelled at the gate, the stream is ended before the guest runs again under its lock file", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  assert.equal(await bench.supervisor.cancelAtGate(), "cancelled");
  assert.deepEqual(bench.taken(), ["gate cancelled", "cancel", "run", "memo leaving"]);
  assert.deepEqual(gateOf(bench), { ranBefore: true, agentSilenceMs: silenceMs, over: true });
  assert.deepEqual((await bench.supervisor.status()).atGate, { migrationId, isOver: true });
  assert.equal(await bench.supervisor.passGate(), "cancelled");
  assert.deepEqual(await bench.supervisor.holdAtGate(silenceMs), { standsForMs: 0, resets: 0 });
  assert.equal(await bench.supervisor.cancelAtGate(), "cancelled");
  assert.deepEqual(bench.taken(), ["gate cancelled"], "it is behind the guest");
  await bench.pass(60_000);
  assert.deepEqual(bench.taken(), []);
});

test("S2: a gate that is behind the guest stops it no more, also when what it said was forgotten", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  await bench.supervisor.cancelAtGate();
  await bench.gate.forget(migrationId);
  bench.taken();
  assert.deepEqual(await bench.supervisor.holdAtGate(silenceMs), { standsForMs: 0, resets: 0 });
  assert.deepEqual([bench.taken(), bench.state], [[], "running"]);
});

test("S2: cancelled before the guest came to its gate, it is never stopped there", async () => {
  const bench = new SupervisorBench();
  await bench.sending();
  await bench.supervisor.reset(2);
  bench.taken();
  assert.equal(await bench.supervisor.cancelAtGate(), "cancelled");
  assert.deepEqual(bench.taken(), ["gate cancelled", "cancel"]);
  assert.deepEqual(await bench.supervisor.holdAtGate(silenceMs), { standsForMs: 0, resets: 2 });
  assert.deepEqual(bench.taken(), ["cancel"]);
  assert.equal(gateOf(bench), null);
  assert.equal(await bench.supervisor.passGate(), "cancelled");
});

test("S2: whoever decided it cancelled, a guest held or handed over then is taken back instead", async () => {
  for (const call of ["holdAtGate", "passGate"] as const) {
    const bench = new SupervisorBench();
    await bench.atGate();
    await bench.supervisor.reset(1).catch(() => {});
    await bench.gate.decide(migrationId, "cancelled");
    if (call === "passGate") assert.equal(await bench.supervisor.passGate(), "cancelled");
    else assert.deepEqual(await bench.supervisor.holdAtGate(silenceMs), { standsForMs: 0, resets: 0 });
    const steps = bench.taken().filter((step) => step !== "gate past");
    assert.deepEqual(steps, ["cancel", "run", "memo leaving"]);
  }
});

test("S3: past the gate nobody cancels, holds or takes the guest back", async () => {
  const bench = new SupervisorBench();
  await bench.pastGate();
  assert.equal(await bench.supervisor.cancelAtGate(), "past");
  assert.deepEqual(await bench.supervisor.holdAtGate(silenceMs), { standsForMs: 0, resets: 0 });
  assert.deepEqual(bench.taken(), ["gate cancelled"]);
  await bench.pass(60_000);
  assert.deepEqual(bench.taken(), []);
  assert.equal(bench.state, "stopped");
});

test("a guest that stood by its user's wish is taken back standing, and let run when its user wishes", async () => {
  const bench = new SupervisorBench();
  await bench.sending();
  await bench.supervisor.pause();
  await bench.supervisor.holdAtGate(silenceMs);
  assert.equal(gateOf(bench)?.ranBefore, false);
  assert.equal((await bench.supervisor.account()).wasPaused, true);
  bench.taken();
  assert.equal(await bench.supervisor.cancelAtGate(), "cancelled");
  assert.deepEqual(bench.taken(), ["gate cancelled", "cancel", "memo leaving"]);
  assert.equal((await bench.supervisor.account()).wasPaused, false, "it is at no gate");
  assert.deepEqual(await bench.supervisor.run(5), granted);
  assert.ok(!bench.taken().includes("run"));
  assert.deepEqual(await bench.supervisor.resume(5), granted);
  assert.deepEqual(bench.taken(), ["memo", "memo leaving", "run"]);
  assert.equal(gateOf(bench)?.ranBefore, true);
});

test("what its user wished after the gate is remembered, once, and before it is done", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  await bench.supervisor.cancelAtGate();
  bench.taken();
  await bench.supervisor.pause();
  await bench.supervisor.pause();
  assert.deepEqual(bench.taken(), ["memo leaving", "stop", "stop"]);
  assert.deepEqual(gateOf(bench), { ranBefore: false, agentSilenceMs: silenceMs, over: true });
  assert.deepEqual(await bench.supervisor.run(5), granted);
  assert.deepEqual(bench.taken(), ["memo"], "it stays paused");
});

test("a guest is paused and resumed while its memory is sent, with no gate to remember it", async () => {
  const bench = new SupervisorBench();
  await bench.sending();
  await bench.supervisor.pause();
  assert.deepEqual(bench.taken(), ["stop"]);
  await bench.dieAndSettle();
  bench.taken();
  assert.deepEqual(await bench.supervisor.run(5), granted);
  assert.deepEqual(bench.taken(), ["memo", "run"]);
});

test("pause, resume and reset wait at the gate and past it, and nothing is done for them", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  const { supervisor } = bench;
  const wishes = [() => supervisor.pause(), () => supervisor.resume(5), () => supervisor.reset(1)];
  for (const wish of wishes) await assert.rejects(wish(), new RegExp(`at the gate of ${migrationId}`));
  assert.deepEqual(bench.taken(), []);
  await supervisor.passGate();
  bench.taken();
  for (const wish of wishes) await assert.rejects(wish(), /at the gate/);
  assert.deepEqual(bench.taken(), []);
});

test("S2: a guest that is let run at its gate closes it first, and ends the stream, so that nobody passes behind it", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  assert.deepEqual(await bench.supervisor.run(6), granted);
  assert.deepEqual(bench.taken(), ["gate cancelled", "cancel", "memo leaving", "run"]);
  assert.equal(gateOf(bench)?.over, true);
  assert.equal(await bench.supervisor.passGate(), "cancelled");
  assert.deepEqual(bench.taken(), []);
  await bench.pass(60_000);
  assert.deepEqual(bench.taken(), []);
});

test("S2: a gate that cannot be closed lets no guest run behind it", async () => {
  for (const step of ["gate cancelled", "cancel"]) {
    const bench = new SupervisorBench();
    await bench.atGate();
    bench.fail(step);
    await assert.rejects(bench.supervisor.run(6), new RegExp(`${step} failed`));
    assert.ok(!bench.taken().includes("run"));
    assert.equal(gateOf(bench)?.over, false);
  }
});

test("S3: past the gate the lock file is retaken before the guest runs again, under the new token", async () => {
  const bench = new SupervisorBench();
  await bench.pastGate();
  assert.deepEqual(await bench.supervisor.run(7), granted);
  assert.deepEqual(bench.taken(), ["gate cancelled", "cancel", "memo lockToken leaving", "take 7", "run"]);
  assert.equal(bench.memo.lockToken, 7);
  assert.deepEqual(gateOf(bench), { ranBefore: true, agentSilenceMs: silenceMs, over: true });
  assert.equal(await bench.supervisor.passGate(), "past");
  assert.deepEqual(bench.taken(), [], "the gate is behind it");
});

test("S3: a guest whose lock file the destination has stands past its gate, which stays ahead of it", async () => {
  const bench = new SupervisorBench();
  await bench.pastGate();
  await bench.volume.as({}).take("vm-1", otherCopy, 6);
  const outcome = await bench.supervisor.run(7);
  assert.equal(outcome.kind === "refused" && outcome.by, "lock-held");
  assert.ok(!bench.taken().includes("run"));
  assert.equal(gateOf(bench)?.over, false);
  assert.equal(bench.memo.lockToken, 5);
});

test("a guest that is refused at its closed gate is still watched over: it comes back when its agent falls silent", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  bench.runRefusal = "busy";
  assert.equal((await bench.supervisor.run(6)).kind, "refused");
  bench.runRefusal = null;
  bench.taken();
  bench.heard();
  await bench.pass(silenceMs + 100);
  assert.deepEqual(bench.taken(), ["gate cancelled", "cancel", "run", "memo leaving"]);
  assert.deepEqual(bench.heard(), ["resumed-by-supervisor"]);
});

test("past the gate, only a lock file that still names this copy is taken back, and nothing executes", async () => {
  const bench = new SupervisorBench();
  await bench.pastGate();
  assert.deepEqual(await bench.supervisor.takeBackLock(6), granted);
  assert.deepEqual(bench.taken(), ["take 6 own-only"]);
  assert.equal((await bench.supervisor.status()).lock, "held");
  const taken = new SupervisorBench();
  await taken.pastGate();
  const destination = await taken.volume.as({}).take("vm-1", otherCopy, 6);
  if (destination.kind === "taken") await destination.lock.release();
  const outcome = await taken.supervisor.takeBackLock(7);
  assert.equal(outcome.kind === "refused" && outcome.by, "lock-superseded");
});

test("a lock file is not taken back before the gate is past, nor for a guest that ended", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  await assert.rejects(bench.supervisor.takeBackLock(6), /not past its gate/);
  await bench.supervisor.cancelAtGate();
  bench.taken();
  await assert.rejects(bench.supervisor.takeBackLock(6), /not past its gate/);
  const gone = new SupervisorBench();
  await gone.pastGate();
  await gone.dieAndSettle({ withMachine: false });
  await assert.rejects(gone.supervisor.takeBackLock(6), /the guest has ended/);
  assert.deepEqual([...bench.taken(), ...gone.taken()], []);
});

test("a later migration has a gate of its own", async () => {
  const bench = await leavingAgain();
  assert.deepEqual(bench.memo.leaving, { migrationId: laterMigration, gate: null });
  await bench.supervisor.holdAtGate(silenceMs);
  assert.deepEqual(bench.taken(), ["memo leaving", "stop"]);
  assert.equal(await bench.supervisor.cancelAtGate(), "cancelled");
  assert.equal(await decisionOf(bench), "cancelled");
  assert.equal((await bench.supervisor.status()).lock, "held");
});

test("an agent that falls silent at the gate: the supervisor closes it and takes the guest back", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  bench.heard();
  await bench.pass(silenceMs - 1);
  assert.deepEqual(bench.taken(), []);
  await bench.pass(100);
  assert.deepEqual(bench.taken(), ["gate cancelled", "cancel", "run", "memo leaving"]);
  assert.deepEqual(bench.heard(), ["resumed-by-supervisor"]);
  assert.equal(bench.clock.nextAtMs(), null, "nothing is waited for any more");
});

test("an agent that speaks keeps the guest at the gate, also when it speaks at the last moment", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  for (let beat = 0; beat < 5; beat += 1) {
    await bench.pass(silenceMs / 2);
    bench.supervisor.agentSeen();
  }
  assert.deepEqual(bench.taken(), []);
  // It speaks after silence was noticed, while another operation is still under way.
  const go = bench.hang("throttle 0");
  const throttled = bench.supervisor.throttle(0);
  await bench.pass(silenceMs + 60);
  bench.supervisor.agentSeen();
  go();
  await throttled;
  await turn();
  assert.deepEqual(bench.taken(), ["throttle 0"]);
  await bench.pass(silenceMs + 60);
  assert.deepEqual(bench.taken(), ["gate cancelled", "cancel", "run", "memo leaving"]);
});

test("S3: an agent that falls silent over a gate that is past by then changes nothing", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  await bench.gate.decide(migrationId, "past");
  bench.heard();
  await bench.pass(60_000);
  assert.deepEqual(bench.taken(), ["gate cancelled"]);
  assert.deepEqual([bench.heard(), bench.state], [[], "stopped"]);
});

test("a gate that is behind the guest when silence is noticed is not decided once more", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  const go = bench.hang("throttle 0");
  const throttled = bench.supervisor.throttle(0);
  const cancelled = bench.supervisor.cancelAtGate();
  await bench.pass(silenceMs + 60);
  go();
  await Promise.all([throttled, cancelled]);
  bench.heard();
  await bench.pass(1);
  assert.deepEqual(bench.taken(), ["throttle 0", "gate cancelled", "cancel", "run", "memo leaving"]);
  assert.deepEqual(bench.heard(), []);
});

test("a guest that is let run is not stopped at a gate that it has left, however long its agent is silent", async () => {
  const bench = await leavingAgain();
  await bench.pass(60_000);
  assert.deepEqual([bench.taken(), bench.state], [[], "running"]);
});
