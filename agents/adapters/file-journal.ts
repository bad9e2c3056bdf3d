// The agent's journal on its own disk: `<folder>/<migrationId>.json` per migration and `<folder>/tokens.json`. Every
// file is replaced whole and synced. It is read once, when it is opened; a damaged file is refused by name, because a
// forgotten commit or a forgotten intent to run would cost the guest.
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import type { Journal, MigrationJournal } from "../ports/journal.ts";
import { syncFolder, temporarySuffix, writeDurably } from "./durable-file.ts";
import { JournalEntry, TokenTable } from "./journal-entry.ts";
import { Serial } from "./serial.ts";

const tokensFile = "tokens.json";

/** @throws when the folder cannot be read, or a file in it is damaged: the message names it */
export async function openFileJournal(folder: string): Promise<Journal> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const entries = new Map<string, MigrationJournal>();
  let tokens: { [vmId: string]: number } = {};
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    if (name.endsWith(temporarySuffix))
      await rm(path, { force: true }); // Never renamed, so never answered for.
    else if (name === tokensFile) tokens = await readSealed(path, TokenTable);
    else if (name.endsWith(".json")) {
      const entry = await readSealed(path, JournalEntry);
      if (name !== `${entry.migrationId}.json`) throw damaged(path, "it holds another migration's entry");
      entries.set(entry.migrationId, entry);
    }
  }
  return fileJournal(folder, entries, tokens);
}

function fileJournal(
  folder: string,
  entries: Map<string, MigrationJournal>,
  tokensFound: { [vmId: string]: number },
): Journal {
  const serial = new Serial();
  let tokens = tokensFound;
  const pathOf = (migrationId: string) => join(folder, `${migrationId}.json`);
  return {
    highestToken: (vmId) => tokens[vmId] ?? 0,
    raiseToken: (vmId, fencingToken) =>
      serial.run(async () => {
        if (fencingToken <= (tokens[vmId] ?? 0)) return;
        const raised = TokenTable.parse({ ...tokens, [vmId]: fencingToken });
        await writeDurably(join(folder, tokensFile), seal(raised));
        tokens = raised;
      }),
    migration: (migrationId) => structuredClone(entries.get(migrationId) ?? null),
    migrations: () => Array.from(entries.values(), (entry) => structuredClone(entry)),
    write: async (entry) => {
      const written = JournalEntry.parse(entry);
      return serial.run(async () => {
        await writeDurably(pathOf(written.migrationId), seal(written));
        entries.set(written.migrationId, written);
      });
    },
    forget: (migrationId) =>
      serial.run(async () => {
        if (!entries.has(migrationId)) return;
        await rm(pathOf(migrationId), { force: true });
        await syncFolder(folder);
        entries.delete(migrationId);
      }),
  };
}

/** One line with the digest of the next, so that a damaged file never reads as another true one. */
function seal(content: unknown): string {
  const text = JSON.stringify(content);
  return `${digestOf(text)}\n${text}\n`;
}

async function readSealed<T>(path: string, schema: z.ZodType<T>): Promise<T> {
  const [digest, text, end] = (await readFile(path, "utf8")).split("\n");
  if (digest === undefined || text === undefined || end !== "" || digest !== digestOf(text)) {
    throw damaged(path, "its digest does not fit its content");
  }
  const parsed = schema.safeParse(JSON.parse(text));
  if (!parsed.success) throw damaged(path, parsed.error.issues[0]?.message ?? "it is not of its schema");
  return parsed.data;
}

const digestOf = (text: string): string => createHash("sha256").update(text).digest("hex");

function damaged(path: string, why: string): Error {
  return new Error(
    `the journal file ${path} is damaged: ${why}. Restore it, or move it away after making sure that no guest of its ` +
      "migration may run here.",
  );
}
