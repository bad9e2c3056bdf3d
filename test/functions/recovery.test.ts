// The table went back, over HTTP: what is refused meanwhile, who is awaited, and how the cluster opens again.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createFaultyTable } from "../../functions/adapters/faulty-table.ts";
import { createMemoryTable, type MemoryTable } from "../../functions/adapters/memory-table.ts";
import { createApp } from "../../functions/http/app.ts";
import { noticeTableWentBack } from "../../functions/operations/recovery.ts";
import { restoreTable } from "../../functions/operations/restore-table.ts";
import { tidy } from "../../functions/operations/tidy.ts";
import type { Change, Table } from "../../functions/ports/table.ts";
import { guestPageOf, guestPages } from "../../schemas/agent.ts";
import { lostStatement } from "../../schemas/host.ts";
import type { FakeHost } from "./support/fake-host.ts";
import { ok, playAll } from "./support/play.ts";
import { answerOf, type Cluster, cluster, makeCluster, runVm, spec } from "./support/world.ts";

const epochSize = 2 ** 32;
const becomes = { tableId: "t2", restoreEpoch: 1 };

/** The same world under the new name and epoch, as a control plane that is started again serves it. */
async function restored(world: Cluster, table: Table, name = becomes): Promise<Cluster> {
  const outcome = await restoreTable(world.ports, name, { dryRun: false });
  assert.equal(outcome.kind, "done", JSON.stringify(outcome));
  const ports = { ...world.ports, table, settings: { ...world.ports.settings, ...name } };
  const app = createApp(ports, { log: () => {} });
  Object.assign(world, { ports, app });
  const raw = async (path: string, init: RequestInit) => app.request(`http://control-plane${path}`, init);
  const request: Cluster["request"] = async (method, path, body, headers = {}) =>
    answerOf(
      await raw(path.startsWith("/v1") ? path : `/v1/clusters/${cluster}${path}`, {
        method,
        headers: { authorization: `Bearer ${operatorKey}`, "content-type": "application/json", ...headers },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
    );
  for (const host of Object.values(world.hosts)) Object.assign(host, { world: { raw, request, clock: world.clock } });
  return { ...world, ports, app, raw, request };
}
const operatorKey = "drover_scoped_1_0123456789";

type CopyTold = { vmId: string; copyId: string; lockToken: number; machine?: string };
const copyTold = ({ vmId, copyId, lockToken, machine = "running" }: CopyTold) => ({
  vmId,
  copyId,
  spec,
  migrationId: null,
  machine,
  lockToken,
  lockFile: "held",
  gate: null,
  isAtGate: false,
  wasPaused: false,
  ended: null,
});

async function tell(host: FakeHost, copies: CopyTold[] = []): Promise<string[]> {
  ok(await host.heartbeat());
  const tokens = copies.map(({ vmId, lockToken }) => ({ vmId, fencingToken: lockToken }));
  const told = { copies: copies.map(copyTold), migrations: [], tokens };
  return ok(await host.send("POST", "/v1/agent/inventory", told)).body.awaited;
}

async function ownerOf(world: Cluster, vm: string) {
  const { body } = await world.request("GET", `/vms/${vm}`);
  return { ...body.owner, fencingToken: body.fencingToken, runState: body.runState };
}

async function makeRestorable(hosts: string[], table: MemoryTable = createMemoryTable()) {
  const world = await makeCluster(hosts, { table });
  await world.makeKey(["read", "migrate", "force", "administer"]);
  return { world, table };
}

const recoveryOf = async (world: Cluster) => (await world.request("GET", `/v1/clusters/${cluster}`)).body.recovery;

test("one host that knows more than the table stops every decision, and the cluster's view says so and what to do", async () => {
  const { world, table } = await makeRestorable(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const backup = table.snapshot();
  ok(await world.host("host-a").heartbeat());
  table.restore(backup);
  assert.equal((await world.host("host-a").heartbeat()).body.code, "table-went-back");
  assert.equal((await world.host("host-b").claim()).body.code, "table-went-back", "host-b had not noticed by itself");
  const asked = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  assert.equal(asked.body.code, "table-went-back");
  const { state, detail } = await recoveryOf(world);
  assert.equal(state, "table-went-back");
  assert.match(detail, /host-a.*drover restore/);
});

test("a table that goes back once more while its cluster recovers is noticed by a host that has told already", async () => {
  const { world, table } = await makeRestorable(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const { copyId } = await ownerOf(world, "vm-1");
  const once = await restored(world, table);
  const backup = table.snapshot();
  await tell(world.host("host-a"), [{ vmId: "vm-1", copyId, lockToken: 1 }]);
  table.restore(backup);
  assert.equal((await world.host("host-a").heartbeat()).body.code, "table-went-back");
  assert.equal((await recoveryOf(once)).state, "table-went-back");
  const twice = await restored(world, table, { tableId: "t3", restoreEpoch: 2 });
  await tell(world.host("host-a"), [{ vmId: "vm-1", copyId, lockToken: 1 }]);
  await tell(world.host("host-b"));
  assert.equal(await recoveryOf(twice), null);
});

test("a restore with an epoch that is not above the lost table's is noticed, and done again with a higher one", async () => {
  const { world, table } = await makeRestorable(["host-a"]);
  const backup = table.snapshot();
  await restored(world, table, { tableId: "t2", restoreEpoch: 2 });
  await tell(world.host("host-a"));
  table.restore(backup);
  await restored(world, table, { tableId: "t3", restoreEpoch: 1 });
  assert.equal((await world.host("host-a").heartbeat()).body.code, "table-went-back");
  const after = await restored(world, table, { tableId: "t4", restoreEpoch: 3 });
  await tell(world.host("host-a"));
  assert.equal(await recoveryOf(after), null);
});

test("a table that was restored since a host saw it go back is left to recover", async () => {
  const { world, table } = await makeRestorable(["host-a"]);
  const backup = table.snapshot();
  ok(await world.host("host-a").heartbeat());
  const { acknowledged } = world.host("host-a");
  table.restore(backup);
  const after = await restored(world, table);
  await noticeTableWentBack(after.ports, cluster, { hostId: "host-a", acknowledged });
  assert.equal((await recoveryOf(after)).state, "recovering");
});

test("while the cluster recovers, reads are answered and all else is refused with who is awaited; it opens with the last", async () => {
  const { world, table } = await makeRestorable(["host-a", "host-b", "host-c"]);
  await runVm(world, "vm-1", "host-a");
  const [a, b, c] = [world.host("host-a"), world.host("host-b"), world.host("host-c")];
  const { copyId } = await ownerOf(world, "vm-1");
  const after = await restored(world, table);
  for (const [method, path, body] of [
    ["POST", "/migrations", { vm: "vm-1", destination: "host-b" }],
    ["POST", "/vms/vm-1/stop", {}],
    ["DELETE", "/vms/vm-1", undefined],
    ["POST", "/vms", { vm: "vm-2", spec }],
  ] as const) {
    const { status, body: problem } = await after.request(method, path, body);
    assert.deepEqual([status, problem.code], [409, "recovering"], `${method} ${path}`);
    assert.match(problem.detail, /Awaited: host-a, host-b, host-c/);
  }
  assert.equal((await a.claim()).body.code, "recovering");
  assert.equal((await a.record("mig_00000000000000000000000000")).body.code, "recovering");
  assert.deepEqual(await tell(a, [{ vmId: "vm-1", copyId, lockToken: 1 }]), ["host-b", "host-c"]);
  assert.deepEqual((await recoveryOf(after)).reported, ["host-a"]);
  await tell(b);
  assert.equal((await a.claim()).body.code, "recovering");
  assert.deepEqual(await tell(c), []);
  assert.equal(await recoveryOf(after), null);
  const { fencingToken, runState, hostId } = await ownerOf(after, "vm-1");
  assert.deepEqual([hostId, runState, fencingToken], ["host-a", "running", epochSize + 1]);
  const { copies } = await a.claimed();
  assert.deepEqual(
    copies.map((duty) => [duty.copyId, duty.fencingToken, duty.wantedRunState]),
    [[copyId, epochSize + 1, "running"]],
  );
});

/** A host's telling in pages, as its agent would cut it. */
async function tellPage(host: FakeHost, index: number, copies: CopyTold[]): Promise<string[]> {
  const here = copies.filter(({ copyId }) => guestPageOf(copyId) === index);
  const page = { index, of: guestPages };
  const told = { page, copies: here.map(copyTold), migrations: [], tokens: [] };
  return ok(await host.send("POST", "/v1/agent/inventory", told)).body.awaited;
}

test("hosts with more to tell than one request takes do so in pages; the cluster opens with the last page of the last", async () => {
  const names = Array.from({ length: 14 }, (_, index) => `host-${String.fromCharCode(97 + index)}`);
  const { world, table } = await makeRestorable(names);
  const told = new Map<string, CopyTold[]>();
  for (const name of names) {
    const vms = Array.from({ length: name === "host-a" ? 300 : 1 }, (_, index) => `vm-${name.at(-1)}-${index}`);
    told.set(
      name,
      vms.map((vmId) => ({ vmId, copyId: `copy_${world.ports.newId()}`, lockToken: 1 })),
    );
  }
  const after = await restored(world, table);
  for (const name of names) {
    const host = world.host(name);
    ok(await host.heartbeat());
    for (let index = 0; index < guestPages; index++) {
      assert.equal((await recoveryOf(after))?.state, "recovering");
      const awaited = await tellPage(host, index, told.get(name) ?? []);
      assert.equal(awaited.includes(name), index < guestPages - 1, `${name}, page ${index}`);
    }
  }
  assert.equal(await recoveryOf(after), null, "more items than one commit takes do not keep it shut");
  const { body } = await after.request("GET", "/vms");
  const running = body.items.filter((vm: { runState: string }) => vm.runState === "running");
  assert.equal(running.length, 300 + names.length - 1, "all guests that were told of are owned by who has them");
  assert.equal((await world.host("host-a").claimed()).copies.length, 300);
  const left = table.allItems().filter(({ partition }) => partition.endsWith("/inventories"));
  assert.deepEqual(left, []);
});

test("what was told of an earlier restore counts no more, though the table still holds it", async () => {
  const { world, table } = await makeRestorable(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const { copyId } = await ownerOf(world, "vm-1");
  await restored(world, table);
  ok(await world.host("host-a").heartbeat());
  const gone = { vmId: "vm-gone", copyId: `${copyId.slice(0, -1)}0`, lockToken: 9 };
  await tellPage(world.host("host-a"), 0, [gone]);
  await tell(world.host("host-b"), [{ ...gone, vmId: "vm-gone-too" }]);
  // Before all have told, the table is restored once more. This time host-a tells in pages, and host-b nothing.
  const again = await restored(world, table, { tableId: "t3", restoreEpoch: 2 });
  ok(await world.host("host-a").heartbeat());
  for (let index = 1; index < guestPages; index++) {
    await tellPage(world.host("host-a"), index, [{ vmId: "vm-1", copyId, lockToken: 1 }]);
  }
  assert.deepEqual((await recoveryOf(again)).awaited, ["host-a", "host-b"], "a page of before is not one of now");
  await tellPage(world.host("host-a"), 0, [{ vmId: "vm-1", copyId, lockToken: 1 }]);
  const incarnation = world.host("host-b").incarnation;
  world.clock.nowMs += 60_000;
  const loss = { incarnation, reason: "power cut", statement: lostStatement };
  ok(await again.request("POST", "/hosts/host-b/declare-lost", loss));
  assert.equal(await recoveryOf(again), null);
  for (const vm of ["vm-gone", "vm-gone-too"]) assert.equal((await again.request("GET", `/vms/${vm}`)).status, 404);
  assert.equal((await ownerOf(again, "vm-1")).runState, "running");
});

test("a copy that moved on since the backup is told to go, and a report under a token of before moves nothing", async () => {
  const { world, table } = await makeRestorable(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const old = await ownerOf(world, "vm-1");
  const backup = table.snapshot();
  await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  await playAll(world);
  const { copyId, fencingToken } = await ownerOf(world, "vm-1");
  table.restore(backup);
  const after = await restored(world, table);
  const [a, b] = [world.host("host-a"), world.host("host-b")];
  await tell(a, [{ vmId: "vm-1", copyId: old.copyId, lockToken: old.fencingToken, machine: "stopped" }]);
  await tell(b, [{ vmId: "vm-1", copyId, lockToken: fencingToken }]);
  const now = await ownerOf(after, "vm-1");
  assert.deepEqual([now.hostId, now.copyId, now.runState], ["host-b", copyId, "running"]);
  const { copies } = await a.claimed();
  assert.deepEqual(
    copies.map((duty) => [duty.copyId, duty.wantedRunState, duty.fencingToken]),
    [[old.copyId, "stopped", now.fencingToken]],
  );
  const late = await a.seen({ vmId: "vm-1", copyId: old.copyId, fencingToken: old.fencingToken, state: "running" });
  assert.equal(late.body.code, "stale-fencing-token");
  assert.equal((await ownerOf(after, "vm-1")).copyId, copyId);
});

test("VMs that the backup does not know are made again; those it knows and no host has are stopped, and start as always", async () => {
  const { world, table } = await makeRestorable(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const backup = table.snapshot();
  await runVm(world, "vm-2", "host-b");
  const made = await ownerOf(world, "vm-2");
  table.restore(backup);
  const after = await restored(world, table);
  await tell(world.host("host-a"));
  await tell(world.host("host-b"), [{ vmId: "vm-2", copyId: made.copyId, lockToken: made.fencingToken }]);
  assert.equal((await ownerOf(after, "vm-2")).copyId, made.copyId);
  const { body: gone } = await after.request("GET", "/vms/vm-1");
  assert.deepEqual([gone.runState, gone.stoppedBecause], ["stopped", "table-restored"]);
  assert.equal((await after.request("POST", "/vms/vm-1/start", { host: "host-b" })).status, 202);
});

/** A table that went back, opened by host-b's word; host-a, which had vm-1, was declared lost meanwhile. */
async function reopenedWithoutHostA() {
  const { world, table } = await makeRestorable(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const { copyId, fencingToken } = await ownerOf(world, "vm-1");
  const after = await restored(world, table);
  await tell(world.host("host-b"));
  const a = world.host("host-a");
  const loss = { incarnation: a.incarnation, reason: "power cut in rack 7", statement: lostStatement };
  ok(await after.request("POST", "/hosts/host-a/declare-lost", loss));
  return { after, a, copyId, fencingToken };
}

test("a host that was declared lost is not waited for; it comes back, tells what it has, and keeps nothing that was superseded", async () => {
  const { after, a, copyId, fencingToken } = await reopenedWithoutHostA();
  assert.equal(await recoveryOf(after), null);
  const { body: lost } = await after.request("GET", "/vms/vm-1");
  assert.deepEqual([lost.runState, lost.stoppedBecause], ["guest-lost", "host-declared-lost"]);
  assert.equal((await after.request("POST", "/vms/vm-1/start", { host: "host-b" })).status, 202);
  assert.equal((await a.heartbeat()).body.code, "incarnation-ended");
  a.reboot();
  assert.equal(ok(await a.heartbeat()).body.recovering, true);
  assert.equal((await a.claim()).body.code, "recovering");
  await tell(a, [{ vmId: "vm-1", copyId, lockToken: fencingToken, machine: "stopped" }]);
  const { copies } = await a.claimed();
  assert.deepEqual(
    copies.map((duty) => [duty.copyId, duty.wantedRunState]),
    [[copyId, "stopped"]],
  );
  assert.equal((await ownerOf(after, "vm-1")).hostId, "host-b");
});

test("what a host told before it was declared lost counts no more, also once the cluster is open", async () => {
  const { world, table } = await makeRestorable(["host-a", "host-b"]);
  await runVm(world, "vm-1", "host-a");
  const { copyId, fencingToken } = await ownerOf(world, "vm-1");
  const after = await restored(world, table);
  const a = world.host("host-a");
  await tell(a, [{ vmId: "vm-1", copyId, lockToken: fencingToken }]);
  after.clock.nowMs += 3_600_000;
  const loss = { incarnation: a.incarnation, reason: "power cut in rack 7", statement: lostStatement };
  ok(await after.request("POST", "/hosts/host-a/declare-lost", loss));
  await tell(world.host("host-b"));
  for (let beat = 0; beat < 2; beat++) await tidy(after.ports, cluster);
  ok(await world.host("host-b").heartbeat());
  assert.equal((await ownerOf(after, "vm-1")).runState, "guest-lost");
  assert.equal((await a.heartbeat()).body.code, "incarnation-ended");
});

test("a VM that is started on a host before that has told what it had: what it then tells does not undo the start", async () => {
  const { after, a, copyId, fencingToken } = await reopenedWithoutHostA();
  a.reboot();
  ok(await a.heartbeat());
  assert.equal((await after.request("POST", "/vms/vm-1/start", { host: "host-a" })).status, 202);
  const started = await ownerOf(after, "vm-1");
  await tell(a, [{ vmId: "vm-1", copyId, lockToken: fencingToken, machine: "ended" }]);
  const { copies } = await a.claimed();
  assert.deepEqual(
    copies.map((duty) => [duty.copyId, duty.wantedRunState]).sort(),
    [
      [copyId, "stopped"],
      [started.copyId, "running"],
    ].sort(),
  );
});

test("a control plane that dies before or after any commit of the reopening leaves it to whoever comes by next", async () => {
  const steps = [0, 1, 2].flatMap((done) => (["request-lost", "answer-lost"] as const).map((how) => ({ done, how })));
  for (const { done, how } of steps) {
    const { world, table } = await makeRestorable(["host-a", "host-b"]);
    for (const vm of ["vm-1", "vm-2"]) await runVm(world, vm, "host-a");
    const told = await Promise.all(
      ["vm-1", "vm-2"].map(async (vmId) => {
        const { copyId, fencingToken } = await ownerOf(world, vmId);
        return { vmId, copyId, lockToken: fencingToken };
      }),
    );
    // Once all have told: one commit for each VM, and one that opens the cluster.
    const faulty = createFaultyTable(table, (call) => {
      if (call.kind !== "commit" || !call.changes.some(isOfReopening)) return { kind: "none" };
      return commits++ < done ? { kind: "none" } : { kind: how };
    });
    let commits = 0;
    const after = await restored(world, faulty);
    await tell(world.host("host-a"), told);
    await tell(world.host("host-b"));
    await tidy({ ...after.ports, table }, cluster);
    assert.equal(commits, done + 1, `${how} after ${done}`);
    assert.equal(await recoveryOf(after), null, `${how} after ${done}`);
    for (const { vmId, copyId } of told) {
      const owner = await ownerOf(after, vmId);
      assert.deepEqual([owner.copyId, owner.fencingToken], [copyId, epochSize + 1]);
    }
  }
});
const isOfReopening = ({ kind, key }: Change): boolean =>
  kind === "put" && (key.partition.endsWith("/vms") || key.sort === "recovery");

test("restoring asks for a higher epoch and another id, shows what it would do, and done twice has one effect", async () => {
  const { world, table } = await makeRestorable(["host-a"]);
  await runVm(world, "vm-1", "host-a");
  const { copyId } = await ownerOf(world, "vm-1");
  const refusal = async (name: typeof becomes) => {
    const outcome = await restoreTable(world.ports, name, { dryRun: false });
    return outcome.kind === "refuse" ? outcome.detail : "";
  };
  const planned = await restoreTable(world.ports, becomes, { dryRun: true });
  assert.equal(planned.kind === "planned" && planned.plan.clusters[0]?.recovers, true);
  assert.equal(await recoveryOf(world), null, "nothing was changed");
  const after = await restored(world, table);
  assert.match(await refusal({ tableId: "t3", restoreEpoch: 1 }), /epoch must be higher/);
  assert.match(await refusal({ tableId: "t2", restoreEpoch: 2 }), /another id than "t2"/);
  await tell(world.host("host-a"), [{ vmId: "vm-1", copyId, lockToken: 1 }]);
  assert.equal((await restoreTable(after.ports, becomes, { dryRun: false })).kind, "done");
  assert.equal(await recoveryOf(after), null, "a cluster that has opened stays open");
});
