// npm run simulate -- --seed N [--hours H] [--hosts N] [--adapters files] [--no-locks]
// [--only FAULT=OFTEN,…] [--trace], or --seeds A..B: plays scenarios, prints
// the history of the first that breaks a promise, and what was reached. The same arguments give the same run, bit for bit.
import { parseArgs } from "node:util";
import { type FaultPlan, planOf } from "./fault-plan.ts";
import { clockText, type Keeping } from "./history.ts";
import { NoLocks, withoutLies } from "./no-locks.ts";
import { type Outcome, playScenario, type ScenarioOptions } from "./scenario.ts";
import { Counts } from "./sometimes.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    hours: { type: "string" },
    hosts: { type: "string" },
    adapters: { type: "string", default: "memory" },
    only: { type: "string" },
    "no-locks": { type: "boolean", default: false },
    trace: { type: "boolean", default: false },
  },
});

const [first, last] = seedsOf(values);
const hosts = values.hosts === undefined ? undefined : wholeNumber("--hosts", values.hosts, 2, 16);
const hours = values.hours === undefined ? undefined : positive("--hours", values.hours);
const shape = { ...(hosts ? { hosts } : {}), ...(hours ? { troubleMs: hours * 3_600_000 } : {}) };

if (values.adapters !== "memory" && values.adapters !== "files") {
  console.error(`--adapters: memory or files, not "${values.adapters}"`);
  process.exit(2);
}
const adapters = { adapters: values.adapters } as const;
const isLockless = values["no-locks"];
const only = values.only === undefined ? null : onlyFaults(values.only);
const manner = (): Partial<ScenarioOptions> => ({
  simulation: { ...adapters, ...(isLockless ? { locks: new NoLocks() } : {}) },
  plan: (drawn) => only ?? (isLockless ? withoutLies(drawn) : drawn),
});

const counts = new Counts();
const sums = { scenarios: 0, simulatedMs: 0, hostMs: 0, faults: 0, asked: 0, migrations: 0, tableCalls: 0 };
const began = performance.now();
let broken: Outcome | null = null;
for (let seed = first; seed <= last && !broken; seed++) {
  const play = (keeping: Keeping) => playScenario({ seed, keeping, ...shape, ...manner() });
  const outcome = await play(values.trace ? "kept" : "none");
  counts.merge(outcome.counts);
  sums.scenarios++;
  sums.simulatedMs += outcome.simulatedMs;
  sums.faults += outcome.faults;
  sums.tableCalls += outcome.tableCalls;
  sums.asked += outcome.asked;
  sums.migrations += outcome.migrations;
  if (values.trace) for (const line of outcome.lines) console.log(line);
  // The same seed once more tells how it came to it.
  if (outcome.broken) broken = values.trace ? outcome : await play("kept");
}
const seconds = (performance.now() - began) / 1000;
if (broken && !values.trace) for (const line of broken.lines) console.log(line);
console.log(`\n${counts.table()}\n`);
console.log(
  `${sums.scenarios} scenarios, ${clockText(sums.simulatedMs)} of simulated time, ${sums.asked} wishes, ${sums.migrations} migrations, ` +
    `${sums.tableCalls} requests to the table, ${sums.faults} faults in ${seconds.toFixed(1)} s: ${(sums.simulatedMs / 3_600_000 / seconds).toFixed(2)} cluster-hours per second`,
);
if (broken) {
  console.log(`\nseed ${broken.seed} with ${broken.hosts} hosts breaks a promise:\n${broken.broken}`);
  console.log(
    `again: npm run simulate -- --seed ${broken.seed}${hours ? ` --hours ${hours}` : ""}${hosts ? ` --hosts ${hosts}` : ""}` +
      (isLockless ? " --no-locks" : "") +
      (values.only ? ` --only ${values.only}` : ""),
  );
  process.exitCode = 1;
}

function seedsOf({ seed, seeds }: { seed?: string | undefined; seeds?: string | undefined }): [number, number] {
  if (seeds !== undefined) {
    const [from, to] = seeds.split("..");
    return [wholeNumber("--seeds", from ?? "", 0, 2 ** 31), wholeNumber("--seeds", to ?? "", 0, 2 ** 31)];
  }
  const one = wholeNumber("--seed", seed ?? "1", 0, 2 ** 31);
  return [one, one];
}

function onlyFaults(text: string): FaultPlan {
  try {
    return planOf(text);
  } catch (error) {
    console.error(`--only: ${(error as Error).message}`);
    process.exit(2);
  }
}

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  console.error(`${name}: a whole number from ${least} to ${most}, not "${text}"`);
  process.exit(2);
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (value > 0) return value;
  console.error(`${name}: a number above 0, not "${text}"`);
  process.exit(2);
}
