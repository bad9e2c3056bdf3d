// What an agent must still know after a crash, on its own disk. Every write is durable (synced) when it resolves.
// Adapters: files (agents/adapters/file-journal.ts), memory; test/contract/journal.ts.
import type { ClaimedAssignment } from "./control-plane.ts";

/** One agent's part in one migration. Fields are only ever set, never unset, but for `runRefused` and `runIntent`,
 *  which belong together: each try to run has its own intent and its own refusal. */
export type MigrationJournal = {
  migrationId: string;
  claimed: ClaimedAssignment;
  /** Destination: a commit may have been sent. */
  commitSent?: true;
  /** Destination: number of the last try to let the guest execute; it may have run. */
  runIntent?: number;
  /** Destination: that try was to have the guest stand there, paused as it was at its source. */
  arrivesPaused?: true;
  /** Destination: number of the try that was definitely refused, nothing having executed. */
  runRefused?: number;
  /** Destination: rule 7's word may have been given; bars any commit. */
  relinquished?: true;
  /** Source: this entry stands for one that was lost; the gate may have been passed. */
  gateUnknown?: true;
  /** Source: the nonce it asked the word with. */
  askedNonce?: string;
  /** The slot was freed: nothing of this migration is left here. */
  over?: true;
};

/** What a table that went back leaves to be minded, also after a restart. */
export type TableStanding = {
  /** Nothing is decided here until the cluster has recovered. */
  isFrozen: boolean;
  /** Tokens below this are of before the restore, and count no more. */
  tokenFloor: number;
};

export interface Journal {
  /** Highest fencing token seen for a VM, and never below the floor; 0 for one never seen. */
  highestToken(vmId: string): number;
  tokens(): { vmId: string; fencingToken: number }[];
  tableStanding(): TableStanding;
  /** After every write that was asked for before. */
  keepTableStanding(standing: TableStanding): Promise<void>;
  /** Raises it; a lower one changes nothing. */
  raiseToken(vmId: string, fencingToken: number): Promise<void>;
  migration(migrationId: string): MigrationJournal | null;
  migrations(): MigrationJournal[];
  /** Writes the whole entry. @throws when it could not be made durable: then nothing may be acted on */
  write(entry: MigrationJournal): Promise<void>;
  forget(migrationId: string): Promise<void>;
  /** Writes durably what changes nothing. @throws when that cannot be done: neither can anything else be written */
  prove(): Promise<void>;
}
