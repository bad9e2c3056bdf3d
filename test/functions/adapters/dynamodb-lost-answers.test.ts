// What the DynamoDB adapter makes of answers that never come, against a real server behind a proxy that breaks them.
import assert from "node:assert/strict";
import { after, test as anyTest, before } from "node:test";
import {
  connectDynamo,
  createDynamoTable,
  type DynamoTableOptions,
} from "../../../functions/adapters/dynamodb-table.ts";
import type { Change, Table } from "../../../functions/ports/table.ts";
import { OutcomeUnknown, TableFailing, TableThrottled } from "../../../functions/ports/table.ts";
import {
  ensureDynamoTable,
  type LocalDynamo,
  startLocalDynamo,
  whyNoLocalDynamo,
} from "../../../infra/local/dynamodb.ts";
import { type AnswerDropper, type Exchange, startAnswerDropper } from "./answer-dropper.ts";

const tableName = "drover-lost";
const credentials = { accessKeyId: "local", secretAccessKey: "local" };
const connect = (endpoint: string) => connectDynamo({ region: "eu-west-3", endpoint, credentials });
const skip = whyNoLocalDynamo() ?? false;
const test = (title: string, run: () => Promise<void>) => anyTest(title, { skip }, run);
let server: LocalDynamo;
/** The same table, past the proxy. */
let direct: Table;
let partitions = 0;

before(async () => {
  if (skip) return;
  server = await startLocalDynamo();
  const client = connect(server.endpoint);
  await ensureDynamoTable(client, tableName);
  direct = createDynamoTable({ client, tableName });
});
after(async () => {
  await direct?.close();
  await server?.stop();
});

type Broken = { table: Table; dropper: AnswerDropper };

async function behind(
  decide: (operation: string, before: number) => Exchange,
  run: (broken: Broken) => Promise<void>,
  options: Partial<DynamoTableOptions> = {},
): Promise<void> {
  const dropper = await startAnswerDropper(server.endpoint, decide);
  const table = createDynamoTable({ client: connect(dropper.endpoint), tableName, ...options });
  try {
    await run({ table, dropper });
  } finally {
    await table.close();
    await dropper.close();
  }
}

const firstOf =
  (wanted: string, plan: Exchange) =>
  (operation: string, before: number): Exchange =>
    operation === wanted && before === 0 ? plan : "pass";
const everyWrite =
  (plan: Exchange) =>
  (operation: string): Exchange =>
    /Put|Delete|Transact/.test(operation) ? plan : "pass";

function freshKeys() {
  const partition = `lost#${++partitions}`;
  return { a: { partition, sort: "a" }, b: { partition, sort: "b" } };
}
type Key = ReturnType<typeof freshKeys>["a"];
const put = (key: Key, expected: number | "absent", n = 0): Change => ({
  kind: "put",
  key,
  expected,
  schemaVersion: 1,
  data: { n },
});

async function revisions(...keys: Key[]): Promise<(number | null)[]> {
  return (await direct.get(keys)).map((item) => item?.revision ?? null);
}

const brokenAnswers: Exchange[] = ["drop-answer", "cut-answer", "fault-answer", "withhold-answer"];

for (const plan of brokenAnswers) {
  test(`a put that happened and whose answer was lost (${JSON.stringify(plan)}) is committed, once`, async () => {
    const { a } = freshKeys();
    await direct.commit([put(a, "absent")]);
    const decide = firstOf("PutItem", plan);
    await behind(
      decide,
      async ({ table, dropper }) => {
        assert.deepEqual(await table.commit([put(a, 1, 7)]), { kind: "committed" });
        assert.deepEqual(
          dropper.operations,
          ["PutItem", "PutItem"],
          "sent again, and refused by its own first writing",
        );
      },
      { requestTimeoutMs: plan === "withhold-answer" ? 1_000 : 10_000 },
    );
    assert.deepEqual(await revisions(a), [2]);
  });

  test(`a transaction that happened and whose answer was lost (${JSON.stringify(plan)}) is committed, once`, async () => {
    const { a, b } = freshKeys();
    await direct.commit([put(a, "absent")]);
    await behind(
      firstOf("TransactWriteItems", plan),
      async ({ table }) => {
        assert.deepEqual(await table.commit([put(a, 1, 7), put(b, "absent")]), { kind: "committed" });
      },
      { requestTimeoutMs: plan === "withhold-answer" ? 1_000 : 10_000 },
    );
    assert.deepEqual(await revisions(a, b), [2, 1]);
  });
}

