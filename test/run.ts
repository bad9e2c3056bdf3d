// Runs the tests: every test/**/*.test.ts, or those whose path contains one of the arguments. Each file is a process
// of its own, two at a time, and is ended when none of its tests has ended for long. The last line is always
// "N passed, N failed, N skipped".
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { run } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { styleText } from "node:util";
import { whenLauncherGone } from "../infra/launcher.ts";
import { startReaper } from "../infra/reaper.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const silenceMs = 5 * 60_000;
const filesAtOnce = 2;
/** A process that was told to end when its test did may take so long. */
const leaveWithinMs = 15_000;

type Style = Parameters<typeof styleText>[0];
const paint = (style: Style, text: string): string => styleText(style, text, { stream: process.stdout });

/** Interrupted, or left alone: the files under way are ended, and no other is begun. */
const interrupted = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => interrupted.abort());
whenLauncherGone(() => interrupted.abort());

type FileResult = {
  lines: string[];
  passed: number;
  failures: { title: string; error: string }[];
  skipped: { title: string; reason: string }[];
};

/** Runs one file. Its output comes back whole, so that files running at once do not mix theirs. */
function runFile(file: string): Promise<FileResult> {
  const result: FileResult = { lines: ["", paint("bold", file)], passed: 0, failures: [], skipped: [] };
  const path = join(root, file);
  const names: string[] = []; // of the suites around the test that is being told
  let printed = 0; // how many of them stand in the output

  const print = (nesting: number, line: string) => {
    for (; printed < nesting; printed++) result.lines.push(`${"  ".repeat(printed + 1)}${names[printed] ?? ""}`);
    result.lines.push(`${"  ".repeat(nesting + 1)}${line}`);
  };
  const titleOf = (nesting: number, name: string): string => [file, ...names.slice(0, nesting), name].join(" › ");

  let complaints = "";
  const timeout = new AbortController();
  const timer = setTimeout(() => {
    const error = `No test had ended for ${silenceMs / 1000} s, and the file was ended: is something left open?`;
    print(0, `${paint("red", "✖")} ${error}`);
    result.failures.push({ title: file, error });
    timeout.abort();
  }, silenceMs);

  const signal = AbortSignal.any([timeout.signal, interrupted.signal]);
  const oneHasEnded = () => {
    if (!signal.aborted) timer.refresh();
  };
  const stream = run({ files: [path], isolation: "process", signal });
  stream.on("test:start", ({ name, nesting }) => {
    names.length = nesting;
    names[nesting] = name;
    printed = Math.min(printed, nesting);
  });
  stream.on("test:pass", ({ name, nesting, details, skip, todo }) => {
    oneHasEnded();
    if (details.type === "suite" || name === path) return;
    if (skip !== undefined || todo !== undefined) {
      const reason = [skip, todo].find((text) => typeof text === "string" && text !== "") ?? "no reason given";
      result.skipped.push({ title: titleOf(nesting, name), reason: String(reason) });
      print(nesting, `${paint("yellow", "-")} ${name} (skipped: ${reason})`);
      return;
    }
    result.passed++;
    const duration = details.duration_ms > 1000 ? paint("gray", ` (${(details.duration_ms / 1000).toFixed(1)} s)`) : "";
    print(nesting, `${paint("green", "✔")} ${name}${duration}`);
  });
  stream.on("test:fail", ({ name, nesting, details }) => {
    oneHasEnded();
    // A suite or file fails with its tests, which have been told one by one.
    const kind = (details.error as { failureType?: string }).failureType;
    if (kind === "subtestsFailed" || signal.aborted) return;
    const shown = name === path ? "the file itself" : name;
    print(nesting, `${paint("red", "✖")} ${shown}`);
    const error = name === path ? `${describe(details.error)}\n${complaints}` : describe(details.error);
    result.failures.push({ title: titleOf(nesting, shown), error: error.trimEnd() });
  });
  stream.on("test:stdout", ({ message }) => result.lines.push(message.trimEnd()));
  stream.on("test:stderr", ({ message }) => {
    complaints = `${complaints}${message}`.slice(-4000);
    result.lines.push(message.trimEnd());
  });
  stream.resume();
  return new Promise((resolve) => {
    stream.once("close", () => {
      clearTimeout(timer);
      resolve(result);
    });
  });
}

function describe(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause instanceof Object && "message" in cause ? cause.message : cause);
  return cause.stack ?? `${cause.name}: ${cause.message}`;
}

/** What is still there of processes that tests started, after those that were told to end had time for it. */
async function leftRunning(): Promise<string[]> {
  const living = () => reaper?.living() ?? [];
  for (let waitedMs = 0; living().length > 0 && waitedMs < leaveWithinMs; waitedMs += 100) await delay(100);
  return living().map((pid) => {
    try {
      return `process ${pid}: ${readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trimEnd()}`;
    } catch {
      return `process ${pid}, which has ended meanwhile`;
    }
  });
}

const filters = process.argv.slice(2).map((filter) => filter.replace(/^\.\//, ""));
const files = globSync("test/**/*.test.ts", { exclude: ["**/node_modules/**"], cwd: root })
  .sort()
  .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)));
if (files.length === 0) process.stdout.write(`No test file has ${filters.join(" or ")} in its path.\n`);

// Whatever a test leaves, or one that is ended in the middle, is gone with this process: processes and files.
const folder = mkdtempSync(join(tmpdir(), "drover-tests-"));
const reaper = existsSync("/proc/self/environ") ? await startReaper(folder) : null;
process.env["TMPDIR"] = folder;

const results: FileResult[] = [];
const waiting = [...files];
async function work(): Promise<void> {
  for (let file = waiting.shift(); file !== undefined && !interrupted.signal.aborted; file = waiting.shift()) {
    const result = await runFile(file);
    results.push(result);
    process.stdout.write(`${result.lines.join("\n")}\n`);
  }
}
await Promise.all(Array.from({ length: filesAtOnce }, work));
const left = interrupted.signal.aborted ? [] : await leftRunning();
if (reaper) await reaper.reap();
else rmSync(folder, { recursive: true, force: true });

const skipped = results.flatMap((result) => result.skipped);
const failures = [
  ...results.flatMap((result) => result.failures),
  ...left.map((command) => ({ title: "left running when all tests were over", error: command })),
];
const passed = results.reduce((sum, result) => sum + result.passed, 0);
const summary = [
  ...skipped.map(({ title, reason }) => `skipped: ${title}: ${reason}`),
  ...failures.map(
    ({ title, error }, index) =>
      `\n${paint(["bold", "red"], `${index + 1}) ${title}`)}\n${error.replace(/^/gm, "   ")}`,
  ),
];
if (interrupted.signal.aborted) process.stdout.write("\nInterrupted: not every file was run.\n");
process.stdout.write(`\n${summary.map((line) => `${line}\n`).join("")}`);
process.stdout.write(`${passed} passed, ${failures.length} failed, ${skipped.length} skipped\n`);
if (interrupted.signal.aborted) process.exit(130);
process.exitCode = failures.length > 0 || passed === 0 ? 1 : 0;
