// Lock files in memory, for simulation: the volume is an object that all simulated hosts share. A lock is freed when
// its holder dies, as the kernel would free it.
import type { HeldLock, LockFiles, LockStamp, TakeManner, TakeOutcome } from "../ports/lock-file.ts";
import { stampFor } from "./lock-rule.ts";

type LockEntry = { stamp: LockStamp; heldBy: object | null };

export class MemoryLockVolume {
  readonly #locks = new Map<string, LockEntry>();
  /** While set, the volume cannot be reached; what is held stays held. */
  unreachable = false;

  /** The lock files as one process sees them. `holder` stands for the process. */
  as(holder: object): LockFiles {
    return {
      take: async (vmId, copyId, fencingToken, manner = "usual") =>
        this.#take(holder, vmId, copyId, fencingToken, manner),
      read: async (vmId) => {
        this.#reach();
        const entry = this.#locks.get(vmId);
        if (!entry) return null;
        return entry.heldBy ? "held" : entry.stamp;
      },
    };
  }

  /** The copies that hold a lock file now. */
  holders(): { vmId: string; copyId: string }[] {
    const held = [...this.#locks].filter(([, { heldBy }]) => heldBy !== null);
    return held.map(([vmId, { stamp }]) => ({ vmId, copyId: stamp.copyId }));
  }

  /** The process is gone: everything it held is free, and keeps its stamp. */
  holderDied(holder: object): void {
    for (const entry of this.#locks.values()) if (entry.heldBy === holder) entry.heldBy = null;
  }

  #reach(): void {
    if (this.unreachable) throw new Error("the shared volume cannot be reached");
  }

  #take(holder: object, vmId: string, copyId: string, fencingToken: number, manner: TakeManner): TakeOutcome {
    this.#reach();
    const found = this.#locks.get(vmId);
    if (found?.heldBy && manner !== "replace") return { kind: "held" };
    const stamp = stampFor(found?.stamp ?? null, copyId, fencingToken, manner);
    if (!stamp) return { kind: "superseded", stamp: found?.stamp ?? null };
    const entry: LockEntry = { stamp, heldBy: holder };
    this.#locks.set(vmId, entry);
    return { kind: "taken", lock: this.#held(vmId, entry, holder) };
  }

  #held(vmId: string, entry: LockEntry, holder: object): HeldLock {
    return {
      isInPlace: () => this.#locks.get(vmId) === entry,
      get stamp() {
        return entry.stamp;
      },
      permitNext: async (next) => {
        this.#reach();
        if (entry.heldBy !== holder) throw new Error("the lock file is not held any more");
        entry.stamp = { ...entry.stamp, next };
      },
      release: async () => {
        if (entry.heldBy === holder) entry.heldBy = null;
      },
    };
  }
}
