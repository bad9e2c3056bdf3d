// Each function's role permits what its adapters call, seen by making them call all there is, and nothing else.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import type { SQSClient } from "@aws-sdk/client-sqs";
import { connectDynamo, createDynamoTable } from "../../functions/adapters/dynamodb-table.ts";
import { connectSqs, createSqsDoorbell, queueNameOf } from "../../functions/adapters/sqs-doorbell.ts";
import type { Change, Key } from "../../functions/ports/table.ts";
import { ensureDynamoTable, startLocalDynamo, whyNoLocalDynamo } from "../../infra/local/dynamodb.ts";
import { startLocalSqs } from "../../infra/local/sqs.ts";
import { account, packageService, policiesOf, region, type Template } from "../support/cloudformation.ts";
import { allActions, mayDo, mayDoUnchecked } from "../support/iam.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

type Call = { action: string; resource: string };

const folder = await temporaryFolder();
after(() => folder.remove());
const tableName = "drover-production";
const table = `arn:aws:dynamodb:${region}:${account}:table/${tableName}`;
const host = { clusterId: "paris-1", hostId: "host-a" };
const queue = (name: string) => `arn:aws:sqs:${region}:${account}:${name}`;
const hostQueue = queue(await queueNameOf(host));
const deadLetters = queue("drover-production-dead-letters");
const secret = (name: string) => `arn:aws:ssm:${region}:${account}:parameter/drover/production/${name}`;
const logs = (name: string) =>
  `arn:aws:logs:${region}:${account}:log-group:/aws/lambda/drover-production-${name}:log-stream:1`;

/** What Lambda, and the opening of a deployment, call besides. */
const besides = (name: string): Call[] => [
  { action: "ssm:GetParameters", resource: secret("signing-key") },
  { action: "ssm:GetParameters", resource: secret("bootstrap-key") },
  { action: "logs:CreateLogStream", resource: logs(name) },
  { action: "logs:PutLogEvents", resource: logs(name) },
];

let template: Template;
let tableCalls: Call[];
let installCalls: Call[];
let ringCalls: Call[];

before(async () => {
  template = (await packageService(folder.path)).template;
  process.env["AWS_ACCESS_KEY_ID"] = "local";
  process.env["AWS_SECRET_ACCESS_KEY"] = "local";
  tableCalls = whyNoLocalDynamo() === null ? await callTable() : [];
  ({ installCalls, ringCalls } = await callQueues());
});

/** Of a transaction, each part is an action of its own. */
function actionsOf(command: string, input: object): string[] {
  const name = command.replace(/Command$/, "");
  if (name !== "TransactWriteItems") return [name];
  const parts: { [part: string]: string } = {
    Put: "PutItem",
    Delete: "DeleteItem",
    ConditionCheck: "ConditionCheckItem",
  };
  const items: object[] = Reflect.get(input, "TransactItems");
  return items.flatMap((item) => Object.keys(item)).map((part) => parts[part] ?? part);
}

function record(client: DynamoDBClient | SQSClient): string[] {
  const seen: string[] = [];
  const stack = client.middlewareStack as DynamoDBClient["middlewareStack"];
  stack.add((next, context) => (args) => {
    seen.push(...actionsOf(String(context["commandName"]), args.input));
    return next(args);
  });
  return seen;
}

async function callTable(): Promise<Call[]> {
  const server = await startLocalDynamo();
  const client = connectDynamo({ region, endpoint: server.endpoint });
  await ensureDynamoTable(client, tableName);
  const seen = record(client);
  const opened = createDynamoTable({ client, tableName });
  const [one, other]: Key[] = [
    { partition: "p", sort: "1" },
    { partition: "p", sort: "2" },
  ];
  assert.ok(one && other);
  const put = (key: Key, expected: "absent" | number = "absent"): Change => ({
    kind: "put",
    key,
    expected,
    schemaVersion: 1,
    data: {},
  });
  await opened.get([one]);
  await opened.get([one, other]);
  await opened.query({ partition: "p", limit: 1 });
  await opened.commit([put(one)]);
  await opened.commit([put(other), { kind: "check", key: one, expected: 1 }]);
  await opened.commit([put(other, 1), { kind: "delete", key: one, expected: 1 }]);
  await opened.commit([{ kind: "delete", key: other, expected: 2 }]);
  await opened.close();
  await server.stop();
  return [...new Set(seen)].map((name) => ({ action: `dynamodb:${name}`, resource: table }));
}

