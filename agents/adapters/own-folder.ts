// The folders that are one agent's own: looked at before anything is written, made with all that is missing above them,
// and held against a second agent for as long as this process lives.
import { randomBytes } from "node:crypto";
import { accessSync, closeSync, constants, mkdirSync, openSync, rmdirSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { messageOf } from "../message-of.ts";
import { holdExclusively } from "./exclusive-file.ts";

const holdName = "agent.lock";
/** A disk that is full may have room again; it is waited for later, where it matters. */
const passing = ["ENOSPC", "EDQUOT"];

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? messageOf(error);

/** Looks, and writes nothing.
 *  @returns what is missing of the path, the uppermost first
 *  @throws when there is no folder there and none can be made */
export function lookAtFolder(path: string): string[] {
  const missing: string[] = [];
  for (let at = path; ; at = dirname(at)) {
    const found = lookAt(at);
    if (!found) {
      missing.unshift(at);
      continue;
    }
    if (!found.isDirectory()) throw new Error(`${at} is not a folder`);
    try {
      accessSync(at, constants.W_OK | constants.X_OK);
    } catch (error) {
      throw new Error(`${at} cannot be written (${codeOf(error)})`);
    }
    return missing;
  }
}

function lookAt(path: string) {
  try {
    return statSync(path);
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT") return null;
    if (code === "ENOTDIR") return null; // The file that is in the way is met on the way up.
    throw new Error(`${path} cannot be looked at (${code})`);
  }
}

/** Makes what is missing, one folder after the other: the recursive way never returns from a file system that says
 *  "not there" to every new name, as /proc does. Then tries whether it takes files.
 *  @returns how to take back what was made, where it is still empty
 *  @throws when it cannot be made or takes no files; nothing is left of it then */
export function makeFolder(path: string): () => void {
  const made: string[] = [];
  const undo = (): void => {
    for (const folder of made.splice(0).reverse()) {
      try {
        rmdirSync(folder);
      } catch {
        return; // Something is in it by now.
      }
    }
  };
  try {
    for (const folder of lookAtFolder(path)) {
      if (makeOne(folder)) made.push(folder);
    }
    tryFile(path);
    return undo;
  } catch (error) {
    undo();
    throw error;
  }
}

/** @returns false when another made it meanwhile */
function makeOne(folder: string): boolean {
  try {
    mkdirSync(folder, { mode: 0o700 });
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw new Error(`${folder} cannot be made (${codeOf(error)})`);
  }
}

function tryFile(folder: string): void {
  const path = join(folder, `.probe-${randomBytes(6).toString("hex")}`);
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    if (passing.includes(codeOf(error))) return;
    throw new Error(`${folder} takes no files (${codeOf(error)})`);
  }
  rmSync(path, { force: true });
}

/** Holds the folder until the end of this process, also by kill -9: the kernel then lets go of it.
 *  @returns what holds it, to be kept: what is collected lets go
 *  @throws when another process holds it */
export async function holdFolder(path: string): Promise<DatabaseSync> {
  const hold = await holdExclusively(join(path, holdName));
  if (!hold) throw new Error(`another agent lives on ${path}`);
  return hold;
}
