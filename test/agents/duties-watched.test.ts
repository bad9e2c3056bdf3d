// What a host minds of its guests besides their duties: a migration that has to do with one, what they say, what stands
// wrong with them, and that nothing is decided while all is frozen.
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentAfterMs } from "../../agents/domain/guest-pulse.ts";
import type { CopyEvent } from "../../agents/ports/copies.ts";
import type { CopyDuty } from "../../schemas/agent.ts";
import type { GuestReport } from "../../schemas/vm.ts";
import { copyId, dutyOf, makeBench, migrationId, otherCopyId } from "./duty-bench.ts";

type Bench = ReturnType<typeof makeBench>;
const reportOf = (heartbeats: number) => ({ heartbeats, bootId: "boot-1" }) as GuestReport;
const pass = (bench: Bench, milliseconds: number) => {
  bench.clock.after(milliseconds, () => {});
  while (bench.clock.step());
};
const codes = async (bench: Bench) => (await bench.duties.alarms(() => true)).map(({ code }) => code);

test("a copy that a migration has in hand is left to it; that it is to go is said to its part until it is so", async () => {
  const bench = makeBench();
  bench.bindings.set(copyId, "bound");
  assert.equal(await bench.sweepWith({ wantedRunState: "paused", resets: 2 }), true);
  assert.deepEqual([bench.done, bench.reports, bench.superseded], [[], [], []]);
  assert.equal(await bench.sweepWith({ wantedRunState: "stopped" }), false);
  assert.deepEqual([bench.done, bench.reports], [[], []]);
  assert.deepEqual(bench.superseded, [dutyOf({ wantedRunState: "stopped" })]);
});

test("before the gate a guest is paused, let go on and reset here; its end is its migration's", async () => {
  const bench = makeBench();
  bench.bindings.set(copyId, "before-gate");
  assert.equal(await bench.sweepWith({ wantedRunState: "paused", resets: 1 }), true);
  assert.deepEqual(bench.done, ["reset 1", "pause"]);
  assert.equal(await bench.sweepWith({ resets: 1 }), true);
  assert.deepEqual(bench.done, ["reset 1", "pause", "resume 7"]);
  assert.equal(await bench.sweepWith({ wantedRunState: "stopped" }), true);
  assert.deepEqual([bench.done, bench.reports.length], [["reset 1", "pause", "resume 7"], 2]);
  assert.equal(bench.journal.highestToken("vm-1"), 0, "its migration's token is its migration's to keep");
});

test("before the gate a guest that stands and is to go is not let go on", async () => {
  const bench = makeBench({ machine: "stopped" });
  bench.bindings.set(copyId, "before-gate");
  assert.equal(await bench.sweepWith({ wantedRunState: "stopped" }), true);
  assert.deepEqual([bench.done, bench.reports], [[], []]);
});

test("before the gate nothing is done to a guest that is not there, or under an older token", async () => {
  for (const machine of ["ended", "held"] as const) {
    const bench = makeBench({ machine });
    bench.bindings.set(copyId, "before-gate");
    assert.equal(await bench.sweepWith({}), true);
    assert.deepEqual([bench.done, bench.reports], [[], []]);
  }
  const absent = makeBench({ copies: [] });
  absent.bindings.set(copyId, "before-gate");
  assert.equal(await absent.sweepWith({}), true);
  assert.deepEqual([absent.launched, absent.reports], [[], []]);
  const stale = makeBench();
  stale.bindings.set(copyId, "before-gate");
  await stale.journal.raiseToken("vm-1", 8);
  assert.equal(await stale.sweepWith({ wantedRunState: "paused" }), true);
  assert.deepEqual([stale.done, stale.reports], [[], []]);
  assert.equal(await stale.sweepWith({ wantedRunState: "paused", fencingToken: 8 }), true);
  assert.deepEqual(stale.done, ["pause"]);
});

test("while all is frozen no duty is begun, and what is under way stops before it decides anything", async () => {
  const frozen = makeBench();
  frozen.isFrozen = true;
  assert.equal(await frozen.sweepWith({ wantedRunState: "stopped" }), true);
  assert.deepEqual([frozen.done, frozen.reports], [[], []]);
  const duties: Partial<CopyDuty>[] = [{ wantedRunState: "stopped" }, { wantedRunState: "paused", resets: 1 }, {}];
  for (const duty of duties) {
    const bench = makeBench();
    bench.copy.machine = duty.wantedRunState ? "running" : "stopped";
    bench.copy.whenAsked = () => {
      bench.isFrozen = true;
    };
    assert.equal(await bench.sweepWith(duty), false, "it is looked at again once it may be");
    assert.deepEqual([bench.done, bench.reports], [[], []], duty.wantedRunState);
    assert.equal(bench.duties.find(copyId), bench.copy.port);
  }
  const held = makeBench({ machine: "held" });
  held.copy.whenAsked = () => {
    held.isFrozen = true;
  };
  assert.equal(await held.sweepWith({}), false);
  assert.deepEqual([held.done, held.reports], [[], []]);
});

