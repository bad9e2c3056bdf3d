import { after, before, describe } from "node:test";
import { connectDynamo, createDynamoTable } from "../../../functions/adapters/dynamodb-table.ts";
import {
  ensureDynamoTable,
  type LocalDynamo,
  startLocalDynamo,
  whyNoLocalDynamo,
} from "../../../infra/local/dynamodb.ts";
import { tableContract } from "../../contract/table.ts";

describe("against a DynamoDB-compatible server", { skip: whyNoLocalDynamo() ?? false }, () => {
  let server: LocalDynamo;
  before(async () => {
    server = await startLocalDynamo();
  });
  after(() => server?.stop());

  tableContract("DynamoDB", async () => {
    const client = connectDynamo({
      region: "eu-west-3",
      endpoint: server.endpoint,
      credentials: { accessKeyId: "local", secretAccessKey: "local" },
    });
    await ensureDynamoTable(client, "drover-contract");
    const table = createDynamoTable({ client, tableName: "drover-contract" });
    return { table, close: () => table.close() };
  });
});
