// The gate as files: one per migration, whose name appears at once with its content (link) or not at all. The link is
// the exclusive creation: exactly one process makes it, all others read what stands.
// Synchronous on purpose: it is called within the downtime, by a process that has nothing else to do meanwhile.
import { randomBytes } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { MigrationId } from "../../schemas/ids.ts";
import type { Gate, GateDecision } from "../ports/gate.ts";
import { temporarySuffix } from "./durable-file.ts";

/** A decision takes milliseconds; what is older was left by one that was cut short. */
const leftoverMs = 10 * 60_000;

export class FileGate implements Gate {
  readonly #folder: string;

  /** @param folder on a local disk; made if absent. One file per migration, a few bytes each. */
  constructor(folder: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#folder = folder;
    sweep(folder);
  }

  async decide(migrationId: string, decision: GateDecision): Promise<GateDecision> {
    const path = this.#path(migrationId);
    const standing = this.#standing(path);
    if (standing) return standing;
    const temporary = `${path}.${randomBytes(6).toString("hex")}${temporarySuffix}`;
    try {
      writeSynced(temporary, `${decision}\n`);
      try {
        linkSync(temporary, path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
    } finally {
      rmSync(temporary, { force: true });
    }
    // Whoever lost reads the winner's word, which may not have been synced yet: so both sync before they answer.
    const stands = this.#standing(path);
    if (!stands) throw new Error(`the gate file ${path} vanished while it was made`);
    return stands;
  }

  async read(migrationId: string): Promise<GateDecision | null> {
    return this.#standing(this.#path(migrationId));
  }

  /** Removes the file, once nothing of the migration is left on this host. */
  async forget(migrationId: string): Promise<void> {
    rmSync(this.#path(migrationId), { force: true });
  }

  #path(migrationId: string): string {
    return join(this.#folder, MigrationId.parse(migrationId));
  }

  #standing(path: string): GateDecision | null {
    let content: string;
    try {
      content = readFileSync(path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw error;
    }
    if (content !== "past\n" && content !== "cancelled\n") throw new Error(`the gate file ${path} is damaged`);
    syncFolderNow(this.#folder);
    return content === "past\n" ? "past" : "cancelled";
  }
}

/** Others may be deciding in this folder: only what nobody can still be writing is removed. */
function sweep(folder: string): void {
  for (const name of readdirSync(folder)) {
    if (!name.endsWith(temporarySuffix)) continue;
    const path = join(folder, name);
    const modifiedAtMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (Date.now() - modifiedAtMs > leftoverMs) rmSync(path, { force: true });
  }
}

function writeSynced(path: string, content: string): void {
  const file = openSync(path, "wx", 0o600);
  try {
    writeSync(file, content);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function syncFolderNow(path: string): void {
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
