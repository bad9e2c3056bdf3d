// S4 and what a supervisor does by itself: on what it kept after its death, when its guest ends, when it is let go.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { CopyMemo } from "../../../agents/supervisor/memo.ts";
import { granted, migrationId, otherCopy, SupervisorBench, silenceMs, turn } from "./bench.ts";

const retryMs = 1000;

/** A supervisor that was started on this memo, with its lock file as the one before left it. */
async function found(memo: Partial<CopyMemo>, state: SupervisorBench["state"], stamped: number | null = 5) {
  const bench = new SupervisorBench({ memo, state });
  if (stamped !== null) {
    const left = await bench.volume.as({}).take("vm-1", bench.memo.request.copyId, stamped);
    if (left.kind === "taken") await left.lock.release();
  }
  return bench;
}

const atGate = { migrationId, gate: { ranBefore: true, agentSilenceMs: silenceMs, over: false } };
const behindGate = { migrationId, gate: { ...atGate.gate, over: true } };

test("S4: the next life takes the lock file of its guest again, running or standing, and touches nothing else", async () => {
  for (const state of ["running", "stopped", "held"] as const) {
    const bench = await found({ lockToken: 5 }, state);
    await bench.supervisor.settle();
    await bench.supervisor.settle();
    assert.deepEqual([bench.taken(), bench.heard()], [["take 5"], []]);
    assert.equal(bench.clock.nextAtMs(), null);
  }
});

test("a guest without a claim to its lock file, or that has ended, takes none", async () => {
  const gone = { how: "killed", detail: "" } as const;
  const benches = [
    await found({}, "held"),
    await found({ lockToken: 5 }, "ended"),
    await found({ lockToken: 5, ended: gone }, "running"),
    await found({ lockToken: 5, ended: gone, leaving: atGate }, "stopped"),
  ];
  for (const bench of benches) {
    await bench.gate.decide(migrationId, "cancelled");
    await bench.supervisor.settle();
    assert.deepEqual(bench.taken(), []);
  }
});

test("S4: a running guest whose lock file cannot be had is left alone under an alarm, and it is asked for again", async () => {
  const bench = await found({ lockToken: 5 }, "running");
  bench.volume.unreachable = true;
  await bench.supervisor.settle();
  assert.deepEqual(bench.events.splice(0), [
    { kind: "lock-alarm", standing: true, detail: "the shared volume cannot be reached" },
  ]);
  await bench.pass(3 * retryMs + 1);
  assert.deepEqual(bench.taken(), ["take 5", "take 5", "take 5", "take 5"]);
  assert.deepEqual([bench.heard(), bench.state], [[], "running"]);
  bench.volume.unreachable = false;
  await bench.pass(retryMs);
  assert.deepEqual(bench.events.splice(0), [
    { kind: "lock-alarm", standing: false, detail: "the lock file is held again" },
  ]);
  assert.equal(bench.clock.nextAtMs(), null);
});

test("a standing guest whose lock file cannot be had raises no alarm, and it is asked for again", async () => {
  const bench = await found({ lockToken: 5 }, "stopped");
  bench.volume.unreachable = true;
  await bench.supervisor.settle();
  bench.volume.unreachable = false;
  await bench.pass(retryMs);
  assert.deepEqual([bench.taken(), bench.heard()], [["take 5", "take 5"], []]);
});

test("a guest whose state cannot be told is looked at again", async () => {
  const bench = await found({ lockToken: 5 }, "running");
  bench.fail("state");
  await bench.supervisor.settle();
  bench.mend("state");
  await bench.pass(retryMs);
  assert.deepEqual(bench.taken(), ["take 5"]);
});

test("S3: a guest that stands past its gate has given its lock file up; one that runs there holds it", async () => {
  const standing = await found({ lockToken: 5, leaving: atGate }, "stopped");
  await standing.gate.decide(migrationId, "past");
  await standing.supervisor.settle();
  assert.deepEqual(standing.taken(), []);
  await standing.pass(60_000);
  assert.deepEqual([standing.taken(), standing.heard()], [[], []]);
  const running = await found({ lockToken: 5, leaving: atGate }, "running");
  await running.gate.decide(migrationId, "past");
  await running.supervisor.settle();
  assert.deepEqual(running.taken(), ["take 5"]);
});

test("a gate that is behind the guest says nothing any more of its lock file", async () => {
  for (const decision of ["past", "cancelled"] as const) {
    const bench = await found({ lockToken: 5, leaving: behindGate }, "stopped");
    await bench.gate.decide(migrationId, decision);
    await bench.supervisor.settle();
    assert.deepEqual([bench.taken(), bench.heard()], [["take 5"], []]);
  }
});

