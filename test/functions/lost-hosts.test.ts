// A lost host as the API has it: who may say so, what must be said, what is refused, and that nothing it says counts after.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createFaultyTable, type TableCall } from "../../functions/adapters/faulty-table.ts";
import { createMemoryTable } from "../../functions/adapters/memory-table.ts";
import { hostPartition, keys } from "../../functions/operations/keys.ts";
import { tidy } from "../../functions/operations/tidy.ts";
import type { Table } from "../../functions/ports/table.ts";
import { lostStatement } from "../../schemas/host.ts";
import { unlockStatement } from "../../schemas/vm.ts";
import { about, playAll, Stage } from "./support/play.ts";
import { type Cluster, cluster, dump, makeCluster, runVm, spec } from "./support/world.ts";

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

/** Lets the lease lapse, then says the words; the other hosts are heard again after. */
async function lose(world: Cluster, hosts: string[], headers: { authorization: string }): Promise<void> {
  world.clock.nowMs += hourMs;
  for (const host of hosts) {
    const answer = await world.request("POST", `/hosts/${host}/declare-lost`, await lossOf(world, host), headers);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
  }
  for (const [hostId, host] of Object.entries(world.hosts)) if (!hosts.includes(hostId)) await host.heartbeat();
}

const startOn = (host: string, more: object = {}) => ({ reason, action: { kind: "start-from-disk", host, ...more } });
const forcedEvents = (world: Cluster) => dump(world.table).filter((item) => item.data["kind"] === "vm-forced");

test("guests that the declaration left undone are lost by the timer's net; forcing one does not wait for it", async () => {
  let isBusy = false;
  const table = createMemoryTable();
  const losesGuest = (call: TableCall) =>
    call.kind === "commit" && call.changes.some((c) => c.kind === "put" && c.data["runState"] === "guest-lost");
  const faulty = createFaultyTable(table, (call) => ({ kind: isBusy && losesGuest(call) ? "throttled" : "none" }));
  const world = await makeCluster(["host-a", "host-b"], { table: faulty });
  for (const vm of ["vm-1", "vm-2", "vm-3"]) await runVm(world, vm, "host-a");
  const headers = await forcing(world);
  const states = async () =>
    (await world.request("GET", "/vms")).body.items.map((vm: { runState: string }) => vm.runState);
  isBusy = true;
  await lose(world, ["host-a"], headers);
  assert.deepEqual(await states(), ["running", "running", "running"], "the table took none of them");
  isBusy = false;
  assert.equal((await world.request("POST", "/vms/vm-1/force", startOn("host-b"), headers)).status, 202);
  await tidy(world.ports, cluster);
  assert.deepEqual(await states(), ["starting", "guest-lost", "guest-lost"]);
  const plain = await world.request("POST", "/vms/vm-2/start", { host: "host-a" });
  assert.equal(plain.body.code, "host-not-alive");
});

test("a host's memory is promised once, also to a guest that is forced onto it between the look and the write", async () => {
  const table = createMemoryTable();
  let meanwhile: (() => Promise<unknown>) | null = null;
  const slowTable: Table = {
    ...table,
    query: async (query) => {
      const page = await table.query(query);
      const other = query.partition === hostPartition(cluster, "host-b") ? meanwhile : null;
      if (other) meanwhile = null;
      await other?.();
      return page;
    },
  };
  const world = await makeCluster(["host-a"], { table: slowTable });
  world.hosts["host-b"] = await world.addHost("host-b", { memoryMiB: spec.memoryMiB });
  for (const vm of ["vm-1", "vm-2"]) await runVm(world, vm, "host-a");
  const headers = await forcing(world);
  await lose(world, ["host-a"], headers);
  const force = (vm: string) => world.request("POST", `/vms/${vm}/force`, startOn("host-b"), headers);
  meanwhile = async () => assert.equal((await force("vm-2")).status, 202);
  assert.equal((await force("vm-1")).body.code, "destination-full");
});

