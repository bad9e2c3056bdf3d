// Points that a good run must have come by: a simulation that never gets there proves nothing about them. Each is
// counted where it happens; over the whole of a run none may be left at nought.
export const sometimes = [
  "committed",
  "aborted by the source",
  "aborted by the destination",
  "aborted by the control plane",
  "returned",
  "confirmed as guest-lost",
  "abort wins against commit",
  "commit wins against abort",
  "answer lost after the commit",
  "commit's outcome unknown at the table",
  "source lost after loading, the guest carries on",
  "record relayed",
  "word given",
  "word used",
  "frozen past the gate",
  "supervisor took the guest back",
  "orphan removed",
  "journal write failed",
  "gate write failed",
  "memo write failed",
  "lock file held by another",
  "lock file superseded",
  "guest executes without its lock file",
  "stale duty or assignment refused",
  "stale token refused",
  "older life of a host refused",
  "request repeated by the network refused",
  "taken back from a destination that knows nothing of it",
  "clock skew cured",
  "source recovered before the gate",
  "source recovered at the gate",
  "source recovered past the gate",
  "source recovered after its guest was gone",
  "source recovered, running again",
  "destination recovered while loading",
  "destination recovered after loading",
  "destination recovered with a commit sent",
  "destination recovered with an intent to run",
  "destination recovered after a refusal to run",
  "destination recovered after the word",
  "destination recovered after its copy was gone",
  "run refused at the destination",
  "run outcome unknown",
  "cancel while queued",
  "cancel in setup",
  "cancel in precopy",
  "cancel in switchover",
  "cancel too late",
  "stop during a migration",
  "delete during a migration",
  "queue admitted after freeing",
  "two migrations at once",
  "there and back",
  "repeated request answered as the first",
  "guest ended by itself during a migration",
  "host lost its power during a migration",
  "control plane ended in mid-request",
  "agent stalled past the gate",
  "table went back",
  "host declared lost",
  "host declared lost that lives",
  "forced to start from disk",
  "taking back asked for",
  "taken back by force",
  "late host settled",
  "late host settled before another",
  "committed for want of a lost destination's word",
  "commit for want of a word goes on",
  "commit for want of a word goes back",
] as const;
/** Not met by the faults that are drawn, or too seldom: these have tests of their own. */
const elsewhere: ReadonlySet<string> = new Set([
  "orphan removed",
  "lock file superseded",
  ...sometimes.filter((point) => /for want of a|knows nothing of it/.test(point)),
]);
export type Sometimes = (typeof sometimes)[number];

export class Counts {
  readonly #counts = new Map<Sometimes, number>();

  add(point: Sometimes, times = 1): void {
    this.#counts.set(point, (this.#counts.get(point) ?? 0) + times);
  }

  of(point: Sometimes): number {
    return this.#counts.get(point) ?? 0;
  }

  merge(other: Counts): void {
    for (const point of sometimes) this.add(point, other.of(point));
  }

  missed(): Sometimes[] {
    return sometimes.filter((point) => this.of(point) === 0 && !elsewhere.has(point));
  }

  table(): string {
    return sometimes.map((point) => `${String(this.of(point)).padStart(8)}  ${point}`).join("\n");
  }
}