test("the next life watches an open gate, and takes the guest back when its agent stays silent", async () => {
  const bench = await found({ lockToken: 5, leaving: atGate }, "stopped");
  await bench.supervisor.settle();
  assert.deepEqual(bench.taken(), ["take 5"]);
  await bench.pass(silenceMs - 1);
  assert.deepEqual(bench.taken(), []);
  await bench.pass(100);
  assert.deepEqual(bench.taken(), ["gate cancelled", "cancel", "run", "memo leaving"]);
  assert.deepEqual(bench.heard(), ["resumed-by-supervisor"]);
});

test("the next life completes a gate that was cancelled", async () => {
  const bench = await found({ lockToken: 5, leaving: atGate }, "stopped");
  await bench.gate.decide(migrationId, "cancelled");
  await bench.supervisor.settle();
  assert.deepEqual(bench.taken(), ["take 5", "cancel", "run", "memo leaving"]);
  assert.deepEqual(bench.heard(), ["resumed-by-supervisor"]);
  assert.equal(bench.memo.leaving?.gate?.over, true);
  assert.equal(bench.clock.nextAtMs(), null);
});

test("a guest that runs already at its cancelled gate is let be", async () => {
  const bench = await found({ lockToken: 5, leaving: atGate }, "running");
  await bench.gate.decide(migrationId, "cancelled");
  await bench.supervisor.settle();
  assert.deepEqual(bench.taken(), ["take 5", "cancel", "memo leaving"]);
});

test("before any gate there is nothing to complete", async () => {
  for (const decision of [null, "cancelled"] as const) {
    const bench = await found({ lockToken: 5, leaving: { migrationId, gate: null } }, "running");
    if (decision) await bench.gate.decide(migrationId, decision);
    await bench.supervisor.settle();
    assert.deepEqual([bench.taken(), bench.heard()], [["take 5"], []]);
    assert.equal(bench.clock.nextAtMs(), null);
  }
});

test("S1: a cancelled guest is taken back only under its lock file, which is asked for until it is had", async () => {
  const bench = await found({ lockToken: 5, leaving: atGate }, "stopped");
  bench.volume.unreachable = true;
  await bench.supervisor.settle();
  bench.taken();
  await assert.rejects(bench.supervisor.cancelAtGate(), /cannot be resumed: the shared volume cannot be reached/);
  assert.deepEqual(bench.taken(), ["gate cancelled", "cancel", "take 5"]);
  assert.equal(bench.memo.leaving?.gate?.over, false);
  bench.volume.unreachable = false;
  bench.heard();
  assert.equal(await bench.supervisor.cancelAtGate(), "cancelled");
  assert.deepEqual(bench.taken(), ["gate cancelled", "cancel", "take 5", "run", "memo leaving"]);
  await bench.pass(60_000);
  assert.deepEqual([bench.taken(), bench.heard()], [[], []], "what was tried for has come by itself");
});

test("a hypervisor that refuses a cancelled guest is asked again until the guest runs", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  bench.runRefusal = "busy";
  await assert.rejects(bench.supervisor.cancelAtGate(), /cannot be resumed: busy/);
  await bench.pass(retryMs);
  assert.equal(bench.state, "stopped");
  bench.runRefusal = null;
  bench.heard();
  bench.taken();
  await bench.pass(retryMs);
  assert.deepEqual([bench.taken(), bench.heard()], [["cancel", "run", "memo leaving"], ["resumed-by-supervisor"]]);
  await bench.pass(60_000);
  assert.deepEqual(bench.taken(), []);
});

test("one try after another, however many wait for it", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  bench.runRefusal = "busy";
  await assert.rejects(bench.supervisor.cancelAtGate(), /busy/);
  await assert.rejects(bench.supervisor.cancelAtGate(), /busy/);
  bench.taken();
  await bench.pass(retryMs);
  assert.deepEqual(bench.taken(), ["cancel", "run"]);
});

test("a silent agent's gate that cannot be written is written when it can be", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  bench.fail("gate cancelled");
  await bench.pass(silenceMs + 100);
  assert.deepEqual([bench.taken(), bench.state], [["gate cancelled"], "stopped"]);
  bench.mend("gate cancelled");
  await bench.pass(retryMs + silenceMs + 100);
  assert.deepEqual([bench.taken(), bench.state], [["gate cancelled", "cancel", "run", "memo leaving"], "running"]);
});

test("a guest that was let run while what was kept could not be written is not let run twice", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  bench.fail("memo leaving");
  await assert.rejects(bench.supervisor.cancelAtGate(), /memo leaving failed/);
  bench.mend("memo leaving");
  bench.taken();
  await bench.pass(retryMs);
  assert.deepEqual(bench.taken(), ["cancel", "memo leaving"]);
});

