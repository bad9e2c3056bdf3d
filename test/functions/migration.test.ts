// A migration through the API, played by hosts that sign real requests.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createApp } from "../../functions/http/app.ts";
import { listUnsequencedEvents } from "../../functions/operations/events.ts";
import { itemName } from "../../functions/operations/keys.ts";
import { about, ok, playAll, Stage } from "./support/play.ts";
import { cluster, dump, makeCluster, runVm } from "./support/world.ts";

test("a running VM moves to the host that was named, and the record says how it went", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const asked = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b", ticket: "CHG-1" });
  assert.equal(asked.status, 202, JSON.stringify(asked.body));
  assert.equal(asked.headers.get("location"), `/v1/clusters/${cluster}/migrations/${asked.body.id}`);
  assert.equal(asked.body.phase, "setup");
  assert.deepEqual(
    world.rings
      .slice(-2)
      .map((host) => host.hostId)
      .sort(),
    ["host-a", "host-b"],
  );

  await playAll(world);
  const { body: migration } = await world.request("GET", `/migrations/${asked.body.id}`);
  assert.equal(migration.phase, "completed");
  assert.equal(migration.verdict, "committed");
  assert.equal(migration.confirmed, true);
  assert.equal(migration.bytes, 100);
  assert.equal(migration.encrypted, true);
  assert.equal(migration.guestGapMs, 12);
  assert.equal(migration.rounds.length, 1);
  assert.equal(migration.timings.downtimeMs, 3);
  assert.equal(migration.ticket, "CHG-1");
  const { body: vm } = await world.request("GET", "/vms/vm-1");
  assert.equal(vm.owner.hostId, "host-b");
  assert.equal(vm.runState, "running");
  assert.equal(vm.migration, null);
  assert.equal(vm.fencingToken, 2);
  const { body: hosts } = await world.request("GET", "/hosts");
  assert.deepEqual(
    hosts.items.map((host: { migration: string | null }) => host.migration),
    [null, null],
  );

  const back = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-a" });
  await playAll(world);
  const { body: returned } = await world.request("GET", `/migrations/${back.body.id}`);
  assert.equal(returned.phase, "completed");
  const { body: list } = await world.request("GET", "/migrations?limit=1");
  assert.equal(list.items[0].id, back.body.id);
  const { body: next } = await world.request("GET", `/migrations?limit=1&cursor=${list.nextCursor}`);
  assert.equal(next.items[0].id, asked.body.id);
});

test("every state change of a migration leaves its event, indexed until it has a sequence number", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const asked = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  await playAll(world);
  const { events } = await listUnsequencedEvents(world.ports, cluster, { limit: 1000 });
  const kinds = events
    .filter(({ event }) => event.subject.id === asked.body.id || event.data["migration"] === asked.body.id)
    .map(({ event }) => event.kind)
    .sort();
  assert.deepEqual(kinds, [
    "migration-admitted",
    "migration-claimed",
    "migration-claimed",
    "migration-committed",
    "migration-confirmed",
    "migration-ended",
    "migration-phase-changed", // precopy
    "migration-phase-changed", // one slot freed
    "migration-phase-changed", // the other
    "migration-requested",
  ]);
  const ofVm = events.filter(({ event }) => event.subject.kind === "vm").map(({ event }) => event.kind);
  assert.ok(ofVm.includes("vm-owner-changed"));
  assert.ok(events.every(({ event }) => event.revision >= 1 && event.cluster === cluster));
  // What an event names is the item, at the revision that its commit gave it; no item's revisions run backwards.
  const written = new Map(dump(world.table).map((item) => [itemName(item), item.revision]));
  const last = new Map<string, number>();
  for (const { event } of events) {
    if (event.subject.kind === "key") continue;
    assert.ok(event.revision <= (written.get(event.item) ?? 0), `${event.kind}: ${event.item} ${event.revision}`);
    const index = `${event.subject.id} ${event.item}`;
    assert.ok(event.revision >= (last.get(index) ?? 0), `${event.kind} is out of order`);
    last.set(index, event.revision);
  }
  const precopy = events.find(({ event }) => event.kind === "migration-phase-changed" && event.data["phase"]);
  assert.equal(precopy?.event.item, `progress/${asked.body.id}`);
});

