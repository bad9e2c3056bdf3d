// npm run mutation: changes the code in small ways, one at a time, and looks whether a test notices (docs/mutation.md).
// The tool is installed beside this file, and only by this.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { readArguments, readChoice, readInteger } from "../../cli/arguments.ts";
import { UsageError } from "../../cli/exit.ts";
import { showTable } from "../../cli/units.ts";
import { type Part, parts } from "./groups.ts";
import { cellsOf, countsOf, isCurrent, readResults, shareOf, totalOf, writeResults } from "./page.ts";
import { type FileScore, type Report, readListed, type Survivor, scoreOf } from "./score.ts";

const root = dirname(dirname(import.meta.dirname));
const here = import.meta.dirname;
// Several runs may be under way in one checkout.
const scratchName = `.mutation/${process.pid}`;
const scratch = join(root, scratchName);
const reportPath = join(scratch, "report.json");
const mostOfCore = 0.9;

const endings = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

function install(): void {
  if (existsSync(join(here, "node_modules"))) return;
  process.stderr.write("Installing the mutation tool (npm ci) …\n");
  const { status } = spawnSync("npm", ["ci", "--ignore-scripts", "--loglevel=error"], { cwd: here, stdio: "inherit" });
  if (status !== 0) throw new Error("npm ci failed in test/mutation");
}

async function mutate(tests: readonly string[], files: readonly string[], concurrency: number): Promise<Report> {
  mkdirSync(scratch, { recursive: true });
  const config = {
    testRunner: "tap",
    plugins: [join(here, "node_modules/@stryker-mutator/tap-runner/dist/src/index.js")],
    mutate: files,
    // Names of kinds are held by the types, and the rest is words for people.
    mutator: { excludedMutations: ["StringLiteral"] },
    tap: {
      testFiles: tests,
      nodeArgs: ["--disable-warning=ExperimentalWarning", "--test-reporter=tap", "-r", "{{hookFile}}", "{{testFile}}"],
    },
    coverageAnalysis: "perTest",
    concurrency,
    tempDirName: `${scratchName}/sandbox`,
    tsconfigFile: "none.json",
    reporters: ["progress-append-only", "json"],
    jsonReporter: { fileName: reportPath },
    ignorePatterns: ["test/mutation/node_modules", ".mutation"],
    allowEmpty: true,
  };
  const configPath = join(scratch, "config.json");
  writeFileSync(configPath, JSON.stringify(config));
  const stryker = join(here, "node_modules/@stryker-mutator/core/bin/stryker.js");
  // Tests are ended in their midst, and leave their folders and processes behind: they get a folder of their own, not
  // in `scratch`, since the path of a socket must be short; and a group of their own.
  const folder = mkdtempSync(join(tmpdir(), "drover-mutation-"));
  const child = spawn(process.execPath, [stryker, "run", configPath], {
    cwd: root,
    stdio: ["ignore", 2, 2],
    detached: true,
    env: {
      ...process.env,
      DROVER_HISTORIES: "500",
      DROVER_TRACES: "400",
      TMPDIR: folder,
      // It starts each test as "node".
      PATH: `${dirname(process.execPath)}${delimiter}${process.env["PATH"] ?? ""}`,
    },
  });
  const endGroup = (signal: NodeJS.Signals) => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  };
  const end = () => endGroup("SIGTERM");
  for (const signal of endings) process.on(signal, end);
  try {
    const [status] = await once(child, "exit");
    if (status !== 0) throw new Error(`the mutation tool ended with ${status}`);
  } finally {
    for (const signal of endings) process.off(signal, end);
    endGroup("SIGKILL");
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
  return JSON.parse(readFileSync(reportPath, "utf8")) as Report;
}

const describe = ({ file, line, column, mutator, from, to }: Survivor): string =>
  `${file}:${line}:${column} ${mutator}\n    ${from}\n    → ${to}`;

async function main(): Promise<number> {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  const options = { only: text, file: text, changed: flag, concurrency: text, write: flag };
  const { values } = readArguments(process.argv.slice(2), options);
  const only = readChoice("only", values.only, ["rule", "core", "all"] as const, "all");
  const concurrency = readInteger("concurrency", values.concurrency, { min: 1, max: 64, usual: 2 });
  const [name = "", lines] = values.file?.split(":") ?? [];
  if (lines !== undefined && !/^\d+-\d+$/.test(lines)) throw new UsageError("--file: lines are given as NAME:FROM-TO");
  if (values.write && lines) throw new UsageError("--write: the tables are of whole files, not of some lines");
  const results = readResults();
  const isChosen = (file: string) => file.includes(name) && !(values.changed && isCurrent(file, results));
  const chosen = parts
    .filter(({ group }) => only === "all" || group === only)
    .map((part) => ({ ...part, files: part.files.filter(isChosen) }))
    .filter(({ files }) => files.length > 0);
  if (chosen.length === 0 && !values.changed)
    throw new UsageError(`--file: no file under mutation has "${name}" in its path`);
  install();
  const listed = readListed();
  const scores: { group: Part["group"]; score: FileScore }[] = [];
  try {
    for (const { group, files, tests } of chosen) {
      const mutated = files.map((file) => (lines ? `${file}:${lines}` : file));
      const found = scoreOf(await mutate(tests, mutated, concurrency), listed);
      for (const score of found) scores.push({ group, score });
      if (values.write) writeResults(found);
    }
    if (values.write) writeResults([]);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  const files = new Set(chosen.flatMap((each) => each.files));
  const met = new Set(scores.flatMap(({ score }) => score.listed));
  const stale = lines ? [] : listed.filter((each) => files.has(each.file) && !met.has(each));
  for (const { score } of scores)
    for (const survivor of score.survivors) process.stdout.write(`${describe(survivor)}\n`);
  for (const { file, from, to } of stale) process.stdout.write(`listed, and not met: ${file}: ${from} → ${to}\n`);
  const cells = scores.map(({ group, score }) => [score.file, group, ...cellsOf(countsOf(score))]);
  process.stdout.write(
    `\n${showTable([["file", "part", "killed", "equivalent", "survived", "score"], ...cells], "")}\n`,
  );
  const totalOfGroup = (wanted: Part["group"]) =>
    totalOf(scores.filter(({ group }) => group === wanted).map(({ score }) => countsOf(score)));
  const rule = totalOfGroup("rule");
  const core = totalOfGroup("core");
  const share = `${(shareOf(core) * 100).toFixed(1)} %`;
  process.stdout.write(`\nthe commit rule: ${rule.survived} survived unlisted; the rest of the core: ${share}\n`);
  return rule.survived === 0 && shareOf(core) >= mostOfCore && stale.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof UsageError ? `mutation: ${error.message}` : error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
