import assert from "node:assert/strict";
import { appendFileSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DamagedLog, SealedLog } from "../../../agents/adapters/sealed-log.ts";
import { failure, onFileCall, watchFiles } from "../../support/file-system.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const mostBytes = 256 * 1024;
/** A digest in hexadecimal, a blank and the end of the line. */
const sealBytes = 66;

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
    assert.throws(() => new SealedLog(path).read(), { name: "DamagedLog", message: "it has no whole line" });
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

test("a write is one line and one trip to the disk, until the file is full: then it is begun anew", (t) =>
  withPath(async (path) => {
    const calls = watchFiles(t, () => "log");
    const half = "x".repeat(mostBytes / 2 - sealBytes);
    const log = new SealedLog(path);
    await log.write(half);
    assert.deepEqual(calls.splice(0), ["open log"]);
    await log.write(half);
    assert.deepEqual(calls.splice(0), ["write log", "sync data log"]);
    assert.equal(statSync(path).size, mostBytes);
    await log.write("");
    const [closed, ...read] = calls.splice(0);
    assert.deepEqual([closed, read], ["close log", ["open log", "close log", "open log"]]);
    assert.equal(statSync(path).size, sealBytes);
    log.close();
    log.close();
    assert.deepEqual(calls, ["close log"]);
  }));

test("a file that is opened anew is written on to until it is full", () =>
  withPath(async (path) => {
    const half = "x".repeat(mostBytes / 2 - sealBytes);
    for (const expectedBytes of [mostBytes / 2, mostBytes, mostBytes / 2]) {
      const log = new SealedLog(path);
      await log.write(half);
      log.close();
      assert.equal(statSync(path).size, expectedBytes);
    }
  }));

test("a file that was moved or removed takes no line, and the next write makes it again", () =>
  withPath(async (path) => {
    const log = new SealedLog(path);
    for (const lose of [() => rmSync(path), () => renameSync(path, `${path}.elsewhere`)]) {
      await log.write("one");
      lose();
      await assert.rejects(log.write("two"), (error: Error) => {
        assert.equal((error.cause as Error).message, "the file is not where it was");
        return true;
      });
      assert.equal(log.read(), null);
    }
    log.close();
  }));

test("a file that was put in its place takes no line either", () =>
  withPath(async (path) => {
    const log = new SealedLog(path);
    await log.write("one");
    writeFileSync(`${path}.other`, readFileSync(path));
    renameSync(`${path}.other`, path);
    await assert.rejects(log.write("two"));
    assert.equal(log.read(), "one");
    await log.write("three");
    assert.equal(log.read(), "three");
    log.close();
  }));

test("a write that broke off midway does not spoil the next one", (t) =>
  withPath(async (path) => {
    const log = new SealedLog(path);
    await log.write("one");
    let failures = 1;
    onFileCall(t, "writeSync", (call, file, line) => {
      if (failures-- <= 0) return call(file, line);
      call(file, (line as Buffer).subarray(0, 30));
      throw failure("ENOSPC");
    });
    await assert.rejects(log.write("two"));
    assert.equal(log.read(), "one");
    await log.write("three");
    assert.equal(log.read(), "three");
    log.close();
  }));

test("a file that cannot be read is not taken for one that is not there", async () => {
  const folder = await temporaryFolder();
  assert.throws(() => new SealedLog(folder.path).read(), { code: "EISDIR" });
  await folder.remove();
});