test("a forced start is kept in an event of its own: who, why, where, and the words about the lock file", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const headers = await forcing(world);
  await lose(world, ["host-a"], headers);
  assert.equal((await world.request("POST", "/vms/vm-1/force", startOn("host-z"), headers)).status, 404);
  assert.equal(forcedEvents(world).length, 0, "a refusal leaves none");
  const said = startOn("host-b", { overrideLockFile: unlockStatement });
  assert.equal((await world.request("POST", "/vms/vm-1/force", said, headers)).status, 202);
  const [event, ...more] = forcedEvents(world);
  assert.equal(more.length, 0);
  const data = { reason, action: "start-from-disk", host: "host-b", overrideLockFile: unlockStatement };
  assert.deepEqual(event?.data["data"], data);
  assert.match(String(event?.data["by"]), /^key\//);
});

test("a start that waits for a lock file is told to replace it: the same copy on the same host, never a second one", async () => {
  const world = await makeCluster(["host-a", "host-b", "host-c"]);
  await runVm(world, "vm-1", "host-a");
  const headers = await forcing(world);
  await lose(world, ["host-a"], headers);
  const { owner, fencingToken } = (await world.request("POST", "/vms/vm-1/force", startOn("host-b"), headers)).body;
  const host = world.host("host-b");
  const held = { vmId: "vm-1", copyId: owner.copyId, fencingToken, state: "held" } as const;
  await host.seen({ ...held, detail: "lock-held" });
  const words = { overrideLockFile: unlockStatement };
  const elsewhere = await world.request("POST", "/vms/vm-1/force", startOn("host-c", words), headers);
  assert.equal(elsewhere.body.code, "host-not-lost");
  const here = await world.request("POST", "/vms/vm-1/force", startOn("host-b", words), headers);
  assert.deepEqual([here.status, here.body.owner, here.body.fencingToken], [202, owner, fencingToken]);
  const told = async () => (await host.claimed()).copies.map((duty) => [duty.copyId, duty.replaceLockFile ?? false]);
  assert.deepEqual(await told(), [[owner.copyId, true]]);
  await host.seen({ ...held, detail: "lock-unreachable" });
  assert.deepEqual(await told(), [[owner.copyId, true]], "the word stands until the guest has run");
  await host.seen({ ...held, state: "running" });
  assert.deepEqual(await told(), [[owner.copyId, false]], "and no longer");
});

test("a start that the loss of its host cut short is not begun anew when the host returns", async () => {
  const world = await makeCluster(["host-a"]);
  await world.request("POST", "/vms", { vm: "vm-1", spec });
  await world.request("POST", "/vms/vm-1/start", { host: "host-a" });
  await lose(world, ["host-a"], await forcing(world));
  const host = world.host("host-a");
  host.reboot();
  await host.heartbeat();
  const [duty] = (await host.claimed()).copies;
  assert.equal(duty?.hasRun, true, "if it is not there it is gone");
});

test("nothing is forced over a host that came back: it may decide again", async () => {
  const world = await makeCluster(["host-a", "host-b", "host-c"]);
  await runVm(world, "vm-1", "host-a");
  const headers = await forcing(world);
  await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  for (const host of ["host-a", "host-b"]) await world.host(host).claimed();
  await lose(world, ["host-a", "host-b"], headers);
  world.host("host-a").reboot();
  await world.host("host-a").heartbeat();
  const early = await world.request("POST", "/vms/vm-1/force", startOn("host-c"), headers);
  assert.equal(early.body.code, "host-may-decide");
  await lose(world, ["host-a"], headers);
  assert.equal((await world.request("POST", "/vms/vm-1/force", startOn("host-c"), headers)).status, 202);
});

