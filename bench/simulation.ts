// How fast simulated time goes: cluster-hours per second of three hosts, one core, all checks on. A report, not a test:
// node infra/with-node.mjs bench/simulation.ts [simulated hours]
import { noFaults } from "../test/simulation/fault-plan.ts";
import { playScenario } from "../test/simulation/scenario.ts";

const hours = Number(process.argv[2] ?? 1);
const mixes = { "no faults": { plan: noFaults }, "faults drawn from the seed": {} };

for (const [name, mix] of Object.entries(mixes)) {
  await playScenario({ seed: 1, hosts: 3 }); // Compiled by then.
  const began = performance.now();
  let simulatedMs = 0;
  let migrations = 0;
  for (let seed = 1; simulatedMs < hours * 3_600_000; seed++) {
    const outcome = await playScenario({ seed, hosts: 3, troubleMs: 600_000, ...mix });
    if (outcome.broken) throw new Error(`seed ${seed}: ${outcome.broken}`);
    simulatedMs += outcome.simulatedMs;
    migrations += outcome.migrations;
  }
  const seconds = (performance.now() - began) / 1000;
  const perSecond = (simulatedMs / 3_600_000 / seconds).toFixed(2);
  console.log(
    `${name}: ${perSecond} cluster-hours per second (${migrations} migrations in ${(simulatedMs / 3_600_000).toFixed(1)} h)`,
  );
}
