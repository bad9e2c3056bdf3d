// What came of the mutants of a file, and those that are listed as equivalent.
import { readFileSync } from "node:fs";

type Position = { line: number; column: number };
type Mutant = {
  mutatorName: string;
  replacement: string;
  status: string;
  statusReason?: string;
  location: { start: Position; end: Position };
};
/** The mutation testing report schema, as far as it is read here. */
export type Report = { files: { [file: string]: { source: string; mutants: Mutant[] } } };

/** What stood there and what was put there, white space as one blank. */
export type Mutation = { from: string; to: string };
export type Survivor = Mutation & { file: string; line: number; column: number; mutator: string };
/** `listed`: entries of the list that were met, once for each mutant. */
export type FileScore = { file: string; source: string; killed: number; listed: Listed[]; survivors: Survivor[] };
export type Listed = Mutation & { file: string; why: string };

/** Also where a file of tests ended before its first test could fail. */
const isKilled = ({ status, statusReason }: Mutant): boolean =>
  status === "Killed" ||
  status === "Timeout" ||
  (status === "RuntimeError" && /Tap process exited with code \d/.test(statusReason ?? ""));

export function readListed(): Listed[] {
  return JSON.parse(readFileSync(new URL("equivalent.json", import.meta.url), "utf8")) as Listed[];
}

export function scoreOf(report: Report, listed: readonly Listed[]): FileScore[] {
  return Object.entries(report.files).map(([file, { source, mutants }]) => {
    const score: FileScore = { file, source, killed: 0, listed: [], survivors: [] };
    for (const mutant of mutants) {
      if (mutant.status === "Ignored") continue;
      if (isKilled(mutant)) {
        score.killed++;
        continue;
      }
      const { start, end } = mutant.location;
      const from = squeeze(textAt(source, start, end));
      const to = squeeze(mutant.replacement);
      const known = listed.find((each) => each.file === file && isSame(each, { from, to }));
      if (known) score.listed.push(known);
      else score.survivors.push({ file, ...start, mutator: mutant.mutatorName, from, to });
    }
    return score;
  });
}

export const isSame = (one: Mutation, other: Mutation): boolean => one.from === other.from && one.to === other.to;

export const squeeze = (text: string): string => text.replace(/\s+/g, " ").trim();

/** Lines and columns count from one. */
export function textAt(source: string, start: Position, end: Position): string {
  const lines = source.split("\n").slice(start.line - 1, end.line);
  const last = lines.length - 1;
  lines[last] = (lines[last] ?? "").slice(0, end.column - 1);
  lines[0] = (lines[0] ?? "").slice(start.column - 1);
  return lines.join("\n");
}
