// A row of the table of failures: what must happen when this goes wrong at each phase of a migration.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { EndReason, Migration } from "../../../schemas/migration.ts";
import type { RunState } from "../../../schemas/vm.ts";
import { type Phase, Stage, type StageOptions } from "../../support/stage.ts";

export type Cell =
  | { so: string; play(stage: Stage): Promise<void>; options?: StageOptions }
  /** Why there is no such cell. */
  | { excused: string };

export type Row<P extends Phase = Phase> = { failure: string; cells: { [Q in P]: Cell } };

/** Every cell of a row as a test named after row and phase. */
export function playRow<P extends Phase>(row: Row<P>): void {
  for (const [phase, cell] of Object.entries(row.cells) as [P, Cell][]) {
    if ("excused" in cell) continue;
    test(`${row.failure} × ${phase}: ${cell.so}`, () => new Stage(phase).run(cell.options ?? {}, cell.play));
  }
}

export type Outcome = {
  verdict: Migration["verdict"];
  /** Where the guest is, and how; null where it is no more. */
  on: "host-a" | "host-b" | null;
  runState?: RunState;
  reason?: EndReason | null;
};

/** The migration ends so, one copy of the guest is where it is said to be (never restarted), and nothing is left. */
export async function endsAs(stage: Stage, { verdict, on, runState = "running", reason }: Outcome): Promise<void> {
  const { cluster } = stage;
  const ended = await cluster.ended(stage.id, 120_000);
  assert.equal(ended.verdict, verdict, JSON.stringify(ended));
  if (reason !== undefined) assert.equal(ended.reason, reason, ended.detail ?? "");
  await stage.until(async () => (await stage.vm()).runState === runState, `it is to be ${runState}`);
  await stage.nothingIsLeftBehind(on);
  assert.deepEqual(stage.executing(), runState === "running" && on ? [on] : []);
  const vm = await stage.vm();
  if (on) assert.equal(vm.owner?.hostId, on);
  assert.equal(vm.migration, null);
  assert.equal(cluster.executions.intervals.filter(({ fresh, vmId }) => fresh && vmId === "vm-1").length, 1);
}

/** As good as new: it goes to the other host and comes to run there. */
export async function movesAgain(stage: Stage): Promise<void> {
  await stage.release();
  const from = (await stage.vm()).owner?.hostId;
  const to = from === "host-a" ? "host-b" : "host-a";
  const moved = await stage.cluster.ended((await stage.cluster.request("vm-1", to)).id, 120_000);
  assert.equal(moved.phase, "completed", JSON.stringify(moved));
  await stage.nothingIsLeftBehind(to);
}

export const stays = { verdict: "aborted", on: "host-a" } as const;
export const moves = { verdict: "committed", on: "host-b" } as const;
