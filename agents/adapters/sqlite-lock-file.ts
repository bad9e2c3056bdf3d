// Lock files on the shared volume: `<shared volume>/locks/<vmId>.lock`, a SQLite file each, held exclusively by the
// guest's supervisor. The stamp is a row in it, committed with full sync while the lock stays held.
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { CopyId, FencingToken, VmId } from "../../schemas/ids.ts";
import type { HeldLock, LockFiles, LockStamp, TakeManner, TakeOutcome } from "../ports/lock-file.ts";
import { syncFolder } from "./durable-file.ts";
import { explainLockFault, holdExclusively, readRegardless, readUnheld } from "./exclusive-file.ts";
import { stampFor } from "./lock-rule.ts";

const StampRow = z.object({ copyId: CopyId, fencingToken: FencingToken, nextCopyId: CopyId.nullable() });

export class SqliteLockFiles implements LockFiles {
  readonly #volume: string;

  /** @param sharedVolume a folder that both hosts see, on a file system with working locks */
  constructor(sharedVolume: string) {
    this.#volume = sharedVolume;
  }

  async take(vmId: string, copyId: string, fencingToken: number, manner: TakeManner = "usual"): Promise<TakeOutcome> {
    const path = this.#path(vmId);
    // The volume itself is never made: a missing mount would look like a volume without locks held.
    if (!existsSync(this.#volume)) throw new Error(`the shared volume ${this.#volume} is not there`);
    mkdirSync(join(this.#volume, "locks"), { recursive: true });
    if (manner === "own-only" && !existsSync(path)) return { kind: "superseded", stamp: null };
    const taken = await takeFree(path, copyId, fencingToken, manner);
    return taken.kind === "held" && manner === "replace" ? replace(path, copyId, fencingToken) : taken;
  }

  async read(vmId: string): Promise<LockStamp | "held" | null> {
    const path = this.#path(vmId);
    return readUnheld(path, (database) => readStamp(database, path));
  }

  #path(vmId: string): string {
    return join(this.#volume, "locks", `${VmId.parse(vmId)}.lock`);
  }
}

async function takeFree(path: string, copyId: string, fencingToken: number, manner: TakeManner): Promise<TakeOutcome> {
  const before = fileNumber(path);
  const database = await holdExclusively(path);
  if (!database) return { kind: "held" };
  const number = fileNumber(path);
  if (number === null || (before !== null && number !== before)) {
    database.close(); // Another file has just taken the place of the one that was opened.
    return { kind: "held" };
  }
  try {
    database.exec(stampTable);
    const found = readStamp(database, path);
    const stamp = stampFor(found, copyId, fencingToken, manner);
    if (!stamp) {
      database.close();
      return { kind: "superseded", stamp: found };
    }
    writeStamp(database, stamp);
    return { kind: "taken", lock: heldLock(database, stamp, { path, number }) };
  } catch (error) {
    database.close();
    throw explainLockFault(path, error);
  }
}

/** Which file stands at the path; null for none. */
const fileNumber = (path: string): bigint | null =>
  statSync(path, { bigint: true, throwIfNoEntry: false })?.ino ?? null;

const stampTable =
  "CREATE TABLE IF NOT EXISTS stamp (one INTEGER PRIMARY KEY CHECK (one = 1), copyId TEXT NOT NULL, " +
  "fencingToken INTEGER NOT NULL, nextCopyId TEXT) STRICT";

/** On an operator's word: a fresh file takes the place of one that looks held. Whoever held that one keeps a file that
 *  nobody sees. The rule holds all the same: a word that is late must not replace the file of a newer owner (L1, L2). */
async function replace(path: string, copyId: string, fencingToken: number): Promise<TakeOutcome> {
  // One at a time, or a late word could come between another's look at the stamp and its fresh file.
  const guard = await holdExclusively(`${path}.replacing`);
  if (!guard) return { kind: "held" };
  try {
    const found = readRegardless(path, (database) => readStamp(database, path));
    const stamp = stampFor(found, copyId, fencingToken);
    if (!stamp) return { kind: "superseded", stamp: found };
    await putFresh(path, stamp);
    return await takeFree(path, copyId, fencingToken, "usual");
  } finally {
    guard.close();
  }
}

async function putFresh(path: string, stamp: LockStamp): Promise<void> {
  const fresh = `${path}.${randomBytes(6).toString("hex")}.new`;
  try {
    const database = await holdExclusively(fresh);
    if (!database) throw new Error(`another process holds ${fresh}`);
    try {
      database.exec(stampTable);
      writeStamp(database, stamp);
    } finally {
      database.close();
    }
    // The old file's journal would be taken for the new one's.
    rmSync(`${path}-journal`, { force: true });
    renameSync(fresh, path);
    await syncFolder(dirname(path));
  } finally {
    for (const left of [fresh, `${fresh}-journal`]) rmSync(left, { force: true });
  }
}

function readStamp(database: DatabaseSync, path: string): LockStamp | null {
  const hasTable = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'stamp'").get();
  const row = hasTable && database.prepare("SELECT copyId, fencingToken, nextCopyId FROM stamp WHERE one = 1").get();
  if (!row) return null;
  const parsed = StampRow.safeParse(row);
  if (!parsed.success) throw new Error(`the lock file ${path} is damaged`);
  const { copyId, fencingToken, nextCopyId } = parsed.data;
  return { copyId, fencingToken, next: nextCopyId === null ? null : { copyId: nextCopyId } };
}

function writeStamp(database: DatabaseSync, stamp: LockStamp): void {
  database
    .prepare("INSERT OR REPLACE INTO stamp (one, copyId, fencingToken, nextCopyId) VALUES (1, ?, ?, ?)")
    .run(stamp.copyId, stamp.fencingToken, stamp.next?.copyId ?? null);
}

function heldLock(database: DatabaseSync, first: LockStamp, file: { path: string; number: bigint }): HeldLock {
  let stamp = first;
  return {
    isInPlace: () => fileNumber(file.path) === file.number,
    get stamp() {
      return stamp;
    },
    async permitNext(next) {
      const permitted = { ...stamp, next };
      try {
        writeStamp(database, permitted);
      } catch (error) {
        throw explainLockFault(file.path, error);
      }
      stamp = permitted;
    },
    async release() {
      if (database.isOpen) database.close();
    },
  };
}
