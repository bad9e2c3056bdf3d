// Start, stop, delete and what becomes of guests: states with names, never silently healed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { about, act, ok, playAll, Stage } from "./support/play.ts";
import { type Cluster, makeCluster, runVm, spec } from "./support/world.ts";

const vmOf = async (world: Cluster) => (await world.request("GET", "/vms/vm-1")).body;
const duties = async (world: Cluster, hostId: string) => (await world.host(hostId).claimed()).copies;

test("a start makes a new copy under a higher token and tells its host", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await world.request("POST", "/vms", { vm: "vm-1", spec });
  const before = (await world.host("host-a").claimed()).revision;
  const { status, body } = await world.request("POST", "/vms/vm-1/start", { host: "host-a" });
  assert.deepEqual([status, body.runState, body.wantedRunState, body.fencingToken], [202, "starting", "running", 1]);
  const claimed = await world.host("host-a").claimed();
  assert.ok(claimed.revision > before);
  assert.deepEqual(claimed.copies, [
    {
      vmId: "vm-1",
      copyId: body.owner.copyId,
      fencingToken: 1,
      spec: { ...spec, image: "selftest" },
      wantedRunState: "running",
      hasRun: false,
      resets: 0,
    },
  ]);
  assert.equal((await world.request("POST", "/vms/vm-1/start", { host: "host-b" })).body.code, "vm-not-stopped");
});

test("a stop is carried out by the owner's host; the next start is another copy", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const first = (await vmOf(world)).owner.copyId;
  const { body } = await world.request("POST", "/vms/vm-1/stop", {});
  assert.deepEqual([body.runState, body.wantedRunState], ["stopping", "stopped"]);
  assert.equal((await duties(world, "host-a"))[0]?.wantedRunState, "stopped");
  await playAll(world);
  const stopped = await vmOf(world);
  assert.deepEqual([stopped.runState, stopped.stoppedBecause, stopped.owner.hostId], ["stopped", "ordered", "host-a"]);
  assert.deepEqual(await duties(world, "host-a"), []);
  assert.equal((await world.request("POST", "/vms/vm-1/stop", {})).status, 202);
  await world.request("POST", "/vms/vm-1/start", { host: "host-b" });
  const again = await vmOf(world);
  assert.notEqual(again.owner.copyId, first);
  assert.equal(again.fencingToken, 2);
});

for (const [because, runState] of [
  ["powered-off", "stopped"],
  ["crashed", "stopped"],
  ["killed", "guest-lost"],
  ["host-rebooted", "guest-lost"],
] as const) {
  test(`a guest that is gone because ${because} is ${runState}, and is not started again`, async () => {
    const world = await makeCluster(["host-a"]);
    await runVm(world, "vm-1", "host-a");
    const { owner } = await vmOf(world);
    const before = (await world.host("host-a").claimed()).revision;
    const gone = { vmId: "vm-1", copyId: owner.copyId, fencingToken: 1, state: "gone", because } as const;
    const { body } = ok(await world.host("host-a").seen(gone));
    assert.ok(body.assignmentsRevision > before, "the host reads its duties again before it acts on them");
    const vm = await vmOf(world);
    assert.deepEqual([vm.runState, vm.stoppedBecause, vm.wantedRunState], [runState, because, "stopped"]);
    assert.deepEqual(await duties(world, "host-a"), []);
    assert.equal(ok(await world.host("host-a").seen(gone)).body.outcome, "unchanged");
    assert.equal((await world.request("POST", "/vms/vm-1/start", { host: "host-a" })).status, 202);
  });
}

test("a deleted VM leaves a tombstone whose token is above every copy's; late copies are told to go", async () => {
  const world = await makeCluster(["host-a"]);
  await runVm(world, "vm-1", "host-a");
  const { owner } = await vmOf(world);
  const { body } = await world.request("DELETE", "/vms/vm-1");
  assert.deepEqual([body.deleteRequested, body.wantedRunState], [true, "stopped"]);
  await playAll(world);
  assert.equal((await vmOf(world)).code, "vm-deleted");
  assert.deepEqual((await world.request("GET", "/vms")).body.items, []);
  const late = { vmId: "vm-1", copyId: owner.copyId, fencingToken: 1 } as const;
  assert.equal((await world.host("host-a").seen({ ...late, state: "running" })).body.code, "stale-fencing-token");
  assert.equal((await world.host("host-a").seen({ ...late, state: "gone" })).body.outcome, "unchanged");
});

test("a stopped VM is deleted at once", async () => {
  const world = await makeCluster(["host-a"]);
  await world.request("POST", "/vms", { vm: "vm-1", spec });
  assert.equal((await world.request("DELETE", "/vms/vm-1")).status, 202);
  assert.equal((await vmOf(world)).code, "vm-deleted");
});

