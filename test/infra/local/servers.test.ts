// The local servers are part of the demo: they keep what they promise to keep, and leave nothing running.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { connectDynamo, createDynamoTable } from "../../../functions/adapters/dynamodb-table.ts";
import type { Table } from "../../../functions/ports/table.ts";
import { ensureDynamoTable, startLocalDynamo, whyNoLocalDynamo } from "../../../infra/local/dynamodb.ts";

const folder = mkdtempSync(join(tmpdir(), "drover-local-"));
const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** Resolves when the server at this endpoint breaks its connections: when its process has ended. */
async function untilGone(endpoint: string): Promise<void> {
  const { hostname, port } = new URL(endpoint);
  const socket = connect({ host: hostname, port: Number(port) });
  socket.on("error", () => {}); // Whichever way it breaks.
  await new Promise((resolve) => socket.once("close", resolve));
}

async function openTable(endpoint: string): Promise<Table> {
  const credentials = { accessKeyId: "local", secretAccessKey: "local" };
  const client = connectDynamo({ region: "eu-west-3", endpoint, credentials });
  await ensureDynamoTable(client, "drover-kept");
  return createDynamoTable({ client, tableName: "drover-kept" });
}

test("the DynamoDB-compatible server listens on loopback only, and keeps its file through kill -9", {
  skip: whyNoLocalDynamo() ?? false,
}, async () => {
  const file = join(folder, "dynamo.db");
  const key = { partition: "p", sort: "s" };
  const first = await startLocalDynamo({ file });
  assert.match(first.endpoint, /^http:\/\/127\.0\.0\.1:\d+$/);
  const before = await openTable(first.endpoint);
  await before.commit([{ kind: "put", key, expected: "absent", schemaVersion: 1, data: { kept: true } }]);
  const gone = untilGone(first.endpoint);
  process.kill(first.pid, "SIGKILL");
  await gone;
  await before.close();
  await first.stop();

  const second = await startLocalDynamo({ file });
  const later = await openTable(second.endpoint);
  assert.deepEqual((await later.get([key]))[0]?.data, { kept: true });
  await later.close();
  await second.stop();
  assert.throws(() => process.kill(second.pid, 0), { code: "ESRCH" });
});

test("a platform without a DynamoDB-compatible server is told so by name", () => {
  assert.match(whyNoLocalDynamo("darwin-arm64") ?? "", /no DynamoDB-compatible server for darwin-arm64/);
});

test("the SQS-compatible server ends with the program that started it, also after kill -9", async () => {
  const sqs = JSON.stringify(join(import.meta.dirname, "../../../infra/local/sqs.ts"));
  const program = `
    import { startLocalSqsProcess } from ${sqs};
    const { endpoint } = await startLocalSqsProcess();
    process.stdout.write(endpoint + "\\n");
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const [endpoint] = await once(createInterface({ input: child.stdout }), "line");
  assert.match(endpoint, /^http:\/\/127\.0\.0\.1:\d+$/);
  const gone = untilGone(endpoint);
  child.kill("SIGKILL");
  await gone;
});