test("a VM that was to be deleted does not run again when its migration is forced: it is deleted", async () => {
  const world = await makeCluster(["host-a", "host-b", "host-c"]);
  await runVm(world, "vm-1", "host-a");
  const headers = await forcing(world);
  await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  for (const host of ["host-a", "host-b"]) await world.host(host).claimed();
  await world.request("DELETE", "/vms/vm-1");
  await lose(world, ["host-a", "host-b"], headers);
  const { owner } = (await world.request("POST", "/vms/vm-1/force", startOn("host-c"), headers)).body;
  const host = world.host("host-c");
  const [duty] = (await host.claimed()).copies;
  assert.deepEqual([duty?.copyId, duty?.wantedRunState], [owner.copyId, "stopped"]);
  const gone = { vmId: "vm-1", copyId: owner.copyId, fencingToken: duty?.fencingToken ?? 0, state: "gone" } as const;
  assert.equal((await host.seen({ ...gone, because: "never-started" })).status, 200);
  assert.equal((await world.request("GET", "/vms/vm-1")).body.code, "vm-deleted");
});

test("a part that the declaration left as it was, said while the cluster recovered, is lost by whoever passes by", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const headers = await forcing(world);
  const { body: migration } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  await world.host("host-a").claimed();
  const claimed = (await world.host("host-b").claimed()).assignment;
  assert.ok(claimed);
  assert.equal((await world.host("host-b").report({ kind: "destination-commits", ...about(claimed) })).status, 200);
  const { incarnation } = await lossOf(world, "host-b");
  world.clock.nowMs += hourMs;
  await world.host("host-a").heartbeat();
  const key = keys.session(cluster, "host-b");
  const [session] = await world.table.get([key]);
  assert.ok(session);
  const lost = { incarnation, reason, by: "ops", at: world.clock.nowMs };
  const data = { ...session.data, leaseExpiresAt: null, lost };
  await world.table.commit([
    { kind: "put", key, expected: session.revision, schemaVersion: session.schemaVersion, data },
  ]);
  const takeBack = { reason, action: { kind: "take-back" } };
  const early = await world.request("POST", "/vms/vm-1/force", takeBack, headers);
  assert.equal(early.body.code, "host-not-lost");
  await tidy(world.ports, cluster);
  assert.equal((await world.request("POST", "/vms/vm-1/force", takeBack, headers)).status, 202);
  const { verdict } = (await world.request("GET", `/migrations/${migration.id}`)).body;
  assert.equal(verdict, "committed");
});

test("what an operator gets wrong is refused with its place, and leaves no trace", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const headers = await forcing(world);
  const loss = await lossOf(world, "host-a");
  const start = startOn("host-b");
  const takeBack = { reason, action: { kind: "take-back" } };
  world.clock.nowMs += hourMs;
  await world.host("host-b").heartbeat();
  const before = JSON.stringify(dump(world.table));
  const wrong: [path: string, body: object, pointer: string][] = [
    ["/hosts/host-a/declare-lost", { ...loss, colour: "red" }, "/colour"],
    ["/hosts/host-a/declare-lost", { ...loss, statement: `${lostStatement}.` }, "/statement"],
    ["/hosts/host-a/declare-lost", { ...loss, reason: "x".repeat(501) }, "/reason"],
    ["/hosts/host-a/declare-lost", { ...loss, incarnation: "it" }, "/incarnation"],
    ["/hosts/host-a/declare-lost", { reason, statement: lostStatement }, "/incarnation"],
    ["/vms/vm-1/force", { ...start, reason: "power\u0000cut" }, "/reason"],
    ["/vms/vm-1/force", { action: start.action }, "/reason"],
    ["/vms/vm-1/force", { reason }, "/action"],
    ["/vms/vm-1/force", { reason, action: { kind: "take-back", host: "host-b" } }, "/action/host"],
    ["/vms/vm-1/force", { reason, action: { kind: "start-from-disk" } }, "/action/host"],
    ["/vms/vm-1/force", { reason, action: { kind: "start" } }, "/action/kind"],
    ["/vms/vm-1/force", startOn("host-b", { overrideLockFile: "nobody" }), "/action/overrideLockFile"],
  ];
  for (const [path, body, pointer] of wrong) {
    const answer = await world.request("POST", path, body, headers);
    assert.equal(answer.body.code, "invalid-request", JSON.stringify(body));
    assert.deepEqual(
      answer.body.errors.map((error: { pointer: string }) => error.pointer),
      [pointer],
    );
  }
  for (const [path, body, code] of [
    ["/vms/vm-9/force", start, "vm-unknown"],
    ["/vms/vm-1/force", start, "host-not-lost"],
    ["/vms/vm-1/force", takeBack, "not-committed"],
  ] as const) {
    assert.equal((await world.request("POST", path, body, headers)).body.code, code);
  }
  assert.equal(JSON.stringify(dump(world.table)), before);
});

