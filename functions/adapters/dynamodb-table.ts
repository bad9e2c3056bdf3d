// The table in DynamoDB, or in anything that speaks its wire. One DynamoDB table: `pk` and `sk` are the key, `rev` the
// revision, `v` the schema version, `w` the commit that wrote the item, `data` the item's data as JSON text. Text rather
// than a map: it comes back exactly (DynamoDB's numbers and nesting are narrower than JSON's), costs the least to read
// and write, and no condition ever looks inside.
import type { AttributeValue, CreateTableCommandInput, TransactWriteItem } from "@aws-sdk/client-dynamodb";
import {
  BatchGetItemCommand,
  DeleteItemCommand,
  DynamoDBClient,
  type DynamoDBClientConfig,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  TransactWriteItemsCommand,
} from "@aws-sdk/client-dynamodb";
import type { Change, CommitOutcome, Expected, Item, Key, RangeQuery, Table } from "../ports/table.ts";
import { OutcomeUnknown, TableFailing, TableThrottled } from "../ports/table.ts";
import type { Failure, StoredItem } from "./dynamodb-failures.ts";
import { judgeFailure, shortMessage, wasSentAgain } from "./dynamodb-failures.ts";
import type { EncodedChange } from "./table-input.ts";
import { checkKeys, checkRange, compareUtf8, decodeData, describe, encodeChanges } from "./table-input.ts";

/** What the DynamoDB table must be like. */
export const tableDefinition = {
  KeySchema: [
    { AttributeName: "pk", KeyType: "HASH" },
    { AttributeName: "sk", KeyType: "RANGE" },
  ],
  AttributeDefinitions: [
    { AttributeName: "pk", AttributeType: "S" },
    { AttributeName: "sk", AttributeType: "S" },
  ],
  BillingMode: "PAY_PER_REQUEST",
} satisfies Omit<CreateTableCommandInput, "TableName">;

export type DynamoTableOptions = {
  /** Made by connectDynamo, which leaves sending again to this adapter. The table takes it over and closes it. */
  client: DynamoDBClient;
  tableName: string;
  /** How long one request may take before its outcome is unknown. */
  requestTimeoutMs?: number;
  /** How often a throttled request is sent before the caller is told. */
  throttledAttempts?: number;
  /** How often a request without an answer is sent, where that is safe. */
  unansweredAttempts?: number;
  /** 0 to 1: spreads what is sent again. */
  random?: () => number;
};

/** A client that sends once: only this adapter knows what may be sent again. On Workers give the credentials. */
export function connectDynamo(
  options: { region: string; endpoint?: string } & Pick<DynamoDBClientConfig, "credentials">,
): DynamoDBClient {
  return new DynamoDBClient({ ...options, maxAttempts: 1 });
}

