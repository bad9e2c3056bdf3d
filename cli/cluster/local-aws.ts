// The servers that speak the wire of DynamoDB and SQS, on loopback, where a local cluster is to use those adapters.
import { join } from "node:path";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { ensureDynamoTable, startLocalDynamo } from "../../infra/local/dynamodb.ts";

export type LocalAws = {
  tableName: string;
  environment: Record<string, string>;
  description: string | null;
  /** Their endings, in words. */
  ends: Promise<string>[];
  stop(): Promise<void>;
};

const tableName = "drover-local";
/** The servers check no signature, but the clients do not send a request without one. */
const credentials = { AWS_REGION: "us-east-1", AWS_ACCESS_KEY_ID: "local", AWS_SECRET_ACCESS_KEY: "local" };

export async function startLocalAws(wanted: { folder: string; table: boolean; queue: boolean }): Promise<LocalAws> {
  const stops: (() => Promise<void>)[] = [];
  const names: string[] = [];
  const ends: Promise<string>[] = [];
  const environment: Record<string, string> = wanted.table || wanted.queue ? { ...credentials } : {};
  if (wanted.table) {
    const dynamo = await startLocalDynamo({ file: join(wanted.folder, "dynamodb.sqlite") });
    stops.push(dynamo.stop);
    ends.push(dynamo.ended.then(() => `the DynamoDB-compatible server (process ${dynamo.pid}) has ended`));
    const client = new DynamoDBClient({
      endpoint: dynamo.endpoint,
      region: credentials.AWS_REGION,
      credentials: { accessKeyId: credentials.AWS_ACCESS_KEY_ID, secretAccessKey: credentials.AWS_SECRET_ACCESS_KEY },
    });
    await ensureDynamoTable(client, tableName);
    client.destroy();
    environment["DROVER_DYNAMODB_ENDPOINT"] = dynamo.endpoint;
    names.push(`DynamoDB-compatible table at ${dynamo.endpoint}`);
  }
  if (wanted.queue) {
    const { startLocalSqsProcess } = await import("../../infra/local/sqs.ts");
    const sqs = await startLocalSqsProcess();
    stops.push(sqs.stop);
    ends.push(sqs.ended.then(() => `the SQS-compatible server (process ${sqs.pid}) has ended`));
    environment["DROVER_SQS_ENDPOINT"] = sqs.endpoint;
    names.push(`SQS-compatible queues at ${sqs.endpoint}`);
  }
  return {
    tableName,
    environment,
    description: names.length > 0 ? names.join(", ") : null,
    ends,
    stop: async () => {
      for (const stop of stops) await stop();
    },
  };
}
