// What came of each file when it was last run (results.json), and the tables of docs/mutation.md made of it.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Part, parts } from "./groups.ts";
import { type FileScore, isSame, type Listed, type Mutation, readListed } from "./score.ts";

const root = join(import.meta.dirname, "../..");
const resultsPath = join(import.meta.dirname, "results.json");

/** `source`: the digest of the file as it was then; `survived`: those that are listed as equivalent as well. */
export type Result = { source: string; killed: number; survived: Mutation[] };
export type Results = { [file: string]: Result };

export const readResults = (): Results => JSON.parse(readFileSync(resultsPath, "utf8")) as Results;

const digestOf = (source: string): string => createHash("sha256").update(source).digest("hex").slice(0, 16);

/** Is the file as it was when it was last run? */
export const isCurrent = (file: string, results: Results): boolean =>
  results[file]?.source === digestOf(readFileSync(join(root, file), "utf8"));

const resultOf = ({ source, killed, listed, survivors }: FileScore): Result => ({
  source: digestOf(source),
  killed,
  survived: [...listed, ...survivors].map(({ from, to }) => ({ from, to })),
});

/** Files that were not run now keep what came of them before. */
export function writeResults(scores: readonly FileScore[]): void {
  const results = { ...readResults(), ...Object.fromEntries(scores.map((score) => [score.file, resultOf(score)])) };
  const files = parts.flatMap((part) => part.files).filter((file) => results[file]);
  const kept = Object.fromEntries(files.map((file) => [file, results[file]]));
  writeFileSync(resultsPath, `${JSON.stringify(kept, null, 2)}\n`);
  writePage();
}

type Counts = { killed: number; equivalent: number; survived: number };

export const countsOf = ({
  killed,
  listed,
  survivors,
}: Pick<FileScore, "killed" | "listed" | "survivors">): Counts => ({
  killed,
  equivalent: listed.length,
  survived: survivors.length,
});

export const totalOf = (all: readonly Counts[]): Counts => ({
  killed: all.reduce((sum, { killed }) => sum + killed, 0),
  equivalent: all.reduce((sum, { equivalent }) => sum + equivalent, 0),
  survived: all.reduce((sum, { survived }) => sum + survived, 0),
});

/** Of no mutants: all. */
export const shareOf = ({ killed, equivalent, survived }: Counts): number =>
  survived === 0 ? 1 : 1 - survived / (killed + equivalent + survived);

export const cellsOf = (counts: Counts): string[] => [
  String(counts.killed),
  String(counts.equivalent),
  String(counts.survived),
  `${(shareOf(counts) * 100).toFixed(1)} %`,
];

const filesOf = (group: Part["group"]): string[] =>
  parts.filter((part) => part.group === group).flatMap((part) => part.files);

const titles = { rule: "The commit rule", core: "The rest of the core" } as const;
const isTitled = (name: string): name is Part["group"] => name in titles;

/** What came of the files of a group by the list as it is now; null for one that was not run yet. */
export const judge = (group: Part["group"], results: Results, listed: readonly Listed[]) =>
  filesOf(group).map((file) => {
    const result = results[file];
    const isListed = (mutation: Mutation) => listed.some((each) => each.file === file && isSame(each, mutation));
    const survivors = (result?.survived ?? []).filter((mutation) => !isListed(mutation));
    const equivalent = (result?.survived.length ?? 0) - survivors.length;
    const counts = result ? { killed: result.killed, equivalent, survived: survivors.length } : null;
    return { file, counts, survivors };
  });

function section(group: Part["group"], results: Results, listed: readonly Listed[]): string {
  const judged = judge(group, results, listed);
  const row = (name: string, cells: readonly string[]) => `| ${name} | ${cells.join(" | ")} |`;
  const equivalent = listed
    .filter(({ file }) => judged.some((each) => each.file === file))
    .map((each) => `- \`${each.file}\`: ${change(each)}: ${each.why}`);
  const survived = judged.flatMap(({ file, survivors }) => survivors.map((each) => `- \`${file}\`: ${change(each)}`));
  return [
    `## ${titles[group]}`,
    "",
    "| File | Killed | Equivalent | Survived | Score |",
    "|---|---:|---:|---:|---:|",
    ...judged.map(({ file, counts }) => row(`\`${file}\``, counts ? cellsOf(counts) : ["not run yet", "", "", ""])),
    row("all", cellsOf(totalOf(judged.flatMap(({ counts }) => counts ?? [])))),
    ...(equivalent.length > 0 ? ["", "Equivalent, with the reason:", "", ...equivalent] : []),
    ...(survived.length > 0 ? ["", "Survived:", "", ...survived] : []),
  ].join("\n");
}

const change = ({ from, to }: Mutation): string =>
  `\`${oneLine(from)}\` → ${to === "" ? "nothing" : `\`${oneLine(to)}\``}`;

const oneLine = (text: string): string => {
  const line = text.replace(/\s+/g, " ").replaceAll("|", "\\|").replaceAll("`", "'");
  return line.length > 120 ? `${line.slice(0, 120)} …` : line;
};

function writePage(): void {
  const path = join(root, "docs/mutation.md");
  writeFileSync(path, pageOf(readFileSync(path, "utf8"), readResults(), readListed()));
}

/** What stands between `<!-- name -->` and `<!-- end -->` is written anew. */
export const pageOf = (page: string, results: Results, listed: readonly Listed[]): string =>
  page.replace(/(<!-- (\w+): .*-->\n)[\s\S]*?(\n<!-- end -->)/g, (whole, begin: string, name: string, end: string) =>
    isTitled(name) ? `${begin}\n${section(name, results, listed)}\n${end}` : whole,
  );