test("the end of a guest is told, its lock file freed, and how it ended kept; nothing is waited for", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  bench.say({ kind: "ended", how: "powered-off", detail: "by itself" });
  await turn();
  assert.deepEqual(bench.taken(), ["release", "memo ended"]);
  assert.deepEqual(bench.memo.ended, { how: "powered-off", detail: "by itself" });
  assert.deepEqual(bench.heard(), ["ended"]);
  assert.equal(bench.clock.nextAtMs(), null);
  const { machine, lock } = await bench.supervisor.status();
  assert.deepEqual({ machine, lock }, { machine: "ended", lock: "free" });
});

test("a cancelled guest that has ended is not taken back", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  bench.say({ kind: "ended", how: "killed", detail: "" });
  await turn();
  bench.taken();
  assert.equal(await bench.supervisor.cancelAtGate(), "cancelled");
  assert.deepEqual(bench.taken(), ["gate cancelled"]);
  await bench.dieAndSettle({ withMachine: false });
  assert.equal(await bench.supervisor.cancelAtGate(), "cancelled");
  assert.deepEqual(bench.taken(), ["gate cancelled"]);
});

test("the alarm over a missing lock file is over when the guest has ended", async () => {
  const bench = await found({ lockToken: 5 }, "running");
  bench.volume.unreachable = true;
  await bench.supervisor.settle();
  bench.events.splice(0);
  bench.say({ kind: "ended", how: "killed", detail: "" });
  await turn();
  assert.deepEqual(bench.events.at(-1), { kind: "lock-alarm", standing: false, detail: "the guest has ended" });
  bench.taken();
  await bench.pass(60_000);
  assert.deepEqual(bench.taken(), [], "it is asked for no more");
});

test("an end that cannot be kept ends no supervisor", async () => {
  const bench = new SupervisorBench();
  await bench.running();
  bench.fail("memo ended");
  bench.say({ kind: "ended", how: "killed", detail: "" });
  await turn();
  assert.deepEqual(bench.taken(), ["release", "memo ended"]);
  const { machine, ended } = await bench.supervisor.status();
  assert.deepEqual({ machine, ended }, { machine: "ended", ended: { how: "killed", detail: "" } });
});

test("a destroyed copy: its guest ended, its lock file free, its folder to be removed, nothing told or waited for", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  bench.heard();
  await bench.supervisor.destroy();
  assert.deepEqual(bench.taken(), ["destroy", "release", "folder may go"]);
  assert.deepEqual([bench.heard(), bench.clock.nextAtMs()], [[], null]);
  bench.state = "running";
  assert.equal((await bench.supervisor.status()).machine, "ended");
  await bench.supervisor.destroy();
  assert.deepEqual(bench.taken(), ["folder may go"], "asked again after a lost answer");
});

test("whoever destroys a copy needs no other to be told of its end", () => {
  const bench = new SupervisorBench();
  bench.supervisor.onDestroyed();
});

test("what is tried again is not tried for a destroyed copy", async () => {
  const bench = await found({ lockToken: 5 }, "running");
  bench.volume.unreachable = true;
  await bench.supervisor.settle();
  await bench.supervisor.destroy();
  assert.equal(bench.clock.nextAtMs(), null);
});

test("a copy whose guest was never built is destroyed", async () => {
  const bench = new SupervisorBench();
  await bench.dieAndSettle({ withMachine: false });
  assert.equal(bench.clock.nextAtMs(), null, "there is nothing to try again");
  await bench.supervisor.destroy();
  assert.deepEqual(bench.taken(), ["folder may go"]);
  bench.supervisor.dismiss();
});

test("a copy that cannot be destroyed keeps its lock file and its folder, and tells on", async () => {
  const bench = new SupervisorBench();
  await bench.running();
  bench.fail("destroy");
  await assert.rejects(bench.supervisor.destroy(), /destroy failed/);
  assert.deepEqual(bench.taken(), ["destroy"]);
  assert.equal(bench.clock.nextAtMs(), null);
  assert.equal((await bench.supervisor.status()).lock, "held");
  bench.say({ kind: "stream-failed", detail: "cut" });
  assert.deepEqual(bench.heard(), ["stream-failed"]);
  bench.mend("destroy");
  await bench.supervisor.destroy();
  assert.deepEqual(bench.taken(), ["destroy", "release", "folder may go"]);
});

test("an operation that hangs on the guest's process is ended with it, after a while", async () => {
  const bench = new SupervisorBench();
  await bench.running();
  const go = bench.hang("stop");
  const paused = bench.supervisor.pause();
  await turn();
  bench.meet("destroy", () => {
    go();
    throw new Error("it is gone already");
  });
  const refused = assert.rejects(bench.supervisor.destroy(), /gone already/);
  await bench.pass(1499);
  assert.deepEqual(bench.taken(), ["stop"]);
  await bench.pass(1);
  assert.deepEqual(bench.taken(), ["destroy", "destroy"]);
  await Promise.all([paused, refused]);
});

