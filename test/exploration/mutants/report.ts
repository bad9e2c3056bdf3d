// Every mutant with the shortest way to the harm it does.
import { caught, hunt } from "./mutant.ts";
import { mutants } from "./mutants.ts";

/** @returns whether all were caught */
export function reportMutants(say: (line: string) => void): boolean {
  let alive = 0;
  const beganAtMs = performance.now();
  for (const mutant of mutants) {
    const exploration = hunt(mutant);
    const found = caught(exploration);
    if (!found) alive += 1;
    const end = found ? `caught: ${found.what}, after ${found.trace.length} steps` : "GOT AWAY";
    say(`${mutant.name} (rule ${mutant.rule})\n  ${end}; ${exploration.states} states`);
    for (const [index, step] of (found?.trace ?? []).entries()) say(`    ${index + 1}. ${step}`);
  }
  const seconds = Math.round((performance.now() - beganAtMs) / 1000);
  say(`${mutants.length - alive} of ${mutants.length} mutants caught, ${seconds} s`);
  return alive === 0;
}
