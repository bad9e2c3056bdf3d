// npm run explore: every scenario to the end of its bound, and the record of one migration by itself.
//   -- --quick     the scenarios that every change is checked with
//   -- --mutants   every seeded protocol bug, with the shortest way to the harm it does
//   -- --replay N  N traces, that many different ones, on the real runners of the roles; --seed draws others
import { parseArgs } from "node:util";
import type { Exploration } from "./engine/explorer.ts";
import { reportMutants } from "./mutants/report.ts";
import { pointsOf } from "./points.ts";
import { exploreRecord } from "./record/explorer.ts";
import { reportReplays } from "./replay/report.ts";
import { run, type Scenario, scenarios } from "./scenarios.ts";

const stateLimit = 4_000_000;
const { values } = parseArgs({
  options: {
    quick: { type: "boolean" },
    mutants: { type: "boolean" },
    replay: { type: "string" },
    seed: { type: "string", default: "1" },
  },
});
const say = (line: string): boolean => process.stdout.write(`${line}\n`);

if (values.replay !== undefined) {
  if (!(await reportReplays(Number(values.replay), Number(values.seed), say))) process.exitCode = 1;
} else if (values.mutants) {
  if (!reportMutants(say)) process.exitCode = 1;
} else if (!exploreAll(scenarios.filter(({ isQuick }) => isQuick || !values.quick))) process.exitCode = 1;

function exploreAll(chosen: readonly Scenario[]): boolean {
  const beganAtMs = performance.now();
  const reached = new Set<string>();
  let [states, isGood] = [0, true];
  for (const scenario of chosen) {
    const startMs = performance.now();
    const found = run(scenario, stateLimit);
    states += found.states;
    for (const point of pointsOf(found.parts)) reached.add(point);
    isGood = describe(scenario, found, (performance.now() - startMs) / 1000) && isGood;
  }
  const record = exploreRecord();
  say(`the record alone, whatever is said to it by whom: ${record.states} states, ${record.steps} steps`);
  if (record.harm) say(`  HARM: ${record.harm.what}\n    ${record.harm.trace.join("\n    ")}`);
  if (record.stuck[0]) say(`  STUCK: ${record.stuck.length}\n    ${record.stuck[0].join("\n    ")}`);
  isGood &&= !record.harm && record.stuck.length === 0;
  say(`reached: ${[...reached].sort().join(", ")}`);
  say("kept after every step: I1, I2, I3, I8, I9, rules 2, 5, 6, 7, 8 and 10");
  // What a shared machine gives to others does not count for this.
  const { user, system } = process.cpuUsage();
  const seconds = `${Math.round((performance.now() - beganAtMs) / 1000)} s`;
  say(
    `${states + record.states} states in total, ${seconds}, ${Math.round((user + system) / 1e6)} s of processor time`,
  );
  return isGood;
}

/** @returns whether all is as promised */
function describe({ name, bound }: Scenario, found: Exploration, seconds: number): boolean {
  say(`${name} (${bound}):`);
  say(`  ${found.states} states, ${found.steps} steps, ${Math.round(seconds)} s`);
  for (const [why, { count, trace }] of found.atRest) {
    say(`  ${count} states wait for an operator: ${why}; the shortest way there:\n    ${trace.join("\n    ")}`);
  }
  if (found.harm) say(`  HARM: ${found.harm.what}\n    ${found.harm.trace.join("\n    ")}`);
  else if (!found.isExhausted) say(`  NOT EXHAUSTED within ${stateLimit} states`);
  if (found.stuck) say(`  STUCK: ${found.stuck.count} states\n    ${found.stuck.trace.join("\n    ")}`);
  return found.isExhausted && !found.harm && !found.stuck;
}
