import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import { openSqliteTable, SqliteTableRefused } from "../../../functions/adapters/sqlite-table.ts";
import type { Change } from "../../../functions/ports/table.ts";
import { TableThrottled } from "../../../functions/ports/table.ts";
import { tableContract } from "../../contract/table.ts";

const folder = mkdtempSync(join(tmpdir(), "drover-sqlite-"));
let files = 0;
const freshFile = () => join(folder, `table-${++files}.db`);
after(() => rmSync(folder, { recursive: true, force: true }));

const key = { partition: "p", sort: "s" };
const firstPut: Change = { kind: "put", key, expected: "absent", schemaVersion: 1, data: { n: 1 } };

tableContract("SQLite", async () => {
  const table = openSqliteTable(freshFile());
  return { table, close: () => table.close() };
});

test("what one process's table commits, another table on the same file reads, also later", async () => {
  const file = freshFile();
  const first = openSqliteTable(file);
  const second = openSqliteTable(file);
  await first.commit([firstPut]);
  assert.equal((await second.get([key]))[0]?.revision, 1);
  await first.close();
  await second.close();
  const third = openSqliteTable(file);
  assert.deepEqual((await third.get([key]))[0]?.data, { n: 1 });
  await third.close();
});

test("a commit that meets another writer for too long is throttled, and did not happen", async () => {
  const file = freshFile();
  const table = openSqliteTable(file, { busyTimeoutMs: 1 });
  const other = new DatabaseSync(file);
  other.exec("BEGIN IMMEDIATE");
  await assert.rejects(table.commit([firstPut]), TableThrottled);
  assert.deepEqual(await table.get([key]), [null], "reading waits for nobody");
  other.exec("ROLLBACK");
  other.close();
  assert.deepEqual(await table.commit([firstPut]), { kind: "committed" });
  await table.close();
});

test("only its owner may read the file and its logs", async () => {
  const file = freshFile();
  const table = openSqliteTable(file);
  await table.commit([firstPut]);
  for (const name of [file, `${file}-wal`, `${file}-shm`]) assert.equal(statSync(name).mode & 0o077, 0, name);
  await table.close();
});

function refusal(file: string, pattern: RegExp, options = {}): void {
  assert.throws(
    () => openSqliteTable(file, options),
    (error) => error instanceof SqliteTableRefused && pattern.test(error.message),
  );
}

test("a file of a newer layout is refused by name", async () => {
  const file = freshFile();
  await openSqliteTable(file).close();
  const database = new DatabaseSync(file);
  database.exec("PRAGMA user_version = 2");
  database.close();
  refusal(file, /newer Drover \(layout 2, this one knows 1\)/);
});

test("somebody else's SQLite file is refused and left alone", () => {
  const file = freshFile();
  const database = new DatabaseSync(file);
  database.exec("CREATE TABLE theirs (x)");
  refusal(file, /not a Drover table/);
  assert.equal(database.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.["n"], 1);
  database.close();
});

test("what is no SQLite file is refused", () => {
  const file = freshFile();
  writeFileSync(file, "a shopping list, long enough to be taken for a header".repeat(50));
  refusal(file, /is not a SQLite file/);
});

test("a missing folder is refused by its path", () => {
  refusal(join(folder, "missing", "table.db"), /missing\/table\.db cannot be opened for writing: ENOENT/);
});

test("a network file system, where locks cannot be trusted, is refused by name", () => {
  refusal(freshFile(), /is on NFS, where SQLite cannot lock safely/, { fileSystemType: () => 0x6969 });
});

test("a file that another program holds exclusively is refused, saying so", () => {
  const file = freshFile();
  const database = new DatabaseSync(file);
  database.exec("PRAGMA locking_mode = EXCLUSIVE; CREATE TABLE theirs (x); BEGIN EXCLUSIVE");
  refusal(file, /another process holds it locked/, { busyTimeoutMs: 1 });
  database.close();
});
