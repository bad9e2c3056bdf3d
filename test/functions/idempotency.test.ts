// A repeated request has one effect: at once, at the same time, days later, and when an answer was lost.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createFaultyTable, type TableCall, type TableFault } from "../../functions/adapters/faulty-table.ts";
import { createMemoryTable } from "../../functions/adapters/memory-table.ts";
import { defineVm } from "../../functions/operations/vms.ts";
import { OutcomeUnknown, TableFailing } from "../../functions/ports/table.ts";
import { VmDefinition } from "../../schemas/vm.ts";
import { facts } from "./support/fake-host.ts";
import { about, ok, playAll } from "./support/play.ts";
import { type Cluster, cluster, dump, makeCluster, runVm, spec } from "./support/world.ts";

const key = (value: string) => ({ "idempotency-key": value });
const migrations = async (world: Cluster) => (await world.request("GET", "/migrations?limit=100")).body.items.length;

test("a migration asked for twice under one key is one migration, also days later", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const move = { vm: "vm-1", destination: "host-b" };
  const first = await world.request("POST", "/migrations", move, key("CHG-7"));
  const second = await world.request("POST", "/migrations", move, key("CHG-7"));
  assert.deepEqual([second.status, second.body], [202, first.body]);
  assert.equal(second.headers.get("location"), first.headers.get("location"));
  await playAll(world);
  world.clock.nowMs += 5 * 24 * 3_600_000;
  const third = await world.request("POST", "/migrations", move, key("CHG-7"));
  assert.equal(third.body.id, first.body.id);
  assert.equal(await migrations(world), 1);
});

test("a key used again for another request is refused, and the first stands", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await world.request("POST", "/vms", { vm: "vm-1", spec }, key("one"));
  const before = dump(world.table);
  const { status, body } = await world.request("POST", "/vms", { vm: "vm-2", spec }, key("one"));
  assert.deepEqual([status, body.code], [422, "idempotency-key-reused"]);
  const elsewhere = await world.request("POST", "/vms/vm-1/start", { host: "host-a" }, key("one"));
  assert.equal(elsewhere.body.code, "idempotency-key-reused");
  assert.equal((await world.request("POST", "/vms", { vm: "vm-9", spec }, key("é"))).body.code, "invalid-request");
  assert.deepEqual(dump(world.table), before);
});

test("keys of different callers do not meet", async () => {
  const world = await makeCluster([]);
  const other = { authorization: `Bearer ${await world.makeKey(["administer"])}` };
  assert.equal((await world.request("POST", "/vms", { vm: "vm-1", spec }, key("one"))).status, 201);
  assert.equal((await world.request("POST", "/vms", { vm: "vm-2", spec }, { ...key("one"), ...other })).status, 201);
});

test("a refused request leaves its key free for when it can be granted", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  const move = { vm: "vm-1", destination: "host-b" };
  assert.equal((await world.request("POST", "/migrations", move, key("later"))).body.code, "vm-unknown");
  await runVm(world, "vm-1", "host-a");
  assert.equal((await world.request("POST", "/migrations", move, key("later"))).status, 202);
});

test("a request that changed nothing has no effect later under its key either", async () => {
  const world = await makeCluster(["host-a"]);
  await world.request("POST", "/vms", { vm: "vm-1", spec });
  const first = await world.request("POST", "/vms/vm-1/stop", {}, key("stop"));
  assert.equal(first.status, 202);
  await world.request("POST", "/vms/vm-1/start", { host: "host-a" });
  const again = await world.request("POST", "/vms/vm-1/stop", {}, key("stop"));
  assert.deepEqual([again.status, again.body], [202, first.body]);
  assert.equal((await world.request("GET", "/vms/vm-1")).body.wantedRunState, "running");
});

test("of twenty at once under one key all get the same answer, and one effect", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const ask = () => world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" }, key("same"));
  const answers = await Promise.all(Array.from({ length: 20 }, ask));
  assert.ok(answers.every((answer) => answer.status === 202));
  assert.equal(new Set(answers.map((answer) => answer.body.id)).size, 1);
  assert.equal(await migrations(world), 1);
});

test("a join token asked for twice under one key is the same token", async () => {
  const world = await makeCluster([]);
  const ask = () => world.request("POST", "/join-tokens", { host: "host-a" }, key("token"));
  const [first, second] = [await ask(), await ask()];
  assert.deepEqual(second.body, first.body);
});

/** Every commit of a request meets the fault once, then the table behaves. */
function faultsOnce(fault: TableFault) {
  const table = createMemoryTable();
  let armed = 0;
  const faulty = createFaultyTable(table, (call: TableCall) => {
    if (call.kind !== "commit" || armed === 0) return { kind: "none" };
    armed--;
    return fault;
  });
  return {
    table: Object.assign(faulty, { allItems: () => table.allItems() }),
    arm: (times = 1) => {
      armed = times;
    },
  };
}

