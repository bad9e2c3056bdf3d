// The memory stream behind a fault proxy. What must hold each time stands in StreamAttack.run.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Direction } from "../support/fault-proxy.ts";
import { unitFaults, unitsOf } from "../support/wire-units.ts";
import { spread } from "./spread.ts";
import { StreamAttack } from "./stream-attack.ts";

const ways: Direction[] = ["forth", "back"];
let attack: StreamAttack;
let bytes: { [D in Direction]: number };
before(async () => {
  attack = await StreamAttack.build();
  const whole = await attack.run({ kind: "none" }, "forth", 20_000);
  assert.deepEqual([whole.outcome, whole.sent], ["loaded", "sent"]);
  // A few bytes of every run's JSON are shorter or longer.
  bytes = { forth: whole.seen.forth - 200, back: whole.seen.back - 20 };
});
after(() => attack.close());

test("a bit flipped anywhere in a stream: nothing is loaded, or what is loaded is the source's", async () => {
  for (const way of ways)
    for (const at of spread(bytes[way], 12, 7)) await attack.run({ kind: "flip", at, bit: at % 8 }, way);
});

test("a stream that is cut or reset at any byte ends at both ends, and the source's guest is as it was", async () => {
  for (const way of ways)
    for (const at of spread(bytes[way], 5, 9))
      for (const kind of ["cut", "reset"] as const) {
        const ends = await attack.run({ kind, at }, way);
        assert.notEqual(ends.sent, "pending", `${kind} at byte ${at} ${way}`);
      }
});

test("a stream that falls silent, or creeps, loads nothing and ends when either agent gives it up", async () => {
  for (const way of ways)
    for (const fault of [
      { kind: "hold", at: 900 },
      { kind: "trickle", at: 1200, bytesPerSecond: 1 },
    ] as const) {
      const ends = await attack.run(fault, way, 700);
      assert.notEqual(ends.outcome, "loaded");
      assert.notEqual(ends.sent, "sent");
    }
});

test("a stream that comes late is a stream", async () => {
  const ends = await attack.run({ kind: "delay", at: 200_000, delayMs: 300 }, "forth", 20_000);
  assert.deepEqual([ends.outcome, ends.sent], ["loaded", "sent"]);
});

test("records of a stream that are lost, doubled or out of their order load nothing that the source did not send", async () => {
  const { recorded } = await attack.run({ kind: "none" }, "forth", 20_000, true);
  for (const way of ways)
    for (const fault of unitFaults(Buffer.concat(recorded[way]), 5)) await attack.run(fault, way, 700);
});

test("a source whose greeting is never answered gives up by itself", async () => {
  // The whole handshake comes back, and not the answer to the greeting.
  const { recorded } = await attack.run({ kind: "none" }, "forth", 20_000, true);
  const handshake = Buffer.concat(unitsOf(Buffer.concat(recorded.back)).slice(0, 4));
  const ends = await attack.run({ kind: "half-open", at: handshake.length }, "back", 8000);
  assert.equal(ends.sent, "not-begun");
  assert.match(ends.why ?? "", /does not answer/);
  assert.ok(ends.durationMs < 7000);
});

test("what an earlier migration sent, played again to a new one, is refused at the handshake", async () => {
  const { recorded } = await attack.run({ kind: "none" }, "forth", 20_000, true);
  const earlier = Buffer.concat(recorded.forth);
  const ends = await attack.run({ kind: "insert", at: 0, bytes: earlier }, "forth");
  assert.notEqual(ends.outcome, "loaded");
  assert.notEqual(ends.sent, "sent");
});
