// How fast simulated time goes: cluster-hours per second of three hosts, all checks on, on one core and on all of them
// (scenarios have nothing to do with each other), with an operator's wish a minute and as often as the tests draw it.
// A report, not a test:
// npm run bench:simulation -- [simulated hours, per core and mixture]
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { noFaults } from "../test/simulation/fault-plan.ts";
import { playScenario } from "../test/simulation/scenario.ts";

const mixes = {
  "a wish a minute, no faults": { plan: noFaults, everyMs: 60_000 },
  "a wish a minute, faults drawn from the seed": { everyMs: 60_000 },
  "wishes as the tests draw them, no faults": { plan: noFaults },
  "wishes as the tests draw them, faults drawn from the seed": {},
};
type Share = { mix: keyof typeof mixes; hours: number; firstSeed: number };
type Played = { simulatedMs: number; migrations: number; seconds: number; cpuSeconds: number };

if (isMainThread) await report(Number(process.argv[2] ?? 1));
else parentPort?.postMessage(await play(workerData as Share));

async function report(hours: number): Promise<void> {
  if (!(hours > 0)) throw new Error(`simulated hours: a number above 0, not "${process.argv[2]}"`);
  for (const mix of Object.keys(mixes) as (keyof typeof mixes)[]) {
    for (const cores of new Set([1, availableParallelism()])) {
      const shares = Array.from({ length: cores }, (_, core) => inWorker({ mix, hours, firstSeed: 1 + core * 10_000 }));
      const played = await Promise.all(shares);
      const simulatedHours = sum(played, ({ simulatedMs }) => simulatedMs) / 3_600_000;
      const perSecond = sum(played, ({ simulatedMs, seconds }) => simulatedMs / 3_600_000 / seconds);
      // What another program takes of the machine meanwhile is not in it.
      const perCpuSecond = simulatedHours / sum(played, ({ cpuSeconds }) => cpuSeconds);
      console.log(
        `${mix}, ${cores} ${cores === 1 ? "core" : "cores"}: ${perSecond.toFixed(2)} cluster-hours per second, ${perCpuSecond.toFixed(2)} per CPU second ` +
          `(${sum(played, ({ migrations }) => migrations)} migrations in ${simulatedHours.toFixed(1)} h)`,
      );
    }
  }
}

function inWorker(share: Share): Promise<Played> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: share });
    worker.once("message", resolve).once("error", reject);
  });
}

async function play({ mix, hours, firstSeed }: Share): Promise<Played> {
  await playScenario({ seed: firstSeed, hosts: 3, troubleMs: 600_000, ...mixes[mix] }); // Compiled by then.
  const began = performance.now();
  const cpuBefore = process.threadCpuUsage();
  let simulatedMs = 0;
  let migrations = 0;
  for (let seed = firstSeed; simulatedMs < hours * 3_600_000; seed++) {
    const outcome = await playScenario({ seed, hosts: 3, troubleMs: 600_000, ...mixes[mix] });
    if (outcome.broken) throw new Error(`seed ${seed}: ${outcome.broken}`);
    simulatedMs += outcome.simulatedMs;
    migrations += outcome.migrations;
  }
  const { user, system } = process.threadCpuUsage(cpuBefore);
  const seconds = (performance.now() - began) / 1000;
  return { simulatedMs, migrations, seconds, cpuSeconds: (user + system) / 1_000_000 };
}

function sum<T>(of: readonly T[], value: (one: T) => number): number {
  return of.reduce((total, one) => total + value(one), 0);
}