for (const kind of ["request-lost", "answer-lost", "throttled", "conflict"] as const) {
  test(`${kind}: every request is answered as if nothing had been, and has one effect`, async () => {
    const faulty = faultsOnce({ kind });
    const world = await makeCluster(["host-a", "host-b"], { table: faulty.table });
    const [a, b] = [world.host("host-a"), world.host("host-b")];
    const request: typeof world.request = (...ask) => {
      faulty.arm();
      return world.request(...ask);
    };
    assert.equal((await request("POST", "/vms", { vm: "vm-1", spec })).status, 201);
    const started = await request("POST", "/vms/vm-1/start", { host: "host-a" });
    assert.equal(started.status, 202);
    const duty = { vmId: "vm-1", copyId: started.body.owner.copyId, fencingToken: 1 };
    faulty.arm();
    ok(await a.seen({ ...duty, state: "running" }));
    const moved = await request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
    assert.equal(moved.status, 202, JSON.stringify(moved.body));
    faulty.arm();
    ok(await a.heartbeat());
    faulty.arm();
    ok(await a.claim());
    faulty.arm();
    assert.equal(ok(await b.claim()).body.assignment.claimedBefore, false);
    assert.equal(ok(await b.claim()).body.assignment.claimedBefore, true);
    const claimed = (await b.claimed()).assignment;
    assert.ok(claimed);
    faulty.arm();
    ok(await b.report({ kind: "destination-commits", ...about(claimed) }));
    assert.equal((await world.request("GET", "/vms/vm-1")).body.fencingToken, 2);
    faulty.arm();
    ok(await b.report({ kind: "guest-confirmed", ...about(claimed), outcome: "running" }));
    faulty.arm();
    ok(
      await a.seen({ ...duty, fencingToken: 2, state: "gone", because: "migration-over", migrationId: moved.body.id }),
    );
    await playAll(world);
    assert.equal((await world.request("GET", `/migrations/${moved.body.id}`)).body.phase, "completed");
    assert.equal(await migrations(world), 1);
    const third = await request("POST", "/join-tokens", { host: "host-c" });
    const join = { token: third.body.token, host: "host-c", publicKey: "A".repeat(43), facts: facts("host-c") };
    assert.equal((await request("POST", "/v1/join", join)).status, 200);
    assert.equal((await world.request("GET", "/v1/clusters/paris-1")).body.hosts.length, 3);
    assert.equal((await request("POST", "/v1/clusters", { cluster: "rome-1" })).status, 201);
  });
}

test("a table that takes no writes answers table-failing, and the log is told why", async () => {
  const table = createMemoryTable();
  const { ports } = await makeCluster(["host-a"], { table });
  table.commit = async () => {
    throw new OutcomeUnknown("the disk is full");
  };
  const told: string[] = [];
  const onTableFault = (step: string, error: unknown) => told.push(`${step}: ${String(error)}`);
  const operator = { keyId: "ops", idempotencyKey: null, fingerprint: "" };
  const outcome = await defineVm({ ...ports, onTableFault }, operator, cluster, VmDefinition.parse({ vm: "vm-1" }));
  assert.equal(outcome.kind === "refuse" && outcome.problem.code, "table-failing");
  assert.match(told.join(), /the disk is full/);
});

test("a table that cannot be reached answers table-failing: nothing was changed, and trying harder is no way out", async () => {
  const table = createMemoryTable();
  const world = await makeCluster(["host-a"], { table });
  const { commit } = table;
  table.commit = async () => {
    throw new TableFailing("ECONNREFUSED");
  };
  const written = (await world.request("POST", "/vms", { vm: "vm-1", spec })).body;
  assert.equal(written.code, "table-failing");
  assert.match(written.detail, /^Nothing was changed: the table cannot be reached/);
  table.commit = commit;
  for (const method of ["get", "query"] as const) {
    table[method] = async () => {
      throw new TableFailing("ECONNREFUSED");
    };
  }
  const read = await world.request("GET", "/vms");
  assert.deepEqual([read.status, read.body.code], [503, "table-failing"]);
});

test("a table that stays throttled answers table-busy, and nothing was changed", async () => {
  const faulty = faultsOnce({ kind: "throttled" });
  const world = await makeCluster(["host-a"], { table: faulty.table });
  const before = dump(world.table);
  faulty.arm(1000);
  const { status, body, headers } = await world.request("POST", "/vms", { vm: "vm-1", spec });
  assert.deepEqual([status, body.code, headers.get("retry-after")], [503, "table-busy", "1"]);
  assert.deepEqual(dump(world.table), before);
  assert.equal((await world.host("host-a").heartbeat()).body.code, "table-busy");
});
