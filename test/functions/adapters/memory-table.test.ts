import assert from "node:assert/strict";
import { test } from "node:test";
import { createMemoryTable } from "../../../functions/adapters/memory-table.ts";
import { tableContract } from "../../contract/table.ts";

tableContract("memory", async () => {
  const table = createMemoryTable();
  return { table, close: () => table.close() };
});

test("a memory table can be put back to what it was, again and again", async () => {
  const table = createMemoryTable();
  const key = (sort: string) => ({ partition: "p", sort });
  await table.commit([{ kind: "put", key: key("a"), expected: "absent", schemaVersion: 1, data: { n: 1 } }]);
  const before = table.snapshot();
  const items = table.allItems();
  for (let round = 0; round < 2; round++) {
    await table.commit([
      { kind: "put", key: key("a"), expected: 1, schemaVersion: 1, data: { n: 2 } },
      { kind: "put", key: key("b"), expected: "absent", schemaVersion: 1, data: {} },
    ]);
    assert.equal(table.allItems().length, 2);
    table.restore(before);
    assert.deepEqual(table.allItems(), items);
  }
});
