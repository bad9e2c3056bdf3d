// Promises with a number, each under the faults that it is about. Bounded here; npm run simulate goes on for longer.
import assert from "node:assert/strict";
import { test } from "node:test";
import { callingHostsLost, type FaultPlan, noFaults } from "./fault-plan.ts";
import { playScenario } from "./scenario.ts";
import { mustHold, playAll } from "./scenarios.ts";

const only = (change: (plan: FaultPlan) => void) => () => {
  const plan = noFaults();
  change(plan);
  return plan;
};

test("30 % of the table's answers lost after they were applied, 10 % throttled, 5 % in conflict: nothing twice, nothing missing", async () => {
  const plan = only(({ chance }) => {
    chance.tableAnswerLost = 0.3;
    chance.tableThrottled = 0.1;
    chance.tableConflict = 0.05;
  });
  const sum = await playAll(1, 120, { plan });
  assert.ok(
    sum.migrations > 50 && sum.counts.of("commit's outcome unknown at the table") > 10,
    `${sum.migrations} migrations, ${sum.counts.of("commit's outcome unknown at the table")} unknown`,
  );
});

test("every ring lost: every migration completes; every ring repeated or a day late: nothing else happens", async () => {
  const lost = only(({ chance }) => {
    chance.ringLost = 1;
  });
  const late = only(({ chance }) => {
    chance.ringRepeated = 0.5;
    chance.ringLate = 1;
  });
  for (const plan of [lost, late]) assert.ok((await playAll(101, 120, { plan })).counts.of("committed") > 20);
});

test("wall clocks jump by up to ten years, monotonic ones drift by 500 ppm: no guest is harmed", async () => {
  const plan = only((change) => {
    change.rate.wallJumps = 6;
    change.drift = 0.0005;
  });
  const sum = await playAll(201, 230, { plan });
  assert.ok(sum.counts.of("committed") > 15, String(sum.counts.of("committed")));
});

test("processes that stand still for up to minutes: no guest runs twice, and all comes right", async () => {
  const plan = only(({ rate }) => {
    rate.agentStalls = 4;
    rate.supervisorStalls = 4;
  });
  await playAll(301, 330, { plan });
});

test("full disks at every write: no guest is harmed, and all comes right", async () => {
  const plan = only(({ chance, rate }) => {
    chance.writeFails = 0.2;
    rate.diskFull = 4;
  });
  const sum = await playAll(401, 430, { plan });
  assert.ok(sum.counts.of("journal write failed") > 5);
});

test("16 hosts under many faults", async () => {
  for (const seed of [501, 502, 503]) mustHold(await playScenario({ seed, hosts: 16, troubleMs: 60_000 }));
});

test("real Ed25519 signatures, checked by every end", async () => {
  await playAll(601, 620, { simulation: { strength: "real" } });
});

test("hosts called lost by mistake as the table goes back, and back one after the other: no guest runs twice or from old memory, and all comes right", async () => {
  const { counts } = await playAll(1, 100, { plan: callingHostsLost });
  for (const point of [
    "late host settled before another",
    "committed for want of a lost destination's word",
    "taken back from a destination that knows nothing of it",
  ] as const) {
    assert.ok(counts.of(point) > 0, point);
  }
});
