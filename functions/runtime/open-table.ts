// The table that the environment names. The AWS clients are loaded only where they are used: they take longer to load
// than all the rest.
import { createMemoryTable } from "../adapters/memory-table.ts";
import { openSqliteTable } from "../adapters/sqlite-table.ts";
import type { Table } from "../ports/table.ts";
import type { Configuration } from "./node-environment.ts";

export async function openTable({ table, region }: Pick<Configuration, "table" | "region">): Promise<Table> {
  switch (table.kind) {
    case "memory":
      return createMemoryTable();
    case "sqlite":
      return openSqliteTable(table.path);
    case "dynamodb": {
      const { connectDynamo, createDynamoTable } = await import("../adapters/dynamodb-table.ts");
      const client = connectDynamo({ region: region ?? "", ...(table.endpoint ? { endpoint: table.endpoint } : {}) });
      return createDynamoTable({ client, tableName: table.name });
    }
  }
}
