// npm run attack: the migration network is hostile. Bits flipped, connections cut, reset, held and slowed at positions
// spread over peer link and memory stream, lines repeated, and what a peer may say drawn at random (docs/wire.md).
import { readArguments, readChoice, readInteger } from "../../cli/arguments.ts";
import { UsageError } from "../../cli/exit.ts";
import { showDuration } from "../../cli/units.ts";
import { type Fuzz, fuzzDeviceStates, fuzzFrames, fuzzLines, fuzzMessages } from "./fuzz.ts";
import { fuzzLengths } from "./fuzz-lengths.ts";
import { fuzzHellos, fuzzSessions } from "./fuzz-sessions.ts";
import { fuzzDescriptions, fuzzSlots } from "./fuzz-states.ts";
import { strikeLinks } from "./link-strikes.ts";
import { strikeStreams } from "./stream-strikes.ts";
import { Strikes } from "./strikes.ts";
import { strikeWhole } from "./whole/strikes.ts";

const help = `npm run attack -- [options]

  --only PART      link, stream, whole or fuzz (all)
  --bits N         bits flipped in each direction of link and stream, 1 to 100000 (1000)
  --cuts N         places of cuts and resets beyond the handshakes, 1 to 10000 (200)
  --few N          places on the connections of whole hosts, of each sort, 2 to 100 (4)
  --clusters N     clusters of whole hosts at once, 1 to 4 (2)
  --inputs N       hostile inputs of each kind, 1 to 10000000 (100000)
  --seed N         draws the positions and the inputs (1)`;

const parts = ["link", "stream", "whole", "fuzz", "all"] as const;
/** Those that take a machine or a connection each. */
const slowAtMost = 10_000;

type Options = {
  only: (typeof parts)[number];
  bits: number;
  cuts: number;
  few: number;
  clusters: number;
  inputs: number;
  seed: number;
};

function readOptions(args: string[]): Options {
  const text = { type: "string" } as const;
  const { values } = readArguments(args, {
    only: text,
    bits: text,
    cuts: text,
    few: text,
    clusters: text,
    inputs: text,
    seed: text,
  });
  return {
    only: readChoice("only", values.only, parts, "all"),
    bits: readInteger("bits", values.bits, { min: 1, max: 100_000, usual: 1000 }),
    cuts: readInteger("cuts", values.cuts, { min: 1, max: 10_000, usual: 200 }),
    few: readInteger("few", values.few, { min: 2, max: 100, usual: 4 }),
    clusters: readInteger("clusters", values.clusters, { min: 1, max: 4, usual: 2 }),
    inputs: readInteger("inputs", values.inputs, { min: 1, max: 10_000_000, usual: 100_000 }),
    seed: readInteger("seed", values.seed, { min: 0, max: 2 ** 31, usual: 1 }),
  };
}

async function fuzz(strikes: Strikes, { inputs, seed }: Options): Promise<void> {
  const kinds: [string, Fuzz, number][] = [
    ["frames of the stream", fuzzFrames, inputs],
    ["peer messages, calls, signed documents", fuzzMessages, inputs],
    ["lines", fuzzLines, inputs],
    ["lengths that are announced and never come", fuzzLengths, inputs],
    ["hellos of the peer link", fuzzHellos, inputs],
    ["descriptions of device states", fuzzDescriptions, Math.min(inputs, slowAtMost)],
    ["streams that break a rule", fuzzSessions, Math.min(inputs, slowAtMost)],
    ["device states with changed bytes", fuzzDeviceStates, Math.min(inputs, slowAtMost)],
    ["device states with another in a slot", fuzzSlots, Math.min(inputs, slowAtMost)],
  ];
  for (const [name, run, times] of kinds) {
    const before = process.memoryUsage.rss();
    const began = performance.now();
    await run(times, seed);
    const durationMs = performance.now() - began;
    const grownMiB = Math.round((process.memoryUsage.rss() - before) / 2 ** 20);
    if (grownMiB > 500) throw new Error(`${name}: ${grownMiB} MiB more memory`);
    strikes.fed(name, times, durationMs);
  }
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  const isWanted = (part: string): boolean => options.only === "all" || options.only === part;
  const began = performance.now();
  const strikes = new Strikes();
  if (isWanted("link")) await strikeLinks(strikes, options);
  if (isWanted("stream")) await strikeStreams(strikes, options);
  if (isWanted("whole")) await strikeWhole(strikes, options);
  if (isWanted("fuzz")) await fuzz(strikes, options);
  process.stdout.write(`${strikes.report()}\n\n`);
  process.stdout.write(
    `${strikes.runs} attacks, nothing altered accepted, in ${showDuration(performance.now() - began)} (seed ${options.seed})\n`,
  );
}

if (process.argv.includes("--help")) process.stdout.write(`${help}\n`);
else
  await main().catch((error: unknown) => {
    if (error instanceof UsageError) process.stderr.write(`attack: ${error.message}\n\n${help}\n`);
    else console.error(error);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  });
