import assert from "node:assert/strict";
import { test } from "node:test";
import { tellAccess } from "../../cli/cluster/access.ts";

const access = {
  api: { url: "http://127.0.0.1:8080" },
  name: "local",
  key: "drover_key-of-this-cluster",
  keyFile: "/tmp/drover-1/api-key",
};

function told(isTTY: boolean): string {
  let text = "";
  const write = (words: unknown): boolean => {
    text += String(words);
    return true;
  };
  tellAccess(access, { isTTY, write });
  return text;
}

test("a terminal is told the API's address and the key; a file or a pipe only where the key is", () => {
  for (const isTTY of [true, false]) {
    assert.match(told(isTTY), /^API {3}http:\/\/127\.0\.0\.1:8080 \(cluster "local"\)$/m);
    assert.match(told(isTTY), /DROVER_KEY_FILE=\/tmp\/drover-1\/api-key /);
    assert.equal(told(isTTY).includes(access.key), isTTY);
  }
  assert.match(told(true), /^key {3}drover_key-of-this-cluster /m);
});
