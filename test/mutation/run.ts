// npm run mutation: changes the code in small ways, one at a time, and looks whether a test notices (docs/mutation.md).
// The tool is installed beside this file, and only by this.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { readArguments, readChoice } from "../../cli/arguments.ts";
import { UsageError } from "../../cli/exit.ts";
import { showTable } from "../../cli/units.ts";
import { type Part, parts } from "./groups.ts";
import { type FileScore, type Listed, type Report, readListed, type Survivor, scoreOf } from "./score.ts";

const root = dirname(dirname(import.meta.dirname));
const here = import.meta.dirname;
// Several runs may be under way in one checkout.
const scratchName = `.mutation/${process.pid}`;
const scratch = join(root, scratchName);
const reportPath = join(scratch, "report.json");
const mostOfCore = 90;

function install(): void {
  if (existsSync(join(here, "node_modules"))) return;
  process.stderr.write("Installing the mutation tool (npm ci) …\n");
  const { status } = spawnSync("npm", ["ci", "--ignore-scripts", "--loglevel=error"], { cwd: here, stdio: "inherit" });
  if (status !== 0) throw new Error("npm ci failed in test/mutation");
}

function mutate(tests: readonly string[], files: readonly string[]): Report {
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
    concurrency: 2,
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
  const { status } = spawnSync(process.execPath, [stryker, "run", configPath], {
    cwd: root,
    stdio: ["ignore", 2, 2],
    // It starts each test as "node".
    env: {
      ...process.env,
      DROVER_HISTORIES: "500",
      PATH: `${dirname(process.execPath)}${delimiter}${process.env["PATH"] ?? ""}`,
    },
  });
  if (status !== 0) throw new Error(`the mutation tool ended with ${status}`);
  return JSON.parse(readFileSync(reportPath, "utf8")) as Report;
}

const percent = ({ killed, survivors, listed }: FileScore): string => {
  const good = killed + listed.length;
  const all = good + survivors.length;
  return all === 0 ? "–" : `${((good / all) * 100).toFixed(1)} %`;
};

const describe = ({ file, line, column, mutator, from, to }: Survivor): string =>
  `${file}:${line}:${column} ${mutator}\n    ${from}\n    → ${to}`;

function section(group: Part["group"], scores: FileScore[], listed: readonly Listed[], minutes: number): string {
  const sum = (count: (score: FileScore) => number) => scores.reduce((total, score) => total + count(score), 0);
  const all: FileScore = {
    file: "all",
    killed: sum(({ killed }) => killed),
    listed: scores.flatMap((score) => score.listed),
    survivors: scores.flatMap(({ survivors }) => survivors),
  };
  const row = (name: string, score: FileScore) =>
    `| ${name} | ${score.killed} | ${score.listed.length} | ${score.survivors.length} | ${percent(score)} |`;
  const files = new Set(scores.map(({ file }) => file));
  const equivalent = listed.filter(({ file }) => files.has(file));
  return [
    `## ${titles[group]}`,
    "",
    `${all.killed + all.listed.length + all.survivors.length} mutants in ${minutes} min.`,
    "",
    "| File | Killed | Equivalent | Survived | Score |",
    "|---|---:|---:|---:|---:|",
    ...scores.map((score) => row(`\`${score.file}\``, score)),
    row("all", all),
    "",
    ...(equivalent.length > 0 ? ["Equivalent, with the reason:", ""] : []),
    ...equivalent.map(({ file, from, to, why }) => `- \`${file}\`: \`${oneLine(from)}\` → \`${oneLine(to)}\`: ${why}`),
    ...(equivalent.length > 0 ? [""] : []),
    ...(all.survivors.length > 0 ? ["Survived:", ""] : []),
    ...all.survivors.map(
      ({ file, line, from, to }) => `- \`${file}\` line ${line}: \`${oneLine(from)}\` → \`${oneLine(to)}\``,
    ),
    ...(all.survivors.length > 0 ? [""] : []),
  ].join("\n");
}
const titles = { rule: "The commit rule", core: "The rest of the core" } as const;

const oneLine = (text: string): string => {
  const line = text.replace(/\s+/g, " ").replaceAll("|", "\\|").replaceAll("`", "'");
  return line.length > 120 ? `${line.slice(0, 120)} …` : line;
};

