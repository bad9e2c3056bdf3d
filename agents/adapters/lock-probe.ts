// Do locks on this file system bar other processes? Some accept every lock and bar nobody, and only a second process
// can tell. Run as a program it is that second process: it exits with 3 when the file is held, with 4 when it is not.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { childEnvironment } from "./child-environment.ts";
import { holdExclusively } from "./exclusive-file.ts";
import { makeFolder } from "./own-folder.ts";

const exitHeld = 3;
const exitFree = 4;

/** @throws when the volume is not there, cannot be written, or its locks bar nobody: the message names it */
export async function requireWorkingLocks(sharedVolume: string): Promise<void> {
  if (!existsSync(sharedVolume)) throw new Error(`the shared volume ${sharedVolume} is not there`);
  const folder = join(sharedVolume, "locks");
  makeFolder(folder);
  const path = join(folder, `.probe-${randomBytes(6).toString("hex")}`);
  const held = await holdExclusively(path);
  try {
    const code = await otherProcess(path);
    if (code === exitHeld) return;
    const why = code === exitFree ? "another process took a lock that is held" : `the probe ended with code ${code}`;
    throw new Error(`the locks of the file system of ${sharedVolume} do not work (${why}); mount it with locking`);
  } finally {
    held?.close();
    for (const name of [path, `${path}-journal`]) rmSync(name, { force: true });
  }
}

function otherProcess(path: string): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const words = ["--disable-warning=ExperimentalWarning", fileURLToPath(import.meta.url), path];
    const child = spawn(process.execPath, words, { stdio: "ignore", env: childEnvironment() });
    child.once("error", reject);
    child.once("exit", resolve);
  });
}

if (import.meta.main) {
  const other = await holdExclusively(process.argv[2] ?? "");
  process.exit(other ? exitFree : exitHeld);
}
