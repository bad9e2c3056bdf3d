// The number by which an agent notices a table that went back, on its disk.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { memoryCounter, openCounterFile } from "../../../agents/adapters/counter-file.ts";
import { onFileCall, watchFiles } from "../../support/file-system.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

async function makePath(t: TestContext): Promise<string> {
  const folder = await temporaryFolder();
  t.after(folder.remove);
  return `${folder.path}/acknowledged`;
}

test("a counter only rises, and each raise is one write over the one before", async (t) => {
  const path = await makePath(t);
  const calls = watchFiles(t, () => "counter");
  const counter = openCounterFile(path);
  assert.equal(counter.value, 0);
  counter.raise(120);
  counter.raise(120);
  counter.raise(7);
  counter.close();
  assert.deepEqual(calls, ["open counter", "write counter", "close counter"]);
  assert.equal(counter.value, 120);
  assert.equal(readFileSync(path, "utf8"), "000000000000120\n");
});

test("it is on the disk with the next sync, which does nothing where nothing was raised", async (t) => {
  const path = await makePath(t);
  const counter = openCounterFile(path);
  t.after(counter.close);
  let syncs = 0;
  const callbacks: (() => void)[] = [];
  onFileCall(t, "fsync", (_call, _file, done) => {
    syncs += 1;
    callbacks.push(done as () => void);
  });
  await counter.sync();
  assert.equal(syncs, 0);
  counter.raise(1);
  const first = counter.sync();
  counter.raise(2);
  callbacks.shift()?.();
  await first;
  // The first sync was asked for before the second raise, and answers for nothing after it.
  const second = counter.sync();
  callbacks.shift()?.();
  await second;
  await counter.sync();
  assert.equal(syncs, 2);
});

test("what is not one number and the end of its line is damage", async (t) => {
  const path = await makePath(t);
  const whole = "000000000000120\n";
  for (const text of ["000000000000120", `${whole}\n`, `x${whole}`, `${whole}x`, "00000000000012x\n", "\n"]) {
    writeFileSync(path, text);
    assert.throws(() => openCounterFile(path), new RegExp(`the counter file ${path} is damaged`), JSON.stringify(text));
  }
  writeFileSync(path, whole);
  const counter = openCounterFile(path);
  t.after(counter.close);
  assert.equal(counter.value, 120);
});

test("in memory it only rises as well", async () => {
  const counter = memoryCounter();
  counter.raise(3);
  counter.raise(2);
  assert.equal(counter.value, 3);
});
