// The table in one SQLite file: the default on one machine, no server. Write-ahead log, synced at every commit, so what
// was acknowledged survives `kill -9` and a power cut. Several processes may have the same file open.
import { closeSync, openSync, statfsSync } from "node:fs";
import { dirname } from "node:path";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Change, CommitOutcome, Expected, Item, Key, RangeQuery, Table } from "../ports/table.ts";
import { OutcomeUnknown, TableFailing, TableThrottled } from "../ports/table.ts";
import type { EncodedChange } from "./table-input.ts";
import { boundsOf, checkKeys, checkRange, decodeData, encodeChanges } from "./table-input.ts";

/** "DRVR": tells our files from any other SQLite file. */
const applicationId = 0x44525652;
const layout = 1;
/** The text columns compare by their UTF-8 bytes: the encoding is UTF-8 and the collation BINARY. */
const layout1 = `
  CREATE TABLE items (
    partition TEXT NOT NULL, sort TEXT NOT NULL,
    revision INTEGER NOT NULL, schema_version INTEGER NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (partition, sort)
  ) STRICT`;

/** A result code's low byte says what went wrong; the rest only where. */
const sqlite = { busy: 5, readOnly: 8, full: 13, cannotOpen: 14, locking: 15, notADatabase: 26 } as const;
/** Their files cannot share the memory that a write-ahead log needs, and many only pretend to lock. */
const networkFileSystems = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x01021997, "9P"],
  [0x5346414f, "AFS"],
  [0x00c36400, "Ceph"],
]);

export type SqliteTableOptions = {
  /** How long a commit waits for another process that is writing, before it throws TableThrottled. Blocks this process. */
  busyTimeoutMs?: number;
  /** As statfs(2) gives it, for the folder of the file. */
  fileSystemType?: (folder: string) => number;
};

/** Opens the file, made when it is not there (its folder must be).
 *  @throws SqliteTableRefused when this platform, folder or file cannot carry a table, saying which and why */
export function openSqliteTable(path: string, options: SqliteTableOptions = {}): Table {
  const database = open(path, options);
  try {
    prepareFile(database, path);
    return tableOn(database);
  } catch (error) {
    database.close();
    throw error;
  }
}

export class SqliteTableRefused extends Error {
  override name = "SqliteTableRefused";
}

function open(path: string, { busyTimeoutMs = 2000, fileSystemType = typeOf }: SqliteTableOptions): DatabaseSync {
  const module = process.getBuiltinModule("node:sqlite");
  if (!module) {
    throw new SqliteTableRefused(
      `this Node (${process.version}) is built without node:sqlite; use Node 24.15 or newer`,
    );
  }
  try {
    // Made here rather than by SQLite, so that only its owner may read it; the log files inherit that.
    closeSync(openSync(path, "a", 0o600));
    const network = networkFileSystems.get(fileSystemType(dirname(path)));
    if (network) {
      throw new SqliteTableRefused(`${path} is on ${network}, where SQLite cannot lock safely; put it on a local disk`);
    }
    return new module.DatabaseSync(path, { timeout: busyTimeoutMs });
  } catch (error) {
    if (error instanceof SqliteTableRefused) throw error;
    throw new SqliteTableRefused(`${path} cannot be opened for writing: ${messageOf(error)}`, { cause: error });
  }
}

function typeOf(folder: string): number {
  return statfsSync(folder).type;
}

function prepareFile(database: DatabaseSync, path: string): void {
  try {
    const mode = value(database, "PRAGMA journal_mode = WAL");
    if (mode !== "wal") {
      throw new SqliteTableRefused(
        `${path}: no write-ahead log here (journal mode ${String(mode)}); put it on a local disk`,
      );
    }
    // fullfsync: on macOS a plain sync stops at the drive's cache; elsewhere it changes nothing.
    database.exec("PRAGMA synchronous = FULL; PRAGMA fullfsync = 1");
    database.exec("BEGIN IMMEDIATE"); // Also shows that locking works, before anything relies on it.
    try {
      createOrRecognise(database, path);
      database.exec("COMMIT");
    } finally {
      if (database.isTransaction) database.exec("ROLLBACK");
    }
  } catch (error) {
    if (error instanceof SqliteTableRefused) throw error;
    throw new SqliteTableRefused(`${path}: ${whyUnusable(error)}`, { cause: error });
  }
}

function createOrRecognise(database: DatabaseSync, path: string): void {
  const foundId = value(database, "PRAGMA application_id");
  const foundLayout = Number(value(database, "PRAGMA user_version"));
  const objects = value(database, "SELECT count(*) FROM sqlite_schema");
  if (foundId === 0 && foundLayout === 0 && objects === 0) {
    database.exec(`${layout1}; PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${layout}`);
    return;
  }
  if (foundId !== applicationId) throw new SqliteTableRefused(`${path} is a SQLite file, but not a Drover table`);
  if (foundLayout > layout) {
    throw new SqliteTableRefused(
      `${path} was written by a newer Drover (layout ${foundLayout}, this one knows ${layout}); start that one or a newer one`,
    );
  }
}

function value(database: DatabaseSync, sql: string): unknown {
  return Object.values(database.prepare(sql).get() ?? {})[0];
}

