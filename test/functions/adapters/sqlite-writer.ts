// Writes to a SQLite table until it is killed, and says what was acknowledged. Run by sqlite-durability.test.ts.
import { writeSync } from "node:fs";
import { openSqliteTable } from "../../../functions/adapters/sqlite-table.ts";
import type { Change, Item } from "../../../functions/ports/table.ts";
import { TableThrottled } from "../../../functions/ports/table.ts";

const [path = "", name = ""] = process.argv.slice(2);
const table = openSqliteTable(path);
const keys = ["left", "right", "shared"].map((sort) => ({ partition: sort === "shared" ? sort : name, sort }));

async function items(): Promise<(Item | null)[]> {
  return table.get(keys);
}

for (;;) {
  const [left, right, shared] = await items();
  const count = Number(left?.data["count"] ?? 0) + 1;
  // Three items that change together or not at all, one of them contended by every writer.
  const changes = [left, right, shared].map((item, i): Change => {
    const key = keys[i] ?? { partition: name, sort: "none" };
    const data = i === 2 ? { total: Number(item?.data["total"] ?? 0) + 1 } : { count };
    return { kind: "put", key, expected: item?.revision ?? "absent", schemaVersion: 1, data };
  });
  const log: Change = {
    kind: "put",
    key: { partition: `${name}-log`, sort: String(count).padStart(8, "0") },
    expected: "absent",
    schemaVersion: 1,
    data: {},
  };
  try {
    const outcome = await table.commit([...changes, log]);
    // Synchronous: written before anything else happens, so what the test reads was acknowledged.
    if (outcome.kind === "committed") writeSync(1, `${count}\n`);
  } catch (error) {
    if (!(error instanceof TableThrottled)) throw error; // The other writer was faster, for long.
  }
}
