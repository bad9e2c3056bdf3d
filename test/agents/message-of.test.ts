import assert from "node:assert/strict";
import { test } from "node:test";
import { messageOf } from "../../agents/message-of.ts";

test("an error's message says what caused it, each thing once", () => {
  const disk = new Error("ENOSPC: no space left on device");
  assert.equal(
    messageOf(new Error("writing tokens.json durably", { cause: disk })),
    "writing tokens.json durably: ENOSPC: no space left on device",
  );
  assert.equal(messageOf(new Error(`failed: ${disk.message}`, { cause: disk })), `failed: ${disk.message}`);
  assert.equal(messageOf("a word"), "a word");
});

test("causes that lead back to themselves end", () => {
  const one = new Error("one");
  one.cause = one;
  assert.equal(messageOf(one), "one");
});
