// What Lambda and Workers are told: a bad variable is named, with what it may be.
import assert from "node:assert/strict";
import { test } from "node:test";
import { readCloudConfiguration } from "../../../functions/runtime/cloud-environment.ts";

const environment = (changes: { [name: string]: string }) => ({
  AWS_REGION: "eu-west-1",
  DROVER_TABLE: "dynamodb:drover",
  DROVER_TABLE_ID: "t1",
  DROVER_SECRETS: "ssm:/drover/one",
  ...changes,
});

test("secrets stand in one place: below a path of parameters, or in the variables themselves", () => {
  assert.deepEqual(readCloudConfiguration(environment({})).secrets, {
    kind: "ssm",
    path: "/drover/one",
    endpoint: null,
  });
  const given = { DROVER_SECRETS: "", DROVER_SIGNING_KEY: "key\n", DROVER_BOOTSTRAP_KEY: "drover_0123456789abcdef" };
  assert.deepEqual(readCloudConfiguration(environment(given)).secrets, {
    kind: "given",
    signingKey: "key",
    bootstrapKey: "drover_0123456789abcdef",
  });
});

const refused: [string, { [name: string]: string }, RegExp][] = [
  ["secrets nowhere", { DROVER_SECRETS: "" }, /^DROVER_SIGNING_KEY is missing/],
  ["secrets elsewhere", { DROVER_SECRETS: "vault:/x" }, /^DROVER_SECRETS is "vault:\/x": it must be ssm:/],
  ["a path that is none", { DROVER_SECRETS: "ssm:drover/" }, /^DROVER_SECRETS is /],
  [
    "dead letters by name",
    { DROVER_DEAD_LETTERS: "letters" },
    /^DROVER_DEAD_LETTERS is "letters": .* ARN in eu-west-1/,
  ],
  [
    "dead letters of another region",
    { DROVER_DEAD_LETTERS: "arn:aws:sqs:us-east-1:111122223333:letters" },
    /^DROVER_DEAD_LETTERS is .* leave it out for none/,
  ],
  [
    "dead letters in a queue that keeps an order",
    { DROVER_DEAD_LETTERS: "arn:aws:sqs:eu-west-1:111122223333:letters.fifo" },
    /^DROVER_DEAD_LETTERS is .* a standard queue/,
  ],
];
for (const [what, changes, message] of refused) {
  test(`${what}: refused by name`, () => {
    assert.throws(() => readCloudConfiguration(environment(changes)), { name: "BadEnvironment", message });
  });
}
