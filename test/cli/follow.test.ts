// Following a migration: one of which nothing becomes is given up where that was asked for.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Api } from "../../cli/api.ts";
import { followMigration } from "../../cli/follow.ts";
import type { Progress } from "../../cli/progress.ts";
import type { Migration } from "../../schemas/migration.ts";

const begun = {
  id: "mig_01KB0000000000000000000000",
  vm: "vm-1",
  source: "host-a",
  destination: "host-b",
  phase: "precopy",
  rounds: [],
  currentRound: null,
  revision: 1,
} as unknown as Migration;
const alarm = { code: "lease-lapsed", since: "2026-01-01T00:00:00.000Z", detail: "host-a is silent" };

function follow(next: (asked: number) => Partial<Migration>) {
  const said: string[] = [];
  let asked = 0;
  const api = {
    waitMigration: async () => {
      await delay(5);
      return { ...begun, ...next(++asked) };
    },
    getVm: async () => ({ alarms: [alarm] }),
  } as unknown as Api;
  const note = (text: string) => void said.push(text);
  const progress: Progress = { live: false, line: note, alarm: note, status: () => {} };
  return { said, ended: followMigration(api, "local", begun, progress, { stuckAfterMs: 100 }) };
}

test("a migration of which nothing becomes is given up by name, after its guest's alarms were told", async () => {
  const { said, ended } = follow(() => ({}));
  await assert.rejects(ended, /^CommandFailure: vm-1 host-a → host-b is in precopy, and nothing has become of it/);
  assert.equal(said.filter((line) => /lease-lapsed/.test(line)).length, 1);
});

test("one that is queued, or goes on, is waited for", async () => {
  const { ended } = follow((asked) => {
    if (asked < 30) return { phase: "queued" };
    return asked < 60 ? { revision: asked } : { phase: "completed", revision: asked };
  });
  assert.equal((await ended).phase, "completed");
});
