import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, describe, test } from "node:test";

const root = join(import.meta.dirname, "..", "..");
const started: ChildProcess[] = [];
const scripts = mkdtempSync(join(tmpdir(), "drover-reaper-script-"));
after(() => {
  for (const child of started) child.kill("SIGKILL");
  rmSync(scripts, { recursive: true, force: true });
});

/** A program with a reaper, that starts a grandchild which is detached and takes no SIGTERM, and tells both pids. */
const program = `
  import { spawn } from "node:child_process";
  import { createInterface } from "node:readline";
  import { startReaper } from "${join(root, "infra/reaper.ts")}";
  const reaper = await startReaper(process.argv[2]);
  const stubborn = 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000); console.log(process.pid)';
  const middle = \`
    const { spawn } = require("node:child_process");
    spawn(process.execPath, ["-e", \${JSON.stringify(stubborn)}], { detached: true, stdio: ["ignore", "inherit", "ignore"] }).unref();
  \`;
  spawn(process.execPath, ["-e", middle], { stdio: ["ignore", "inherit", "ignore"] });
  process.stdin.once("data", async () => { await reaper.reap(); console.log("reaped"); process.exit(0); });
`;

async function start(): Promise<{
  child: ChildProcess;
  grandchild: number;
  folder: string;
  lines: AsyncIterator<string>;
}> {
  const folder = mkdtempSync(join(tmpdir(), "drover-reaper-test-"));
  const script = join(scripts, "program.ts");
  writeFileSync(script, program);
  writeFileSync(join(folder, "something"), "in it");
  const child = spawn(process.execPath, [script, folder], { stdio: ["pipe", "pipe", "inherit"] });
  started.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const { value } = await lines.next();
  return { child, grandchild: Number(value), folder, lines };
}

const lives = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe("the reaper", { skip: existsSync("/proc/self/environ") ? false : "needs /proc" }, () => {
  test("when asked, it ends what detached itself and takes no SIGTERM, and removes the folder", async () => {
    const { child, grandchild, folder, lines } = await start();
    assert.equal(lives(grandchild), true);
    child.stdin?.write("now\n");
    assert.equal((await lines.next()).value, "reaped");
    assert.equal(lives(grandchild), false);
    assert.equal(existsSync(folder), false);
  });

  test("it does the same when the program is killed by kill -9", async () => {
    const { child, grandchild, folder } = await start();
    child.kill("SIGKILL");
    await until(() => !lives(grandchild) && !existsSync(folder));
  });
});
