import assert from "node:assert/strict";
import { test } from "node:test";
import { makeCluster, runVm } from "./support/world.ts";

const hostAlarms = [{ code: "cannot-journal", detail: "cannot journal: ENOSPC: no space left on device" }];

test("a migration that is queued for a host that cannot journal says so, and begins once it can", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  await runVm(world, "vm-2", "host-a");
  const first = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const { body: queued } = await world.request("POST", "/migrations", { vm: "vm-2", destination: "host-b" });
  assert.equal(queued.phase, "queued");
  await world.host("host-b").heartbeat({ hostAlarms });
  await world.request("POST", `/migrations/${first.body.id}/cancel`, {});
  const { body: waits } = await world.request("GET", `/migrations/${queued.id}`);
  assert.equal(waits.phase, "queued");
  assert.match(waits.detail, /Waits for host "host-b", which cannot journal: ENOSPC/);
  const { body: shown } = await world.request("GET", "/hosts/host-b");
  assert.deepEqual(
    shown.alarms.map(({ code, detail }: { code: string; detail: string }) => ({ code, detail })),
    hostAlarms,
  );

  world.clock.nowMs += 1000;
  await world.host("host-b").heartbeat({ hostAlarms });
  const { body: later } = await world.request("GET", "/hosts/host-b");
  assert.equal(later.alarms[0].since, shown.alarms[0].since, "it stands since it was first told");

  await world.host("host-b").heartbeat({});
  const { body: begun } = await world.request("GET", `/migrations/${queued.id}`);
  assert.equal(begun.phase, "setup");
  assert.equal(begun.detail, null);
});

test("to and from a host that cannot journal no migration is asked for, and the refusal names the host", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  for (const bad of ["host-a", "host-b"]) {
    await world.host(bad).heartbeat({ hostAlarms });
    const { status, body } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
    assert.deepEqual([status, body.code], [409, "host-cannot-journal"]);
    assert.match(body.detail, new RegExp(`"${bad}" cannot journal: ENOSPC`));
    await world.host(bad).heartbeat({});
  }
});

test("what stands wrong with a guest is shown with its VM, each by its name, since it began, until it is told no more", async () => {
  const world = await makeCluster(["host-a"]);
  await runVm(world, "vm-1", "host-a");
  const shown = async () => (await world.request("GET", "/vms/vm-1")).body;
  const { copyId } = (await shown()).owner;
  const silent = { vm: "vm-1", copyId, code: "guest-silent", detail: "the guest's own heartbeat stands at 7" };
  const lockless = { vm: "vm-1", copyId, code: "lock-file-not-held", detail: "held by another" };
  const at = (agoMs: number) => new Date(world.clock.nowMs - agoMs).toISOString();

  const fellSilent = at(12_000);
  await world.host("host-a").heartbeat({ alarms: [{ ...silent, standsForMs: 12_000 }] });
  assert.deepEqual((await shown()).alarms, [{ code: silent.code, detail: silent.detail, since: fellSilent }]);

  world.clock.nowMs += 10_000;
  await world.host("host-a").heartbeat({ alarms: [lockless, { ...silent, standsForMs: 22_100 }] });
  const since = (await shown()).alarms.map((alarm: { code: string; since: string }) => [alarm.code, alarm.since]);
  assert.deepEqual(since, [
    ["lock-file-not-held", at(0)],
    ["guest-silent", fellSilent],
  ]);

  await world.host("host-a").heartbeat({ alarms: [lockless] });
  assert.deepEqual(
    (await shown()).alarms.map(({ code }: { code: string }) => code),
    ["lock-file-not-held"],
  );
  await world.host("host-a").heartbeat({});
  assert.deepEqual((await shown()).alarms, []);
});
