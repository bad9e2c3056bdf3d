// Pause, resume and reset as the control plane takes them, and what a user is told of a cancel at each phase.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { DroverEvent } from "../../schemas/events.ts";
import { MigrationRecord } from "../../schemas/migration.ts";
import { about, ok, playAll } from "./support/play.ts";
import { type Answer, type Cluster, dump, makeCluster, runVm } from "./support/world.ts";

const vmOf = async (world: Cluster) => (await world.request("GET", "/vms/vm-1")).body;
const dutyAt = async (world: Cluster, hostId: string) => (await world.host(hostId).claimed()).copies[0] ?? null;
const wish = async (world: Cluster, what: "pause" | "resume" | "reset") =>
  ok202(await world.request("POST", `/vms/vm-1/${what}`, {}));
function ok202(answer: Answer) {
  assert.equal(answer.status, 202, JSON.stringify(answer.body));
  return answer.body;
}
const eventKinds = async (world: Cluster) =>
  dump(world.table)
    .filter(({ partition }) => partition.endsWith("events/pending"))
    .map(({ data }) => (data as unknown as DroverEvent).kind);

async function moving(world: Cluster) {
  const { body } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  await world.host("host-a").claim();
  const claimed = (await world.host("host-b").claimed()).assignment;
  assert.ok(claimed);
  const read = async () => (await world.request("GET", `/migrations/${body.id}`)).body;
  const cancel = () => world.request("POST", `/migrations/${body.id}/cancel`, {});
  return {
    id: body.id as string,
    claimed,
    read,
    cancel,
    commits: () => world.host("host-b").report({ kind: "destination-commits", ...about(claimed) }),
  };
}

test("a pause and a resume are told to the owner's host at once, and each is an event", async () => {
  const world = await makeCluster(["host-a"]);
  await runVm(world, "vm-1", "host-a");
  const before = (await world.host("host-a").claimed()).revision;
  const rung = world.rings.length;
  assert.equal((await wish(world, "pause")).wantedRunState, "paused");
  assert.ok((await world.host("host-a").claimed()).revision > before);
  assert.ok(world.rings.length > rung);
  assert.equal((await dutyAt(world, "host-a"))?.wantedRunState, "paused");
  await playAll(world);
  assert.equal((await vmOf(world)).runState, "paused");
  await wish(world, "pause");
  await wish(world, "resume");
  await playAll(world);
  assert.equal((await vmOf(world)).runState, "running");
  const kinds = await eventKinds(world);
  for (const kind of ["vm-pause-requested", "vm-resume-requested"] as const)
    assert.equal(kinds.filter((one) => one === kind).length, 1, kind);
});

test("a reset stays pending until its host says that it was made; one request under one key is one reset", async () => {
  const world = await makeCluster(["host-a"]);
  await runVm(world, "vm-1", "host-a");
  const keyed = { "idempotency-key": "reset-1" };
  for (let again = 0; again < 3; again += 1) {
    assert.equal((await world.request("POST", "/vms/vm-1/reset", {}, keyed)).status, 202);
  }
  assert.equal((await dutyAt(world, "host-a"))?.resets, 1);
  assert.equal((await vmOf(world)).resetPending, true);
  await playAll(world);
  assert.deepEqual([(await vmOf(world)).resetPending, (await vmOf(world)).runState], [false, "running"]);
  const kinds = await eventKinds(world);
  assert.deepEqual([kinds.includes("vm-reset-requested"), kinds.includes("vm-reset")], [true, true]);
});

test("a guest that is not there, or is to stop, takes no wish; unknown keys are refused", async () => {
  const world = await makeCluster(["host-a"]);
  await runVm(world, "vm-1", "host-a");
  assert.equal((await world.request("POST", "/vms/vm-1/pause", { force: true })).status, 400);
  await world.request("POST", "/vms/vm-1/stop", {});
  for (const what of ["pause", "resume", "reset"]) {
    const { status, body } = await world.request("POST", `/vms/vm-1/${what}`, {});
    assert.deepEqual([status, body.code], [409, "vm-not-running"], what);
    assert.equal(body.errors[0].pointer, "/vm");
  }
  await playAll(world);
  assert.equal((await world.request("POST", "/vms/vm-1/resume", {})).body.code, "vm-not-running");
});

test("a paused guest migrates: it arrives paused, is resumed there, and moves a second time", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  await wish(world, "pause");
  await playAll(world);
  await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  await playAll(world);
  const there = await vmOf(world);
  assert.deepEqual([there.owner.hostId, there.runState, there.wantedRunState], ["host-b", "paused", "paused"]);
  await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-a" });
  await playAll(world);
  assert.deepEqual([(await vmOf(world)).owner.hostId, (await vmOf(world)).runState], ["host-a", "paused"]);
  await wish(world, "resume");
  await playAll(world);
  assert.equal((await vmOf(world)).runState, "running");
});

