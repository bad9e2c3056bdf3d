// The agent's journal, and whether the last write to it went through: a host that cannot journal can begin no migration
// and take over no guest, and must say so.
import { messageOf } from "./message-of.ts";
import type { Journal, MigrationJournal, TableStanding } from "./ports/journal.ts";

export class WatchedJournal implements Journal {
  readonly #journal: Journal;
  /** Why the last write failed; null while writes go through. */
  trouble: string | null = null;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  highestToken(vmId: string): number {
    return this.#journal.highestToken(vmId);
  }

  tokens(): { vmId: string; fencingToken: number }[] {
    return this.#journal.tokens();
  }

  tableStanding(): TableStanding {
    return this.#journal.tableStanding();
  }

  keepTableStanding(standing: TableStanding): Promise<void> {
    return this.#watch(this.#journal.keepTableStanding(standing));
  }

  migration(migrationId: string): MigrationJournal | null {
    return this.#journal.migration(migrationId);
  }

  migrations(): MigrationJournal[] {
    return this.#journal.migrations();
  }

  async raiseToken(vmId: string, fencingToken: number): Promise<void> {
    // A token that is not raised is not written, and proves nothing.
    const isWritten = fencingToken > this.#journal.highestToken(vmId);
    await this.#watch(this.#journal.raiseToken(vmId, fencingToken), isWritten);
  }

  write(entry: MigrationJournal): Promise<void> {
    return this.#watch(this.#journal.write(entry));
  }

  forget(migrationId: string): Promise<void> {
    return this.#watch(this.#journal.forget(migrationId), false);
  }

  prove(): Promise<void> {
    return this.#watch(this.#journal.prove());
  }

  async #watch(writing: Promise<void>, isProof = true): Promise<void> {
    try {
      await writing;
      if (isProof) this.trouble = null;
    } catch (error) {
      this.trouble = messageOf(error);
      throw error;
    }
  }
}
