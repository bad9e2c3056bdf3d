// What an operator may force about a guest whose host was declared lost: a start from its disk on a host that is named,
// or that the source of a commit takes its stopped copy back.
//   F1  Nothing is forced over a host that may still decide, nor over one that came back under another incarnation.
//   F2  A guest at rest is started from its disk only where it was lost with its host.
//   F3  A stopped copy is only asked to be taken back: its own host does it, where the lock file proves that it may.
//   F4  A start that waits for a lock file is never begun a second time elsewhere.
import type { CopyRef } from "../../schemas/ids.ts";
import { type Context, isLost, type Motion, requestTakeBack } from "./motion.ts";
import type { Role, Session, VmRecord } from "./records.ts";
import { isDeclaredLost } from "./session.ts";
import type { Lost } from "./verdict.ts";
import { hostLost, startVm } from "./vms.ts";

/** F1. A source that has said that its copy is gone decides nothing any more: past its gate it may not even abort. Nor does
 *  a destination that was lost, is back, and told of no part in it: its slot is not held by it then. */
export function lostEnds(
  { migration, slots }: Pick<Motion, "migration" | "slots">,
  sessions: { [R in Role]: Session | null },
): Lost {
  const isGone = (role: Role): boolean => isLost(migration, role) && isDeclaredLost(sessions[role]);
  const { source } = migration.seen;
  const hasNothing = source?.state === "gone" && !isLost(migration, "source");
  const hasNoPart =
    isLost(migration, "destination") &&
    isSettled(sessions.destination) &&
    slots.destination?.migration?.migrationId !== migration.id;
  return { source: hasNothing || isGone("source"), destination: hasNoPart || isGone("destination") };
}

/** What it has is known, and its slot drawn from that. */
const isSettled = (session: Session | null): boolean => session !== null && !session.lost && !session.recovery;

export type ForcedAtRest =
  | { kind: "start"; vm: VmRecord }
  /** The start stands already, and is told that it may replace its lock file. */
  | { kind: "override-lock-file" }
  | { kind: "starting-elsewhere" }
  | { kind: "not-lost" };

/** F2, F4 */
export function forceAtRest(
  vm: VmRecord,
  owner: CopyRef,
  { overridesLockFile, restoreEpoch }: { overridesLockFile: boolean; restoreEpoch: number },
): ForcedAtRest {
  if (vm.runState === "starting" && overridesLockFile) {
    return vm.owner?.hostId === owner.hostId ? { kind: "override-lock-file" } : { kind: "starting-elsewhere" };
  }
  if (vm.runState !== "guest-lost" || vm.stoppedBecause !== hostLost) return { kind: "not-lost" };
  return { kind: "start", vm: startVm(vm, owner, restoreEpoch) };
}

export type TakeBackWish =
  | { kind: "wish"; motion: Motion }
  | { kind: "not-committed" }
  | { kind: "destination-not-lost" }
  | { kind: "source-lost" };

/** F3 */
export function wishTakeBack(motion: Motion, lost: Lost, statement: string, context: Context): TakeBackWish {
  const { verdict } = motion.migration;
  if (verdict.kind !== "committed" || verdict.confirmed) return { kind: "not-committed" };
  if (!lost.destination) return { kind: "destination-not-lost" };
  if (isLost(motion.migration, "source")) return { kind: "source-lost" };
  return { kind: "wish", motion: requestTakeBack(motion, { statement, refused: null }, context) };
}

/** The source says why it cannot: the wish is dropped, and the operator is told. */
export function refuseTakeBack(motion: Motion, detail: string, context: Context): Motion | null {
  const { takeBack } = motion.migration;
  if (!takeBack || takeBack.refused !== null) return null;
  return requestTakeBack(motion, { ...takeBack, refused: detail }, context);
}