test("a request that was lost on its way is sent again, and committed once", async () => {
  const { a, b } = freshKeys();
  await direct.commit([put(a, "absent")]);
  await behind(firstOf("TransactWriteItems", "drop-request"), async ({ table }) => {
    assert.deepEqual(await table.commit([put(a, 1), put(b, "absent")]), { kind: "committed" });
  });
  assert.deepEqual(await revisions(a, b), [2, 1]);
});

test("new items whose answer was lost are found by reading, and not sent again", async () => {
  const { a, b } = freshKeys();
  await behind(firstOf("TransactWriteItems", "drop-answer"), async ({ table, dropper }) => {
    assert.deepEqual(await table.commit([put(a, "absent"), put(b, "absent")]), { kind: "committed" });
    assert.deepEqual(dropper.operations, ["TransactWriteItems", "BatchGetItem"]);
  });
  assert.deepEqual(await revisions(a, b), [1, 1]);
});

test("a new item that cannot be seen is unknown: it may still be on its way", async () => {
  const { a } = freshKeys();
  await behind(firstOf("PutItem", "drop-request"), async ({ table, dropper }) => {
    await assert.rejects(table.commit([put(a, "absent")]), OutcomeUnknown);
    assert.deepEqual(dropper.operations, ["PutItem", "GetItem"]);
    // The caller's way out: read again and compare.
    assert.deepEqual(await table.get([a]), [null]);
    assert.deepEqual(await table.commit([put(a, "absent")]), { kind: "committed" });
  });
});

test("a delete whose answer was lost is unknown, and never sent twice", async () => {
  const { a } = freshKeys();
  await direct.commit([put(a, "absent")]);
  await behind(everyWrite("drop-answer"), async ({ table, dropper }) => {
    await assert.rejects(table.commit([{ kind: "delete", key: a, expected: 1 }]), OutcomeUnknown);
    assert.deepEqual(dropper.operations, ["DeleteItem"]);
    assert.deepEqual(await table.get([a]), [null]);
  });
});

test("a commit that others overwrote before it could be seen is unknown, not a conflict", async () => {
  const { a } = freshKeys();
  await direct.commit([put(a, "absent")]);
  await behind(firstOf("PutItem", "drop-answer"), async ({ table, dropper }) => {
    dropper.onCarriedOut = async () => {
      dropper.onCarriedOut = async () => {};
      assert.deepEqual(await direct.commit([put(a, 2, 99)]), { kind: "committed" });
    };
    await assert.rejects(table.commit([put(a, 1, 7)]), OutcomeUnknown);
  });
  assert.deepEqual(await revisions(a), [3]);
});

test("a commit that others refused, with no answer lost, is a conflict also after a throttled try", async () => {
  const { a } = freshKeys();
  await direct.commit([put(a, "absent")]);
  await behind(firstOf("PutItem", throttledAnswer), async ({ table }) => {
    assert.equal((await table.commit([put(a, 7)])).kind, "conflict");
  });
});

test("a server that never answers leaves the outcome unknown", async () => {
  const { a } = freshKeys();
  await direct.commit([put(a, "absent")]);
  const options = { requestTimeoutMs: 1_000, unansweredAttempts: 2 };
  const decide = (): Exchange => "withhold-answer";
  await behind(decide, async ({ table }) => assert.rejects(table.commit([put(a, 1)]), OutcomeUnknown), options);
  assert.deepEqual(await revisions(a), [2]);
});

const dynamoError = (name: string, more = {}): Exchange => ({
  status: 400,
  body: { __type: `com.amazonaws.dynamodb.v20120810#${name}`, message: "injected", ...more },
});
const throttledAnswer = dynamoError("ProvisionedThroughputExceededException");
const cancelled = (...codes: string[]) =>
  dynamoError("TransactionCanceledException", { CancellationReasons: codes.map((Code) => ({ Code })) });