export function createDynamoTable(options: DynamoTableOptions): Table {
  const { client, tableName, random = Math.random } = options;
  const { requestTimeoutMs = 3000, throttledAttempts = 8, unansweredAttempts = 3 } = options;
  let isClosed = false;

  function refuseClosed(): void {
    if (isClosed) throw new Error("table: closed");
  }

  const withTimeout = () => ({ abortSignal: AbortSignal.timeout(requestTimeoutMs) });

  async function pauseBefore(attempt: number): Promise<void> {
    const longestMs = Math.min(500, 10 * 2 ** attempt);
    await new Promise((resolve) => setTimeout(resolve, 1 + random() * longestMs));
  }

  /** Reading twice harms nobody. */
  async function read<T>(what: string, send: () => Promise<T>): Promise<T> {
    let unanswered = 0;
    for (let attempt = 1; ; attempt++) {
      try {
        return await send();
      } catch (error) {
        const failure = judgeFailure(error);
        if (failure.kind === "unknown") unanswered++;
        const isHopeless =
          failure.kind === "refused" || unanswered === unansweredAttempts || attempt === throttledAttempts;
        if (isHopeless && failure.kind === "throttled") throw throttledError(error);
        if (isHopeless && failure.kind !== "refused") throw failingError(error);
        if (isHopeless)
          throw new Error(`reading ${what} from DynamoDB table ${tableName}: ${shortMessage(error)}`, { cause: error });
      }
      await pauseBefore(attempt);
    }
  }

  async function readOne(key: Key): Promise<StoredItem[]> {
    const command = new GetItemCommand({ TableName: tableName, Key: storedKey(key), ConsistentRead: true });
    const { Item: stored } = await read("an item", () => client.send(command, withTimeout()));
    return stored ? [stored] : [];
  }

  async function readMany(keys: readonly Key[]): Promise<StoredItem[]> {
    const found: StoredItem[] = [];
    let wanted: StoredItem[] = keys.map(storedKey);
    for (let round = 1; wanted.length > 0; round++) {
      const command = new BatchGetItemCommand({
        RequestItems: { [tableName]: { Keys: wanted, ConsistentRead: true } },
      });
      const { Responses, UnprocessedKeys } = await read("items", () => client.send(command, withTimeout()));
      const answered = Responses?.[tableName] ?? [];
      found.push(...answered);
      wanted = UnprocessedKeys?.[tableName]?.Keys ?? [];
      if (wanted.length === 0) break;
      // Some came: the answer was only full. None came: the table has too much to do.
      if (answered.length > 0) round = 0;
      else if (round >= throttledAttempts) throw throttledError(new Error("no key of a batch was processed"));
      else await pauseBefore(round);
    }
    return found;
  }

  async function find(keys: readonly Key[]): Promise<(StoredItem | null)[]> {
    const [first] = keys;
    const found = keys.length === 1 && first ? await readOne(first) : await readMany(keys);
    const byKey = new Map(found.map((stored) => [describe(keyOf(stored)), stored]));
    return keys.map((key) => byKey.get(describe(key)) ?? null);
  }

  async function send(changes: readonly EncodedChange[], writer: string): Promise<void> {
    const [first] = changes;
    const onRefusal = { TableName: tableName, ReturnValuesOnConditionCheckFailure: "ALL_OLD" } as const;
    // One change alone costs half as much outside of a transaction.
    if (changes.length === 1 && first?.kind === "put") {
      const put = { ...onRefusal, Item: storedItem(first, writer), ...condition(first.expected) };
      await client.send(new PutItemCommand(put), withTimeout());
    } else if (changes.length === 1 && first?.kind === "delete") {
      const remove = { ...onRefusal, Key: storedKey(first.key), ...condition(first.expected) };
      await client.send(new DeleteItemCommand(remove), withTimeout());
    } else {
      const items = changes.map((change): TransactWriteItem => {
        const guarded = { ...onRefusal, ...condition(change.expected) };
        if (change.kind === "put") return { Put: { ...guarded, Item: storedItem(change, writer) } };
        if (change.kind === "delete") return { Delete: { ...guarded, Key: storedKey(change.key) } };
        return { ConditionCheck: { ...guarded, Key: storedKey(change.key) } };
      });
      await client.send(new TransactWriteItemsCommand({ TransactItems: items }), withTimeout());
    }
  }

  /** Whether this commit is seen to have happened. That nothing is seen proves nothing: it may be under way. */
  async function isSeenToStand(changes: readonly EncodedChange[], writer: string): Promise<boolean> {
    const keys = changes.flatMap((change) => (change.kind === "put" ? [change.key] : []));
    if (keys.length === 0) return false;
    try {
      const found = await find(keys);
      return found.some((stored) => stored?.["w"]?.S === writer);
    } catch {
      return false;
    }
  }

  return {
    async get(keys: readonly Key[]): Promise<(Item | null)[]> {
      refuseClosed();
      checkKeys(keys);
      const found = await find(keys);
      return found.map((stored) => (stored ? toItem(stored) : null));
    },

    async query(range: RangeQuery): Promise<{ items: Item[]; next: string | null }> {
      refuseClosed();
      checkRange(range);
      const start = startOf(range);
      if (start === "behind-the-end") return { items: [], next: null };
      const { partition, prefix, limit } = range;
      const items: Item[] = [];
      let startKey: StoredItem | undefined = start === null ? undefined : storedKey({ partition, sort: start });
      do {
        const command = new QueryCommand({
          TableName: tableName,
          KeyConditionExpression: prefix ? "pk = :partition AND begins_with(sk, :prefix)" : "pk = :partition",
          ExpressionAttributeValues: {
            ":partition": { S: partition },
            ...(prefix ? { ":prefix": { S: prefix } } : {}),
          },
          ConsistentRead: true,
          ScanIndexForward: range.order !== "descending",
          Limit: limit + 1 - items.length, // One more tells whether this is the end.
          ...(startKey ? { ExclusiveStartKey: startKey } : {}),
        });
        const page = await read("a range", () => client.send(command, withTimeout()));
        items.push(...(page.Items ?? []).map(toItem));
        startKey = page.LastEvaluatedKey;
      } while (startKey && items.length <= limit);
      const given = items.slice(0, limit);
      return { items: given, next: items.length > limit ? (given.at(-1)?.sort ?? null) : null };
    },

    async commit(changes: readonly Change[]): Promise<CommitOutcome> {
      refuseClosed();
      const encoded = encodeChanges(changes);
      const writer = crypto.randomUUID();
      let mayHaveHappened = false;
      let unanswered = 0;
      for (let attempt = 1; ; attempt++) {
        let failure: Failure;
        try {
          await send(encoded, writer);
          return { kind: "committed" };
        } catch (error) {
          failure = judgeFailure(error);
          mayHaveHappened ||= failure.kind === "unknown" || wasSentAgain(error);
          if (failure.kind === "unknown") unanswered++;

          if (failure.kind === "conditions-failed") {
            // Refused by one's own earlier write, whose answer was lost.
            if (failure.standing.some(({ stored }) => stored?.["w"]?.S === writer)) return { kind: "committed" };
            if (!mayHaveHappened) return conflictOf(encoded, failure.standing);
            // It never happened; or it did, and others have overwritten it since.
            throw unknownError(error);
          }
          const isLast = attempt === throttledAttempts || unanswered === unansweredAttempts;
          const mayBeSentAgain = !mayHaveHappened || cannotHappenTwice(encoded);
          if (failure.kind === "refused" || isLast || !mayBeSentAgain) {
            if (!mayHaveHappened && failure.kind === "throttled") throw throttledError(error);
            if (!mayHaveHappened && failure.kind === "out-of-reach") throw failingError(error);
            if (!mayHaveHappened) {
              throw new Error(`writing to DynamoDB table ${tableName}: ${shortMessage(error)}`, { cause: error });
            }
            if (await isSeenToStand(encoded, writer)) return { kind: "committed" };
            throw unknownError(error);
          }
        }
        await pauseBefore(attempt);
      }
    },

    async close(): Promise<void> {
      if (!isClosed) client.destroy();
      isClosed = true;
    },
  };
}

