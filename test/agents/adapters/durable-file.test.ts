// A file that is whole or absent, whatever its disk does.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { temporarySuffix, writeDurably } from "../../../agents/adapters/durable-file.ts";
import { failure, watchPromises } from "../../support/file-system.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

async function makeFolder(t: TestContext) {
  const folder = await temporaryFolder();
  t.after(folder.remove);
  const path = `${folder.path}/file`;
  const nameOf = (name: string) =>
    name === folder.path ? "folder" : name === path ? "file" : name.endsWith(temporarySuffix) ? "draft" : name;
  return { folder: folder.path, path, nameOf };
}

const drafted = ["open draft", "write draft", "sync draft", "close draft"];
const placed = ["rename draft file", "open folder", "sync folder", "close folder"];

test("the content is on the disk before the file has its name, and the name before it is answered", async (t) => {
  const { path, nameOf } = await makeFolder(t);
  const calls = watchPromises(t, nameOf);
  await writeDurably(path, "new");
  assert.deepEqual(calls, [...drafted, ...placed]);
  assert.equal(readFileSync(path, "utf8"), "new");
});

test("what fails before the file has its name leaves the old one, and nothing beside it", async (t) => {
  const { folder, path, nameOf } = await makeFolder(t);
  await writeDurably(path, "old");
  let failing = "";
  const cause = failure("EIO");
  const calls = watchPromises(t, nameOf, (call) => (call === failing ? cause : null));
  for (failing of ["open draft", "write draft", "sync draft", "rename draft file"]) {
    await assert.rejects(writeDurably(path, "new"), { message: `writing ${path} durably`, cause });
    assert.equal(calls.includes("close draft"), failing !== "open draft", failing);
    calls.length = 0;
    assert.deepEqual(readdirSync(folder), ["file"]);
    assert.equal(readFileSync(path, "utf8"), "old");
  }
});

test("a name that cannot be made durable is not answered for, and its folder does not stay open", async (t) => {
  const { path, nameOf } = await makeFolder(t);
  const calls = watchPromises(t, nameOf, (call) => (call === "sync folder" ? failure("EIO") : null));
  await assert.rejects(writeDurably(path, "new"), { code: "EIO" });
  assert.equal(calls.at(-1), "close folder");
});
