// Who may take a lock file, the same for every adapter.
//   L1  Never under a token lower than the file's.
//   L2  Under the same token only the copy it names, or the one it permits next. A higher token takes it over.
//   L3  The copy that takes its own again under the same token keeps the permission it gave.
//   L4  Who may only take its own takes nothing that names another copy, or nobody.
import type { LockStamp, TakeManner } from "../ports/lock-file.ts";

/** @returns the stamp to write, or null when this copy must not execute */
export function stampFor(
  found: LockStamp | null,
  copyId: string,
  fencingToken: number,
  manner: TakeManner = "usual",
): LockStamp | null {
  if (manner === "own-only" && found?.copyId !== copyId) return null;
  if (found && fencingToken < found.fencingToken) return null;
  if (!found || fencingToken > found.fencingToken) return { copyId, fencingToken, next: null };
  if (found.copyId === copyId) return { copyId, fencingToken, next: found.next };
  if (found.next?.copyId === copyId) return { copyId, fencingToken, next: null };
  return null;
}
