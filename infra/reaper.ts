// Nothing is left running: neither when a demo or a test ends, nor when it is killed. Every process that it starts
// inherits a mark in its environment. A process apart, the reaper, holds a pipe to it; when the pipe ends, it ends
// whatever bears the mark, until nothing does, and removes the folder. Guests outlive agents by design, so parents
// alone could not do it.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const markName = "DROVER_REAP";
const graceMs = 2000;
const lookEveryMs = 50;

export type Reaper = {
  /** Processes that were started since and live. */
  living(): number[];
  /** Ends every process started since, removes the folder. Resolves when nothing is left. */
  reap(): Promise<void>;
};

/** From now on every child of this process bears the mark. One reaper at a time.
 *  @param folder removed at the end
 *  @throws where the system does not show the environment of processes (it needs /proc, as on Linux) */
export async function startReaper(folder: string): Promise<Reaper> {
  if (!existsSync("/proc/self/environ")) {
    throw new Error(
      `this platform (${process.platform}) has no /proc, by which a local cluster's processes are found and ended: ` +
        "run it on Linux",
    );
  }
  const outerMark = process.env[markName];
  const mark = randomBytes(16).toString("hex");
  const environment = { ...process.env };
  delete environment[markName];
  const reaper = spawn(process.execPath, [fileURLToPath(import.meta.url), mark, folder], {
    detached: true, // Not of our group: what is sent to that shall not end it.
    stdio: ["pipe", "pipe", "inherit"],
    env: environment,
  });
  const exited = new Promise<number | null>((resolve) => reaper.once("exit", resolve));
  await new Promise<void>((resolve, reject) => {
    reaper.stdout.once("data", () => resolve());
    reaper.once("error", reject);
    void exited.then(() => reject(new Error("the reaper did not start")));
  });
  process.env[markName] = mark;
  // It waits for us, not we for it.
  reaper.unref();
  for (const pipe of [reaper.stdin, reaper.stdout]) (pipe as { unref?: () => void }).unref?.();

  let reaped: Promise<void> | null = null;
  return {
    living: () => findMarked(mark),
    reap: () => {
      reaped ??= (async () => {
        if (outerMark === undefined) delete process.env[markName];
        else process.env[markName] = outerMark;
        reaper.ref();
        reaper.stdin.end();
        if ((await exited) !== 0) throw new Error(`the reaper failed; look for processes with ${markName}=${mark}`);
      })();
      return reaped;
    },
  };
}

/** Processes whose environment bears the mark. Those of others and those that end meanwhile cannot be read. */
export function findMarked(mark: string): number[] {
  const wanted = Buffer.from(`${markName}=${mark}\0`);
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => {
      if (!Number.isInteger(pid) || pid === process.pid) return false;
      try {
        return readFileSync(`/proc/${pid}/environ`).includes(wanted);
      } catch {
        return false;
      }
    });
}

function end(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended by itself.
  }
}

async function reapAll(mark: string): Promise<void> {
  const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const askedAt = new Map<number, number>();
  // Empty twice: one that was being started at the first look bears the mark by the second.
  for (let emptyLooks = 0; emptyLooks < 2; await pause(lookEveryMs)) {
    const pids = findMarked(mark);
    emptyLooks = pids.length === 0 ? emptyLooks + 1 : 0;
    for (const pid of pids) {
      const asked = askedAt.get(pid);
      if (asked === undefined) {
        askedAt.set(pid, performance.now());
        end(pid, "SIGTERM");
      } else if (performance.now() - asked > graceMs) end(pid, "SIGKILL");
    }
  }
}

if (import.meta.main) {
  const [mark, folder] = process.argv.slice(2);
  if (!mark || !folder) throw new Error("usage: reaper.ts <mark> <folder>");
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
  process.stdin.resume();
  process.stdin.once("close", async () => {
    await reapAll(mark);
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    process.exit(0);
  });
  process.stdout.on("error", () => {}); // Whoever read it is gone.
  process.stdout.write("ready\n");
}
