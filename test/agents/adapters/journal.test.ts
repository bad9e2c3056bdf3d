import assert from "node:assert/strict";
import { copyFile, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { type TestContext, test } from "node:test";
import { openFileJournal } from "../../../agents/adapters/file-journal.ts";
import { MemoryJournalDisk, openMemoryJournal } from "../../../agents/adapters/memory-journal.ts";
import { SealedLog } from "../../../agents/adapters/sealed-log.ts";
import { journalContract, makeEntry } from "../../contract/journal.ts";
import { watchFiles } from "../../support/file-system.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

journalContract("memory", async () => {
  const disk = new MemoryJournalDisk();
  return {
    open: async () => openMemoryJournal(disk),
    breakDisk: async () => {
      disk.failing = true;
    },
    close: async () => {},
  };
});

journalContract("files", async () => {
  const folder = await temporaryFolder();
  return {
    open: () => openFileJournal(`${folder.path}/journal`),
    // The folder is gone: no file can be made in it, whoever the user is.
    breakDisk: () => rename(`${folder.path}/journal`, `${folder.path}/elsewhere`),
    close: folder.remove,
  };
});

test("a damaged entry is refused by the name of its file", async () => {
  const folder = await temporaryFolder();
  try {
    const entry = await makeEntry();
    await (await openFileJournal(folder.path)).write(entry);
    const path = `${folder.path}/${entry.migrationId}.json`;
    const text = await readFile(path, "utf8");
    for (const damagedText of ["", text.slice(0, -20), text.replace('"role":"source"', '"role":"destination"')]) {
      await writeFile(path, damagedText);
      await assert.rejects(openFileJournal(folder.path), new RegExp(`${entry.migrationId}\\.json is damaged`));
    }
    await rm(path);
    await openFileJournal(folder.path);
  } finally {
    await folder.remove();
  }
});

test("a write cut short leaves the entry before it, and its remains are cleared away", async () => {
  const folder = await temporaryFolder();
  try {
    const entry = await makeEntry();
    await (await openFileJournal(folder.path)).write(entry);
    await writeFile(`${folder.path}/${entry.migrationId}.json.0123456789ab.writing`, "half");
    assert.deepEqual((await openFileJournal(folder.path)).migrations(), [entry]);
    assert.deepEqual(await readdir(folder.path), [`${entry.migrationId}.json`]);
  } finally {
    await folder.remove();
  }
});

test("an entry with a field that does not belong there is refused, and readable by its owner only otherwise", async () => {
  const folder = await temporaryFolder();
  try {
    const journal = await openFileJournal(folder.path);
    const entry = await makeEntry();
    const secret = { ...entry, streamKey: "c2VjcmV0" };
    await assert.rejects(journal.write(secret));
    await journal.write(entry);
    assert.equal((await stat(`${folder.path}/${entry.migrationId}.json`)).mode & 0o077, 0);
  } finally {
    await folder.remove();
  }
});

async function makeFolder(t: TestContext): Promise<string> {
  const folder = await temporaryFolder();
  t.after(folder.remove);
  return folder.path;
}

test("an entry under another migration's name is refused, whoever put it there", async (t) => {
  const folder = await makeFolder(t);
  const [one, two] = [await makeEntry(1), await makeEntry(2)];
  await (await openFileJournal(folder)).write(one);
  await copyFile(`${folder}/${one.migrationId}.json`, `${folder}/${two.migrationId}.json`);
  await assert.rejects(openFileJournal(folder), new RegExp(`${two.migrationId}\\.json is damaged: it holds another`));
});

test("a whole file that is not what it should be is refused, and why is said", async (t) => {
  const folder = await makeFolder(t);
  for (const [name, text, why] of [
    ["tokens.json", '{"vm-1":-1}', "Too small"],
    ["table-standing.json", '{"isFrozen":false,"tokenFloor":1,"more":1}', "Unrecognized key"],
  ] as const) {
    await new SealedLog(`${folder}/${name}`).write(text);
    await assert.rejects(openFileJournal(folder), new RegExp(`${name} is damaged: ${why}`));
    await rm(`${folder}/${name}`);
  }
});

test("what is no part of the journal is left alone", async (t) => {
  const folder = await makeFolder(t);
  await writeFile(`${folder}/notes.txt`, "mine");
  assert.deepEqual((await openFileJournal(folder)).migrations(), []);
  assert.deepEqual(await readdir(folder), ["notes.txt"]);
});

test("a migration whose file somebody took away can be forgotten", async (t) => {
  const folder = await makeFolder(t);
  const journal = await openFileJournal(folder);
  const entry = await makeEntry();
  await journal.write(entry);
  await rm(`${folder}/${entry.migrationId}.json`);
  await journal.forget(entry.migrationId);
  assert.deepEqual(journal.migrations(), []);
});

test("the file of a migration stays open until the migration is over or forgotten", async (t) => {
  const journal = await openFileJournal(await makeFolder(t));
  const [one, two] = [await makeEntry(1), await makeEntry(2)];
  const names = new Map([
    [`${one.migrationId}.json`, "one"],
    [`${two.migrationId}.json`, "two"],
  ]);
  const calls = watchFiles(t, (path) => names.get(basename(path)) ?? basename(path));
  await journal.write(one);
  await journal.write(two);
  assert.deepEqual(calls.splice(0), ["open one", "open two"]);
  await journal.write({ ...one, commitSent: true });
  assert.deepEqual(calls.splice(0), ["write one", "sync data one"]);
  await journal.write({ ...one, over: true });
  assert.deepEqual(calls.splice(0), ["write one", "sync data one", "close one"]);
  await journal.forget(one.migrationId);
  await journal.forget(two.migrationId);
  assert.deepEqual(calls, ["close two"]);
});

test("a token that is not higher costs no trip to the disk", async (t) => {
  const journal = await openFileJournal(await makeFolder(t));
  await journal.raiseToken("vm-1", 7);
  const calls = watchFiles(t, basename);
  await journal.raiseToken("vm-1", 7);
  await journal.raiseToken("vm-1", 6);
  assert.deepEqual(calls, []);
});
