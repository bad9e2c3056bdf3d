// One life of a host between boots: a random number kept where a reboot erases it. Not the kernel's boot id, because
// several agents may share a kernel.
import { randomBytes } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Incarnation } from "../../schemas/ids.ts";
import { durable } from "../durable-step.ts";

export const incarnationName = "incarnation";

/** An operator has declared the last one lost although the host lives: it goes on under another. */
export function renewIncarnation(runFolder: string): string {
  rmSync(join(runFolder, incarnationName), { force: true });
  return readIncarnation(runFolder);
}

/** Reads the incarnation, or makes it if this is the first start since the boot.
 *  @param runFolder erased by a reboot (tmpfs); made if absent
 *  @throws when the file is damaged: the message names it */
export function readIncarnation(runFolder: string): string {
  mkdirSync(runFolder, { recursive: true, mode: 0o700 });
  const path = join(runFolder, incarnationName);
  const made = join(runFolder, `incarnation.${randomBytes(6).toString("hex")}.writing`);
  writeFileSync(made, `${randomBytes(16).toString("hex")}\n`, { mode: 0o600, flag: "wx" });
  try {
    durable("incarnation:made", () => linkSync(made, path)); // Whole or not at all, and the first one stands.
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(made);
  }
  const parsed = Incarnation.safeParse(readFileSync(path, "utf8").trimEnd());
  if (!parsed.success)
    throw new Error(`the incarnation file ${path} is damaged; stop the guests of this host and remove it`);
  return parsed.data;
}
