// One life of a host between boots, as a file that the first to come makes.
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { readIncarnation, renewIncarnation } from "../../../agents/adapters/incarnation.ts";
import { failure, onFileCall } from "../../support/file-system.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

async function makeFolder(t: TestContext): Promise<string> {
  const folder = await temporaryFolder();
  t.after(folder.remove);
  return `${folder.path}/in/run`;
}

test("an incarnation stays until it is renewed", async (t) => {
  const folder = await makeFolder(t);
  const first = readIncarnation(folder);
  assert.match(first, /^[0-9a-f]{32}$/);
  assert.equal(readIncarnation(folder), first);
  assert.equal(statSync(`${folder}/incarnation`).mode & 0o077, 0);
  const second = renewIncarnation(folder);
  assert.notEqual(second, first);
  assert.equal(readIncarnation(folder), second);
  assert.deepEqual(readdirSync(folder), ["incarnation"]);
});

test("a host that has none yet gets one when it is renewed", async (t) => {
  const folder = await makeFolder(t);
  mkdirSync(folder, { recursive: true });
  assert.equal(renewIncarnation(folder), readIncarnation(folder));
});

test("who is overtaken while it makes one has the one of the other", async (t) => {
  const folder = await makeFolder(t);
  const other = "0123456789abcdef".repeat(2);
  onFileCall(t, "linkSync", (link, from, to) => {
    writeFileSync(String(to), `${other}\n`);
    return link(from, to);
  });
  assert.equal(readIncarnation(folder), other);
  assert.deepEqual(readdirSync(folder), ["incarnation"]);
});

test("a folder that takes no file gives no incarnation, says why, and is left clean", async (t) => {
  const folder = await makeFolder(t);
  const cause = failure("EACCES");
  onFileCall(t, "linkSync", () => {
    throw cause;
  });
  assert.throws(() => readIncarnation(folder), cause);
  assert.deepEqual(readdirSync(folder), []);
});

test("a damaged one is refused by the name of its file", async (t) => {
  const folder = await makeFolder(t);
  readIncarnation(folder);
  writeFileSync(`${folder}/incarnation`, "0123\n");
  assert.throws(() => readIncarnation(folder), new RegExp(`the incarnation file ${folder}/incarnation is damaged`));
});
