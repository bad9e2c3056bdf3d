import assert from "node:assert/strict";
import { test } from "node:test";
import { createFaultyTable, type TableCall, type TableFault } from "../../../functions/adapters/faulty-table.ts";
import { createMemoryTable } from "../../../functions/adapters/memory-table.ts";
import type { Change, Table } from "../../../functions/ports/table.ts";
import { OutcomeUnknown, TableThrottled } from "../../../functions/ports/table.ts";
import { tableContract } from "../../contract/table.ts";

const key = { partition: "p", sort: "s" };
const put = (expected: number | "absent", n: number): Change => ({
  kind: "put",
  key,
  expected,
  schemaVersion: 1,
  data: { n },
});

/** Gives the faults in turn, then none. */
function scripted(...faults: TableFault[]) {
  const calls: TableCall[] = [];
  const table = createFaultyTable(createMemoryTable(), (call) => {
    calls.push(call);
    return faults.shift() ?? { kind: "none" };
  });
  return { table, calls };
}

async function valueIn(table: Table): Promise<unknown> {
  const [item] = await table.get([key]);
  return item?.data["n"] ?? null;
}

tableContract("faulty, without a fault", async () => {
  const { table } = scripted();
  return { table, close: () => table.close() };
});

test("a throttled commit did not happen", async () => {
  const { table, calls } = scripted({ kind: "throttled" });
  await assert.rejects(table.commit([put("absent", 1)]), TableThrottled);
  assert.equal(await valueIn(table), null);
  assert.deepEqual(
    calls.map((call) => call.kind),
    ["commit", "get"],
  );
});

test("a lost request did not happen, a lost answer did; reading again tells them apart", async () => {
  for (const [kind, found] of [
    ["request-lost", null],
    ["answer-lost", 1],
  ] as const) {
    const { table } = scripted({ kind });
    await assert.rejects(table.commit([put("absent", 1)]), OutcomeUnknown);
    assert.equal(await valueIn(table), found);
    // The way out for a caller: read, and commit again only what is not there.
    const again = await table.commit([put("absent", 1)]);
    assert.equal(again.kind, found === null ? "committed" : "conflict");
    assert.equal(await valueIn(table), 1);
  }
});

test("a late request happens after the caller has gone on, if its conditions still hold", async () => {
  for (const isOvertaken of [false, true]) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { table } = scripted({ kind: "request-late", late: () => promise });
    await assert.rejects(table.commit([put("absent", 1)]), OutcomeUnknown);
    assert.equal(await valueIn(table), null);
    if (isOvertaken) await table.commit([put("absent", 2)]);
    resolve();
    await table.settled();
    assert.equal(await valueIn(table), isOvertaken ? 2 : 1);
  }
});

test("an injected conflict changes nothing and shows what stands", async () => {
  const { table } = scripted({ kind: "none" }, { kind: "conflict" });
  await table.commit([put("absent", 1)]);
  const item = { ...key, revision: 1, schemaVersion: 1, data: { n: 1 } };
  assert.deepEqual(await table.commit([put(1, 2)]), { kind: "conflict", standing: [{ key, item }] });
  assert.equal(await valueIn(table), 1);
});

test("a read that loses its answer throws, and nothing else", async () => {
  const { table } = scripted({ kind: "answer-lost" }, { kind: "throttled" }, { kind: "conflict" });
  await assert.rejects(table.get([key]), /connection broke/);
  await assert.rejects(table.query({ partition: "p", limit: 1 }), TableThrottled);
  assert.deepEqual(await table.get([key]), [null]);
});

test("delays come before the table is asked and after it has answered", async () => {
  const steps: string[] = [];
  const step = (name: string) => async () => {
    steps.push(`${name}: ${await valueIn(inner)}`);
  };
  const inner = createMemoryTable();
  const table = createFaultyTable(inner, () => ({ kind: "none", before: step("before"), after: step("after") }));
  await table.commit([put("absent", 1)]);
  assert.deepEqual(steps, ["before: null", "after: 1"]);
});
