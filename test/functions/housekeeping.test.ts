// What is done in passing, and what the last net catches.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createFaultyTable } from "../../functions/adapters/faulty-table.ts";
import { createMemoryTable } from "../../functions/adapters/memory-table.ts";
import { explainNaming, nameTable } from "../../functions/operations/name-table.ts";
import { tidyAll } from "../../functions/operations/tidy.ts";
import { facts } from "./support/fake-host.ts";
import { about, ok, playAll } from "./support/play.ts";
import { type Cluster, cluster, makeCluster, makeWorld, runVm, spec } from "./support/world.ts";

const phaseOf = async (world: Cluster, id: string) => (await world.request("GET", `/migrations/${id}`)).body.phase;

test("whoever frees a slot admits the next in the order of asking, and those behind busy hosts do not hold others up", async () => {
  const world = await makeCluster(["host-a", "host-b", "host-c", "host-d"]);
  for (const [vm, host] of [
    ["vm-1", "host-a"],
    ["vm-2", "host-a"],
    ["vm-3", "host-a"],
    ["vm-4", "host-c"],
  ] as const) {
    await runVm(world, vm, host);
  }
  const ask = async (vm: string, destination: string) =>
    (await world.request("POST", "/migrations", { vm, destination })).body;
  const first = await ask("vm-1", "host-b");
  const second = await ask("vm-2", "host-b");
  const third = await ask("vm-3", "host-c");
  const free = await ask("vm-4", "host-d");
  assert.deepEqual([first.phase, second.phase, third.phase, free.phase], ["setup", "queued", "queued", "setup"]);
  await world.request("POST", `/migrations/${first.id}/cancel`, {});
  assert.deepEqual([await phaseOf(world, second.id), await phaseOf(world, third.id)], ["setup", "queued"]);
  await playAll(world);
  assert.equal(await phaseOf(world, third.id), "completed");
});

test("a migration that has waited long holds its hosts, so that others do not keep it waiting for ever", async () => {
  const names = ["host-a", "host-b", "host-c", "host-d"];
  const world = await makeCluster(names);
  await runVm(world, "vm-1", "host-a");
  await runVm(world, "vm-2", "host-a");
  await runVm(world, "vm-3", "host-c");
  const ask = async (vm: string, destination: string) =>
    (await world.request("POST", "/migrations", { vm, destination })).body;
  const busy = await ask("vm-3", "host-b");
  const waiting = await ask("vm-1", "host-b");
  world.clock.nowMs += 60_000;
  for (const name of names) ok(await world.host(name).heartbeat());
  const late = await ask("vm-2", "host-d");
  assert.deepEqual([waiting.phase, late.phase, await phaseOf(world, late.id)], ["queued", "queued", "queued"]);
  await world.request("POST", `/migrations/${busy.id}/cancel`, {});
  assert.deepEqual([await phaseOf(world, waiting.id), await phaseOf(world, late.id)], ["setup", "queued"]);
  await playAll(world);
  assert.equal(await phaseOf(world, late.id), "completed");
});

test("a migration waits for a source that is silent, and begins when it is heard again", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  world.clock.nowMs += 60_000;
  await world.host("host-b").heartbeat();
  const { body } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  assert.equal(body.phase, "queued");
  ok(await world.host("host-a").heartbeat());
  assert.equal(await phaseOf(world, body.id), "setup");
});

test("housekeeping that fails spoils no answer, and the last net does what was left", async () => {
  const table = createMemoryTable();
  let isQueueAway = false;
  const faulty = createFaultyTable(table, (call) =>
    isQueueAway && call.kind === "query" && call.range.partition.endsWith("/queue")
      ? { kind: "request-lost" }
      : { kind: "none" },
  );
  const world = await makeCluster(["host-a", "host-b", "host-c"], { table: faulty });
  await runVm(world, "vm-1", "host-a");
  await runVm(world, "vm-2", "host-c");
  const { body: first } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const { body: second } = await world.request("POST", "/migrations", { vm: "vm-2", destination: "host-b" });
  isQueueAway = true;
  await playAll(world);
  assert.deepEqual([await phaseOf(world, first.id), await phaseOf(world, second.id)], ["completed", "queued"]);
  isQueueAway = false;
  await tidyAll(world.ports);
  assert.equal(await phaseOf(world, second.id), "setup");
});

