import assert from "node:assert/strict";
import { readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { openFileJournal } from "../../../agents/adapters/file-journal.ts";
import { MemoryJournalDisk, openMemoryJournal } from "../../../agents/adapters/memory-journal.ts";
import { journalContract, makeEntry } from "../../contract/journal.ts";
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
