// What a host owes its guests: each is brought to what its user wants of it, once, and what was seen is told until it is
// heard.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MigrationJournal } from "../../agents/ports/journal.ts";
import { copyId, dutyOf, makeBench, otherCopyId } from "./duty-bench.ts";

const refusedBy = { kind: "refused", by: "lock-held", detail: "by copy_Z" } as const;

test("a guest begins once: launched, run under its duty's token, and told of as it is", async () => {
  const bench = makeBench({ copies: [] });
  bench.duties.assign([dutyOf({ fencingToken: 7, replaceLockFile: true })]);
  assert.equal(await bench.duties.sweep(), true);
  assert.deepEqual(bench.launched, [
    { vmId: "vm-1", copyId, spec: dutyOf({}).spec, arriving: false, migrationId: null },
  ]);
  assert.deepEqual(bench.done, ["run 7 true"]);
  assert.deepEqual(bench.seen(), [["running", "ordered", "", 7, 0]]);
  assert.equal(bench.journal.highestToken("vm-1"), 7);
  assert.equal(await bench.duties.sweep(), true);
  assert.deepEqual([bench.done, bench.reports.length], [["run 7 true"], 1], "nothing is done or told twice");
});

test("what is told names the guest, its copy and the token, and no migration", async () => {
  const bench = makeBench();
  await bench.sweepWith({});
  assert.deepEqual(bench.reports, [
    {
      kind: "copy-seen",
      vmId: "vm-1",
      copyId,
      fencingToken: 7,
      state: "running",
      because: "ordered",
      detail: "",
      migrationId: null,
      summary: null,
      resets: 0,
    },
  ]);
});

test("a guest that is wanted paused by the time it begins is paused after its first instruction", async () => {
  const bench = makeBench({ copies: [] });
  assert.equal(await bench.sweepWith({ wantedRunState: "paused" }), true);
  assert.deepEqual(bench.done, ["run 7", "pause"]);
  assert.deepEqual(bench.seen(), [["paused", "ordered", "", 7, 0]]);
});

test("a copy that was launched before the agent died is run, not launched again", async () => {
  const bench = makeBench({ machine: "held" });
  assert.equal(await bench.sweepWith({ hasRun: false }), true);
  assert.deepEqual([bench.launched, bench.done], [[], ["run 7"]]);
});

test("a guest that has run and is not here is lost, and never built anew; a boot is named where there was one", async () => {
  for (const isFirstLife of [false, true]) {
    const bench = makeBench({ copies: [], isFirstLife });
    assert.equal(await bench.sweepWith({ hasRun: true }), true);
    const because = isFirstLife ? "host-rebooted" : "killed";
    assert.deepEqual(bench.seen(), [["gone", because, "its process and its folder are gone", 7, 0]]);
    assert.deepEqual([bench.launched, bench.done], [[], []]);
    assert.equal(await bench.sweepWith({ hasRun: false }), true);
    assert.deepEqual([bench.launched, bench.reports.length], [[], 1], "once told gone, it begins no more");
  }
});

test("a guest is paused and let go on as its user wishes, and no more than is needed", async () => {
  const bench = makeBench();
  assert.equal(await bench.sweepWith({}), true);
  assert.deepEqual(bench.done, []);
  assert.equal(await bench.sweepWith({ wantedRunState: "paused", fencingToken: 8 }), true);
  assert.deepEqual(bench.done, ["pause"]);
  assert.equal(await bench.sweepWith({ wantedRunState: "paused", fencingToken: 8 }), true);
  assert.deepEqual(bench.done, ["pause"]);
  assert.equal(await bench.sweepWith({ fencingToken: 9 }), true);
  assert.deepEqual(bench.done, ["pause", "resume 9"]);
  assert.deepEqual(
    bench.seen().map(([state]) => state),
    ["running", "paused", "running"],
  );
});

