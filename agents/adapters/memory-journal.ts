// A journal in memory, for simulation. The disk is an object of its own, which outlives an agent; a journal is opened
// on it as a restarted agent would.
import type { Journal, MigrationJournal, TableStanding } from "../ports/journal.ts";

export class MemoryJournalDisk {
  readonly entries = new Map<string, string>();
  readonly tokens = new Map<string, number>();
  tableStanding: TableStanding = { isFrozen: false, tokenFloor: 0 };
  /** While set, no write becomes durable. */
  failing = false;
}

export function openMemoryJournal(disk: MemoryJournalDisk): Journal {
  const mustWrite = () => {
    if (disk.failing) throw new Error("the journal cannot be written");
  };
  const parse = (text: string) => JSON.parse(text) as MigrationJournal;
  return {
    highestToken: (vmId) => Math.max(disk.tokens.get(vmId) ?? 0, disk.tableStanding.tokenFloor),
    tokens: () => Array.from(disk.tokens, ([vmId, fencingToken]) => ({ vmId, fencingToken })),
    tableStanding: () => ({ ...disk.tableStanding }),
    async keepTableStanding(standing) {
      mustWrite();
      disk.tableStanding = { ...standing };
    },
    async raiseToken(vmId, fencingToken) {
      if (fencingToken <= (disk.tokens.get(vmId) ?? 0)) return;
      mustWrite();
      disk.tokens.set(vmId, fencingToken);
    },
    migration(migrationId) {
      const text = disk.entries.get(migrationId);
      return text === undefined ? null : parse(text);
    },
    migrations: () => Array.from(disk.entries.values(), parse),
    async write(entry) {
      mustWrite();
      disk.entries.set(entry.migrationId, JSON.stringify(entry));
    },
    async prove() {
      mustWrite();
    },
    async forget(migrationId) {
      mustWrite();
      disk.entries.delete(migrationId);
    },
  };
}