function whyUnusable(error: unknown): string {
  switch (resultCode(error)) {
    case sqlite.notADatabase:
      return "is not a SQLite file";
    case sqlite.readOnly:
      return "may not be written to";
    case sqlite.busy:
      return "another process holds it locked";
    case sqlite.locking:
      return "file locking does not work here; put it on a local disk";
    default:
      return `SQLite cannot lock or use it (${messageOf(error)}); put it on a local disk`;
  }
}

type Statements = Record<
  "select" | "insert" | "update" | "remove" | "begin" | "beginImmediate" | "commit" | "rollback",
  StatementSync
>;

function tableOn(database: DatabaseSync): Table {
  const statements: Statements = {
    select: database.prepare("SELECT * FROM items WHERE partition = ? AND sort = ?"),
    insert: database.prepare("INSERT INTO items VALUES (?, ?, ?, ?, ?)"),
    update: database.prepare(
      "UPDATE items SET revision = ?, schema_version = ?, data = ? WHERE partition = ? AND sort = ?",
    ),
    remove: database.prepare("DELETE FROM items WHERE partition = ? AND sort = ?"),
    begin: database.prepare("BEGIN"),
    beginImmediate: database.prepare("BEGIN IMMEDIATE"),
    commit: database.prepare("COMMIT"),
    rollback: database.prepare("ROLLBACK"),
  };
  const rangeStatements = new Map<string, StatementSync>();

  function refuseClosed(): void {
    if (!database.isOpen) throw new Error("table: closed");
  }

  function find(key: Key): Item | null {
    const row = statements.select.get(key.partition, key.sort);
    return row ? toItem(row) : null;
  }

  function rangeStatement(range: RangeQuery, conditions: string): StatementSync {
    const order = range.order === "descending" ? "DESC" : "ASC";
    const sql = `SELECT * FROM items WHERE partition = ? ${conditions} ORDER BY sort ${order} LIMIT ?`;
    const statement = rangeStatements.get(sql) ?? database.prepare(sql);
    rangeStatements.set(sql, statement);
    return statement;
  }

  function apply(changes: readonly EncodedChange[]): CommitOutcome {
    const standing = changes
      .map((change) => ({ change, item: find(change.key) }))
      .filter(({ change, item }) => !isAsExpected(item, change.expected))
      .map(({ change, item }) => ({ key: change.key, item }));
    if (standing.length > 0) return { kind: "conflict", standing };
    for (const change of changes) {
      const { partition, sort } = change.key;
      if (change.kind === "delete") statements.remove.run(partition, sort);
      if (change.kind !== "put") continue;
      const { expected, schemaVersion, text } = change;
      if (expected === "absent") statements.insert.run(partition, sort, 1, schemaVersion, text);
      else statements.update.run(expected + 1, schemaVersion, text, partition, sort);
    }
    return { kind: "committed" };
  }

  return {
    async get(keys: readonly Key[]): Promise<(Item | null)[]> {
      refuseClosed();
      checkKeys(keys);
      if (keys.length === 1) return keys.map(find);
      statements.begin.run(); // All of them as of one moment.
      try {
        return keys.map(find);
      } finally {
        statements.commit.run();
      }
    },

    async query(range: RangeQuery): Promise<{ items: Item[]; next: string | null }> {
      refuseClosed();
      checkRange(range);
      const { from, fromIncluded, below } = boundsOf(range);
      const conditions = `${from === null ? "" : `AND sort ${fromIncluded ? ">=" : ">"} ?`} ${below === null ? "" : "AND sort < ?"}`;
      const bounds = [from, below].filter((bound) => bound !== null);
      const rows = rangeStatement(range, conditions).all(range.partition, ...bounds, range.limit + 1);
      const items = rows.slice(0, range.limit).map(toItem);
      return { items, next: rows.length > items.length ? (items.at(-1)?.sort ?? null) : null };
    },

    async commit(changes: readonly Change[]): Promise<CommitOutcome> {
      refuseClosed();
      const encoded = encodeChanges(changes);
      let isAtCommit = false;
      try {
        statements.beginImmediate.run();
        const outcome = apply(encoded);
        if (outcome.kind === "conflict") return outcome;
        isAtCommit = true;
        statements.commit.run();
        return outcome;
      } catch (error) {
        throw isAtCommit ? unsureCommit(error) : failedCommit(error);
      } finally {
        if (database.isOpen && database.isTransaction) statements.rollback.run();
      }
    },

    async close(): Promise<void> {
      if (database.isOpen) database.close();
    },
  };
}

/** A commit that failed while it was being synced may still be found in the log after a crash. */
function unsureCommit(error: unknown): Error {
  return new OutcomeUnknown(`committing to SQLite: ${messageOf(error)}`, { cause: error });
}

/** Before COMMIT nothing lasts. */
function failedCommit(error: unknown): Error {
  const code = resultCode(error);
  if (code === sqlite.busy) return new TableThrottled("SQLite: another process is writing", { cause: error });
  if (code === sqlite.full) return new TableFailing("SQLite: the disk is full", { cause: error });
  return new Error("changing items in SQLite", { cause: error });
}

function isAsExpected(item: Item | null, expected: Expected): boolean {
  return expected === "absent" ? item === null : item?.revision === expected;
}

function toItem(row: Record<string, unknown>): Item {
  const { partition, sort, revision, schema_version: schemaVersion, data } = row;
  return {
    partition: String(partition),
    sort: String(sort),
    revision: Number(revision),
    schemaVersion: Number(schemaVersion),
    data: decodeData(String(data)),
  };
}

function resultCode(error: unknown): number | null {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return null;
  return error.errcode & 0xff;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