test("a migrating or administering key may neither declare a host lost nor force a VM", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const loss = await lossOf(world, "host-a");
  world.clock.nowMs += hourMs;
  const headers = { authorization: `Bearer ${await world.makeKey(["read", "migrate", "administer"])}` };
  const declared = await world.request("POST", "/hosts/host-a/declare-lost", loss, headers);
  const forced = await world.request("POST", "/vms/vm-1/force", startOn("host-b"), headers);
  assert.deepEqual([declared.body.code, forced.body.code], ["scope-missing", "scope-missing"]);
});

test("declaring twice under one key has one effect, also after the host is back; the key is good for nothing else", async () => {
  const world = await makeCluster(["host-a"]);
  await runVm(world, "vm-1", "host-a");
  const headers = { ...(await forcing(world)), "idempotency-key": "rack-7" };
  const loss = await lossOf(world, "host-a");
  world.clock.nowMs += hourMs;
  const path = "/hosts/host-a/declare-lost";
  const first = await world.request("POST", path, loss, headers);
  const host = world.host("host-a");
  host.reboot();
  await host.heartbeat();
  await host.claimed();
  const again = await world.request("POST", path, loss, headers);
  assert.deepEqual([again.status, again.body], [200, first.body]);
  const { body } = await world.request("GET", "/hosts/host-a");
  assert.deepEqual([body.alive, body.declaredLost], [true, null], "the host that is back is not lost again");
  const other = await world.request("POST", path, { ...loss, reason: "another" }, headers);
  assert.equal(other.body.code, "idempotency-key-reused");
});

test("of a start from disk and a second one at the same time one wins", async () => {
  const world = await makeCluster(["host-a", "host-b", "host-c"]);
  await runVm(world, "vm-1", "host-a");
  const headers = await forcing(world);
  await lose(world, ["host-a"], headers);
  const answers = await Promise.all(
    ["host-b", "host-c"].map((host) => world.request("POST", "/vms/vm-1/force", startOn(host), headers)),
  );
  assert.deepEqual(answers.map(({ status }) => status).sort(), [202, 409]);
  const { owner } = (await world.request("GET", "/vms/vm-1")).body;
  const duties = await Promise.all(["host-b", "host-c"].map(async (host) => (await world.host(host).claimed()).copies));
  assert.deepEqual(
    duties.flat().map((duty) => duty.copyId),
    [owner.copyId],
  );
});

test("a copy that a host had yet to end when its VM moved back there is to be ended all the same, under the new token", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const headers = await forcing(world);
  await lose(world, ["host-a"], headers);
  assert.equal((await world.request("POST", "/vms/vm-1/force", startOn("host-b"), headers)).status, 202);
  const [begun] = (await world.host("host-b").claimed()).copies;
  assert.ok(begun);
  const { vmId, copyId, fencingToken } = begun;
  await world.host("host-b").seen({ vmId, copyId, fencingToken, state: "running" });
  world.host("host-a").reboot();
  await world.host("host-a").heartbeat();
  assert.equal((await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-a" })).status, 202);
  const { copies, assignment } = await world.host("host-a").claimed();
  assert.deepEqual(
    [copies[0]?.wantedRunState, copies[0]?.fencingToken],
    ["stopped", assignment?.assignment.fencingToken],
  );
  // It does not come to that before the migration is over; then the token of before would be too low.
  const stage = new Stage();
  stage.told.set(copies[0]?.copyId ?? "", `stopped ${copies[0]?.fencingToken} 0`);
  await playAll(world, stage);
  const { owner } = (await world.request("GET", "/vms/vm-1")).body;
  assert.equal(owner.hostId, "host-a");
  assert.deepEqual(
    (await world.host("host-a").claimed()).copies.map((duty) => duty.copyId),
    [owner.copyId],
  );
});