test("a guest is reset as often as was asked, each once, before it is let go on or stands", async () => {
  const bench = makeBench();
  assert.equal(await bench.sweepWith({ resets: 2 }), true);
  assert.equal(await bench.sweepWith({ resets: 2 }), true);
  assert.deepEqual(bench.done, ["reset 2"]);
  assert.equal(await bench.sweepWith({ resets: 3, wantedRunState: "paused" }), true);
  assert.deepEqual(bench.done, ["reset 2", "reset 3", "pause"]);
  assert.equal(await bench.sweepWith({ resets: 1, wantedRunState: "paused" }), true);
  assert.deepEqual(
    bench.seen().map(([state, , , , resets]) => [state, resets]),
    [
      ["running", 2],
      ["paused", 3],
    ],
    "it has made more than this duty asks for, and says so",
  );
});

test("a guest is stopped as ordered, and gone from here; said again, it is told again", async () => {
  const bench = makeBench();
  assert.equal(await bench.sweepWith({ wantedRunState: "stopped" }), true);
  assert.deepEqual(bench.done, ["destroy"]);
  assert.deepEqual(bench.seen(), [["gone", "ordered", "", 7, 0]]);
  assert.equal(bench.duties.find(copyId), null);
  assert.equal(bench.duties.copyCount, 0);
  await bench.sweepWith({ wantedRunState: "stopped", fencingToken: 8 });
  assert.deepEqual(bench.seen()[1], ["gone", "ordered", "", 8, 0], "a later order finds it ended by the one before");
  assert.equal(await bench.sweepWith({ hasRun: false, fencingToken: 9 }), true);
  assert.deepEqual(bench.launched, []);
});

test("a guest that was stopped as ordered is told of as that, though it was not heard at first", async () => {
  const bench = makeBench({ answer: "unknown" });
  assert.equal(await bench.sweepWith({ wantedRunState: "stopped" }), false);
  bench.answer = "applied";
  assert.equal(await bench.sweepWith({ wantedRunState: "stopped" }), true);
  const gone = ["gone", "ordered", "", 7, 0];
  assert.deepEqual([bench.seen(), bench.done], [[gone, gone], ["destroy"]]);
});

test("a reset that was made is told, though nothing else has changed", async () => {
  const bench = makeBench();
  await bench.sweepWith({});
  await bench.sweepWith({ resets: 1 });
  assert.deepEqual(
    bench.seen().map(([state, , , token, resets]) => [state, token, resets]),
    [
      ["running", 7, 0],
      ["running", 7, 1],
    ],
  );
});

test("a guest that is to be stopped and never was here is told of as one that never began", async () => {
  const bench = makeBench({ copies: [] });
  assert.equal(await bench.sweepWith({ wantedRunState: "stopped", hasRun: false }), true);
  assert.deepEqual(bench.seen(), [["gone", "never-started", "", 7, 0]]);
});

test("a guest that ended is told of with its end, then cleared away", async () => {
  const bench = makeBench({ machine: "ended" });
  bench.copy.ended = { how: "powered-off", detail: "x".repeat(2000) };
  assert.equal(await bench.sweepWith({}), true);
  assert.deepEqual(bench.order, ["told gone", "destroy"]);
  assert.deepEqual(bench.seen(), [["gone", "powered-off", "x".repeat(1000), 7, 0]]);
  assert.equal(bench.duties.find(copyId), null);
});

test("a guest that ended is not cleared away before its end was heard", async () => {
  const bench = makeBench({ machine: "ended" });
  bench.copy.ended = { how: "crashed", detail: "" };
  for (const answer of ["unknown", "later"] as const) {
    bench.answer = answer;
    assert.equal(await bench.sweepWith({}), false);
    assert.deepEqual(bench.done, []);
    assert.equal(bench.duties.find(copyId), bench.copy.port);
  }
  bench.answer = "applied";
  assert.equal(await bench.sweepWith({}), true);
  assert.deepEqual(bench.done, ["destroy"]);
  const final = makeBench({ machine: "ended", answer: "refused" });
  assert.equal(await final.sweepWith({}), true);
  assert.deepEqual(final.done, ["destroy"], "what is refused for good was heard");
});

