// A SQLite file held exclusively for as long as this process lives: the kernel frees it when the process dies, also by
// kill -9. Its content can be changed durably while it stays held.
import { existsSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const busyCode = 5;
const protocolCode = 15;
/** Extended codes of SQLITE_IOERR that come from the locking calls. */
const lockingFaults = new Set([2058, 2314, 3594, 3850]); // unlock, rdlock, checkreservedlock, lock

type SqliteError = Error & { errcode?: number };

export const isBusy = (error: unknown): boolean => ((error as SqliteError).errcode ?? 0) % 256 === busyCode;

/** Names the fault when it is the file system's lack of locks. */
export function explainLockFault(path: string, error: unknown): Error {
  const fault = error as SqliteError;
  const code = fault.errcode;
  if (code === undefined) return fault;
  if (lockingFaults.has(code) || code % 256 === protocolCode) {
    return new Error(`the file system of ${path} offers no locks; a shared volume must, to bar a second copy`, {
      cause: error,
    });
  }
  return new Error(`locking ${path}`, { cause: error });
}

/** Opens the file with an exclusive lock that stays until `close`.
 *  @returns null when another process holds it
 *  @throws when it cannot be reached, or the file system has no locks */
export async function holdExclusively(path: string): Promise<DatabaseSync | null> {
  // A reader holds the file for an instant; that must not look like a holder.
  for (let attempt = 0; ; attempt++) {
    const database = tryHold(path);
    if (database || attempt === 3) return database;
    await delay(5);
  }
}

function tryHold(path: string): DatabaseSync | null {
  const database = open(path);
  try {
    // The rollback journal stays in place and is only marked empty: making and removing it would cost two more syncs.
    database.exec("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=PERSIST; PRAGMA synchronous=FULL");
    // With locking_mode=EXCLUSIVE the lock taken here outlives the transaction.
    database.exec("BEGIN EXCLUSIVE; COMMIT");
    return database;
  } catch (error) {
    database.close();
    if (isBusy(error)) return null;
    throw explainLockFault(path, error);
  }
}

/** Reads a file that nobody holds; "held" when somebody does, null when there is none. */
export async function readUnheld<T>(path: string, read: (database: DatabaseSync) => T): Promise<T | "held" | null> {
  if (!existsSync(path)) return null;
  for (let attempt = 0; ; attempt++) {
    const database = open(path);
    try {
      return read(database);
    } catch (error) {
      if (!isBusy(error)) throw explainLockFault(path, error);
      if (attempt === 3) return "held";
    } finally {
      database.close();
    }
    await delay(5);
  }
}

/** Reads a file whatever locks it bears, and disturbs none of them: what was last written to it, committed or about to be. */
export function readRegardless<T>(path: string, read: (database: DatabaseSync) => T): T {
  const address = pathToFileURL(path);
  address.searchParams.set("immutable", "1");
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(address, { readOnly: true });
    return read(database);
  } catch (error) {
    throw explainLockFault(path, error);
  } finally {
    database?.close();
  }
}

function open(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path);
  } catch (error) {
    throw explainLockFault(path, error);
  }
}
