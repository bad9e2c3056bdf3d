// The agent's journal on its own disk: `<folder>/<migrationId>.json` per migration and `<folder>/tokens.json`, each a
// sealed log. It is read once, when it is opened; a damaged file is refused by name, because a
// forgotten commit or a forgotten intent to run would cost the guest.
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import type { Journal, MigrationJournal, TableStanding } from "../ports/journal.ts";
import { syncFolder, temporarySuffix } from "./durable-file.ts";
import { JournalEntry, TableStandingEntry, TokenTable } from "./journal-entry.ts";
import { DamagedLog, SealedLog } from "./sealed-log.ts";
import { Serial } from "./serial.ts";

const tokensFile = "tokens.json";
const standingFile = "table-standing.json";

/** @throws when the folder cannot be read, or a file in it is damaged: the message names it */
export async function openFileJournal(folder: string): Promise<Journal> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const entries = new Map<string, MigrationJournal>();
  let tokens: { [vmId: string]: number } = {};
  let standing: TableStanding = { isFrozen: false, tokenFloor: 0 };
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    if (name.endsWith(temporarySuffix))
      await rm(path); // Never renamed, so never answered for.
    else if (name === tokensFile) tokens = readSealed(path, TokenTable);
    else if (name === standingFile) standing = readSealed(path, TableStandingEntry);
    else if (name.endsWith(".json")) {
      const entry = readSealed(path, JournalEntry);
      if (name !== `${entry.migrationId}.json`) throw damaged(path, "it holds another migration's entry");
      entries.set(entry.migrationId, entry);
    }
  }
  return fileJournal(folder, entries, tokens, standing);
}

function fileJournal(
  folder: string,
  entries: Map<string, MigrationJournal>,
  tokensFound: { [vmId: string]: number },
  standingFound: TableStanding,
): Journal {
  const serial = new Serial();
  let tokens = tokensFound;
  let tableStanding = standingFound;
  const pathOf = (migrationId: string) => join(folder, `${migrationId}.json`);
  const standingLog = new SealedLog(join(folder, standingFile));
  const tokenLog = new SealedLog(join(folder, tokensFile));
  const logs = new Map<string, SealedLog>();
  const logOf = (migrationId: string): SealedLog => {
    const log = logs.get(migrationId) ?? new SealedLog(pathOf(migrationId));
    logs.set(migrationId, log);
    return log;
  };
  const close = (migrationId: string): void => {
    logs.get(migrationId)?.close();
    logs.delete(migrationId);
  };
  return {
    highestToken: (vmId) => Math.max(tokens[vmId] ?? 0, tableStanding.tokenFloor),
    tokens: () => Object.entries(tokens).map(([vmId, fencingToken]) => ({ vmId, fencingToken })),
    tableStanding: () => ({ ...tableStanding }),
    keepTableStanding: (standing) =>
      serial.run(async () => {
        const written = TableStandingEntry.parse(standing);
        await standingLog.write(JSON.stringify(written));
        tableStanding = written;
      }),
    raiseToken: (vmId, fencingToken) =>
      serial.run(async () => {
        if (fencingToken <= (tokens[vmId] ?? 0)) return;
        const raised = TokenTable.parse({ ...tokens, [vmId]: fencingToken });
        await tokenLog.write(JSON.stringify(raised));
        tokens = raised;
      }),
    migration: (migrationId) => structuredClone(entries.get(migrationId) ?? null),
    migrations: () => Array.from(entries.values(), (entry) => structuredClone(entry)),
    write: async (entry) => {
      const written = JournalEntry.parse(entry);
      return serial.run(async () => {
        await logOf(written.migrationId).write(JSON.stringify(written));
        entries.set(written.migrationId, written);
        if (written.over) close(written.migrationId);
      });
    },
    prove: () => serial.run(() => tokenLog.write(JSON.stringify(tokens))),
    forget: (migrationId) =>
      serial.run(async () => {
        close(migrationId);
        await rm(pathOf(migrationId), { force: true });
        await syncFolder(folder);
        entries.delete(migrationId);
      }),
  };
}

function readSealed<T>(path: string, schema: z.ZodType<T>): T {
  try {
    const parsed = schema.safeParse(JSON.parse(new SealedLog(path).read() ?? "null"));
    if (parsed.success) return parsed.data;
    throw new DamagedLog(parsed.error.issues.map(({ message }) => message).join("; "));
  } catch (error) {
    throw error instanceof DamagedLog ? damaged(path, error.message) : error;
  }
}

function damaged(path: string, why: string): Error {
  return new Error(
    `the journal file ${path} is damaged: ${why}. Restore it, or move it away after making sure that no guest of its ` +
      "migration may run here.",
  );
}