async function callQueues(): Promise<{ installCalls: Call[]; ringCalls: Call[] }> {
  const server = await startLocalSqs();
  const open = (deadLetterArn?: string) => {
    const client = connectSqs({ region, endpoint: server.endpoint });
    const seen = record(client);
    const at = { client, region, endpoint: server.endpoint };
    return { seen, doorbell: createSqsDoorbell(deadLetterArn ? { ...at, deadLetters: deadLetterArn } : at) };
  };
  const installing = open(queue("one"));
  await installing.doorbell.install(host);
  const changing = open(queue("other"));
  await changing.doorbell.install(host);
  const ringing = open();
  await ringing.doorbell.ring(host);
  for (const { doorbell } of [installing, changing, ringing]) await doorbell.close();
  await server.stop();
  const calls = (seen: string[]) => [...new Set(seen)].map((name) => ({ action: `sqs:${name}`, resource: hostQueue }));
  return { installCalls: calls([...installing.seen, ...changing.seen]), ringCalls: calls(ringing.seen) };
}

const callsOf = (name: "api" | "tidy"): Call[] => [
  ...tableCalls,
  ...ringCalls,
  ...(name === "api" ? installCalls : [{ action: "sqs:SendMessage", resource: deadLetters }]),
  ...besides(name),
];
const roleOf = { api: "ApiRole", tidy: "TidyRole" } as const;
const permissionsOf = (name: "api" | "tidy") => ({ policies: policiesOf(template, roleOf[name]) });

for (const name of ["api", "tidy"] as const) {
  const skip = whyNoLocalDynamo() ?? false;

  test(`${name}: each call of its adapters is permitted where it goes`, { skip }, async () => {
    const calls = callsOf(name);
    assert.ok(calls.length >= 12, JSON.stringify(calls));
    for (const { action, resource } of calls) {
      assert.ok(await mayDo(permissionsOf(name), action, resource), `${action} on ${resource}`);
    }
  });

  test(`${name}: it is granted no action that its adapters never call`, { skip }, () => {
    const called = new Set(callsOf(name).map(({ action }) => action));
    const granted = permissionsOf(name).policies.flatMap(({ Statement }) => Statement.flatMap(({ Action }) => Action));
    assert.deepEqual(
      [...new Set(granted)].filter((action) => !called.has(action)),
      [],
    );
  });

  test(`${name}: not on another table, another account's queue, another secret, or the other function's log`, async () => {
    const elsewhere: [string, string][] = [
      ["dynamodb:GetItem", `arn:aws:dynamodb:${region}:${account}:table/others`],
      ["dynamodb:PutItem", `${table}-2`],
      ["sqs:SendMessage", queue("others")],
      ["sqs:SendMessage", hostQueue.replace(account, "444455556666")],
      ["sqs:GetQueueUrl", queue("drover-without-underscore")],
      ["ssm:GetParameters", `arn:aws:ssm:${region}:${account}:parameter/drover/staging/signing-key`],
      ["logs:PutLogEvents", logs(name === "api" ? "tidy" : "api")],
      ["sqs:CreateQueue", name === "api" ? deadLetters : hostQueue],
    ];
    for (const [action, resource] of elsewhere) {
      assert.equal(await mayDo(permissionsOf(name), action, resource), false, `${action} on ${resource}`);
    }
  });

  test(`${name}: of all actions of all services it may do none else, on anything that it has to do with`, {
    skip,
  }, async () => {
    const called = new Set(callsOf(name).map(({ action }) => action));
    const others = (await allActions()).filter((action) => !called.has(action));
    assert.ok(others.length > 15_000, `${others.length} actions`);
    const resources = [table, hostQueue, deadLetters, secret("signing-key"), logs(name), "*"];
    const permissions = permissionsOf(name);
    const permitted = others.filter((action) => resources.some((on) => mayDoUnchecked(permissions, action, on)));
    assert.deepEqual(permitted, []);
  });
}
