import assert from "node:assert/strict";
import { appendFileSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DamagedLog, SealedLog } from "../../../agents/adapters/sealed-log.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

async function withPath(body: (path: string) => Promise<void>): Promise<void> {
  const folder = await temporaryFolder();
  try {
    await body(join(folder.path, "log"));
  } finally {
    await folder.remove();
  }
}

test("the last text written is what holds, also for who opens the file anew", () =>
  withPath(async (path) => {
    const log = new SealedLog(path);
    assert.equal(log.read(), null);
    for (const text of ["one", "two", "three"]) await log.write(text);
    assert.equal(new SealedLog(path).read(), "three");
    log.close();
    await log.write("four");
    assert.equal(new SealedLog(path).read(), "four");
    log.close();
  }));

test("a line that a crash cut short is dropped, and the next one stands behind the whole ones", () =>
  withPath(async (path) => {
    const log = new SealedLog(path);
    await log.write("one");
    await log.write("two");
    log.close();
    truncateSync(path, statSync(path).size - 2);
    assert.equal(new SealedLog(path).read(), "one");
    await log.write("three");
    assert.equal(new SealedLog(path).read(), "three");
    log.close();
  }));

test("a whole line that does not fit its digest is damage, never taken for something else", () =>
  withPath(async (path) => {
    const log = new SealedLog(path);
    await log.write("commit not sent");
    await log.write("commit sent");
    log.close();
    writeFileSync(path, readFileSync(path, "utf8").replace("commit not", "commit was"));
    assert.throws(() => new SealedLog(path).read(), DamagedLog);
    appendFileSync(path, "nonsense\n");
    await assert.rejects(log.write("more"), DamagedLog);
    writeFileSync(path, "");
    assert.throws(() => new SealedLog(path).read(), DamagedLog, "an empty file was never written by a log");
  }));

test("it does not grow without end", () =>
  withPath(async (path) => {
    const log = new SealedLog(path);
    for (let index = 0; index < 100; index += 1) await log.write("x".repeat(10_000));
    await log.write("last");
    assert.ok(statSync(path).size < 600_000, `${statSync(path).size} bytes`);
    assert.equal(new SealedLog(path).read(), "last");
    log.close();
  }));