test("before the commit a pause goes to the source, and the record says that the guest arrives paused", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const migration = await moving(world);
  await wish(world, "pause");
  assert.equal((await dutyAt(world, "host-a"))?.wantedRunState, "paused");
  const committed = ok(await migration.commits());
  const record = await world.host("host-b").open(committed.body.record, MigrationRecord);
  assert.equal(record.arrivesPaused, true);
});

test("after the commit pause and reset wait for the confirmation, and then go to the new owner", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  await wish(world, "reset");
  await playAll(world);
  const migration = await moving(world);
  await wish(world, "reset"); // Asked for before the commit, and not made at the source by its own word.
  ok(await migration.commits());
  await wish(world, "pause");
  await wish(world, "reset");
  assert.equal(await dutyAt(world, "host-b"), null);
  const read = ok(await world.host("host-b").record(migration.id));
  assert.equal(
    (await world.host("host-b").open(read.body.record, MigrationRecord)).arrivesPaused,
    false,
    "fixed by the commit",
  );
  ok(
    await world
      .host("host-b")
      .report({ kind: "guest-confirmed", ...about(migration.claimed), outcome: "running", resetsAtSource: 1 }),
  );
  const duty = await dutyAt(world, "host-b");
  assert.deepEqual([duty?.wantedRunState, duty?.resets], ["paused", 2]);
  await playAll(world);
  assert.deepEqual([(await vmOf(world)).runState, (await vmOf(world)).resetPending], ["paused", false]);
});

test("where nobody can say what the source had reset, no reset is made twice", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const migration = await moving(world);
  await wish(world, "reset");
  ok(await migration.commits());
  await wish(world, "reset");
  ok(await world.host("host-b").report({ kind: "guest-confirmed", ...about(migration.claimed), outcome: "running" }));
  assert.equal((await dutyAt(world, "host-b"))?.resets, 1, "only what was asked for after the commit");
});

test("a cancel says what became of it: pending, took effect, too late", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const lost = await moving(world);
  assert.equal((await lost.read()).cancel, null);
  const asked = await lost.cancel();
  assert.deepEqual([asked.status, asked.body.cancel, asked.body.cancelRequested], [202, "pending", true]);
  ok(await lost.commits());
  assert.equal((await lost.read()).cancel, "too-late-committed");
  const late = await lost.cancel();
  assert.deepEqual([late.status, late.body.code, late.body.holder], [409, "too-late-committed", lost.id]);
  assert.match(late.body.detail, /host-b/);
  await playAll(world);
  assert.equal((await lost.cancel()).body.code, "too-late-committed", "also once it is over");
  assert.equal((await lost.read()).phase, "completed");
});

test("a cancel that the source acts on took effect; one that another end was quicker than was overtaken", async () => {
  for (const reason of ["cancelled-by-user", "stream-failed"] as const) {
    const world = await makeCluster(["host-a", "host-b"]);
    await runVm(world, "vm-1", "host-a");
    const { body } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
    const claimed = (await world.host("host-a").claimed()).assignment;
    assert.ok(claimed);
    await world.request("POST", `/migrations/${body.id}/cancel`, {});
    ok(await world.host("host-a").report({ kind: "source-aborts", ...about(claimed), reason, detail: "" }));
    const shown = (await world.request("GET", `/migrations/${body.id}`)).body;
    assert.equal(shown.cancel, reason === "cancelled-by-user" ? "took-effect" : "overtaken");
    const again = await world.request("POST", `/migrations/${body.id}/cancel`, {});
    assert.equal(again.body.code, "migration-over");
  }
});

test("what nobody has begun a cancel ends at once", async () => {
  const world = await makeCluster(["host-a", "host-b", "host-c"]);
  await runVm(world, "vm-1", "host-a");
  await runVm(world, "vm-2", "host-c");
  const { body: unclaimed } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const { body: queued } = await world.request("POST", "/migrations", { vm: "vm-2", destination: "host-b" });
  assert.equal(queued.phase, "queued");
  for (const { id } of [queued, unclaimed]) {
    const { status, body } = await world.request("POST", `/migrations/${id}/cancel`, {});
    assert.deepEqual([status, body.phase, body.cancel], [202, "cancelled", "took-effect"]);
  }
  await playAll(world);
  assert.deepEqual([(await vmOf(world)).runState, (await vmOf(world)).owner.hostId], ["running", "host-a"]);
});
