// Whom the harness ends: real processes, found by what the system shows of them. A host's agent, supervisors and guests
// all bear the folder in which they are halted.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

export type Kind = "agent" | "supervisor" | "guest" | "control-plane";
export type Found = {
  pid: number;
  kind: Kind;
  /** The copy it serves; null for agents, the control plane, and what is kept ready for the next copy. */
  copyId: string | null;
};

/** By command line; those that serve a copy have a title in its place. */
const programs: [RegExp, Kind][] = [
  [/\/agents\/main\.ts\0/, "agent"],
  [/\/agents\/supervisor\/main\.ts\0|^drover-supervisor /, "supervisor"],
  [/\/agents\/adapters\/embedded\/guest-main\.ts\0|^drover-guest /, "guest"],
  [/\/functions\/runtime\/node\.ts\0/, "control-plane"],
  [/\/test\/killing\/restore-main\.ts\0/, "control-plane"],
];

/** Every living process of one host (or of the control plane), by its folder for halts. */
export function processesOf(haltFolder: string): Found[] {
  const mark = `DROVER_HALT_STEPS=${haltFolder}\0`;
  return readdirSync("/proc").flatMap((name): Found[] => {
    const pid = Number(name);
    if (!Number.isInteger(pid) || !isAlive(pid)) return [];
    try {
      if (!readFileSync(`/proc/${pid}/environ`, "latin1").includes(mark)) return [];
      const command = readFileSync(`/proc/${pid}/cmdline`, "latin1");
      const kind = programs.find(([program]) => program.test(command))?.[1];
      if (!kind) return [];
      const folder = readlinkSync(`/proc/${pid}/cwd`).replace(/ \(deleted\)$/, "");
      const copyId = kind === "supervisor" || kind === "guest" ? /\/copies\/([^/]+)$/.exec(folder)?.[1] : undefined;
      return [{ pid, kind, copyId: copyId ? basename(copyId).replace(/^\.removed-/, "") : null }];
    } catch {
      return []; // It has ended meanwhile.
    }
  });
}

export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended by itself.
  }
}

/** Resolves when none of them lives. */
export async function killAll(pids: readonly number[]): Promise<void> {
  for (const pid of pids) signal(pid, "SIGKILL");
  while (pids.some(isAlive)) await delay(2);
}
