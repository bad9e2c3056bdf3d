// A supervisor's lock file: what it says of itself, why it is refused, and the alarm.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryLockVolume } from "../../../agents/adapters/memory-lock-file.ts";
import { LockHold } from "../../../agents/supervisor/lock-hold.ts";

function makeHold(volume = new MemoryLockVolume(), copyId = "copy_A") {
  const alarms: [boolean, string][] = [];
  const owner = { vmId: "vm-1", copyId };
  const hold = new LockHold(volume.as({}), owner, (standing, detail) => alarms.push([standing, detail]));
  return { volume, hold, alarms };
}

test("a lock file is held from its taking to its release, under the token it was taken under", async () => {
  const { hold } = makeHold();
  assert.deepEqual([hold.isHeld, hold.fencingToken], [false, null]);
  assert.equal(await hold.take(7), null);
  assert.deepEqual([hold.isHeld, hold.fencingToken], [true, 7]);
  assert.equal(await hold.take(9), null, "it is held already");
  assert.equal(hold.fencingToken, 7);
  await hold.release();
  assert.deepEqual([hold.isHeld, hold.fencingToken], [false, null]);
  await hold.release();
});

test("what is released is free for another, and what a refused copy never had stays with who has it", async () => {
  const { volume, hold } = makeHold();
  const other = makeHold(volume, "copy_B").hold;
  await hold.take(7);
  assert.deepEqual(await other.take(8), {
    kind: "refused",
    by: "lock-held",
    detail: "another process holds the lock file",
  });
  assert.equal(other.isHeld, false);
  await hold.release();
  assert.equal(await other.take(8), null);
  assert.deepEqual(await hold.take(7), {
    kind: "refused",
    by: "lock-held",
    detail: "another process holds the lock file",
  });
});

test("a lock file that names another copy, or nobody, is refused by that name", async () => {
  const { volume, hold } = makeHold();
  const other = makeHold(volume, "copy_B").hold;
  assert.deepEqual(await hold.take(7, "own-only"), {
    kind: "refused",
    by: "lock-superseded",
    detail: "the lock file names nobody",
  });
  await other.take(8);
  await other.release();
  assert.deepEqual(await hold.take(7), {
    kind: "refused",
    by: "lock-superseded",
    detail: "the lock file names copy_B under token 8",
  });
  assert.equal(hold.isHeld, false);
});

test("a volume that cannot be reached refuses by that name, and proves nothing", async () => {
  const { volume, hold } = makeHold();
  volume.unreachable = true;
  assert.deepEqual(await hold.take(7), {
    kind: "refused",
    by: "lock-unreachable",
    detail: "the shared volume cannot be reached",
  });
});

test("who is permitted next may take it over; nobody is permitted by one that does not hold it", async () => {
  const { volume, hold } = makeHold();
  await assert.rejects(hold.permitNext({ copyId: "copy_B" }), /the lock file is not held/);
  await hold.take(7);
  await hold.permitNext({ copyId: "copy_B" });
  await hold.release();
  assert.deepEqual(await volume.as({}).read("vm-1"), {
    copyId: "copy_A",
    fencingToken: 7,
    next: { copyId: "copy_B" },
  });
});

test("a lock file that was replaced on an operator's word guards nothing: it is let go and asked for anew", async () => {
  const { volume, hold } = makeHold();
  const other = makeHold(volume, "copy_B").hold;
  await hold.take(7);
  assert.equal(await other.take(8, "replace"), null);
  assert.deepEqual([hold.fencingToken, other.fencingToken], [null, 8]);
  assert.equal((await hold.take(7))?.by, "lock-held");
  assert.deepEqual([hold.isHeld, other.isHeld], [false, true]);
});

test("an alarm is told once, and once that it is over, also when the lock file is held again", async () => {
  const { hold, alarms } = makeHold();
  hold.alarm(false, "nothing stands");
  assert.deepEqual(alarms, []);
  hold.alarm(true, "gone");
  hold.alarm(true, "still gone");
  assert.deepEqual(alarms, [[true, "gone"]]);
  await hold.take(7);
  assert.deepEqual(alarms.slice(1), [[false, "the lock file is held again"]]);
  hold.alarm(false, "again");
  assert.equal(alarms.length, 2);
});
