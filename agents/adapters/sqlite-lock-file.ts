// Lock files on the shared volume: `<shared volume>/locks/<vmId>.lock`, a SQLite file each, held exclusively by the
// guest's supervisor. The stamp is a row in it, committed with full sync while the lock stays held.
import { existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { CopyId, FencingToken, VmId } from "../../schemas/ids.ts";
import type { HeldLock, LockFiles, LockStamp, TakeManner, TakeOutcome } from "../ports/lock-file.ts";
import { syncFolder } from "./durable-file.ts";
import { explainLockFault, holdExclusively, readUnheld } from "./exclusive-file.ts";
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
    let database = await holdExclusively(path);
    if (!database && manner === "replace") {
      await replaceFile(path, { copyId, fencingToken, next: null });
      database = await holdExclusively(path);
    }
    if (!database) return { kind: "held" };
    try {
      database.exec(stampTable);
      const found = readStamp(database, path);
      const stamp = stampFor(found, copyId, fencingToken, manner);
      if (!stamp) {
        database.close();
        return { kind: "superseded", stamp: found };
      }
      writeStamp(database, stamp);
      return { kind: "taken", lock: heldLock(database, stamp, path) };
    } catch (error) {
      if (database.isOpen) database.close();
      throw explainLockFault(path, error);
    }
  }

  async read(vmId: string): Promise<LockStamp | "held" | null> {
    const path = this.#path(vmId);
    return readUnheld(path, (database) => readStamp(database, path));
  }

  #path(vmId: string): string {
    return join(this.#volume, "locks", `${VmId.parse(vmId)}.lock`);
  }
}

const stampTable =
  "CREATE TABLE IF NOT EXISTS stamp (one INTEGER PRIMARY KEY CHECK (one = 1), copyId TEXT NOT NULL, " +
  "fencingToken INTEGER NOT NULL, nextCopyId TEXT) STRICT";

/** Puts a free file with this stamp in the place of one that looks held: its holder keeps a file that nobody sees. */
async function replaceFile(path: string, stamp: LockStamp): Promise<void> {
  const fresh = `${path}.new`;
  for (const left of [fresh, `${fresh}-journal`]) rmSync(left, { force: true });
  const database = await holdExclusively(fresh);
  if (!database) throw new Error(`another process is replacing the lock file ${path}`);
  try {
    database.exec(stampTable);
    writeStamp(database, stamp);
  } finally {
    database.close();
  }
  // The old file's journal would be taken for the new one's.
  for (const journal of [`${fresh}-journal`, `${path}-journal`]) rmSync(journal, { force: true });
  renameSync(fresh, path);
  await syncFolder(dirname(path));
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

function heldLock(database: DatabaseSync, first: LockStamp, path: string): HeldLock {
  let stamp = first;
  const { ino } = statSync(path);
  return {
    isInPlace() {
      return existsSync(path) && statSync(path).ino === ino;
    },
    get stamp() {
      return stamp;
    },
    async permitNext(next) {
      const permitted = { ...stamp, next };
      try {
        writeStamp(database, permitted);
      } catch (error) {
        throw explainLockFault(path, error);
      }
      stamp = permitted;
    },
    async release() {
      if (database.isOpen) database.close();
    },
  };
}
