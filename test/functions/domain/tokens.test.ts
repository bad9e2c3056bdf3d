// Fencing tokens only grow, and a restored table's are above all that it forgot.
import assert from "node:assert/strict";
import { test } from "node:test";
import { firstToken, nextToken } from "../../../functions/domain/tokens.ts";
import { tokensPerEpoch } from "../../../schemas/ids.ts";

test("the next token is one above the last, within an epoch", () => {
  assert.equal(nextToken(0, 0), 1);
  assert.equal(nextToken(7, 0), 8);
  assert.equal(nextToken(firstToken(2) + 5, 2), firstToken(2) + 6);
});

test("the first token of an epoch is above every one of the epochs before", () => {
  assert.equal(firstToken(3), 3 * tokensPerEpoch);
  assert.equal(nextToken(7, 1), tokensPerEpoch + 1);
  assert.ok(nextToken(firstToken(1) + tokensPerEpoch - 2, 2) > firstToken(2));
});

test("an epoch that the table is not at by its settings takes no token back", () => {
  assert.equal(nextToken(firstToken(2) + 5, 1), firstToken(2) + 6);
});
