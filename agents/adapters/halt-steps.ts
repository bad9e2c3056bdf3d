// A seam for tests, and for nothing else: with DROVER_HALT_STEPS set to a folder, this process and the supervisors it
// starts stand still at the durable step that a file `armed` in that folder names ("before <step>", "after <step>").
// The one that gets there takes the file away, leaves `halted-<pid>`, and goes on when that file is gone. Meanwhile it
// does nothing at all, as if the machine had stopped: the harness ends whom it likes.
import { existsSync, readFileSync, renameSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { haltAtSteps } from "../durable-step.ts";

export const haltVariable = "DROVER_HALT_STEPS";
const lookEveryMs = 2;

/** @throws when the variable names no folder */
export function obeyHalts(environment: Record<string, string | undefined>): void {
  const folder = environment[haltVariable];
  if (folder === undefined) return;
  if (!isAbsolute(folder) || !existsSync(folder)) {
    throw new Error(`${haltVariable} is a seam for tests: it must be a folder that is there, or not be set`);
  }
  const armed = join(folder, "armed");
  const halted = join(folder, `halted-${process.pid}`);
  haltAtSteps((step, moment) => {
    if (!isArmed(armed, `${moment} ${step}`)) return;
    try {
      renameSync(armed, halted);
    } catch {
      return; // Another process got there first.
    }
    const nobody = new Int32Array(new SharedArrayBuffer(4));
    while (existsSync(halted)) Atomics.wait(nobody, 0, 0, lookEveryMs);
  });
}

function isArmed(path: string, wanted: string): boolean {
  try {
    return readFileSync(path, "utf8") === wanted;
  } catch {
    return false;
  }
}