/** A put on a known revision raises it, so the same commit can never pass again. One that only makes or deletes items
 *  could: somebody may have deleted or made them anew in between. */
function cannotHappenTwice(changes: readonly EncodedChange[]): boolean {
  return changes.some((change) => change.kind === "put" && change.expected !== "absent");
}

function conflictOf(
  changes: readonly EncodedChange[],
  failed: { place: number; stored: StoredItem | null }[],
): CommitOutcome {
  const standing = failed.flatMap(({ place, stored }) => {
    const change = changes[place];
    return change ? [{ key: change.key, item: stored ? toItem(stored) : null }] : [];
  });
  return { kind: "conflict", standing };
}

function condition(expected: Expected) {
  if (expected === "absent") return { ConditionExpression: "attribute_not_exists(pk)" };
  return {
    ConditionExpression: "#rev = :rev",
    ExpressionAttributeNames: { "#rev": "rev" },
    ExpressionAttributeValues: { ":rev": { N: String(expected) } },
  };
}

/** DynamoDB refuses a start outside of the prefix, so such a cursor is answered here. */
function startOf({ prefix = "", after, order }: RangeQuery): string | null | "behind-the-end" {
  if (after === undefined) return null;
  if (after !== "" && after.startsWith(prefix)) return after;
  const isBeforeAll = after === "" || compareUtf8(after, prefix) < 0;
  return isBeforeAll === (order !== "descending") ? null : "behind-the-end";
}

function storedKey(key: Key): { pk: AttributeValue; sk: AttributeValue } {
  return { pk: { S: key.partition }, sk: { S: key.sort } };
}

function storedItem(
  { key, expected, schemaVersion, text }: Extract<EncodedChange, { kind: "put" }>,
  writer: string,
): StoredItem {
  const revision = expected === "absent" ? 1 : expected + 1;
  return {
    ...storedKey(key),
    rev: { N: String(revision) },
    v: { N: String(schemaVersion) },
    data: { S: text },
    w: { S: writer },
  };
}

function keyOf(stored: StoredItem): Key {
  return { partition: stored["pk"]?.S ?? "", sort: stored["sk"]?.S ?? "" };
}

function toItem(stored: StoredItem): Item {
  const key = keyOf(stored);
  const revision = Number(stored["rev"]?.N);
  const schemaVersion = Number(stored["v"]?.N);
  const text = stored["data"]?.S;
  if (!Number.isInteger(revision) || !Number.isInteger(schemaVersion) || text === undefined) {
    throw new Error(`DynamoDB: the item at ${describe(key)} was not written by Drover`);
  }
  return { ...key, revision, schemaVersion, data: decodeData(text) };
}

function throttledError(cause: unknown): TableThrottled {
  return new TableThrottled(`DynamoDB: ${shortMessage(cause)}`, { cause });
}

function failingError(cause: unknown): TableFailing {
  return new TableFailing(`DynamoDB: ${shortMessage(cause)}`, { cause });
}

function unknownError(cause: unknown): OutcomeUnknown {
  return new OutcomeUnknown(`DynamoDB: ${shortMessage(cause)}`, { cause });
}