test("what a guest says is handed on, as it was said last, until it is no more", async () => {
  const bench = makeBench();
  bench.copy.says({ kind: "guest-reported", report: reportOf(1) });
  bench.copy.says({ kind: "guest-reported", report: reportOf(2) });
  assert.deepEqual(bench.duties.guestReports(), [{ vm: "vm-1", copyId, report: reportOf(2) }]);
  assert.equal(bench.sweepsWanted, 0);
  bench.copy.says({ kind: "ended", how: "crashed", detail: "" } as CopyEvent);
  assert.deepEqual([bench.duties.guestReports(), bench.sweepsWanted], [[], 1]);
});

test("a copy is watched once, however often it is found, and not any more once it is forgotten", async () => {
  const bench = makeBench();
  bench.duties.watch(bench.copy.port);
  assert.equal(bench.copy.listeners.length, 1);
  assert.equal(bench.duties.copyCount, 1);
  await bench.sweepWith({});
  bench.copy.says({ kind: "guest-reported", report: reportOf(1) });
  bench.copy.says({ kind: "lock-alarm", standing: true, detail: "lost" });
  bench.duties.forget(copyId);
  assert.deepEqual([bench.duties.copyCount, bench.duties.find(copyId)], [0, null]);
  assert.deepEqual([bench.duties.guestReports(), await codes(bench)], [[], []]);
  bench.duties.watch(bench.copy.port);
  assert.equal(bench.copy.listeners.length, 2);
  await bench.sweepWith({});
  assert.equal(bench.reports.length, 2, "of one that is found anew is told anew");
});

test("a copy that was forgotten and found anew was not here as the agent began: no boot has ended it", async () => {
  const bench = makeBench({ isFirstLife: true });
  bench.duties.forget(copyId);
  bench.duties.watch(bench.copy.port);
  bench.copy.machine = "ended";
  await bench.sweepWith({});
  assert.equal(bench.seen()[0]?.[1], "killed");
});

test("that a supervisor died, or took its guest back, is looked into at once; what else it says is not", () => {
  const bench = makeBench();
  bench.copy.says({ kind: "supervisor-lost" });
  bench.copy.says({ kind: "resumed-by-supervisor" });
  assert.equal(bench.sweepsWanted, 2);
  bench.copy.says({ kind: "stream-failed", detail: "" } as unknown as CopyEvent);
  assert.equal(bench.sweepsWanted, 2);
});

test("a guest without its lock file is alarmed by its supervisor's word, until it says otherwise or the guest ends", async () => {
  const bench = makeBench();
  bench.copy.says({ kind: "lock-alarm", standing: true, detail: "it is another's" });
  assert.deepEqual(await bench.duties.alarms(() => true), [
    { vm: "vm-1", copyId, code: "lock-file-not-held", detail: "it is another's" },
  ]);
  assert.deepEqual(bench.events(), ["lock-file-not-held"]);
  bench.copy.says({ kind: "lock-alarm", standing: false, detail: "" });
  assert.deepEqual(await codes(bench), []);
  bench.copy.says({ kind: "lock-alarm", standing: true, detail: "again" });
  bench.copy.says({ kind: "ended", how: "crashed", detail: "" } as CopyEvent);
  assert.deepEqual(await codes(bench), []);
});

test("a gap that a guest measured is told of its migration, until it is heard", async () => {
  const bench = makeBench();
  bench.copy.says({ kind: "gap-measured", guestGapMs: 12 } as CopyEvent);
  assert.equal(bench.sweepsWanted, 0, "it is of no migration");
  bench.copy.migrationId = migrationId;
  bench.bindings.set(copyId, "bound");
  bench.copy.says({ kind: "gap-measured", guestGapMs: 12 } as CopyEvent);
  assert.equal(bench.sweepsWanted, 1);
  bench.isFrozen = true;
  assert.equal(await bench.duties.sweep(), true);
  assert.deepEqual(bench.reports, []);
  bench.isFrozen = false;
  for (const answer of ["unknown", "later"] as const) {
    bench.answer = answer;
    assert.equal(await bench.duties.sweep(), false);
  }
  bench.answer = "applied";
  assert.equal(await bench.duties.sweep(), true);
  assert.equal(await bench.duties.sweep(), true);
  const gap = { kind: "gap-measured", migrationId, guestGapMs: 12 };
  assert.deepEqual(bench.reports, [gap, gap, gap]);
});

