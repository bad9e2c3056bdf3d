import assert from "node:assert/strict";
import { test } from "node:test";
import { pointsOf } from "./points.ts";
import { run, scenarios } from "./scenarios.ts";

const explored = new Map<string, ReturnType<typeof run>>();
function exploreOnce(scenario: (typeof scenarios)[number]): ReturnType<typeof run> {
  const found = explored.get(scenario.name) ?? run(scenario, 400_000);
  explored.set(scenario.name, found);
  return found;
}

for (const scenario of scenarios.filter(({ isQuick }) => isQuick)) {
  test(`${scenario.name}: no order of steps breaks a promise, and from each state there is a way to the end`, () => {
    const found = exploreOnce(scenario);
    assert.equal(found.harm, null, JSON.stringify(found.harm, null, 1));
    assert.ok(found.isExhausted, `more than ${found.states} states`);
    assert.equal(found.stuck, null, JSON.stringify(found.stuck, null, 1));
    assert.ok(found.states > 30_000, "the world has become too small to prove anything");
  });
}

test("the exploration reaches every verdict, every stage of both roles, and every way a copy may be lost", () => {
  const everything = scenarios.find(({ name }) => name === "one move, one fault, tokens kept at once");
  assert.ok(everything);
  const reached = pointsOf(exploreOnce(everything).parts);
  for (const point of [
    "aborted by source",
    "aborted by destination",
    "committed, unconfirmed",
    "committed, running",
    "committed, guest-lost",
    "returned",
    "source copyless",
    "source in-doubt",
    "destination refused",
    "destination returning",
    "destination lost",
    "source's journal lost",
  ]) {
    assert.ok(reached.has(point), `${point} was never reached`);
  }
});
