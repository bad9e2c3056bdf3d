// The gate's file when its disk fails, is slow to keep what it was given, or is written by another at the same time.
import assert from "node:assert/strict";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { mkdir, utimes } from "node:fs/promises";
import { basename } from "node:path";
import { type TestContext, test } from "node:test";
import { FileGate } from "../../../agents/adapters/file-gate.ts";
import { ulid } from "../../support/assignments.ts";
import { failure, onFileCall, watchFiles } from "../../support/file-system.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const migrationId = ulid("mig", 1);

async function makeGate(t: TestContext) {
  const folder = await temporaryFolder();
  t.after(folder.remove);
  return { folder: folder.path, gate: new FileGate(folder.path), path: `${folder.path}/${migrationId}` };
}

test("rule 2: a decision is on the disk before it is answered: its file first, then its name", async (t) => {
  const { gate, folder } = await makeGate(t);
  const calls = watchFiles(t, (path) =>
    path === folder ? "folder" : path.endsWith(".writing") ? "draft" : basename(path) === migrationId ? "gate" : path,
  );
  assert.equal(await gate.decide(migrationId, "past"), "past");
  assert.deepEqual(calls, [
    "open draft",
    "write draft",
    "sync draft",
    "close draft",
    "link draft gate",
    "open folder",
    "sync folder",
    "close folder",
  ]);
});

test("rule 2: what another decided may not be on the disk yet: it is made so before it is answered, and not written anew", async (t) => {
  const { gate, folder, path } = await makeGate(t);
  writeFileSync(path, "cancelled\n");
  const calls = watchFiles(t, (name) => (name === folder ? "folder" : basename(name)));
  const synced = ["open folder", "sync folder", "close folder"];
  assert.equal(await gate.read(migrationId), "cancelled");
  assert.deepEqual(calls.splice(0), synced);
  assert.equal(await gate.decide(migrationId, "past"), "cancelled");
  assert.deepEqual(calls, synced);
});

test("who is overtaken while it decides answers what the other has decided", async (t) => {
  const { gate, folder, path } = await makeGate(t);
  onFileCall(t, "linkSync", (link, from, to) => {
    writeFileSync(path, "cancelled\n");
    return link(from, to);
  });
  assert.equal(await gate.decide(migrationId, "past"), "cancelled");
  assert.deepEqual(readdirSync(folder), [migrationId]);
});

test("a disk that takes no name, or no file, decides nothing, says why, and is left clean", async (t) => {
  const { gate, folder } = await makeGate(t);
  onFileCall(t, "linkSync", () => {
    throw failure("EIO");
  });
  await assert.rejects(gate.decide(migrationId, "past"), /^Error: EIO/);
  onFileCall(t, "openSync", () => {
    throw failure("ENOSPC");
  });
  await assert.rejects(gate.decide(migrationId, "past"), /^Error: ENOSPC/);
  assert.deepEqual(readdirSync(folder), []);
});

test("a disk that cannot sync decides nothing", async (t) => {
  const { gate, folder } = await makeGate(t);
  onFileCall(t, "fsyncSync", () => {
    throw failure("EIO");
  });
  const calls = watchFiles(t, () => "file");
  await assert.rejects(gate.decide(migrationId, "past"), /^Error: EIO/);
  assert.deepEqual(
    calls.filter((call) => call.startsWith("close")),
    ["close file"],
    "nothing stays open",
  );
  assert.deepEqual(readdirSync(folder), []);
});

test("a gate's file that vanishes while it is made is no decision", async (t) => {
  const { gate } = await makeGate(t);
  onFileCall(t, "linkSync", () => undefined);
  await assert.rejects(gate.decide(migrationId, "past"), /vanished while it was made/);
});

test("a gate that cannot be read is not taken for one that is undecided", async (t) => {
  const { gate, path } = await makeGate(t);
  await mkdir(path);
  await assert.rejects(gate.read(migrationId), /EISDIR/);
});

test("a gate is forgotten when nothing of its migration is left; forgetting it twice is no fault", async (t) => {
  const { gate, path } = await makeGate(t);
  await gate.decide(migrationId, "past");
  await gate.forget(migrationId);
  assert.equal(existsSync(path), false);
  await gate.forget(migrationId);
  assert.equal(await gate.decide(migrationId, "cancelled"), "cancelled");
});

test("what another sweeps away at the same time is swept away", async (t) => {
  const { folder } = await makeGate(t);
  onFileCall(t, "readdirSync", () => [`${migrationId}.aa.writing`]);
  assert.ok(new FileGate(folder));
});

test("what was left ten minutes ago may still be written; a moment later nobody does", async (t) => {
  const { folder } = await makeGate(t);
  const left = `${folder}/${migrationId}.aa.writing`;
  writeFileSync(left, "past\n");
  await utimes(left, 1000, 1000);
  t.mock.method(Date, "now", () => 1_000_000 + 600_000);
  assert.ok(new FileGate(folder));
  assert.equal(existsSync(left), true);
  t.mock.method(Date, "now", () => 1_000_000 + 600_001);
  assert.ok(new FileGate(folder));
  assert.equal(existsSync(left), false);
});
