// The command as a process of its own, with a folder for temporary files that is its alone, so that a test can tell
// whether anything was left: processes by the mark they bear, files by looking.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findMarked } from "../../infra/reaper.ts";

const root = join(import.meta.dirname, "..", "..");
/** As npm does: a process that starts ours and waits for it. */
const launcher = `
  const { spawn } = require("node:child_process");
  spawn(process.execPath, process.argv.slice(1), { stdio: "inherit" }).on("exit", (code) => process.exit(code ?? 1));
`;

export type DroverProcessOptions = {
  environment?: Record<string, string>;
  /** Started as by npm, through infra/with-node.mjs; `child` is then npm's part. */
  launched?: boolean;
};

export class DroverProcess {
  readonly child: ChildProcess;
  readonly temporary: string;
  stdout = "";
  stderr = "";
  readonly ended: Promise<number | null>;
  readonly #changed = new Set<() => void>();
  readonly #marks = new Set<string>();
  #hasEnded = false;

  constructor(args: string[], { environment = {}, launched = false }: DroverProcessOptions = {}) {
    this.temporary = mkdtempSync(join(tmpdir(), "drover-e2e-"));
    const command = launched
      ? ["-e", launcher, join(root, "infra", "with-node.mjs"), "cli/main.ts", ...args]
      : [join(root, "cli", "main.ts"), ...args];
    this.child = spawn(process.execPath, command, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, TMPDIR: this.temporary, ...environment },
    });
    this.child.stdout?.setEncoding("utf8").on("data", (text) => this.#hear("stdout", text));
    this.child.stderr?.setEncoding("utf8").on("data", (text) => this.#hear("stderr", text));
    this.ended = new Promise((resolve) => {
      this.child.once("close", (code) => {
        this.#hasEnded = true;
        resolve(code);
        this.#wake();
      });
    });
  }

  #hear(stream: "stdout" | "stderr", text: string): void {
    this[stream] += text;
    this.#wake();
  }
  #wake(): void {
    for (const look of [...this.#changed]) look();
  }

  /** Resolves with the match once it has been printed. @throws when the process ends without */
  until(stream: "stdout" | "stderr", pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = pattern.exec(this[stream]);
        if (!found && !this.#hasEnded) return;
        this.#changed.delete(look);
        if (found) resolve(found);
        else reject(new Error(`it ended without printing ${pattern}:\n${this.stderr.slice(-4000)}`));
      };
      this.#changed.add(look);
      look();
    });
  }

  /** Every process it has at this moment, guests too; it is remembered for `left`. */
  processes(): number[] {
    const ours = Buffer.from(`TMPDIR=${this.temporary}\0`);
    for (const pid of readdirSync("/proc").map(Number).filter(Number.isInteger)) {
      const environment = readEnvironment(pid);
      if (!environment?.includes(ours)) continue;
      const mark = /(?:^|\0)DROVER_REAP=([0-9a-f]{32})\0/.exec(environment.toString("latin1"))?.[1];
      if (mark && mark !== process.env["DROVER_REAP"]) this.#marks.add(mark); // That one is the test run's own.
    }
    return [...this.#marks].flatMap(findMarked);
  }

  /** What is still there: processes by their command lines, and files. */
  left(): string[] {
    const processes = [...this.#marks].flatMap(findMarked).map((pid) => `process ${pid}: ${readCommand(pid)}`);
    return [...processes, ...readdirSync(this.temporary).map((name) => `file ${name}`)];
  }

  /** After a kill -9 the reaper takes its time; nobody is there to tell when it is done. */
  async untilNothingLeft(): Promise<void> {
    while (this.left().length > 0) await new Promise((resolve) => setTimeout(resolve, 50));
  }

  /** For the end of a test, however it went. */
  async dispose(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.ended;
    rmSync(this.temporary, { recursive: true, force: true });
  }
}

function readEnvironment(pid: number): Buffer | null {
  try {
    return readFileSync(`/proc/${pid}/environ`);
  } catch {
    return null; // It has ended, or is another user's.
  }
}

function readCommand(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "has ended meanwhile";
  }
}
