// A host that is full keeps its heartbeat and its lease; one guest more is refused where it would be started.
import assert from "node:assert/strict";
import { test } from "node:test";
import { guestsPerHost } from "../../functions/domain/obstacles.ts";
import { guestPageOf, guestPages } from "../../schemas/agent.ts";
import { ok } from "./support/play.ts";
import { type Cluster, dump, makeCluster, runVm, spec } from "./support/world.ts";

const longName = (index: number): string => `vm-${String(index).padStart(4, "0")}-${"x".repeat(55)}`;
const report = {
  bootId: "b".repeat(32),
  heartbeats: 123_456_789,
  memoryErrors: 0,
  longestGapMs: 10.123456789,
  uptimeMs: 123_456_789.123,
  dirtyMiBPerSecond: 10.123456789,
};

/** As the operations for starting them would leave it, but in few commits: one after the other reads all before it. */
async function fill(world: Cluster, hostId: string, count: number): Promise<Map<string, string>> {
  const { body: template } = await world.request("GET", "/vms/vm-1");
  const { copyId } = template.owner;
  const items = dump(world.table);
  const vmItem = items.find(({ data }) => data["vmId"] === "vm-1" && data["runState"] !== undefined);
  const dutyItem = items.find(({ sort }) => sort === `copy/${copyId}`);
  assert.ok(vmItem && dutyItem);
  const copies = new Map([["vm-1", copyId]]);
  for (let index = 1; index < count; index++) {
    const vmId = longName(index);
    const id = `copy_${world.ports.newId()}`;
    copies.set(vmId, id);
    const put = (item: typeof vmItem, sort: string, data: object) => ({
      kind: "put" as const,
      key: { partition: item.partition, sort },
      expected: "absent" as const,
      schemaVersion: item.schemaVersion,
      data: { ...item.data, ...data },
    });
    const outcome = await world.table.commit([
      put(vmItem, vmId, { vmId, owner: { hostId, copyId: id } }),
      put(dutyItem, `copy/${id}`, { vmId, copyId: id }),
    ]);
    assert.equal(outcome.kind, "committed");
  }
  return copies;
}

test("a host with as many guests as it may have is told of all, tells of all, and keeps its lease", async () => {
  const world = await makeCluster(["host-b"]);
  const host = await world.addHost("host-a", { memoryMiB: 1024 * 1024 });
  world.hosts["host-a"] = host;
  await runVm(world, "vm-1", "host-a");
  const copies = await fill(world, "host-a", guestsPerHost);

  const { copies: duties } = await host.claimed();
  assert.equal(duties.length, guestsPerHost, "a claim leaves none out");

  const silent = [...copies].at(-1) ?? ["", ""];
  for (let index = 0; index < guestPages; index++) {
    world.clock.nowMs += 10_000 / guestPages;
    const here = [...copies].filter(([, copyId]) => guestPageOf(copyId) === index);
    const guests = here.map(([vm, copyId]) => ({ vm, copyId, report }));
    const alarms = here
      .filter(([vm]) => vm === silent[0])
      .map(([vm, copyId]) => {
        return { vm, copyId, code: "guest-silent", detail: "its heartbeat stands", standsForMs: 12_000 };
      });
    ok(await host.heartbeat({ page: { index, of: guestPages }, guests, alarms }));
  }
  const { body: shown } = await world.request("GET", "/vms");
  assert.equal(shown.items.length, guestsPerHost);
  for (const vm of shown.items) assert.equal(vm.guest?.heartbeats, report.heartbeats, vm.vm);
  const alarmed = shown.items.filter((vm: { alarms: unknown[] }) => vm.alarms.length > 0);
  assert.deepEqual(
    alarmed.map(({ vm }: { vm: string }) => vm),
    [silent[0]],
  );
  assert.equal((await world.request("GET", "/hosts/host-a")).body.alive, true);
});

test("one guest more is refused by name where it is started or moved to, also while others arrive; nothing is written", async () => {
  const world = await makeCluster(["host-b"]);
  world.hosts["host-a"] = await world.addHost("host-a", { memoryMiB: 1024 * 1024 });
  await runVm(world, "vm-1", "host-a");
  await fill(world, "host-a", guestsPerHost - 1);
  await runVm(world, "vm-b", "host-b");
  await world.request("POST", "/vms", { vm: "vm-new", spec });

  const moved = await world.request("POST", "/migrations", { vm: "vm-b", destination: "host-a" });
  assert.equal(moved.status, 202, "it is the last that has a place there");
  const before = dump(world.table);
  const started = await world.request("POST", "/vms/vm-new/start", { host: "host-a" });
  assert.deepEqual([started.status, started.body.code], [409, "too-many-guests"]);
  assert.match(started.body.detail, /"host-a" has 1000 guests/);
  assert.equal(started.body.errors[0].pointer, "/host");
  assert.deepEqual(dump(world.table), before);
  assert.equal((await world.request("POST", "/vms/vm-new/start", { host: "host-b" })).status, 202);
});

test("what was told on pages and what is told of all at once: the newer one is shown", async () => {
  const world = await makeCluster(["host-a"]);
  await runVm(world, "vm-1", "host-a");
  const { copyId } = (await world.request("GET", "/vms/vm-1")).body.owner;
  const host = world.host("host-a");
  const shown = async () => (await world.request("GET", "/vms/vm-1")).body.guest?.heartbeats;
  const tell = (heartbeats: number) => [{ vm: "vm-1", copyId, report: { ...report, heartbeats } }];
  const page = { index: guestPageOf(copyId), of: guestPages };
  for (const [heartbeats, on] of [
    [1, undefined],
    [2, page],
    [3, undefined],
    [4, page],
  ] as const) {
    world.clock.nowMs += 1000;
    ok(await host.heartbeat({ guests: tell(heartbeats), ...(on ? { page: on } : {}) }));
    assert.equal(await shown(), heartbeats);
  }
});