test("why a guest is gone: its own end, the boot that ended it, or the order that was under way", async () => {
  const becauseOf = async (
    how: "killed" | "crashed" | null,
    { isFirstLife = false, found = "as the agent began" as "as the agent began" | "since", isStop = false },
  ) => {
    const bench = makeBench({ machine: "ended", isFirstLife, found });
    bench.copy.ended = how && { how, detail: "" };
    await bench.sweepWith({ wantedRunState: isStop ? "stopped" : "running" });
    assert.deepEqual(bench.done, ["destroy"]);
    return bench.seen()[0]?.[1];
  };
  assert.equal(await becauseOf("killed", {}), "killed");
  assert.equal(await becauseOf(null, {}), "killed");
  assert.equal(await becauseOf("killed", { isFirstLife: true }), "host-rebooted");
  assert.equal(await becauseOf("killed", { isFirstLife: true, found: "since" }), "killed", "no boot ended that one");
  assert.equal(await becauseOf("crashed", { isFirstLife: true }), "crashed");
  assert.equal(await becauseOf("killed", { isStop: true }), "ordered");
  assert.equal(await becauseOf("killed", { isStop: true, isFirstLife: true }), "ordered");
  assert.equal(await becauseOf(null, { isStop: true }), "ordered");
  assert.equal(await becauseOf("crashed", { isStop: true }), "crashed", "it had ended before");
});

test("a duty under an older token than this host has seen is not carried out", async () => {
  const bench = makeBench();
  await bench.journal.raiseToken("vm-1", 8);
  assert.equal(await bench.sweepWith({ wantedRunState: "stopped" }), true);
  assert.deepEqual([bench.done, bench.reports, bench.events()], [[], [], ["stale-duty"]]);
  assert.equal(await bench.sweepWith({ wantedRunState: "stopped", fencingToken: 8 }), true);
  assert.deepEqual(bench.done, ["destroy"]);
});

test("nothing is done under a token that cannot be kept", async () => {
  const bench = makeBench({ machine: "held" });
  bench.disk.failing = true;
  assert.equal(await bench.sweepWith({}), false);
  assert.deepEqual([bench.done, bench.events()], [[], ["duty-failed"]]);
  bench.disk.failing = false;
  assert.equal(await bench.sweepWith({}), true);
  assert.deepEqual(bench.done, ["run 7"]);
});

test("a duty waits while this host has a part before it in a migration of the VM, by another copy", async () => {
  const bench = makeBench({ copies: [] });
  const entryOf = (changes: { vmId?: string; over?: true; copyId?: string }): MigrationJournal => {
    const own = { hostId: "host-a", copyId: changes.copyId ?? otherCopyId };
    const assignment = {
      vmId: changes.vmId ?? "vm-1",
      source: own,
      destination: { hostId: "host-b", copyId: "copy_X" },
    };
    const claimed = { role: "source", assignment } as unknown as MigrationJournal["claimed"];
    return { migrationId: "mig_1", claimed, ...(changes.over ? { over: true } : {}) };
  };
  await bench.journal.write(entryOf({}));
  assert.equal(await bench.sweepWith({}), false);
  assert.deepEqual([bench.launched, bench.journal.highestToken("vm-1")], [[], 0]);
  for (const changes of [{ over: true }, { vmId: "vm-2" }, { copyId }] as const) {
    const free = makeBench({ copies: [] });
    await free.journal.write(entryOf(changes));
    assert.equal(await free.sweepWith({}), true);
    assert.equal(free.launched.length, 1);
  }
});

