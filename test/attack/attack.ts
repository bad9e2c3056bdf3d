// npm run attack: the migration network is hostile. Bits flipped, connections cut, reset, held and slowed at positions
// spread over peer link and memory stream, lines repeated, and what a peer may say drawn at random (docs/wire.md).
import { readArguments, readChoice, readInteger } from "../../cli/arguments.ts";
import { UsageError } from "../../cli/exit.ts";
import { showDuration, showTable } from "../../cli/units.ts";
import type { Direction, Fault } from "../support/fault-proxy.ts";
import { type Fuzz, fuzzDeviceStates, fuzzFrames, fuzzLines, fuzzMessages } from "./fuzz.ts";
import { LinkAttack } from "./link-attack.ts";
import { inParallel, spread } from "./spread.ts";
import { StreamAttack } from "./stream-attack.ts";

const help = `npm run attack -- [options]

  --only PART      link, stream or fuzz (all)
  --bits N         bits flipped in each direction of link and stream, 1 to 100000 (1000)
  --cuts N         places of cuts and resets, likewise, 1 to 10000 (200)
  --inputs N       hostile inputs of each kind, 1 to 10000000 (100000)
  --seed N         draws the positions and the inputs (1)`;

const ways: Direction[] = ["forth", "back"];
const parts = ["link", "stream", "fuzz", "all"] as const;
/** Handshakes stand at the beginning: there every byte is struck. */
const denseBytes = 600;
const linksAtOnce = 8;
const streamsAtOnce = 2;
const deviceStatesAtMost = 5000;

type Options = { only: (typeof parts)[number]; bits: number; cuts: number; inputs: number; seed: number };
type Ended = { outcome: string; durationMs: number };
type Row = { name: string; way: string; runs: number; outcomes: Map<string, number>; longestMs: number };

function readOptions(args: string[]): Options {
  const text = { type: "string" } as const;
  const { values } = readArguments(args, { only: text, bits: text, cuts: text, inputs: text, seed: text });
  return {
    only: readChoice("only", values.only, parts, "all"),
    bits: readInteger("bits", values.bits, { min: 1, max: 100_000, usual: 1000 }),
    cuts: readInteger("cuts", values.cuts, { min: 1, max: 10_000, usual: 200 }),
    inputs: readInteger("inputs", values.inputs, { min: 1, max: 10_000_000, usual: 100_000 }),
    seed: readInteger("seed", values.seed, { min: 0, max: 2 ** 31, usual: 1 }),
  };
}

const rows: Row[] = [];

/** Plays one fault after the other, so many at once. What must hold is asserted where it is played. */
async function strike(
  name: string,
  way: Direction,
  faults: readonly Fault[],
  atOnce: number,
  play: (fault: Fault, worker: number) => Promise<Ended>,
): Promise<void> {
  const row: Row = {
    name,
    way: way === "forth" ? "to the destination" : "to the source",
    runs: 0,
    outcomes: new Map(),
    longestMs: 0,
  };
  rows.push(row);
  const shares = Array.from({ length: atOnce }, (_, worker) => async () => {
    for (const [index, fault] of faults.entries()) {
      if (index % atOnce !== worker) continue;
      const ended = await play(fault, worker).catch((error: unknown) => {
        throw new Error(`${name}, ${row.way}: ${JSON.stringify(fault)}`, { cause: error });
      });
      row.runs++;
      row.outcomes.set(ended.outcome, (row.outcomes.get(ended.outcome) ?? 0) + 1);
      row.longestMs = Math.max(row.longestMs, ended.durationMs);
    }
  });
  await inParallel(shares, atOnce);
  process.stderr.write(`${row.runs} × ${name}, ${row.way}: ${outcomesOf(row)}\n`);
}

const outcomesOf = ({ outcomes }: Row): string =>
  [...outcomes].map(([outcome, count]) => `${count} ${outcome}`).join(", ");

const flips = (positions: readonly number[]): Fault[] => positions.map((at) => ({ kind: "flip", at, bit: at % 8 }));

async function attackLinks({ bits, cuts, seed }: Options): Promise<void> {
  const attack = await LinkAttack.build();
  const whole = await attack.run({ kind: "none" }, "forth", { record: true });
  const play =
    (options: Parameters<LinkAttack["run"]>[2], mustLink = false) =>
    (way: Direction) =>
    async (fault: Fault): Promise<Ended> => {
      const began = performance.now();
      const ends = await attack.run(fault, way, options);
      const outcome = ends.isWhole
        ? "whole"
        : ends.source === "linked"
          ? "linked anew or ended at both ends"
          : ends.source;
      if (mustLink && ends.source !== "linked") throw new Error(`the source ended ${ends.source}`);
      return { outcome, durationMs: performance.now() - began };
    };
  for (const way of ways) {
    const length = whole.seen[way];
    await strike(
      "link, one bit flipped",
      way,
      flips(spread(length, bits, seed, denseBytes)),
      linksAtOnce,
      play({})(way),
    );
    const places = spread(length, cuts, seed + 1, Math.floor(cuts / 2));
    for (const kind of ["cut", "reset"] as const) {
      const faults = places.map((at): Fault => ({ kind, at }));
      await strike(`link, ${kind}`, way, faults, linksAtOnce, play({ connectMs: 5000 }, true)(way));
    }
    const held = spread(length, Math.ceil(cuts / 8), seed + 2).map((at): Fault => ({ kind: "hold", at }));
    await strike("link, half open", way, held, linksAtOnce, play({ connectMs: 3000 }, true)(way));
    const slow: Fault = { kind: "trickle", at: 0, bytesPerSecond: 1 };
    await strike("link, one byte per second", way, [slow], 1, play({ connectMs: 1000 })(way));
    const lines = Buffer.concat(whole.recorded[way]).toString("latin1").split("\n").slice(0, 2);
    const inserted = lines.flatMap((line) =>
      [0, Buffer.byteLength(lines[0] ?? "", "latin1") + 1].map(
        (at): Fault => ({ kind: "insert", at, bytes: Buffer.from(`${line}\n`, "latin1") }),
      ),
    );
    await strike("link, a handshake line repeated or too early", way, inserted, 1, play({})(way));
  }
}

