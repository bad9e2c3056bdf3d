// A bug sown into what stands around the machines is found by the replay, and by what it does.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Lane } from "../../../agents/roles/context.ts";
import { OneOfAKind, Wake } from "../../../agents/roles/pacing.ts";
import { Part } from "../../../agents/roles/part.ts";
import type { Seed } from "./host-double.ts";
import { replayMany } from "./replays.ts";

async function findsIt(what: RegExp, sown: Seed = {}): Promise<void> {
  const { divergences } = await replayMany(600, { sown });
  assert.match(divergences[0]?.what ?? "no divergence", what);
}

test("a runner that acts before its journal has written is found", () =>
  findsIt(/destination waits for \[.*report:destination-commits.*\], and not for \[.*journal:commit-sent/, {
    isJournalNotAwaited: true,
  }));

test("a journal that loses what its runner wrote is found", () =>
  findsIt(/journal says commitSent: false/, { losesFacts: true }));

test("a runner that does two things with a copy at once is found", async (t: TestContext) => {
  t.mock.method(Lane.prototype, "do", (action: () => Promise<unknown>) => action());
  await findsIt(/waits for/);
});

test("a runner that asks twice where the first answer serves both is found", async (t: TestContext) => {
  t.mock.method(OneOfAKind.prototype, "ask", async (_kind: string, ask: () => Promise<() => void>) => (await ask())());
  await findsIt(/waits for/);
});

test("a runner that keeps a wake of the stage before is found", async (t: TestContext) => {
  t.mock.method(Wake.prototype, "stop", () => {});
  await findsIt(/has a wake set/);
});

test("a runner that relays no record to its peer is found", async (t: TestContext) => {
  const carryOut = Reflect.get(Part.prototype, "carryOutShared") as (command: { kind: string }) => void;
  t.mock.method(
    Part.prototype as unknown as { carryOutShared: typeof carryOut },
    "carryOutShared",
    function (this: unknown, command: { kind: string }) {
      if (command.kind !== "relay-record") carryOut.call(this, command);
    },
  );
  await findsIt(/says \[.*\], and not \[.*record/);
});

test("a runner that does not tell its machine of a record is found", async (t: TestContext) => {
  t.mock.method(Part.prototype, "noteRecord", () => {});
  await findsIt(/is .*, and not|waits for/);
});
