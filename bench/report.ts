// The bench's report, as Markdown that reads as well on a terminal.
import { cpus, loadavg, release, totalmem } from "node:os";
import type { Measured, MeasureOptions, Memory, Move } from "./measure.ts";
import { type Spread, spreadOf } from "./statistics.ts";

type Row = { what: string; of: (move: Move) => number | null };

const figures: Row[] = [
  { what: "downtime", of: ({ migration }) => migration.timings.downtimeMs },
  { what: "total", of: ({ migration }) => migration.timings.totalMs },
  { what: "guest's own gap", of: ({ migration }) => migration.guestGapMs },
  {
    what: "POST to running, less pre-copy",
    of: (move) => without(move.postToRunningMs, move.migration.timings.precopyMs),
  },
];

/** The parts of "POST to running, less pre-copy", and what is in the downtime. */
const parts: Row[] = [
  { what: "POST to its answer", of: (move) => move.postMs },
  {
    what: "doorbell, claim, and the word's way back",
    of: (move) => without(move.postToRunningMs, move.migration.timings.totalMs),
  },
  { what: "set-up: claim to first byte", of: ({ migration }) => migration.timings.setupMs },
  { what: "downtime", of: ({ migration }) => migration.timings.downtimeMs },
  { what: "  of it: the rest is sent and loaded", of: ({ migration }) => migration.timings.loadMs },
  { what: "  of it: the commit", of: ({ migration }) => migration.timings.commitMs },
  { what: "(pre-copy, not counted)", of: ({ migration }) => migration.timings.precopyMs },
  { what: "  (of it: asking before the gate)", of: ({ migration }) => migration.timings.gateCheckMs },
];

const targets: { what: string; limit: number; of: (measured: Measured) => number; unit: string }[] = [
  { what: "downtime, median", limit: 40, unit: "ms", of: ({ moves }) => medianOf(moves, figures[0]) },
  { what: "total, median", limit: 1000, unit: "ms", of: ({ moves }) => medianOf(moves, figures[1]) },
  {
    what: "POST to running less pre-copy, median",
    limit: 150,
    unit: "ms",
    of: ({ moves }) => medianOf(moves, figures[3]),
  },
  { what: "errors that the guest found", limit: 0, unit: "", of: ({ memoryErrors }) => memoryErrors },
  {
    what: "agents' memory, growth over the second half",
    limit: 5,
    unit: "%",
    of: ({ memory }) => growthOfAgents(memory),
  },
];

/** Of the agent that grew most: from the middle of the run, when caches are warm, to its end. */
function growthOfAgents(memory: Memory[]): number {
  const names = new Set(memory.map(({ name }) => name).filter((name) => name.startsWith("host-")));
  const growths = [...names].map((name) => {
    const sizes = memory.filter((entry) => entry.name === name).map(({ rssMiB }) => rssMiB);
    const [middle, end] = [sizes[Math.floor(sizes.length / 2)], sizes.at(-1)];
    return middle && end ? ((end - middle) / middle) * 100 : 0;
  });
  return Math.max(0, ...growths);
}

const without = (whole: number, part: number | null): number | null => (part === null ? null : whole - part);
const valuesOf = (moves: Move[], row: Row | undefined): number[] =>
  moves.flatMap((move) => row?.of(move) ?? []).filter((value) => Number.isFinite(value));
const medianOf = (moves: Move[], row: Row | undefined): number => spreadOf(valuesOf(moves, row)).median;
const ms = (value: number): string => value.toFixed(value < 100 ? 1 : 0);

export function writeBenchReport(
  measured: Measured,
  options: MeasureOptions,
  versions: { node: string; hypervisor: string },
): string {
  const { moves, memory } = measured;
  const cells = ({ median, p10, p90, least, most, count }: Spread): string[] => [
    ...[median, p10, p90, least, most].map(ms),
    String(count),
  ];
  const spreadTable = (rows: Row[]): string =>
    markdownTable(
      ["ms", "median", "p10", "p90", "least", "most", "moves"],
      rows.flatMap((row) => {
        const values = valuesOf(moves, row);
        return values.length > 0 ? [[row.what, ...cells(spreadOf(values))]] : [];
      }),
    );
  const names = [...new Set(memory.map(({ name }) => name))];
  const instants = [...new Set(memory.map(({ afterMoves }) => afterMoves))];
  const processor = cpus()[0]?.model ?? "unknown processor";
  return [
    "# What it takes to move a guest",
    "",
    "Made by `npm run bench -- --write`. Figures of one run on one machine; repeat it on yours.",
    "",
    `- a guest of ${options.memoryMiB} MiB that writes ${options.dirtyMiBPerSecond} MiB/s, moved ${moves.length} times between two hosts on loopback, ` +
      `${options.warmUp} moves before that to warm up, ${options.pauseMs} ms between moves`,
    `- ${cpus().length} × ${processor}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${versions.node}, ${versions.hypervisor}`,
    `- load of the machine at the end: ${loadavg()
      .map((load) => load.toFixed(1))
      .join(", ")} (over 1, 5, 15 minutes)`,
    "",
    spreadTable(figures),
    "",
    "## Against the aims",
    "",
    markdownTable(
      ["", "aim", "measured", ""],
      targets.map(({ what, limit, unit, of }) => {
        const value = of(measured);
        return [
          what,
          `≤ ${limit} ${unit}`.trim(),
          `${unit ? ms(value) : value} ${unit}`.trim(),
          value <= limit ? "met" : "missed",
        ];
      }),
    ),
    "",
    `The guest was ${measured.bootIdUnchanged ? "never rebooted" : "REBOOTED"} in ${moves.length} moves and found ${measured.memoryErrors} errors in its memory.`,
    "",
    "## Where the time goes",
    "",
    "Durations on the source's monotonic clock, but for those that begin with the POST, which the client measured up to the",
    "answer that the destination has confirmed the guest.",
    "",
    spreadTable(parts),
    "",
    "## Memory of the processes, MiB resident",
    "",
    markdownTable(
      ["after moves", ...instants.map(String)],
      names.map((name) => [
        name,
        ...instants.map(
          (instant) => memory.find((one) => one.name === name && one.afterMoves === instant)?.rssMiB.toFixed(1) ?? "",
        ),
      ]),
    ),
    "",
  ].join("\n");
}

/** Aligned, so that it needs no rendering. */
function markdownTable(head: string[], rows: string[][]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const rule = head.map((_, column) =>
    column === 0 ? "-".repeat(widths[0] ?? 3) : `${"-".repeat((widths[column] ?? 3) - 1)}:`,
  );
  return [head, rule, ...rows]
    .map((row) =>
      row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))),
    )
    .map((row) => `| ${row.join(" | ")} |`)
    .join("\n");
}