async function attackStreams({ bits, cuts, seed }: Options): Promise<void> {
  const attacks = await Promise.all(Array.from({ length: streamsAtOnce }, () => StreamAttack.build()));
  try {
    const [first] = attacks;
    if (!first) return;
    const whole = await first.run({ kind: "none" }, "forth", 20_000, true);
    // A few bytes of every run's JSON are shorter or longer.
    const lengths = { forth: whole.seen.forth - 200, back: whole.seen.back - 20 };
    const play =
      (way: Direction, patienceMs?: number) =>
      async (fault: Fault, worker: number): Promise<Ended> => {
        const { outcome, sent, durationMs } = await (attacks[worker] ?? first).run(fault, way, patienceMs);
        return { outcome: outcome === "loaded" ? `arrived whole, source ${sent}` : "nothing arrived", durationMs };
      };
    for (const way of ways) {
      const positions = spread(lengths[way], bits, seed, denseBytes);
      await strike("stream, one bit flipped", way, flips(positions), streamsAtOnce, play(way));
      const places = spread(lengths[way], Math.ceil(cuts / 2), seed + 1, Math.floor(cuts / 4));
      for (const kind of ["cut", "reset"] as const) {
        const faults = places.map((at): Fault => ({ kind, at }));
        await strike(`stream, ${kind}`, way, faults, streamsAtOnce, play(way));
      }
      const held = spread(lengths[way], Math.ceil(cuts / 10), seed + 2).map((at): Fault => ({ kind: "hold", at }));
      await strike("stream, half open", way, held, streamsAtOnce, play(way, 700));
      const slow: Fault = { kind: "trickle", at: 1200, bytesPerSecond: 1 };
      await strike("stream, one byte per second", way, [slow], 1, play(way, 2000));
    }
    const earlier: Fault = { kind: "insert", at: 0, bytes: Buffer.concat(whole.recorded.forth) };
    await strike("stream, an earlier one played again", "forth", [earlier], 1, play("forth"));
  } finally {
    await Promise.all(attacks.map((attack) => attack.close()));
  }
}

async function fuzz({ inputs, seed }: Options): Promise<void> {
  const kinds: [string, Fuzz, number][] = [
    ["frames of the stream", fuzzFrames, inputs],
    ["peer messages, calls, signed documents", fuzzMessages, inputs],
    ["lines", fuzzLines, inputs],
    ["device states", fuzzDeviceStates, Math.min(inputs, deviceStatesAtMost)],
  ];
  for (const [name, run, times] of kinds) {
    const before = process.memoryUsage.rss();
    const began = performance.now();
    await run(times, seed);
    const durationMs = performance.now() - began;
    const grownMiB = Math.round((process.memoryUsage.rss() - before) / 2 ** 20);
    if (grownMiB > 500) throw new Error(`${name}: ${grownMiB} MiB more memory`);
    rows.push({
      name,
      way: "hostile input",
      runs: times,
      outcomes: new Map([["read or refused", times]]),
      longestMs: durationMs,
    });
    process.stderr.write(`${times} × ${name}: read or refused\n`);
  }
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  const isWanted = (part: string): boolean => options.only === "all" || options.only === part;
  const began = performance.now();
  if (isWanted("link")) await attackLinks(options);
  if (isWanted("stream")) await attackStreams(options);
  if (isWanted("fuzz")) await fuzz(options);
  const cells = rows.map((row) => [row.name, row.way, String(row.runs), outcomesOf(row), showDuration(row.longestMs)]);
  const runs = rows.reduce((sum, row) => sum + row.runs, 0);
  process.stdout.write(`${showTable([["attack", "on the way", "runs", "outcome", "longest"], ...cells], "")}\n\n`);
  process.stdout.write(
    `${runs} attacks, nothing altered accepted, in ${showDuration(performance.now() - began)} (seed ${options.seed})\n`,
  );
}

if (process.argv.includes("--help")) process.stdout.write(`${help}\n`);
else
  await main().catch((error: unknown) => {
    if (error instanceof UsageError) process.stderr.write(`attack: ${error.message}\n\n${help}\n`);
    else console.error(error);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  });