test("a copy without a guest that hangs is destroyed after what hangs", async () => {
  const bench = new SupervisorBench();
  await bench.dieAndSettle({ withMachine: false });
  const go = bench.hang("gate cancelled");
  bench.memo = { ...bench.memo, leaving: { migrationId, gate: null } };
  await bench.dieAndSettle({ withMachine: false });
  const cancelled = bench.supervisor.cancelAtGate();
  const destroyed = bench.supervisor.destroy();
  await bench.pass(5000);
  go();
  await Promise.all([cancelled, destroyed]);
  assert.deepEqual(bench.taken(), ["gate cancelled", "folder may go"]);
});

test("a supervisor that is let go touches and tells nothing more, and waits for nothing", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  bench.heard();
  bench.supervisor.dismiss();
  assert.deepEqual(bench.taken(), ["detach"]);
  assert.equal(bench.clock.nextAtMs(), null);
  bench.say({ kind: "ended", how: "killed", detail: "" });
  await bench.supervisor.settle();
  await turn();
  assert.deepEqual([bench.taken(), bench.heard()], [[], []]);
  const trying = await found({ lockToken: 5 }, "running");
  trying.volume.unreachable = true;
  await trying.supervisor.settle();
  trying.supervisor.dismiss();
  assert.equal(trying.clock.nextAtMs(), null);
  trying.volume.unreachable = false;
  trying.taken();
  await trying.supervisor.settle();
  assert.deepEqual(trying.taken(), []);
});

test("what a supervisor was in the middle of when it was let go is neither tried again nor told", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  const go = bench.hang("cancel");
  bench.runRefusal = "busy";
  const refused = assert.rejects(bench.supervisor.cancelAtGate(), /busy/);
  await turn();
  bench.heard();
  bench.supervisor.dismiss();
  go();
  await refused;
  assert.deepEqual([bench.heard(), bench.clock.nextAtMs()], [[], null]);
  const failing = new SupervisorBench();
  await failing.atGate();
  failing.heard();
  failing.meet("finish", () => {
    failing.supervisor.dismiss();
    throw new Error("cut");
  });
  await failing.supervisor.passGate();
  assert.deepEqual(failing.heard(), []);
});

test("silence that was noticed before the supervisor was let go decides nothing after", async () => {
  const bench = new SupervisorBench();
  await bench.atGate();
  const go = bench.hang("throttle 0");
  const throttled = bench.supervisor.throttle(0);
  await bench.pass(silenceMs + 60);
  bench.supervisor.dismiss();
  bench.taken();
  go();
  await throttled;
  await turn();
  assert.deepEqual(bench.taken(), []);
});

test("an end that the machine tells of while the supervisor is let go is not kept by it", async () => {
  const bench = new SupervisorBench();
  await bench.running();
  bench.meet("destroy", () => bench.say({ kind: "stream-failed", detail: "cut" }));
  await bench.supervisor.destroy();
  await turn();
  assert.deepEqual([bench.taken(), bench.heard()], [["destroy", "release", "folder may go"], []]);
  assert.equal(bench.memo.ended, null);
});

test("what happens while nobody listens is kept for who listens next, measurements apart", async () => {
  const bench = new SupervisorBench();
  const heard: string[] = [];
  const round = { round: 0, sentBytes: 1, remainingBytes: 1, dirtyBytesPerSecond: 0, bandwidthBytesPerSecond: 1 };
  const sample = { ...round, durationMs: 1, roundDone: true, totalBytes: 1, encrypted: true };
  const report = { bootId: "b" };
  const sayAll = () => {
    bench.say({ kind: "sampled", sample } as never);
    bench.say({ kind: "guest-reported", report } as never);
    bench.say({ kind: "loaded" });
    bench.say({ kind: "sent" });
  };
  bench.unlisten();
  sayAll();
  assert.deepEqual(bench.heard(), []);
  const unlisten = bench.supervisor.listen((event) => heard.push(event.kind));
  assert.deepEqual(heard.splice(0), ["loaded", "sent"]);
  sayAll();
  assert.deepEqual(heard.splice(0), ["sampled", "guest-reported", "loaded", "sent"]);
  unlisten();
  sayAll();
  const late = bench.supervisor.listen((event) => heard.push(event.kind));
  assert.deepEqual(heard.splice(0), ["loaded", "sent"], "once");
  late();
});

test("S1: a copy whose lock file another took over while its supervisor was dead runs only after it is let go", async () => {
  const bench = await found({ lockToken: 5 }, "stopped");
  const other = await bench.volume.as({}).take("vm-1", otherCopy, 6);
  await bench.supervisor.settle();
  const outcome = await bench.supervisor.resume(5);
  assert.equal(outcome.kind === "refused" && outcome.by, "lock-held");
  if (other.kind === "taken") await other.lock.release();
  assert.deepEqual(await bench.supervisor.resume(7), granted);
});
