// A cluster without the second barrier, to see that the first one keeps every promise by itself.
import type { HeldLock, LockFiles } from "../../agents/ports/lock-file.ts";
import type { FaultPlan } from "./fault-plan.ts";
import type { WatchedLocks } from "./simulation.ts";

/** Bars nobody, and proves nothing. */
export class NoLocks implements WatchedLocks {
  readonly #held = new Map<HeldLock, { vmId: string; copyId: string; holder: object }>();
  unreachable = false;

  as(holder: object): LockFiles {
    return {
      take: async (vmId, copyId, fencingToken, manner) => {
        if (manner === "own-only") return { kind: "superseded", stamp: null };
        const lock: HeldLock = {
          stamp: { copyId, fencingToken, next: null },
          isInPlace: () => true,
          permitNext: async () => {},
          release: async () => void this.#held.delete(lock),
        };
        this.#held.set(lock, { vmId, copyId, holder });
        return { kind: "taken", lock };
      },
      read: async () => null,
    };
  }

  holders(): { vmId: string; copyId: string }[] {
    return [...this.#held.values()];
  }

  holderDied(holder: object): void {
    for (const [lock, held] of this.#held) if (held.holder === holder) this.#held.delete(lock);
  }
}

/** A lie to the operator is what the lock file alone is for. */
export const withoutLies = (plan: FaultPlan): FaultPlan =>
  plan.operator === "lying" ? { ...plan, operator: "never" } : plan;
