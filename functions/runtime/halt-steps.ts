// A seam for tests, and for nothing else: with DROVER_HALT_STEPS set to a folder, the control plane stands still at the
// durable step that a file `armed` in that folder names ("before <step>", "after <step>"). It takes the file away,
// leaves `halted-<pid>`, and goes on when that file is gone. Agents do the same (agents/adapters/halt-steps.ts).
import { existsSync, readFileSync, renameSync } from "node:fs";
import process from "node:process";
import type { Ports } from "../ports/ports.ts";
import { BadEnvironment, type Environment } from "./environment.ts";

const lookEveryMs = 2;

/** @throws BadEnvironment when the variable names no folder */
export function haltsFrom(environment: Environment): Ports["atStep"] {
  const folder = environment["DROVER_HALT_STEPS"];
  if (folder === undefined) return undefined;
  if (!folder.startsWith("/") || !existsSync(folder)) {
    throw new BadEnvironment(
      "DROVER_HALT_STEPS is a seam for tests: it must be a folder that is there, or not be set at all.",
    );
  }
  const halted = `${folder}/halted-${process.pid}`;
  return (step, moment) => {
    if (!isArmed(`${folder}/armed`, `${moment} ${step}`)) return;
    renameSync(`${folder}/armed`, halted);
    const nobody = new Int32Array(new SharedArrayBuffer(4));
    while (existsSync(halted)) Atomics.wait(nobody, 0, 0, lookEveryMs);
  };
}

function isArmed(path: string, wanted: string): boolean {
  try {
    return readFileSync(path, "utf8") === wanted;
  } catch {
    return false;
  }
}
