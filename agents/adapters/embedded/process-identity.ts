// Which process a number means: its id is used again some day, so its start time goes with it.
import { readFileSync } from "node:fs";

/** The start time of a living process, in the kernel's own ticks since boot; null when there is none.
 *  @throws on a platform without /proc */
export function startTime(pid: number): string | null {
  let line: string;
  try {
    line = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch (error) {
    if (pid === process.pid)
      throw new Error("the embedded hypervisor needs /proc, which this platform lacks", { cause: error });
    return null;
  }
  // The name in brackets may hold spaces and brackets itself; what follows the last one is regular.
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
  const state = fields[0];
  if (state === "Z" || state === "X") return null;
  return fields[19] ?? null;
}

export const isAlive = (pid: number, startedAt: string): boolean => startTime(pid) === startedAt;