/** A part that was not run keeps what stands there. */
function writePage(sections: ReadonlyMap<Part["group"], string>): void {
  const path = join(root, "docs/mutation.md");
  const markOf = (group: Part["group"]) => `<!-- ${group}: written by npm run mutation -- --write -->\n`;
  let page = readFileSync(path, "utf8");
  for (const group of ["rule", "core"] as const) {
    const text = sections.get(group);
    if (text === undefined) continue;
    const from = page.indexOf(markOf(group));
    if (from === -1) throw new Error(`docs/mutation.md has no place for ${group}`);
    const begin = from + markOf(group).length;
    const next = page.indexOf("<!-- ", begin);
    const rest = next === -1 ? "" : `\n${page.slice(next)}`;
    page = `${page.slice(0, begin)}\n${text}${rest}`;
  }
  writeFileSync(path, page);
}

function main(): number {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  const { values } = readArguments(process.argv.slice(2), { only: text, file: text, write: flag });
  const only = readChoice("only", values.only, ["rule", "core", "all"] as const, "all");
  const [name = "", lines] = values.file?.split(":") ?? [];
  if (lines !== undefined && !/^\d+-\d+$/.test(lines)) throw new UsageError("--file: lines are given as NAME:FROM-TO");
  const chosen = parts
    .filter(({ group }) => only === "all" || group === only)
    .map((part) => ({ ...part, files: part.files.filter((file) => file.includes(name)) }))
    .filter(({ files }) => files.length > 0);
  if (chosen.length === 0) throw new UsageError(`--file: no file under mutation has "${name}" in its path`);
  if (values.write && name !== "") throw new UsageError("--write: the table is of all files, not of some");
  install();
  const listed = readListed();
  const scores: { group: Part["group"]; score: FileScore }[] = [];
  const spentMs = { rule: 0, core: 0 };
  try {
    for (const { group, files, tests } of chosen) {
      const mutated = files.map((file) => (lines ? `${file}:${lines}` : file));
      const beganAtMs = performance.now();
      for (const score of scoreOf(mutate(tests, mutated), listed)) scores.push({ group, score });
      spentMs[group] += performance.now() - beganAtMs;
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  const files = new Set(chosen.flatMap((each) => each.files));
  const met = new Set(scores.flatMap(({ score }) => score.listed));
  const stale = lines ? [] : listed.filter((each) => files.has(each.file) && !met.has(each));
  for (const { score } of scores)
    for (const survivor of score.survivors) process.stdout.write(`${describe(survivor)}\n`);
  for (const { file, from, to } of stale) process.stdout.write(`listed, and not met: ${file}: ${from} → ${to}\n`);
  const cells = scores.map(({ group, score }) => [
    score.file,
    group,
    String(score.killed),
    String(score.listed.length),
    String(score.survivors.length),
    percent(score),
  ]);
  process.stdout.write(
    `\n${showTable([["file", "part", "killed", "equivalent", "survived", "score"], ...cells], "")}\n`,
  );
  if (values.write) {
    const sections = [...new Set(scores.map(({ group }) => group))].map((group) => {
      const ofGroup = scores.filter((each) => each.group === group).map(({ score }) => score);
      return [group, section(group, ofGroup, listed, Math.ceil(spentMs[group] / 60_000))] as const;
    });
    writePage(new Map(sections));
  }

  const ofRule = scores.filter(({ group }) => group === "rule").flatMap(({ score }) => score.survivors);
  const ofCore = scores.filter(({ group }) => group === "core").map(({ score }) => score);
  const killed = ofCore.reduce((sum, score) => sum + score.killed + score.listed.length, 0);
  const all = killed + ofCore.reduce((sum, score) => sum + score.survivors.length, 0);
  const isCoreGood = all === 0 || (killed / all) * 100 >= mostOfCore;
  process.stdout.write(
    `\nthe commit rule: ${ofRule.length} survived unlisted; the rest of the core: ${all === 0 ? "not run" : `${((killed / all) * 100).toFixed(1)} %`}\n`,
  );
  return ofRule.length === 0 && isCoreGood && stale.length === 0 ? 0 : 1;
}

try {
  process.exitCode = main();
} catch (error) {
  console.error(error instanceof UsageError ? `mutation: ${error.message}` : error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
