// A hundred requests at once for the same hosts: counts are exact, on each table that runs for real here.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { connectDynamo, createDynamoTable } from "../../functions/adapters/dynamodb-table.ts";
import { createMemoryTable } from "../../functions/adapters/memory-table.ts";
import { openSqliteTable } from "../../functions/adapters/sqlite-table.ts";
import type { Table } from "../../functions/ports/table.ts";
import { ensureDynamoTable, startLocalDynamo, whyNoLocalDynamo } from "../../infra/local/dynamodb.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { playAll } from "./support/play.ts";
import { type Cluster, makeCluster, runVm, spec } from "./support/world.ts";

type Opened = { table: Table; close(): Promise<void> };

async function openSqlite(): Promise<Opened> {
  const folder = await temporaryFolder();
  const table = openSqliteTable(`${folder.path}/table.db`);
  return {
    table,
    async close() {
      await table.close();
      await folder.remove();
    },
  };
}

async function openDynamo(): Promise<Opened> {
  const server = await startLocalDynamo();
  const credentials = { accessKeyId: "local", secretAccessKey: "local" };
  const client = connectDynamo({ region: "eu-west-1", endpoint: server.endpoint, credentials });
  await ensureDynamoTable(client, "drover");
  const table = createDynamoTable({ client, tableName: "drover" });
  return {
    table,
    async close() {
      await table.close();
      await server.stop();
    },
  };
}

async function openMemory(): Promise<Opened> {
  const table = createMemoryTable();
  return { table, close: () => table.close() };
}

const adapters = { memory: openMemory, sqlite: openSqlite, dynamodb: openDynamo };

for (const [name, open] of Object.entries(adapters)) {
  const skip = name === "dynamodb" ? (whyNoLocalDynamo() ?? false) : false;
  describe(`on ${name}`, { skip }, () => {
    const opened: Opened[] = [];
    const openTable = async () => {
      const table = await open();
      opened.push(table);
      return table.table;
    };
    after(async () => {
      for (const table of opened) await table.close();
    });

    test("of a hundred requests for one VM one wins, and the others are refused naming the holder", async () => {
      const world = await makeCluster(["host-a", "host-b", "host-c"], { table: await openTable() });
      await runVm(world, "vm-1", "host-a");
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, index) =>
          world.request("POST", "/migrations", { vm: "vm-1", destination: index % 2 ? "host-b" : "host-c" }),
        ),
      );
      const won = answers.filter((answer) => answer.status === 202);
      assert.equal(won.length, 1);
      const id = won[0]?.body.id;
      for (const { status, body } of answers) {
        if (status !== 202) assert.deepEqual([body.code, body.holder], ["vm-already-migrating", id]);
      }
      await playAll(world);
      assert.equal((await world.request("GET", `/migrations/${id}`)).body.phase, "completed");
      assert.equal(await countMigrations(world), 1);
    });

    test("of a hundred requests for different VMs on the same hosts all end, and never do two hold one host", async () => {
      const world = await makeCluster(["host-a", "host-b", "host-c", "host-d"], { table: await openTable() });
      const names = Array.from({ length: 100 }, (_, index) => `vm-${index}`);
      for (const [index, name] of names.entries()) await runVm(world, name, index % 2 ? "host-a" : "host-c");
      const answers = await Promise.all(
        names.map((vm, index) =>
          world.request("POST", "/migrations", { vm, destination: index % 2 ? "host-b" : "host-d" }),
        ),
      );
      assert.ok(answers.every((answer) => answer.status === 202));
      const phases = await Promise.all(names.map(async (_, index) => phaseOf(world, answers[index]?.body.id)));
      assert.deepEqual(count(phases), { setup: 2, queued: 98 }, "with free hosts two run at once, and no more");
      await playAll(world);
      const ended = await Promise.all(answers.map((answer) => phaseOf(world, answer.body.id)));
      assert.deepEqual(count(ended), { completed: 100 });
      const { body: vms } = await world.request("GET", "/vms");
      const owners = vms.items.map((vm: { owner: { hostId: string } }) => vm.owner.hostId);
      assert.deepEqual(count(owners), { "host-b": 50, "host-d": 50 });
      const { body: hosts } = await world.request("GET", "/hosts");
      assert.ok(hosts.items.every((host: { migration: string | null }) => host.migration === null));
    });

    test("a destination's memory is promised once, however many ask for it at once", async () => {
      const world = await makeCluster(["host-a", "host-b", "host-d"], { table: await openTable() });
      world.hosts["host-c"] = await world.addHost("host-c", { memoryMiB: 40 });
      const names = Array.from({ length: 8 }, (_, index) => `vm-${index}`);
      const hosts = ["host-a", "host-b", "host-d"];
      for (const [index, name] of names.entries()) await runVm(world, name, hosts[index % 3] ?? "");
      for (const vm of ["vm-x", "vm-y", "vm-z"]) {
        await world.request("POST", "/vms", { vm, spec });
      }
      const answers = await Promise.all([
        ...names.map((vm) => world.request("POST", "/migrations", { vm, destination: "host-c" })),
        ...["vm-x", "vm-y", "vm-z"].map((vm) => world.request("POST", `/vms/${vm}/start`, { host: "host-c" })),
      ]);
      for (const { status, body } of answers) {
        assert.ok(status === 202 || body.code === "destination-full", JSON.stringify(body));
      }
      await playAll(world);
      const { body: vms } = await world.request("GET", "/vms");
      const there = vms.items.filter((vm: { owner: { hostId: string } | null }) => vm.owner?.hostId === "host-c");
      assert.ok(there.length >= 1 && there.length <= 2, `${there.length} guests of 16 MiB on a host of 40`);
      const { body: all } = await world.request("GET", "/migrations?limit=100");
      for (const { phase, detail } of all.items) {
        assert.ok(phase === "completed" || (phase === "failed" && detail.startsWith("destination-full")), detail);
      }
    });

    test("sixteen hosts run eight migrations at once", async () => {
      const hosts = Array.from({ length: 16 }, (_, index) => `host-${String.fromCharCode(97 + index)}`);
      const world = await makeCluster(hosts, { table: await openTable() });
      for (let index = 0; index < 8; index++) await runVm(world, `vm-${index}`, hosts[index] ?? "");
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, index) =>
          world.request("POST", "/migrations", { vm: `vm-${index}`, destination: hosts[8 + index] }),
        ),
      );
      assert.deepEqual(count(answers.map((answer) => answer.body.phase)), { setup: 8 });
    });
  });
}

async function phaseOf(world: Cluster, id: string): Promise<string> {
  return (await world.request("GET", `/migrations/${id}`)).body.phase;
}

async function countMigrations(world: Cluster): Promise<number> {
  return (await world.request("GET", "/migrations?limit=100")).body.items.length;
}

function count(values: string[]): { [value: string]: number } {
  const counts: { [value: string]: number } = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
