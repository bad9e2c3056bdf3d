// The second barrier: one lock file per VM on the shared volume, which names the copy that may execute. Its holder is
// the guest's supervisor; the kernel frees it when the holder dies. Independent of the table, so that a fault in
// either one alone never lets two copies run.
// Adapters: SQLite file (agents/adapters/sqlite-lock-file.ts), memory; test/contract/lock-file.ts.

export type LockStamp = {
  /** The copy that may execute. */
  copyId: string;
  fencingToken: number;
  /** During a migration: the one copy permitted next. */
  next: { copyId: string } | null;
};

export type TakeOutcome =
  | { kind: "taken"; lock: HeldLock }
  /** Another process holds it. */
  | { kind: "held" }
  /** It is free but names another copy under the same or a higher token (null: nobody): this copy must not execute. */
  | { kind: "superseded"; stamp: LockStamp | null };

/** How a lock file is asked for.
 *  usual: as the rule says. own-only: only where it names this very copy, which proves that no other took it since.
 *  replace: an operator's word stands for it that its holder is gone; a new file takes the old one's place. */
export type TakeManner = "usual" | "own-only" | "replace";

export interface LockFiles {
  /** Takes the VM's lock file and stamps it, durably, with the copy and the token.
   *  Allowed when the file is new, names this copy, permits it next, or bears a lower token; and never under a token
   *  lower than the file's.
   *  @throws when the volume cannot be reached or written: the outcome is then "not taken" */
  take(vmId: string, copyId: string, fencingToken: number, manner?: TakeManner): Promise<TakeOutcome>;
  /** What a free lock file says; "held" while somebody holds it, null when the VM has none. */
  read(vmId: string): Promise<LockStamp | "held" | null>;
}

export interface HeldLock {
  readonly stamp: LockStamp;
  /** False once another file has taken its place: what is held then guards nothing any more. */
  isInPlace(): boolean;
  /** Names the copy permitted next (null: none), durably, while staying held. */
  permitNext(next: { copyId: string } | null): Promise<void>;
  release(): Promise<void>;
}
