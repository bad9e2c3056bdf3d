// A seam for tests, and for nothing else (adapters/halt-steps.ts): where DROVER_HALT_STEPS names a folder, each guest
// notes in it when it executes, on a clock that all processes of the machine share, so that a test can tell from the
// notes of all of them whether two copies ever executed at once.
import { appendFileSync } from "node:fs";
import { basename, join } from "node:path";
import { haltVariable } from "../halt-steps.ts";

export const executionsName = "executions";

export function noteExecution(directory: string): (executes: boolean) => void {
  const folder = process.env[haltVariable];
  if (folder === undefined) return () => undefined;
  return (executes) => {
    const note = { atNs: String(process.hrtime.bigint()), pid: process.pid, copyId: basename(directory), executes };
    appendFileSync(join(folder, executionsName), `${JSON.stringify(note)}\n`);
  };
}