test("a user's cancel before the source has claimed ends the migration at once", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const asked = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const cancelled = await world.request("POST", `/migrations/${asked.body.id}/cancel`, {});
  assert.equal(cancelled.status, 202);
  assert.equal(cancelled.body.phase, "cancelled");
  assert.equal(cancelled.body.reason, "cancelled-by-user");
  const { body: vm } = await world.request("GET", "/vms/vm-1");
  assert.equal(vm.migration, null);
  assert.equal(vm.fencingToken, 2);
  const again = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  assert.equal(again.body.phase, "setup");
});

test("a user's cancel after the source has claimed is an intent that the agents carry out", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const asked = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const before = (await world.host("host-a").claimed()).revision;
  const cancelled = await world.request("POST", `/migrations/${asked.body.id}/cancel`, {});
  assert.equal(cancelled.body.phase, "setup");
  assert.equal(cancelled.body.cancelRequested, true);
  const { body: beat } = await world.host("host-a").heartbeat();
  assert.ok(beat.assignmentsRevision > before, "the source is told to look");
  await playAll(world);
  const { body: migration } = await world.request("GET", `/migrations/${asked.body.id}`);
  assert.equal(migration.phase, "cancelled");
  const { body: vm } = await world.request("GET", "/vms/vm-1");
  assert.deepEqual([vm.owner.hostId, vm.runState, vm.migration], ["host-a", "running", null]);
  const late = await world.request("POST", `/migrations/${asked.body.id}/cancel`, {});
  assert.equal(late.body.code, "migration-over");
});

test("a cancel after the commit is too late, and says so", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const asked = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  await world.host("host-a").claim();
  await world.host("host-b").claim();
  const onMigration = { migrationId: asked.body.id, fencingToken: 1, vmId: "vm-1", peerHostId: "host-a" };
  await world.host("host-b").report({ kind: "destination-commits", ...onMigration });
  const late = await world.request("POST", `/migrations/${asked.body.id}/cancel`, {});
  assert.deepEqual([late.status, late.body.code], [409, "too-late-committed"]);
});

test("a destination that never ran the guest returns it, and the source runs on", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const { body: asked } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const source = await world.host("host-a").claimed();
  await world.host("host-b").claim();
  const named = { migrationId: asked.id, vmId: "vm-1", peerHostId: "host-a" };
  const onMigration = { ...named, fencingToken: 1, reason: "run-refused", detail: "lock held" };
  await world.host("host-b").report({ kind: "destination-commits", ...onMigration });
  const returned = await world.host("host-b").report({ kind: "destination-returns", ...onMigration });
  assert.equal(returned.status, 200);
  const { body: vm } = await world.request("GET", "/vms/vm-1");
  assert.deepEqual([vm.owner.hostId, vm.fencingToken, vm.migration], ["host-a", 3, asked.id]);
  await playAll(world);
  const { body: migration } = await world.request("GET", `/migrations/${asked.id}`);
  assert.deepEqual([migration.phase, migration.verdict, migration.reason], ["failed", "returned", "run-refused"]);
  const after = await world.request("GET", "/vms/vm-1");
  assert.deepEqual([after.body.runState, after.body.migration], ["running", null]);
  const duties = (await world.host("host-a").claimed()).copies;
  assert.equal(duties[0]?.fencingToken, 3, "the owner's duty bears the token of the verdict");
  assert.equal(duties[0]?.copyId, source.copies[0]?.copyId);
});

test("a guest lost on its new owner ends the migration as failed and is never restarted", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const { body: asked } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  await world.host("host-a").claim();
  const claimed = (await world.host("host-b").claimed()).assignment;
  const onMigration = { migrationId: asked.id, fencingToken: 1, vmId: "vm-1", peerHostId: "host-a" };
  await world.host("host-b").report({ kind: "destination-commits", ...onMigration });
  world.host("host-b").reboot();
  await world.host("host-b").heartbeat();
  await world.host("host-b").report({ kind: "guest-confirmed", ...onMigration, outcome: "guest-lost" });
  await world.host("host-b").seen({
    vmId: "vm-1",
    copyId: claimed?.assignment.destination.copyId ?? "",
    fencingToken: 2,
    state: "gone",
    because: "host-rebooted",
    migrationId: asked.id,
  });
  await playAll(world);
  const { body: migration } = await world.request("GET", `/migrations/${asked.id}`);
  assert.deepEqual([migration.phase, migration.verdict, migration.reason], ["failed", "committed", "guest-lost"]);
  const { body: vm } = await world.request("GET", "/vms/vm-1");
  assert.deepEqual([vm.runState, vm.migration], ["guest-lost", null]);
  assert.deepEqual((await world.host("host-b").claimed()).copies, []);
});

