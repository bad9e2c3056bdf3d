// A lost host as the API has it: who may say so, what must be said, what is refused, and that nothing it says counts after.
import assert from "node:assert/strict";
import { test } from "node:test";
import { lostStatement } from "../../schemas/host.ts";
import { unlockStatement } from "../../schemas/vm.ts";
import { type Cluster, dump, makeCluster, runVm } from "./support/world.ts";

const reason = "power cut in rack 7";
const hourMs = 3_600_000;

async function forcing(world: Cluster): Promise<{ authorization: string }> {
  return { authorization: `Bearer ${await world.makeKey(["read", "force"])}` };
}

async function lossOf(
  world: Cluster,
  host: string,
): Promise<{ incarnation: string; reason: string; statement: string }> {
  const { body } = await world.request("GET", `/hosts/${host}`);
  return { incarnation: body.incarnation, reason, statement: lostStatement };
}

test("declaring a host lost needs its own scope, the words to the letter, its latest incarnation, and a lapsed lease", async () => {
  const world = await makeCluster(["host-a"]);
  const headers = await forcing(world);
  const loss = await lossOf(world, "host-a");
  const path = "/hosts/host-a/declare-lost";
  const before = dump(world.table).length;
  assert.equal((await world.request("POST", path, loss)).body.code, "scope-missing");
  const spoken = await world.request("POST", path, { ...loss, statement: "yes" }, headers);
  assert.equal(spoken.body.code, "invalid-request");
  assert.match(JSON.stringify(spoken.body.errors), /this host is off and cannot come back as it was/);
  assert.equal((await world.request("POST", path, { ...loss, reason: "" }, headers)).body.code, "invalid-request");
  assert.equal((await world.request("POST", path, loss, headers)).body.code, "host-alive");
  world.clock.nowMs += hourMs;
  const other = { ...loss, incarnation: "0".repeat(32) };
  assert.equal((await world.request("POST", path, other, headers)).body.code, "incarnation-stale");
  assert.equal((await world.request("POST", "/hosts/host-z/declare-lost", loss, headers)).body.code, "host-unknown");
  assert.equal(dump(world.table).length, before, "nothing was written");
});

test("from then on nothing that incarnation says is taken; a new one is heard", async () => {
  const world = await makeCluster(["host-a"]);
  await runVm(world, "vm-1", "host-a");
  const headers = await forcing(world);
  const loss = await lossOf(world, "host-a");
  world.clock.nowMs += hourMs;
  const declared = await world.request("POST", "/hosts/host-a/declare-lost", loss, headers);
  assert.equal(declared.status, 200);
  assert.equal(declared.body.declaredLost.reason, reason);
  assert.equal((await world.request("GET", "/hosts/host-a")).body.declaredLost.incarnation, loss.incarnation);
  const again = await world.request("POST", "/hosts/host-a/declare-lost", loss, headers);
  assert.equal(again.status, 200, "saying it twice changes nothing");
  const host = world.host("host-a");
  assert.equal((await host.heartbeat()).body.code, "incarnation-ended");
  const { owner, fencingToken } = (await world.request("GET", "/vms/vm-1")).body;
  const seen = await host.seen({ vmId: "vm-1", copyId: owner.copyId, fencingToken, state: "running" });
  assert.equal(seen.body.code, "incarnation-ended");
  assert.equal((await world.request("GET", "/vms/vm-1")).body.runState, "guest-lost");
});

test("the words, the reason and who said them are kept in an event", async () => {
  const world = await makeCluster(["host-a"]);
  const headers = await forcing(world);
  const loss = await lossOf(world, "host-a");
  world.clock.nowMs += hourMs;
  await world.request("POST", "/hosts/host-a/declare-lost", loss, headers);
  const events = dump(world.table).filter((item) => item.data["kind"] === "host-declared-lost");
  assert.equal(events.length, 1);
  assert.deepEqual(events[0]?.data["data"], { incarnation: loss.incarnation, reason, statement: lostStatement });
  assert.match(String(events[0]?.data["by"]), /^key\//);
});

test("forcing a VM: refused while its host is not lost; the same key twice starts one copy; the override is in words", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const headers = await forcing(world);
  const start = { reason, action: { kind: "start-from-disk", host: "host-b" } };
  assert.equal((await world.request("POST", "/vms/vm-1/force", start)).body.code, "scope-missing");
  assert.equal((await world.request("POST", "/vms/vm-1/force", start, headers)).body.code, "host-not-lost");
  const takeBack = { reason, action: { kind: "take-back" } };
  assert.equal((await world.request("POST", "/vms/vm-1/force", takeBack, headers)).body.code, "not-committed");
  const loss = await lossOf(world, "host-a");
  world.clock.nowMs += hourMs;
  await world.request("POST", "/hosts/host-a/declare-lost", loss, headers);
  const silent = await world.request("POST", "/vms/vm-1/force", start, headers);
  assert.equal(silent.body.code, "host-not-alive", "the named host must live");
  await world.host("host-b").heartbeat();
  const unsaid = { reason, action: { ...start.action, overrideLockFile: true } };
  assert.equal((await world.request("POST", "/vms/vm-1/force", unsaid, headers)).body.code, "invalid-request");
  const said = { reason, action: { ...start.action, overrideLockFile: unlockStatement } };
  const keyed = { ...headers, "idempotency-key": "rack-7" };
  const first = await world.request("POST", "/vms/vm-1/force", said, keyed);
  const second = await world.request("POST", "/vms/vm-1/force", said, keyed);
  assert.equal(first.status, 202);
  assert.deepEqual(second.body, first.body);
  assert.equal(first.body.owner.hostId, "host-b");
  const { copies } = (await world.host("host-b").claim()).body;
  assert.deepEqual([copies.length, copies[0].replaceLockFile], [1, true]);
  const more = await world.request("POST", "/vms/vm-1/force", start, headers);
  assert.equal(more.body.code, "host-not-lost", "it is starting: nothing is left to force");
});

test("guests of a lost host that the declaration left undone are lost by the timer's net", async () => {
  const world = await makeCluster(["host-a"]);
  for (const vm of ["vm-1", "vm-2", "vm-3"]) await runVm(world, vm, "host-a");
  const headers = await forcing(world);
  const loss = await lossOf(world, "host-a");
  world.clock.nowMs += hourMs;
  await world.request("POST", "/hosts/host-a/declare-lost", loss, headers);
  const { items } = (await world.request("GET", "/vms")).body;
  assert.deepEqual(
    items.map((vm: { runState: string }) => vm.runState),
    ["guest-lost", "guest-lost", "guest-lost"],
  );
  assert.equal((await world.request("POST", "/vms/vm-1/start", { host: "host-a" })).body.code, "host-not-alive");
});
