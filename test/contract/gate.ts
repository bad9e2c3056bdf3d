// What every kind of gate must keep (agents/ports/gate.ts).
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import type { Gate, GateDecision } from "../../agents/ports/gate.ts";

/** `again` opens the same gate as a restarted process would. */
export type GateBench = { gate: Gate; again(): Gate; close(): Promise<void> };

const migration = "mig_01KB0000000000000000000001";
const other = "mig_01KB0000000000000000000002";

export function gateContract(name: string, makeBench: () => Promise<GateBench>): void {
  describe(`gate contract: ${name}`, () => {
    let bench: GateBench;
    beforeEach(async () => {
      bench = await makeBench();
    });
    afterEach(() => bench.close());

    test("nothing stands before anybody decided", async () => {
      assert.equal(await bench.gate.read(migration), null);
    });

    test("the first word stands, and every later one is answered with it", async () => {
      assert.equal(await bench.gate.decide(migration, "past"), "past");
      assert.equal(await bench.gate.decide(migration, "cancelled"), "past");
      assert.equal(await bench.gate.decide(migration, "past"), "past");
      assert.equal(await bench.gate.read(migration), "past");
    });

    test("migrations have gates of their own", async () => {
      await bench.gate.decide(migration, "past");
      assert.equal(await bench.gate.read(other), null);
      assert.equal(await bench.gate.decide(other, "cancelled"), "cancelled");
    });

    test("what stands outlives who decided it", async () => {
      await bench.gate.decide(migration, "cancelled");
      assert.equal(await bench.again().read(migration), "cancelled");
      assert.equal(await bench.again().decide(migration, "past"), "cancelled");
    });

    test("of many who decide at once all are answered alike", async () => {
      const words = Array.from({ length: 20 }, (_, index): GateDecision => (index % 2 ? "past" : "cancelled"));
      const answers = await Promise.all(words.map((word) => bench.again().decide(migration, word)));
      assert.equal(new Set(answers).size, 1);
    });
  });
}
