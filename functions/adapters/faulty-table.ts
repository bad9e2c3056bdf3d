// A table that misbehaves on order, around one that does not: what networks, rivals and overload do to a caller, decided by
// the caller of createFaultyTable (a seed, a script), so that a failure is seen again.
import type { Change, CommitOutcome, Item, Key, RangeQuery, Table } from "../ports/table.ts";
import { OutcomeUnknown, TableThrottled } from "../ports/table.ts";

export type TableCall =
  | { kind: "get"; keys: readonly Key[] }
  | { kind: "query"; range: RangeQuery }
  | { kind: "commit"; changes: readonly Change[] };

/** `before` and `after` delay: the call waits for them before the table is asked and after it has answered. */
export type TableFault = { before?: () => Promise<void>; after?: () => Promise<void> } & (
  | { kind: "none" }
  /** TableThrottled; the table is not asked. */
  | { kind: "throttled" }
  /** A commit is refused as by a rival that has come and gone: nothing changed, the first key shown as it stands. A read
   *  goes through. */
  | { kind: "conflict" }
  /** A get sees these keys as they stood before the commit that changed them last, the others as they stand: several
   *  items read at one time need not be of one time. */
  | { kind: "torn"; isOld: (key: Key) => boolean }
  /** A commit throws OutcomeUnknown, and never happens. A read throws. */
  | { kind: "request-lost" }
  /** A commit throws OutcomeUnknown, after it was carried out. A read throws. */
  | { kind: "answer-lost" }
  /** A commit throws OutcomeUnknown, and reaches the table later, when `late` resolves. A read throws. */
  | { kind: "request-late"; late: () => Promise<void> }
);

export interface FaultyTable extends Table {
  /** Resolves when no late commit is under way any more. */
  settled(): Promise<void>;
}

export function createFaultyTable(table: Table, decide: (call: TableCall) => TableFault): FaultyTable {
  const lateCommits = new Set<Promise<unknown>>();
  const before = new Map<string, Item | null>();
  const nameOf = (key: Key) => JSON.stringify([key.partition, key.sort]);

  async function commitAndRemember(changes: readonly Change[]): Promise<CommitOutcome> {
    const keys = changes.filter(({ kind }) => kind !== "check").map(({ key }) => key);
    const items = keys.length > 0 ? await table.get(keys) : [];
    const outcome = await table.commit(changes);
    if (outcome.kind === "committed") {
      for (const [index, key] of keys.entries()) before.set(nameOf(key), items[index] ?? null);
    }
    return outcome;
  }

  function tear(keys: readonly Key[], items: (Item | null)[], isOld: (key: Key) => boolean): (Item | null)[] {
    return keys.map((key, index) => {
      const older = before.get(nameOf(key));
      return isOld(key) && older !== undefined ? older : (items[index] ?? null);
    });
  }

  async function read<T>(call: TableCall, answer: () => Promise<T>, fault = decide(call)): Promise<T> {
    await fault.before?.();
    if (fault.kind === "throttled") throw new TableThrottled("injected: throttled");
    const answered = await answer();
    await fault.after?.();
    if (fault.kind === "none" || fault.kind === "conflict" || fault.kind === "torn") return answered;
    throw new Error("injected: the connection broke while reading");
  }

  async function carryOut(fault: TableFault, changes: readonly Change[]): Promise<CommitOutcome> {
    switch (fault.kind) {
      case "none":
      case "torn":
        return commitAndRemember(changes);
      case "throttled":
        throw new TableThrottled("injected: throttled");
      case "conflict":
        return shownConflict(changes);
      case "request-lost":
        throw new OutcomeUnknown("injected: the request was lost");
      case "answer-lost":
        await commitAndRemember(changes);
        throw new OutcomeUnknown("injected: the answer was lost");
      case "request-late":
        commitLate(changes, fault.late);
        throw new OutcomeUnknown("injected: the request is still on its way");
    }
  }

  async function shownConflict(changes: readonly Change[]): Promise<CommitOutcome> {
    const [first] = changes;
    if (!first) return table.commit(changes);
    const [item = null] = await table.get([first.key]);
    return { kind: "conflict", standing: [{ key: first.key, item }] };
  }

  function commitLate(changes: readonly Change[], late: () => Promise<void>): void {
    const copy = structuredClone(changes);
    // Nobody waits for its outcome any more, so a refusal goes unheard, as on a broken connection.
    const commit = late()
      .then(() => commitAndRemember(copy))
      .catch(() => undefined)
      .finally(() => lateCommits.delete(commit));
    lateCommits.add(commit);
  }

  return {
    async get(keys) {
      const call = { kind: "get", keys } as const;
      const fault = decide(call);
      const items = await read(call, () => table.get(keys), fault);
      return fault.kind === "torn" ? tear(keys, items, fault.isOld) : items;
    },
    query: (range) => read({ kind: "query", range }, () => table.query(range)),

    async commit(changes: readonly Change[]): Promise<CommitOutcome> {
      const fault = decide({ kind: "commit", changes });
      await fault.before?.();
      try {
        return await carryOut(fault, changes);
      } finally {
        await fault.after?.();
      }
    },

    async settled(): Promise<void> {
      while (lateCommits.size > 0) await Promise.all(lateCommits);
    },
    close: () => table.close(),
  };
}
