// One seed, one story: a cluster of a size, a workload, faults, and then peace, in which everything must come right.
import { findUnrest } from "./aftermath.ts";
import { drawPlan, type FaultPlan } from "./fault-plan.ts";
import { quickSettings } from "./faults/operator.ts";
import type { Keeping } from "./history.ts";
import { Random } from "./random.ts";
import { BrokenPromise, Simulation, type SimulationOptions } from "./simulation.ts";
import type { Counts } from "./sometimes.ts";
import { drawWorkload, Workload } from "./workload.ts";

export type ScenarioOptions = {
  seed: number;
  /** Drawn from the seed where it is not given. */
  hosts?: number;
  /** How long things go wrong, in simulated time; drawn from the seed where it is not given. */
  troubleMs?: number;
  keeping?: Keeping;
  /** Between two wishes of an operator, on average; drawn from the seed where it is not given. */
  everyMs?: number;
  /** Instead of what the seed would draw. */
  plan?: (plan: FaultPlan) => FaultPlan;
  simulation?: Partial<SimulationOptions>;
};

export type Outcome = {
  seed: number;
  hosts: number;
  /** Null: every promise was kept. */
  broken: string | null;
  digest: string;
  lines: string[];
  counts: Counts;
  simulatedMs: number;
  steps: number;
  faults: number;
  tableCalls: number;
  asked: number;
  migrations: number;
};

/** How long everything may take to come right once nothing goes wrong any more. */
const peaceMs = 60_000;

export async function playScenario(options: ScenarioOptions): Promise<Outcome> {
  const { seed } = options;
  const random = new Random(seed).fork("scenario");
  const hosts = options.hosts ?? (random.chance(0.03) ? random.whole(6, 16) : random.whole(2, 4));
  const troubleMs = options.troubleMs ?? random.between(15_000, 50_000);
  const drawn = drawPlan(random.fork("plan"));
  const plan = options.plan?.(drawn) ?? drawn;
  const simulation = new Simulation({
    seed,
    hosts,
    keeping: options.keeping ?? "none",
    drift: plan.drift,
    ...(plan.operator === "never" ? {} : { settings: quickSettings }),
    ...options.simulation,
  });
  const wishes = drawWorkload(random.fork("wishes"), hosts);
  const everyMs = options.everyMs ?? wishes.everyMs;
  const workload = new Workload(simulation, random.fork("workload"), { ...wishes, everyMs });
  let broken: string | null = null;
  try {
    await simulation.run(async ({ scheduler, faults }) => {
      await scheduler.settle(workload.prepare());
      workload.begin();
      faults.begin(plan);
      await scheduler.pass(troubleMs);
      workload.end();
      faults.end();
      await comeToRest(simulation, workload);
    });
  } catch (error) {
    if (!(error instanceof BrokenPromise)) throw new Error(`seed ${seed}`, { cause: error });
    broken = error.message;
  }
  return {
    seed,
    hosts,
    broken,
    digest: simulation.history.digest(),
    lines: simulation.history.lines,
    counts: simulation.counts,
    simulatedMs: simulation.nowMs,
    steps: simulation.scheduler.steps,
    faults: simulation.faults.count,
    tableCalls: simulation.tableCalls,
    asked: workload.asked,
    migrations: workload.accepted.size,
  };
}

async function comeToRest(simulation: Simulation, workload: Workload): Promise<void> {
  const { scheduler } = simulation;
  const endMs = scheduler.nowMs() + peaceMs;
  let unrest: string[] = [];
  while (scheduler.nowMs() < endMs) {
    await scheduler.pass(1000);
    unrest = findUnrest(simulation, workload);
    if (unrest.length === 0) return;
  }
  for (const detail of unrest) simulation.violation(`not at rest after ${peaceMs / 1000} s of peace: ${detail}`);
}
