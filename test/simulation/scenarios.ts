// Many scenarios in a row, for tests: the first broken promise is told with its seed, the rare points are counted.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Outcome, playScenario, type ScenarioOptions } from "./scenario.ts";
import { Counts } from "./sometimes.ts";

export type Sum = {
  scenarios: number;
  counts: Counts;
  simulatedMs: number;
  migrations: number;
  faults: number;
  asked: number;
};

const nothing = (): Sum => ({ scenarios: 0, counts: new Counts(), simulatedMs: 0, migrations: 0, faults: 0, asked: 0 });

/** So few that a machine with too much to do ends one of them within the time that test/run.ts gives it. */
const scenariosPerTest = 20;

/** Tests of a few of them each, and one for the rare points of them all. */
export function testScenarios(from: number, to: number): void {
  const sum = nothing();
  for (let first = from; first <= to; first += scenariosPerTest) {
    const last = Math.min(first + scenariosPerTest - 1, to);
    test(`scenarios ${first} to ${last} keep every promise`, async () => {
      await playAll(first, last, {}, sum);
    });
  }
  test(`scenarios ${from} to ${to} come by every rare point`, () => {
    console.log(tell(sum));
    assert.equal(sum.scenarios, to - from + 1, "a promise was broken before");
    mustReachAll(sum);
  });
}

/** @param sum what is added to */
export async function playAll(
  from: number,
  to: number,
  options: Omit<ScenarioOptions, "seed"> = {},
  sum: Sum = nothing(),
): Promise<Sum> {
  for (let seed = from; seed <= to; seed++) {
    const outcome = await playScenario({ seed, ...options });
    mustHold(outcome);
    sum.scenarios++;
    sum.counts.merge(outcome.counts);
    sum.simulatedMs += outcome.simulatedMs;
    sum.migrations += outcome.migrations;
    sum.faults += outcome.faults;
    sum.asked += outcome.asked;
  }
  return sum;
}

export function mustHold({ seed, hosts, broken }: Outcome): void {
  assert.equal(broken, null, `seed ${seed} with ${hosts} hosts: npm run simulate -- --seed ${seed}\n${broken}`);
}

/** A simulation that never gets to a point proves nothing about it. */
function mustReachAll({ counts }: Sum): void {
  assert.deepEqual(counts.missed(), [], "points that no scenario came by");
}

function tell(sum: Sum): string {
  const hours = (sum.simulatedMs / 3_600_000).toFixed(1);
  return (
    `${sum.scenarios} scenarios, ${hours} simulated hours, ${sum.asked} wishes, ${sum.migrations} migrations, ` +
    `${sum.faults} faults\n${sum.counts.table()}`
  );
}