test("a stop before the source has claimed ends the migration at once", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const { body: migration } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const { body } = await world.request("POST", "/vms/vm-1/stop", {});
  assert.deepEqual([body.runState, body.migration], ["stopping", null]);
  const ended = (await world.request("GET", `/migrations/${migration.id}`)).body;
  assert.deepEqual([ended.phase, ended.reason], ["cancelled", "vm-stopped"]);
  await playAll(world);
  assert.equal((await vmOf(world)).runState, "stopped");
});

test("a stop during a migration first wins the abort, then stops the guest where it is", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const { body: migration } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  await world.host("host-a").claim();
  const { body } = await world.request("POST", "/vms/vm-1/stop", {});
  assert.deepEqual([body.wantedRunState, body.migration], ["stopped", migration.id]);
  await playAll(world);
  const ended = (await world.request("GET", `/migrations/${migration.id}`)).body;
  assert.deepEqual([ended.phase, ended.reason], ["cancelled", "vm-stopped"]);
  const vm = await vmOf(world);
  assert.deepEqual([vm.runState, vm.owner.hostId, vm.migration], ["stopped", "host-a", null]);
});

test("a stop or delete that lost against the commit follows the new owner", async () => {
  for (const method of ["POST", "DELETE"]) {
    const world = await makeCluster(["host-a", "host-b"]);
    await runVm(world, "vm-1", "host-a");
    await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
    await world.host("host-a").claim();
    const claimed = (await world.host("host-b").claimed()).assignment;
    assert.ok(claimed);
    ok(await world.host("host-b").report({ kind: "destination-commits", ...about(claimed) }));
    const path = method === "POST" ? "/vms/vm-1/stop" : "/vms/vm-1";
    assert.equal((await world.request(method, path, {})).status, 202);
    assert.deepEqual(await duties(world, "host-b"), [], "its duty comes with the confirmation");
    ok(await world.host("host-b").report({ kind: "guest-confirmed", ...about(claimed), outcome: "running" }));
    assert.equal((await duties(world, "host-b"))[0]?.wantedRunState, "stopped");
    await playAll(world);
    const vm = await vmOf(world);
    if (method === "POST") assert.deepEqual([vm.runState, vm.owner.hostId], ["stopped", "host-b"]);
    else assert.equal(vm.code, "vm-deleted");
  }
});

for (const destination of ["claimed", "unclaimed"]) {
  for (const ender of ["stop", "delete", "cancel", "destination-aborts"]) {
    test(`a guest that ends before its source has claimed ends the migration, whoever comes then: ${ender}, destination ${destination}`, async () => {
      const world = await makeCluster(["host-a", "host-b"]);
      await runVm(world, "vm-1", "host-a");
      // An aborted one before raises the VM's token above what the source was told.
      const { body: first } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
      await world.request("POST", `/migrations/${first.id}/cancel`, {});
      const { body: migration } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
      const onMigration = { migrationId: migration.id, fencingToken: 2, vmId: "vm-1", peerHostId: "host-a" };
      if (destination === "claimed") await world.host("host-b").claim();
      const { copyId } = (await vmOf(world)).owner;
      const gone = { vmId: "vm-1", copyId, fencingToken: 1, state: "gone", because: "powered-off" } as const;
      const before = world.rings.length;
      ok(await world.host("host-a").seen(gone));
      assert.ok(world.rings.slice(before).some(({ hostId }) => hostId === "host-b"));
      assert.equal(ok(await world.host("host-a").seen(gone)).body.outcome, "unchanged");
      if (ender === "stop") await world.request("POST", "/vms/vm-1/stop", {});
      if (ender === "delete") await world.request("DELETE", "/vms/vm-1");
      if (ender === "cancel") await world.request("POST", `/migrations/${migration.id}/cancel`, {});
      if (ender === "destination-aborts") {
        const end = { reason: "peer-unreachable", detail: "" };
        await world.host("host-b").report({ kind: "destination-aborts", ...onMigration, ...end });
      }
      await playAll(world);
      const ended = (await world.request("GET", `/migrations/${migration.id}`)).body;
      assert.deepEqual([ended.phase, ended.reason], ["failed", "guest-ended"]);
      const vm = await vmOf(world);
      if (ender === "delete") assert.equal(vm.code, "vm-deleted");
      else assert.deepEqual([vm.runState, vm.stoppedBecause, vm.migration], ["stopped", "powered-off", null]);
      const { body: hosts } = await world.request("GET", "/hosts");
      assert.ok(hosts.items.every((host: { migration: string | null }) => host.migration === null));
    });
  }
}