test("a throttled commit is sent again, and told as throttled when that does not help", async () => {
  const { a, b } = freshKeys();
  const changes = [put(a, "absent"), put(b, "absent")];
  for (const answer of [
    throttledAnswer,
    cancelled("TransactionConflict", "None"),
    cancelled("None", "ThrottlingError"),
  ]) {
    await behind(
      everyWrite(answer),
      async ({ table, dropper }) => {
        await assert.rejects(table.commit(changes), TableThrottled);
        assert.equal(dropper.operations.length, 3);
      },
      { throttledAttempts: 3 },
    );
  }
  assert.deepEqual(await revisions(a, b), [null, null]);
  await behind(firstOf("TransactWriteItems", cancelled("TransactionConflict", "None")), async ({ table }) => {
    assert.deepEqual(await table.commit(changes), { kind: "committed" });
  });
});

test("a throttled answer after a lost one does not make the commit 'certainly not happened'", async () => {
  const { a } = freshKeys();
  await direct.commit([put(a, "absent")]);
  const decide = (operation: string, before: number): Exchange => {
    if (operation !== "PutItem") return "drop-request";
    return before === 0 ? "drop-answer" : throttledAnswer;
  };
  const options = { throttledAttempts: 3 };
  await behind(decide, async ({ table }) => assert.rejects(table.commit([put(a, 1)]), OutcomeUnknown), options);
  assert.deepEqual(await revisions(a), [2]);
});

test("a refusal that more tries cannot mend is thrown as it is, at once", async () => {
  const { a } = freshKeys();
  const answer = dynamoError("AccessDeniedException");
  await behind(everyWrite(answer), async ({ table, dropper }) => {
    await assert.rejects(table.commit([put(a, "absent")]), (error) => {
      assert.ok(error instanceof Error && !(error instanceof OutcomeUnknown) && !(error instanceof TableThrottled));
      assert.match(error.message, /drover-lost: AccessDeniedException/);
      return true;
    });
    assert.equal(dropper.operations.length, 1);
  });
});

test("a server that is not there took nothing", async () => {
  const { a } = freshKeys();
  const gone = await startAnswerDropper(server.endpoint, () => "pass");
  await gone.close();
  const table = createDynamoTable({ client: connect(gone.endpoint), tableName, throttledAttempts: 2 });
  await assert.rejects(table.commit([put(a, "absent")]), TableFailing);
  await assert.rejects(table.get([a]), TableFailing);
  await assert.rejects(table.query({ partition: a.partition, limit: 1 }), TableFailing);
  await table.close();
});

test("a client that sends again by itself cannot make a committed change look refused", async () => {
  const { a, b } = freshKeys();
  await direct.commit([put(a, "absent")]);
  const { DynamoDBClient } = await import("@aws-sdk/client-dynamodb");
  const dropper = await startAnswerDropper(server.endpoint, firstOf("TransactWriteItems", "drop-answer"));
  const client = new DynamoDBClient({ region: "eu-west-3", endpoint: dropper.endpoint, credentials, maxAttempts: 3 });
  const table = createDynamoTable({ client, tableName });
  assert.deepEqual(await table.commit([put(a, 1), put(b, "absent")]), { kind: "committed" });
  assert.equal(dropper.operations.filter((name) => name === "TransactWriteItems").length, 2);
  await table.close();
  await dropper.close();
  assert.deepEqual(await revisions(a, b), [2, 1]);
});

test("reads are sent again, and keys that the server left out are asked for again", async () => {
  const { a, b } = freshKeys();
  await direct.commit([put(a, "absent", 1), put(b, "absent", 2)]);
  const partly: Exchange = {
    status: 200,
    body: {
      Responses: { [tableName]: [] },
      UnprocessedKeys: {
        [tableName]: {
          ConsistentRead: true,
          Keys: [a, b].map((key) => ({ pk: { S: key.partition }, sk: { S: key.sort } })),
        },
      },
    },
  };
  const plans: Exchange[] = ["drop-answer", partly, throttledAnswer];
  await behind(
    (_, before) => plans[before] ?? "pass",
    async ({ table, dropper }) => {
      const items = await table.get([b, a]);
      assert.deepEqual(
        items.map((item) => item?.data["n"]),
        [2, 1],
      );
      assert.equal(dropper.operations.length, 4);
    },
  );
  await behind(
    () => throttledAnswer,
    async ({ table }) => assert.rejects(table.query({ partition: a.partition, limit: 1 }), TableThrottled),
    { throttledAttempts: 2 },
  );
  await behind(
    () => partly,
    async ({ table }) => assert.rejects(table.get([a, b]), TableThrottled),
    { throttledAttempts: 2 },
  );
});
