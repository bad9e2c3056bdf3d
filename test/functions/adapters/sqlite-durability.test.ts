import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { after, test } from "node:test";
import { openSqliteTable } from "../../../functions/adapters/sqlite-table.ts";
import type { Table } from "../../../functions/ports/table.ts";

const folder = mkdtempSync(join(tmpdir(), "drover-durability-"));
const running = new Set<ChildProcess>();
after(() => {
  for (const child of running) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

const writers = ["writer-a", "writer-b"];
const writerScript = join(import.meta.dirname, "sqlite-writer.ts");
const rounds = 6;
const killAfterAcknowledged = 25;

/** Starts a writer, kills it once it has had enough acknowledged, and tells the last number it was promised. */
async function writeUntilKilled(file: string, name: string, enough: number): Promise<number> {
  const child = spawn(process.execPath, [writerScript, file, name], { stdio: ["ignore", "pipe", "inherit"] });
  const { acknowledged, signal } = await listenToEnd(child, (heard) => {
    if (heard === enough) child.kill("SIGKILL");
  });
  assert.equal(signal, "SIGKILL", `${name} ended by itself`);
  return acknowledged;
}

type Ended = { acknowledged: number; code: number | null; signal: string | null };

async function listenToEnd(
  child: ChildProcess & { stdout: Readable },
  onLine: (heard: number) => void,
): Promise<Ended> {
  running.add(child);
  const exited = once(child, "exit");
  let acknowledged = 0;
  let heard = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    acknowledged = Number(line);
    onLine(++heard);
  }
  const [code, signal] = await exited;
  running.delete(child);
  return { acknowledged, code, signal };
}

/** @returns how many commits of the writer are there */
async function checkWriter(table: Table, name: string, promised: number): Promise<number> {
  const left = await countOf(table, name, "left", "count");
  // One more may have been committed and not been told.
  assert.ok(left === promised || left === promised + 1, `${name}: ${promised} promised, ${left} found`);
  assert.equal(await countOf(table, name, "right", "count"), left, `${name}: torn commit`);
  assert.equal(await logged(table, `${name}-log`), left, `${name}: torn commit`);
  return left;
}

async function countOf(table: Table, partition: string, sort: string, field: string): Promise<number> {
  const [item] = await table.get([{ partition, sort }]);
  return Number(item?.data[field] ?? 0);
}

async function logged(table: Table, partition: string): Promise<number> {
  let count = 0;
  for (let after = ""; ; ) {
    const { items, next } = await table.query({ partition, after, limit: 1000 });
    count += items.length;
    if (next === null) return count;
    after = next;
  }
}

test("kill -9 loses no acknowledged commit and tears none, in round after round on one file", async () => {
  const file = join(folder, "table.db");
  for (let round = 1; round <= rounds; round++) {
    const acknowledged = await Promise.all(
      writers.map((name, i) => writeUntilKilled(file, name, killAfterAcknowledged + round * 7 + i * 13)),
    );
    const table = openSqliteTable(file);
    let total = 0;
    for (const [i, name] of writers.entries()) total += await checkWriter(table, name, acknowledged[i] ?? 0);
    assert.equal(await countOf(table, "shared", "shared", "total"), total, "torn commit");
    await table.close();
  }
});

test("a disk that takes no more stops the writer, loses nothing acknowledged and tears nothing", async () => {
  const file = join(folder, "full.db");
  const limited = 'ulimit -f 512; exec "$0" "$@"'; // Files of 256 KB, or 512 with some shells.
  const child = spawn("/bin/sh", ["-c", limited, process.execPath, writerScript, file, "writer"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const { acknowledged, code } = await listenToEnd(child, () => {});
  assert.equal(code, 1, "the writer was told");
  assert.ok(acknowledged > 0);
  const table = openSqliteTable(file);
  const count = await checkWriter(table, "writer", acknowledged);
  assert.equal(await countOf(table, "shared", "shared", "total"), count, "torn commit");
  await table.close();
});