test("a frozen guest is an alarm until it is over; a silent host in a migration is one too", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const { body: asked } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  await world.host("host-a").claim();
  const onMigration = { migrationId: asked.id, fencingToken: 1, vmId: "vm-1", peerHostId: "host-b" };
  const progress = { kind: "migration-progressed", ...onMigration, phase: "switchover", rounds: [], encrypted: true };
  await world.host("host-a").report({ ...progress, frozen: true });
  world.clock.nowMs += 60_000;
  await world.host("host-a").heartbeat();
  const frozen = (await world.request("GET", "/vms/vm-1")).body;
  assert.equal(frozen.runState, "frozen");
  assert.deepEqual(frozen.alarms.map((alarm: { code: string }) => alarm.code).sort(), ["guest-frozen", "lease-lapsed"]);
  await world.host("host-b").heartbeat();
  await world.host("host-a").report({ ...progress, frozen: false });
  const thawed = (await world.request("GET", "/vms/vm-1")).body;
  assert.deepEqual([thawed.runState, thawed.alarms], ["running", []]);
});

test("waiting answers at once on news and at the end, and not before", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const { body: asked } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const path = `/migrations/${asked.id}/wait`;
  assert.equal((await world.request("GET", `${path}?timeoutMs=0&revision=${asked.revision}`)).body.phase, "setup");
  const waiting = world.request("GET", `${path}?timeoutMs=25000&revision=${asked.revision}`);
  await playAll(world, new Stage());
  const news = await waiting;
  assert.ok(news.body.revision > asked.revision);
  assert.equal((await world.request("GET", `${path}?timeoutMs=25000&revision=${news.body.revision}`)).status, 200);
  assert.equal((await world.request("GET", `${path}?timeoutMs=25000`)).body.phase, "completed");
  assert.equal((await world.request("GET", `${path}?timeoutMs=30000`)).body.code, "invalid-request");
});

test("whoever waits is answered when the control plane is about to end, and when it hangs up", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const { body: asked } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const closing = new AbortController();
  const app = createApp(world.ports, { log: () => {}, closing: closing.signal });
  const hangUp = new AbortController();
  for (const signal of [closing, hangUp]) {
    const path = `http://drover.test/v1/clusters/${cluster}/migrations/${asked.id}/wait?revision=${asked.revision}`;
    const headers = { authorization: `Bearer ${await world.makeKey(["read"])}` };
    const waiting = app.request(new Request(path, { headers, signal: hangUp.signal }));
    signal.abort();
    assert.equal((await (await waiting).json()).phase, "setup");
  }
});

test("however many rounds a migration takes, its reports are heard: the first and the newest are kept, the others counted", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const { body: asked } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const source = world.host("host-a");
  const claimed = (await source.claimed()).assignment;
  assert.ok(claimed);
  const third = 1 / 3;
  const rounds = (from: number) =>
    Array.from({ length: 100 }, (_, index) => ({
      round: from + index,
      bytes: 1,
      durationMs: 1e5 + third,
      remainingBytes: 1e15,
      dirtyBytesPerSecond: 1e9 + third,
      bandwidthBytesPerSecond: 1e9 + third,
      throttlePercent: 99,
    }));
  const progress = { kind: "migration-progressed", ...about(claimed), phase: "precopy", encrypted: true };
  for (let from = 0; from < 3000; from += 100) ok(await source.report({ ...progress, rounds: rounds(from) }));
  ok(await source.report({ ...progress, rounds: rounds(1000) }));
  const shown = (await world.request("GET", `/migrations/${asked.id}`)).body;
  assert.deepEqual([shown.rounds.length, shown.roundsLeftOut, shown.bytes], [201, 2799, 3000]);
  assert.deepEqual([shown.rounds[0].round, shown.rounds[1].round, shown.rounds.at(-1).round], [0, 2800, 2999]);

  ok(await source.report({ ...about(claimed), kind: "source-aborts", reason: "not-converging", detail: "" }));
  const summary = { timings: shown.timings, bytes: 3000, rounds: rounds(2950), encrypted: true };
  const { copyId } = claimed.assignment.source;
  const last = { vmId: "vm-1", copyId, fencingToken: 2, state: "running", migrationId: asked.id, summary } as const;
  ok(await source.seen(last));
  assert.equal((await world.request("GET", "/hosts/host-a")).body.migration, null);
});
