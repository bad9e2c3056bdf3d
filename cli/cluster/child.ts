// One process of a local cluster: what it says on stderr goes to a log file, and it is ready when it has printed its
// line of JSON on stdout.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, extname, join } from "node:path";
import { createInterface } from "node:readline";

const root = dirname(dirname(import.meta.dirname));

/** A program of this project: TypeScript in the work tree, JavaScript in the package.
 *  @param path from the root, without its ending */
export const programPath = (path: string): string => join(root, `${path}${extname(import.meta.filename)}`);

/** Where Node keeps compiled sources between runs of the work tree: half of what starting a process takes. */
const compileCache = join(root, "node_modules", ".cache", "drover-compiled");

export type Child = {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  /** The line it printed when it was ready. */
  readonly ready: { [name: string]: unknown };
  /** Resolves when it has ended, in words. */
  readonly ended: Promise<string>;
  stop(): Promise<void>;
};

export type ChildProgram = {
  name: string;
  program: string;
  environment: Record<string, string>;
  logFile: string;
  readyWithinMs: number;
};

/** @throws with the end of its log when it ends, or is silent for too long, before it is ready */
export async function startChild(program: ChildProgram): Promise<Child> {
  const { name, logFile } = program;
  const log = openSync(logFile, "a", 0o600);
  const child = spawn(process.execPath, [program.program], {
    // Its own variables alone: what Drover reads, the caller did not mean by accident.
    env: { ...withoutDrover(process.env), ...compileCacheVariable(), ...program.environment },
    stdio: ["ignore", "pipe", log],
    detached: true, // Ctrl-C is ours to pass on.
  });
  closeSync(log);
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(signal ? `ended by ${signal}` : `ended with exit code ${code}`));
  });
  const timer = { stop: () => {} };
  const tooLate = new Promise<string>((resolve) => {
    const timeout = setTimeout(
      () => resolve(`was not ready within ${program.readyWithinMs / 1000} s`),
      program.readyWithinMs,
    );
    timer.stop = () => clearTimeout(timeout);
  });
  const first = await Promise.race([readLine(child), ended, tooLate]);
  timer.stop();
  if (typeof first === "string" || child.pid === undefined) {
    child.kill("SIGKILL");
    throw new Error(`${name} ${typeof first === "string" ? first : "did not start"}\n${logTail({ name, logFile })}`);
  }
  return {
    name,
    pid: child.pid,
    logFile,
    ready: first,
    ended,
    stop: async () => {
      const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
      child.kill("SIGTERM");
      await ended;
      clearTimeout(timer);
    },
  };
}

async function readLine(child: ChildProcess): Promise<{ [name: string]: unknown }> {
  return new Promise((resolve, reject) => {
    if (!child.stdout) return reject(new Error("no standard output"));
    // Read on after the first line, so that it never writes against a full pipe.
    createInterface({ input: child.stdout }).once("line", (line) => {
      try {
        resolve(JSON.parse(line));
      } catch (error) {
        reject(new Error(`printed "${line.slice(0, 200)}" and not its line of JSON`, { cause: error }));
      }
    });
  });
}

function compileCacheVariable(): Record<string, string> {
  return existsSync(join(root, "node_modules")) ? { NODE_COMPILE_CACHE: compileCache } : {};
}

function withoutDrover(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.entries(environment).filter(([name]) => !name.startsWith("DROVER_") || name === "DROVER_REAP");
  return Object.fromEntries(kept.filter(([name]) => !name.startsWith("AWS_")));
}

/** A process that has nowhere to say why it ended has ended for that reason, most likely. */
function whyUnwritten(logFile: string): string {
  try {
    writeFileSync(`${logFile}.probe`, "a log takes this much at least\n".repeat(200));
    return "";
  } catch (error) {
    return `: ${dirname(logFile)} takes no writes (${(error as NodeJS.ErrnoException).code})`;
  } finally {
    rmSync(`${logFile}.probe`, { force: true });
  }
}

/** The end of a log, with its name over it. */
export function logTail({ name, logFile }: { name: string; logFile: string }, lines = 15): string {
  const text = existsSync(logFile) ? readFileSync(logFile, "utf8").trimEnd() : "";
  if (text === "") return `--- ${name}: its log is empty${whyUnwritten(logFile)}`;
  return `--- ${name}, end of its log\n${text.split("\n").slice(-lines).join("\n")}`;
}
