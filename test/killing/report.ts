// The report of a run, as tables in Markdown.
import { allCells, type Cell } from "./matrix.ts";
import type { Outcome } from "./worker.ts";

export function report(outcomes: readonly Outcome[], ms: number): string {
  const failed = outcomes.filter((outcome) => outcome.kind === "failed");
  const times = outcomes
    .flatMap((outcome) => (outcome.kind === "passed" ? [outcome.result.ms] : []))
    .sort((a, b) => a - b);
  const seconds = (value: number | undefined) => `${((value ?? 0) / 1000).toFixed(1)} s`;
  const head = [
    `${outcomes.length} cells, ${outcomes.length - failed.length} passed, ${failed.length} failed, in ${(ms / 60_000).toFixed(1)} min`,
    `(one cell: median ${seconds(times[Math.floor(times.length / 2)])}, longest ${seconds(times.at(-1))}).`,
  ].join(" ");
  return [
    head,
    byEffect(outcomes),
    ...failed.map((outcome) => `- ${outcome.kind === "failed" ? `${outcome.id}: ${outcome.why}` : ""}`),
  ].join("\n\n");
}

function byEffect(outcomes: readonly Outcome[]): string {
  const cells = new Map(allCells().map((cell) => [cell.id, cell]));
  const rows = new Map<string, { [column: string]: number }>();
  for (const outcome of outcomes) {
    const id = outcome.kind === "passed" ? outcome.result.id : outcome.id;
    const name = nameOf(cells.get(id));
    const row = rows.get(name) ?? {};
    const column = outcome.kind === "failed" ? "failed" : outcome.result.ended;
    row[column] = (row[column] ?? 0) + 1;
    rows.set(name, row);
  }
  const columns = ["carried on", "lost with its owner", "was ended", "failed"];
  const lines = Array.from(
    rows,
    ([name, row]) => `| ${name} | ${columns.map((column) => row[column] ?? 0).join(" | ")} |`,
  );
  return [`| Who dies | ${columns.join(" | ")} |`, `|---|${"---:|".repeat(columns.length)}`, ...lines.sort()].join(
    "\n",
  );
}

function nameOf(cell: Cell | undefined): string {
  if (!cell) return "source host, the destination having loaded";
  const what = cell.effect.replace(/^kill-/, "").replace(/^stall-(.*)$/, "$1, stopped a while");
  const words = what.replace("-self", "").replace("self", "the process at the step").replaceAll("-", " ");
  return cell.scenario === "migrate" ? words : `${words}, in other scenarios`;
}