test("a guest that powers itself off before the gate ends the migration with that reason", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const { body: migration } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const claimed = (await world.host("host-a").claimed()).assignment;
  await world.host("host-b").claim();
  assert.ok(claimed);
  const detail = "powered-off";
  ok(await world.host("host-a").report({ kind: "source-aborts", ...about(claimed), reason: "guest-ended", detail }));
  const { copyId } = claimed.assignment.source;
  const gone = {
    vmId: "vm-1",
    copyId,
    fencingToken: 2,
    state: "gone",
    because: "powered-off",
    migrationId: migration.id,
  } as const;
  ok(await world.host("host-a").seen(gone));
  await playAll(world);
  const ended = (await world.request("GET", `/migrations/${migration.id}`)).body;
  assert.deepEqual([ended.phase, ended.reason], ["failed", "guest-ended"]);
  const vm = await vmOf(world);
  assert.deepEqual([vm.runState, vm.stoppedBecause, vm.migration], ["stopped", "powered-off", null]);
  assert.deepEqual(await duties(world, "host-a"), []);
});

test("a source lost past the gate is no loss of the guest while the destination may still commit", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const { body: migration } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const source = (await world.host("host-a").claimed()).assignment;
  await world.host("host-b").claim();
  assert.ok(source);
  world.host("host-a").reboot();
  await world.host("host-a").heartbeat();
  const { copyId } = source.assignment.source;
  const gone = {
    vmId: "vm-1",
    copyId,
    fencingToken: 1,
    state: "gone",
    because: "host-rebooted",
    migrationId: migration.id,
  } as const;
  ok(await world.host("host-a").seen(gone));
  const slotOf = async () => (await world.request("GET", "/hosts/host-a")).body.migration;
  assert.equal(await slotOf(), migration.id, "its slot is kept until a verdict stands");
  assert.equal((await vmOf(world)).runState, "running");
  const stage = new Stage();
  stage.arrived.add(migration.id);
  await playAll(world, stage);
  const vm = await vmOf(world);
  assert.deepEqual([vm.runState, vm.owner.hostId, vm.migration], ["running", "host-b", null]);
  assert.equal((await world.request("GET", `/migrations/${migration.id}`)).body.phase, "completed");
  assert.equal(await slotOf(), null);
});

test("a source lost while the destination is incomplete is a lost guest, by name", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const { body: migration } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const source = (await world.host("host-a").claimed()).assignment;
  const destination = (await world.host("host-b").claimed()).assignment;
  assert.ok(source && destination);
  world.host("host-a").reboot();
  await world.host("host-a").heartbeat();
  const { copyId } = source.assignment.source;
  ok(
    await world.host("host-a").seen({
      vmId: "vm-1",
      copyId,
      fencingToken: 1,
      state: "gone",
      because: "host-rebooted",
      migrationId: migration.id,
    }),
  );
  ok(
    await world
      .host("host-b")
      .report({ kind: "destination-aborts", ...about(destination), reason: "source-lost-copy", detail: "" }),
  );
  const vm = await vmOf(world);
  assert.deepEqual([vm.runState, vm.migration], ["guest-lost", null]);
  await act(world.host("host-b"), new Stage());
  assert.equal((await world.request("GET", `/migrations/${migration.id}`)).body.phase, "failed");
});

test("a queued migration whose guest stops meanwhile ends with that reason", async () => {
  const world = await makeCluster(["host-a", "host-b", "host-c"]);
  await runVm(world, "vm-0", "host-b");
  await runVm(world, "vm-1", "host-a");
  await world.request("POST", "/migrations", { vm: "vm-0", destination: "host-c" });
  const { body: queued } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  assert.equal(queued.phase, "queued");
  const { owner } = await vmOf(world);
  ok(
    await world
      .host("host-a")
      .seen({ vmId: "vm-1", copyId: owner.copyId, fencingToken: 1, state: "gone", because: "crashed" }),
  );
  const ended = (await world.request("GET", `/migrations/${queued.id}`)).body;
  assert.deepEqual([ended.phase, ended.reason], ["failed", "guest-ended"]);
  const vm = await vmOf(world);
  assert.deepEqual([vm.runState, vm.migration], ["stopped", null]);
});

test("what the guest says of itself is shown with its VM", async () => {
  const world = await makeCluster(["host-a"]);
  await runVm(world, "vm-1", "host-a");
  const { owner } = await vmOf(world);
  const report = {
    bootId: "b00t",
    heartbeats: 7,
    memoryErrors: 0,
    longestGapMs: 11,
    uptimeMs: 700,
    dirtyMiBPerSecond: 10,
  };
  ok(await world.host("host-a").heartbeat({ guests: [{ vm: "vm-1", copyId: owner.copyId, report }] }));
  assert.deepEqual((await vmOf(world)).guest, report);
});
