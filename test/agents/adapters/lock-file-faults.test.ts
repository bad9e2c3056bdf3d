// The lock file as a file: replaced while it is opened, damaged, on a volume that fails, beside one who replaces it too.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { holdExclusively } from "../../../agents/adapters/exclusive-file.ts";
import { SqliteLockFiles } from "../../../agents/adapters/sqlite-lock-file.ts";
import type { HeldLock } from "../../../agents/ports/lock-file.ts";
import { failure, onFileCall } from "../../support/file-system.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const one = "copy_01KB0000000000000000000001";
const two = "copy_01KB0000000000000000000002";

async function makeVolume(t: TestContext) {
  const folder = await temporaryFolder();
  const locks = new SqliteLockFiles(folder.path);
  const held: HeldLock[] = [];
  t.after(async () => {
    for (const lock of held) await lock.release();
    await folder.remove();
  });
  const take = async (copyId: string, token: number, manner?: "usual" | "replace" | "own-only") => {
    const outcome = await locks.take("vm-1", copyId, token, manner);
    if (outcome.kind === "taken") held.push(outcome.lock);
    return outcome;
  };
  const taken = async (...request: Parameters<typeof take>): Promise<HeldLock> => {
    const outcome = await take(...request);
    assert.ok(outcome.kind === "taken", outcome.kind);
    return outcome.lock;
  };
  const path = `${folder.path}/locks/vm-1.lock`;
  return { volume: folder.path, locks, take, taken, path, names: () => readdirSync(`${folder.path}/locks`).sort() };
}

test("who may only take its own makes no file where there is none", async (t) => {
  const { take, names } = await makeVolume(t);
  assert.deepEqual(await take(one, 3, "own-only"), { kind: "superseded", stamp: null });
  assert.deepEqual(names(), []);
});

test("a lock file that another takes the place of while it is opened is not held, and is let go again", async (t) => {
  const { take, taken, path } = await makeVolume(t);
  await (await taken(one, 3)).release();
  const numbers: (bigint | null)[] = [];
  onFileCall(t, "statSync", (stat, ...given) => {
    if (given[0] !== path || numbers.length === 0) return stat(...given);
    const ino = numbers.shift();
    return ino === null ? undefined : { ino };
  });
  for (const seen of [
    [1n, 2n], // renamed over
    [1n, null], // removed
    [null, null], // removed before and after
  ]) {
    numbers.push(...seen);
    assert.deepEqual(await take(two, 4), { kind: "held" }, String(seen));
    const free = await holdExclusively(path);
    assert.ok(free, "nobody holds it");
    free.close();
  }
  assert.equal((await take(two, 4)).kind, "taken");
});

test("files are told apart by their whole number, also where it is beyond what a float holds", async (t) => {
  const { taken, path } = await makeVolume(t);
  let number = 2n ** 60n;
  onFileCall(t, "statSync", (stat, ...given) => {
    if (given[0] !== path) return stat(...given);
    return { ino: (given[1] as { bigint?: boolean }).bigint ? number : Number(number) };
  });
  const lock = await taken(one, 3);
  assert.equal(lock.isInPlace(), true);
  number += 1n;
  assert.equal(lock.isInPlace(), false);
});

test("a damaged lock file is refused by name, and nobody is left holding it", async (t) => {
  const { locks, take, taken, path } = await makeVolume(t);
  await (await taken(one, 3)).release();
  const database = new DatabaseSync(path);
  database.exec("UPDATE stamp SET copyId = 'nobody'");
  database.close();
  await assert.rejects(take(two, 4), /the lock file .*vm-1\.lock is damaged/);
  await assert.rejects(locks.read("vm-1"), /is damaged/, "it is free to be read");
});

test("a lock file that is let go permits nobody any more", async (t) => {
  const { taken } = await makeVolume(t);
  const lock = await taken(one, 3);
  await lock.release();
  await assert.rejects(lock.permitNext({ copyId: two }));
  assert.equal(lock.stamp.next, null);
});

test("a lock file that nobody holds is taken as it is on an operator's word, not replaced", async (t) => {
  const { taken, path } = await makeVolume(t);
  await (await taken(one, 3)).release();
  const before = statSync(path).ino;
  assert.equal((await taken(two, 4, "replace")).isInPlace(), true);
  assert.equal(statSync(path).ino, before);
});

test("a lock file is replaced by one at a time", async (t) => {
  const { take, taken, path } = await makeVolume(t);
  const lost = await taken(one, 3);
  const other = await holdExclusively(`${path}.replacing`);
  assert.deepEqual(await take(two, 4, "replace"), { kind: "held" });
  assert.equal(lost.isInPlace(), true);
  other?.close();
  assert.equal((await take(two, 4, "replace")).kind, "taken");
});

test("what takes the place of a lock file names its owner before it stands there, and leaves nothing beside it", async (t) => {
  const { taken, names, path } = await makeVolume(t);
  await taken(one, 3);
  // A volume that was cleared of what it needs not to have.
  rmSync(`${path}-journal`);
  const stamps: unknown[] = [];
  onFileCall(t, "renameSync", (rename, from, to) => {
    const database = new DatabaseSync(String(from), { readOnly: true });
    stamps.push({ ...database.prepare("SELECT copyId, fencingToken FROM stamp").get() });
    database.close();
    return rename(from, to);
  });
  await taken(two, 4, "replace");
  assert.deepEqual(stamps, [{ copyId: two, fencingToken: 4 }]);
  assert.deepEqual(
    names().filter((name) => name.includes(".new")),
    [],
  );
});

test("a lock file that cannot be replaced stays as it is, and nothing is left beside it", async (t) => {
  const { take, taken, names } = await makeVolume(t);
  const lost = await taken(one, 3);
  onFileCall(t, "renameSync", () => {
    throw failure("EACCES");
  });
  await assert.rejects(take(two, 4, "replace"), /EACCES/);
  assert.equal(lost.isInPlace(), true);
  assert.deepEqual(
    names().filter((name) => name.includes(".new")),
    [],
  );
});

test("a file that another has made under the same name is never put in place", async (t) => {
  const { take, taken, path } = await makeVolume(t);
  await taken(one, 3);
  const drawn = Buffer.alloc(6, 7);
  const { randomBytes } = crypto;
  Object.assign(crypto, { randomBytes: () => drawn });
  syncBuiltinESMExports();
  t.after(() => {
    Object.assign(crypto, { randomBytes });
    syncBuiltinESMExports();
  });
  const other = await holdExclusively(`${path}.${drawn.toString("hex")}.new`);
  t.after(() => other?.close());
  await assert.rejects(take(two, 4, "replace"), /another process holds .*\.new/);
});

test("a volume whose folder for lock files is there already serves as well", async (t) => {
  const { volume, take } = await makeVolume(t);
  mkdirSync(`${volume}/locks`);
  assert.equal((await take(one, 1)).kind, "taken");
});
