// A file held exclusively, and read beside its holder: what is tried again, what is said of a fault, and that nothing of
// it stays open.
import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import {
  explainLockFault,
  holdExclusively,
  readRegardless,
  readUnheld,
} from "../../../agents/adapters/exclusive-file.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

async function makePath(t: TestContext): Promise<string> {
  const folder = await temporaryFolder();
  t.after(folder.remove);
  return `${folder.path}/file`;
}

/** Counts what is closed from now on. */
function watchClosing(t: TestContext, onClosed: (count: number) => void = () => {}) {
  const { close } = DatabaseSync.prototype;
  const closed = { count: 0 };
  t.mock.method(DatabaseSync.prototype, "close", function (this: DatabaseSync) {
    close.call(this);
    closed.count += 1;
    onClosed(closed.count);
  });
  return closed;
}

async function hold(path: string): Promise<DatabaseSync> {
  const held = await holdExclusively(path);
  assert.ok(held);
  return held;
}

const nothing = () => "read";
const withTable = (database: DatabaseSync) => database.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.["n"];

test("a file that stays held is asked for four times, and nothing stays open of it", async (t) => {
  const path = await makePath(t);
  const holder = await hold(path);
  const closed = watchClosing(t);
  assert.equal(await holdExclusively(path), null);
  assert.equal(closed.count, 4);
  assert.equal(await readUnheld(path, withTable), "held");
  assert.equal(closed.count, 8);
  holder.close();
});

test("a file that is held for an instant alone is taken, and read, all the same", async (t) => {
  const path = await makePath(t);
  let holder = await hold(path);
  const { close } = DatabaseSync.prototype;
  const closed = watchClosing(t, (count) => {
    if (count % 4 === 3) close.call(holder);
  });
  const taken = await hold(path);
  assert.equal(closed.count, 3);
  taken.close();
  holder = await hold(path);
  assert.equal(await readUnheld(path, withTable), 0);
  assert.equal(closed.count, 8);
});

test("what is no such file is a fault with its cause, not a file that is held", async (t) => {
  const path = await makePath(t);
  writeFileSync(path, "no database at all, and long enough to be looked at as one".repeat(20));
  const fault = (error: Error) => {
    assert.equal(error.message, `locking ${path}`);
    assert.equal((error.cause as { errcode: number }).errcode, 26);
    return true;
  };
  const closed = watchClosing(t);
  await assert.rejects(holdExclusively(path), fault);
  await assert.rejects(readUnheld(path, withTable), fault);
  assert.throws(() => readRegardless(path, withTable), fault);
  assert.equal(closed.count, 3);
});

test("a folder that is not there is a fault that names the file", async (t) => {
  const path = `${await makePath(t)}/in/it`;
  const fault = { message: `locking ${path}` };
  await assert.rejects(holdExclusively(path), fault);
  assert.throws(() => readRegardless(path, nothing), fault);
  assert.equal(await readUnheld(path, nothing), null);
});

test("who reads regardless of locks makes no file where there is none", async (t) => {
  const path = await makePath(t);
  assert.throws(() => readRegardless(path, nothing));
  assert.equal(existsSync(path), false);
});

test("a file is closed after it was read, also where what was read is refused", async (t) => {
  const path = await makePath(t);
  (await hold(path)).close();
  const closed = watchClosing(t);
  const refusal = new Error("refused");
  const refuse = () => {
    throw refusal;
  };
  assert.equal(await readUnheld(path, nothing), "read");
  await assert.rejects(readUnheld(path, refuse), refusal);
  assert.equal(readRegardless(path, nothing), "read");
  assert.throws(() => readRegardless(path, refuse), refusal);
  assert.equal(closed.count, 4);
});

test("a file system without locks is named as such, by the codes that locking fails with", () => {
  const explained = (errcode: number) => {
    const cause = Object.assign(new Error("as asked"), { errcode });
    const error = explainLockFault("/volume/file", cause);
    assert.equal(error.cause, cause);
    return error.message;
  };
  // SQLITE_IOERR in unlock, rdlock, checkreservedlock and lock; SQLITE_PROTOCOL, and one of its extended codes.
  for (const code of [2058, 2314, 3594, 3850, 15, 15 + 256])
    assert.match(explained(code), /^the file system of \/volume\/file offers no locks/, String(code));
  // SQLITE_IOERR, one in read, SQLITE_FULL, SQLITE_NOTADB.
  for (const code of [10, 266, 13, 26]) assert.equal(explained(code), "locking /volume/file", String(code));
});