test("sweeps go one after the other, and who waits for it hears of the end of the last", async () => {
  const bench = makeBench();
  bench.duties.assign([dutyOf({ wantedRunState: "stopped" })]);
  const sweeps = [bench.duties.sweep(), bench.duties.sweep()];
  await bench.duties.settled();
  assert.deepEqual(bench.done, ["destroy"]);
  assert.deepEqual(await Promise.all(sweeps), [true, true]);
});

test("a guest that is to execute and is silent is alarmed; not one that may stand", async () => {
  const silentBench = async (prepare: (bench: Bench) => Promise<unknown>) => {
    const bench = makeBench();
    await prepare(bench);
    await codes(bench);
    bench.copy.says({ kind: "guest-reported", report: reportOf(1) });
    pass(bench, silentAfterMs);
    return codes(bench);
  };
  assert.deepEqual(await silentBench((bench) => bench.sweepWith({})), ["guest-silent"]);
  assert.deepEqual(
    await silentBench(async (bench) => bench.duties.assign([dutyOf({ hasRun: true })])),
    ["guest-silent"],
    "it was seen executing before this agent began",
  );
  assert.deepEqual(await silentBench(async (bench) => bench.duties.assign([dutyOf({})])), [], "it has not begun yet");
  assert.deepEqual(await silentBench(async () => {}), [], "it is nobody's duty");
  assert.deepEqual(await silentBench((bench) => bench.sweepWith({ wantedRunState: "paused" })), []);
  assert.deepEqual(
    await silentBench(async (bench) => bench.duties.assign([dutyOf({ hasRun: true, wantedRunState: "paused" })])),
    [],
  );
  const refused = await silentBench(async (bench) => {
    bench.copy.machine = "stopped";
    bench.copy.permit = { kind: "refused", by: "lock-held", detail: "" };
    await bench.sweepWith({ hasRun: true });
  });
  assert.deepEqual(refused, ["run-refused"], "its lock file keeps it from it");
  const unlocked = await silentBench(async (bench) => {
    bench.copy.lock = "free";
    await bench.sweepWith({});
  });
  assert.deepEqual(unlocked, ["lock-file-not-held", "guest-silent"]);
  for (const [binding, expected] of [
    ["before-gate", ["guest-silent"]],
    ["bound", []],
  ] as const) {
    const bound = await silentBench(async (bench) => {
      bench.duties.assign([dutyOf({ hasRun: true })]);
      bench.bindings.set(copyId, binding);
    });
    assert.deepEqual(bound, expected, binding);
  }
});

test("a guest that was let stand, let go on or put away is given its time anew", async () => {
  const bench = makeBench();
  await bench.sweepWith({});
  bench.copy.says({ kind: "guest-reported", report: reportOf(1) });
  pass(bench, silentAfterMs - 1);
  await bench.sweepWith({ wantedRunState: "paused" });
  await bench.sweepWith({});
  pass(bench, 1);
  assert.deepEqual(await codes(bench), []);
  pass(bench, silentAfterMs);
  assert.deepEqual(await codes(bench), ["guest-silent"]);
  bench.copy.says({ kind: "ended", how: "crashed", detail: "" } as CopyEvent);
  assert.deepEqual(await codes(bench), []);
});

test("a guest is given its time anew when it is let go on, and when its copy is found anew", async () => {
  const paused = makeBench();
  paused.copy.says({ kind: "guest-reported", report: reportOf(1) });
  await paused.sweepWith({ wantedRunState: "paused" });
  pass(paused, silentAfterMs);
  await paused.sweepWith({});
  assert.deepEqual(await codes(paused), []);
  pass(paused, silentAfterMs);
  assert.deepEqual(await codes(paused), ["guest-silent"]);
  const found = makeBench();
  await found.sweepWith({});
  found.copy.says({ kind: "guest-reported", report: reportOf(1) });
  found.duties.forget(copyId);
  pass(found, silentAfterMs);
  found.duties.watch(found.copy.port);
  await found.sweepWith({});
  assert.deepEqual(await codes(found), []);
});

test("a copy that nobody owes anything keeps no duty of another from being looked at", async () => {
  const bench = makeBench({ copies: [copyId, otherCopyId] });
  bench.duties.assign([dutyOf({ copyId: otherCopyId, wantedRunState: "paused" })]);
  assert.equal(await bench.duties.sweep(), true);
  assert.deepEqual(
    bench.reports.map((report) => report.kind === "copy-seen" && [report.copyId, report.state]),
    [[otherCopyId, "paused"]],
  );
});