test("a table that throttles a read answers table-busy; a broken one says so and nothing of the inside", async () => {
  const table = createMemoryTable();
  let fault: "none" | "throttled" | "request-lost" = "none";
  const world = await makeCluster(["host-a"], { table: createFaultyTable(table, () => ({ kind: fault })) });
  fault = "throttled";
  assert.equal((await world.request("GET", "/vms")).body.code, "table-busy");
  fault = "request-lost";
  const { status, body } = await world.request("GET", "/vms");
  assert.deepEqual([status, body.code], [500, "internal-error"]);
  assert.ok(!JSON.stringify(body).includes("injected"));
  assert.match(world.failures.at(-1)?.error ?? "", /injected/);
});

test("a table is served only under the name and the epoch that it was first served under, and the variable is named", async () => {
  const world = await makeWorld({});
  const table = createMemoryTable();
  const naming = (settings: { tableId: string; restoreEpoch?: number }) =>
    nameTable({ ...world.ports, table, settings: { ...world.ports.settings, ...settings } });
  const explained = async (settings: { tableId: string; restoreEpoch: number }) => {
    const named = await naming(settings);
    return named.kind === "named" ? "" : explainNaming(named, settings);
  };
  assert.equal((await naming({ tableId: "t1" })).kind, "named");
  assert.equal((await naming({ tableId: "t1" })).kind, "named");
  assert.match(await explained({ tableId: "t2", restoreEpoch: 0 }), /^DROVER_TABLE_ID is "t2", and this table is "t1"/);
  assert.match(
    await explained({ tableId: "t1", restoreEpoch: 1 }),
    /^DROVER_RESTORE_EPOCH is 1, and this table's is 0/,
  );
});

test("a table in use that bears no name is not taken for a new one", async () => {
  const world = await makeWorld({});
  const named = await nameTable(world.ports); // It holds an API key already.
  assert.ok(named.kind === "other");
  assert.match(explainNaming(named, { tableId: "t1", restoreEpoch: 0 }), /^DROVER_TABLE names a table that is in use/);
});

test("what a destination has come to lack while a migration waited ends it, with the reason", async () => {
  const world = await makeCluster(["host-a", "host-b", "host-c"]);
  await runVm(world, "vm-1", "host-a");
  await runVm(world, "vm-2", "host-c");
  const { body: first } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const { body: second } = await world.request("POST", "/migrations", { vm: "vm-2", destination: "host-b" });
  ok(await world.host("host-b").heartbeat({ facts: facts("host-b", { memoryMiB: 20 }) }));
  await playAll(world);
  assert.equal(await phaseOf(world, first.id), "completed");
  const { body } = await world.request("GET", `/migrations/${second.id}`);
  assert.deepEqual([body.phase, body.reason], ["failed", "preparation-failed"]);
  assert.match(body.detail, /^destination-full .*4 MiB free of 20/);
  assert.equal((await world.request("GET", "/vms/vm-2")).body.migration, null);
});

test("items that were never so together are read again before a report is refused by them", async () => {
  const table = createMemoryTable();
  let old: string | null = null;
  const faulty = createFaultyTable(table, (call) => {
    if (call.kind !== "get" || old === null || call.keys.length === 1) return { kind: "none" };
    const partition = old;
    old = null;
    return { kind: "torn", isOld: (key) => key.partition === partition };
  });
  const world = await makeCluster(["host-a", "host-b"], { table: faulty });
  await runVm(world, "vm-1", "host-a");
  await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const [a, b] = [world.host("host-a"), world.host("host-b")];
  const asSource = (await a.claimed()).assignment;
  const asDestination = (await b.claimed()).assignment;
  assert.ok(asSource && asDestination);
  ok(await b.report({ kind: "destination-commits", ...about(asDestination) }));
  old = `c/${cluster}/migrations`;
  ok(await b.report({ kind: "destination-commits", ...about(asDestination) }));
  assert.equal(old, null);
  old = `c/${cluster}/migrations`;
  const late = { kind: "source-aborts", ...about(asSource), reason: "stream-failed", detail: "" };
  assert.equal((await a.report(late)).body.code, "already-committed");
  ok(await b.report({ kind: "guest-confirmed", ...about(asDestination), outcome: "running" }));
  await world.request("POST", "/vms", { vm: "vm-2", spec });
  const { copyId } = (await world.request("POST", "/vms/vm-2/start", { host: "host-b" })).body.owner;
  old = `c/${cluster}/vms`;
  ok(await b.seen({ vmId: "vm-2", copyId, fencingToken: 1, state: "running" }));
});
