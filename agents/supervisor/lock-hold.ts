// The one lock file of a supervisor: held or not, and the alarm that stands while the guest executes without it.
import { durable } from "../durable-step.ts";
import { messageOf } from "../message-of.ts";
import type { PermitOutcome } from "../ports/copies.ts";
import type { HeldLock, LockFiles, LockStamp, TakeManner } from "../ports/lock-file.ts";

export type Refusal = Extract<PermitOutcome, { kind: "refused" }>;

export class LockHold {
  readonly #lockFiles: LockFiles;
  readonly #vmId: string;
  readonly #copyId: string;
  readonly #onAlarm: (standing: boolean, detail: string) => void;
  #lock: HeldLock | null = null;
  #alarmed = false;

  constructor(
    lockFiles: LockFiles,
    owner: { vmId: string; copyId: string },
    onAlarm: (standing: boolean, detail: string) => void,
  ) {
    this.#lockFiles = lockFiles;
    this.#vmId = owner.vmId;
    this.#copyId = owner.copyId;
    this.#onAlarm = onAlarm;
  }

  get isHeld(): boolean {
    return this.#lock !== null;
  }

  /** The token it is held under; null when it is not held, or another file has taken its place. */
  get fencingToken(): number | null {
    return this.#lock?.isInPlace() ? this.#lock.stamp.fencingToken : null;
  }

  /** @returns why it could not be taken, or null when it is held now */
  async take(fencingToken: number, manner: TakeManner = "usual"): Promise<Refusal | null> {
    try {
      if (this.#lock?.isInPlace()) return null;
      // An operator has had it replaced: what was held guards nothing any more.
      await this.release();
      const taken = await durable("lock:taken", () =>
        this.#lockFiles.take(this.#vmId, this.#copyId, fencingToken, manner),
      );
      if (taken.kind === "held") return refused("lock-held", "another process holds the lock file");
      if (taken.kind === "superseded") return refused("lock-superseded", `the lock file names ${named(taken.stamp)}`);
      this.#lock = taken.lock;
      this.alarm(false, "the lock file is held again");
      return null;
    } catch (error) {
      return refused("lock-unreachable", messageOf(error));
    }
  }

  async permitNext(next: { copyId: string } | null): Promise<void> {
    if (!this.#lock) throw new Error("the lock file is not held");
    const lock = this.#lock;
    await durable("lock:next-permitted", () => lock.permitNext(next));
  }

  async release(): Promise<void> {
    const lock = this.#lock;
    this.#lock = null;
    if (lock) await durable("lock:released", () => lock.release());
  }

  alarm(standing: boolean, detail: string): void {
    if (this.#alarmed === standing) return;
    this.#alarmed = standing;
    this.#onAlarm(standing, detail);
  }
}

const named = (stamp: LockStamp | null): string =>
  stamp ? `${stamp.copyId} under token ${stamp.fencingToken}` : "nobody";

export const refused = (by: Refusal["by"], detail: string): Refusal => ({ kind: "refused", by, detail });