test("a guest that is refused by its lock file is told of and alarmed, and tried again", async () => {
  for (const machine of ["held", "stopped"] as const) {
    const bench = makeBench({ machine });
    bench.copy.permit = refusedBy;
    assert.equal(await bench.sweepWith({}), false);
    assert.deepEqual(bench.seen(), [["held", "ordered", "lock-held: by copy_Z", 7, 0]]);
    assert.deepEqual(await bench.duties.alarms(() => true), [
      { vm: "vm-1", copyId, code: "run-refused", detail: "lock-held: by copy_Z" },
    ]);
    assert.deepEqual(await bench.duties.alarms(() => false), []);
    assert.equal(await bench.sweepWith({}), false, "it is not as wanted");
    const tried = machine === "held" ? "run 7" : "resume 7";
    assert.deepEqual(bench.done, [tried, tried]);
    assert.equal(bench.reports.length, 1);
    bench.copy.permit = { kind: "granted" };
    assert.equal(await bench.sweepWith({}), true);
    assert.deepEqual(await bench.duties.alarms(() => true), []);
    assert.equal(bench.seen()[1]?.[0], "running");
    assert.deepEqual(bench.logged[0], {
      event: "run-refused",
      vmId: "vm-1",
      copyId,
      detail: "lock-held: by copy_Z",
    });
  }
});

test("what is told of a refusal is cut to what the control plane takes", async () => {
  const bench = makeBench({ machine: "held" });
  bench.copy.permit = { ...refusedBy, detail: "y".repeat(2000) };
  await bench.sweepWith({});
  assert.equal(bench.seen()[0]?.[2].length, 1000);
  assert.equal((await bench.duties.alarms(() => true))[0]?.detail.length, 1000);
});

test("a guest that executes without its lock file is left alone, and alarmed until it has it again or stands", async () => {
  const bench = makeBench();
  bench.copy.lock = "free";
  assert.equal(await bench.sweepWith({}), true);
  assert.deepEqual(await bench.duties.alarms(() => true), [
    { vm: "vm-1", copyId, code: "lock-file-not-held", detail: "its supervisor could not take it" },
  ]);
  assert.deepEqual(bench.done, []);
  bench.copy.lock = "held";
  assert.equal(await bench.sweepWith({}), true);
  assert.deepEqual(await bench.duties.alarms(() => true), []);
  bench.copy.lock = "free";
  await bench.sweepWith({});
  await bench.sweepWith({ wantedRunState: "paused" });
  assert.deepEqual(await bench.duties.alarms(() => true), []);
});

test("a duty that fails is named, keeps no other from being carried out, and is tried again", async () => {
  const bench = makeBench();
  bench.copy.failing = true;
  bench.duties.assign([dutyOf({ wantedRunState: "paused" }), dutyOf({ vmId: "vm-2", copyId: otherCopyId })]);
  assert.equal(await bench.duties.sweep(), false);
  assert.deepEqual(bench.logged, [{ event: "duty-failed", vmId: "vm-1", copyId, error: "its supervisor is gone" }]);
  assert.deepEqual(bench.launched.length, 1);
  bench.copy.failing = false;
  assert.equal(await bench.duties.sweep(), true);
});

test("what was not heard is told again; what was refused for good is not", async () => {
  const bench = makeBench({ answer: "unknown" });
  assert.equal(await bench.sweepWith({}), false);
  bench.answer = "later";
  assert.equal(await bench.sweepWith({}), false);
  bench.answer = "refused";
  assert.equal(await bench.sweepWith({}), true);
  assert.equal(await bench.sweepWith({}), true);
  assert.equal(bench.reports.length, 3);
  bench.answer = "applied";
  assert.equal(await bench.sweepWith({ fencingToken: 8 }), true);
  assert.equal(bench.reports.length, 4, "under a newer token it is news");
});

test("a gone copy whose report was not heard may begin yet where it never had", async () => {
  const bench = makeBench({ copies: [], answer: "unknown" });
  assert.equal(await bench.sweepWith({ wantedRunState: "stopped", hasRun: false }), false);
  bench.answer = "applied";
  assert.equal(await bench.sweepWith({ hasRun: false }), true);
  assert.equal(bench.launched.length, 1);
});
