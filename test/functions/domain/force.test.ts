import assert from "node:assert/strict";
import { test } from "node:test";
import { lostEnds } from "../../../functions/domain/force.ts";
import type { MigrationState, Seen, Session } from "../../../functions/domain/records.ts";
import { hostLost } from "../../../functions/domain/vms.ts";

const lost = { incarnation: "life-1", reason: "power cut", by: "ops", at: 0 };
const session = (incarnation: string): Session => ({
  incarnation,
  incarnationNumber: 1,
  counter: 0,
  leaseExpiresAt: null,
  lost,
});
const gone = (because: Seen["because"]): Seen => ({ state: "gone", because, detail: "", underToken: 5 });
const seen = (source: Seen | null, destination: Seen | null) => ({ seen: { source, destination } }) as MigrationState;
const away = session("life-1");
const back = session("life-2");

test("F1: a host counts as lost while it is away that was declared lost; one that came back decides for itself", () => {
  const both = seen(gone(hostLost), gone(hostLost));
  assert.deepEqual(lostEnds(both, { source: away, destination: away }), { source: true, destination: true });
  assert.deepEqual(lostEnds(both, { source: back, destination: away }), { source: false, destination: true });
  assert.deepEqual(lostEnds(seen(null, null), { source: away, destination: away }), {
    source: false,
    destination: false,
  });
});

test("F1: a source that has said itself that its copy is gone decides nothing any more; of a destination only the operator says so", () => {
  const itself = seen(gone("killed"), gone("killed"));
  assert.deepEqual(lostEnds(itself, { source: back, destination: back }), { source: true, destination: false });
  assert.deepEqual(lostEnds(seen({ ...gone("killed"), state: "running" }, null), { source: back, destination: back }), {
    source: false,
    destination: false,
  });
});
