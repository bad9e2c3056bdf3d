// Lets whoever waits for a change of an item know of it at once when this very instance made it. Others' changes are
// seen by reading again now and then: the waiting is never more than a convenience.
import { nameOf } from "../operations/keys.ts";
import type { Key, Table } from "../ports/table.ts";

const watchers = new WeakMap<Table, Set<{ keys: readonly Key[]; wake: () => void }>>();

export function watchTable(table: Table): Table {
  const waiting = new Set<{ keys: readonly Key[]; wake: () => void }>();
  const watched: Table = {
    get: (keys) => table.get(keys),
    query: (range) => table.query(range),
    close: () => table.close(),
    async commit(changes) {
      const outcome = await table.commit(changes);
      if (outcome.kind === "committed" && waiting.size > 0) {
        const written = new Set(changes.filter(({ kind }) => kind !== "check").map(({ key }) => nameOf(key)));
        for (const waiter of waiting) if (waiter.keys.some((key) => written.has(nameOf(key)))) waiter.wake();
      }
      return outcome;
    },
  };
  watchers.set(watched, waiting);
  return watched;
}

export type Watch = { next(timeoutMs: number): Promise<void>; end(): void };

/** Begins to watch at once; `next` resolves when one of the items was changed here since, after
 *  `timeoutMs`, or when the signal ends the wait. */
export function watchItems(table: Table, keys: readonly Key[], signal: AbortSignal): Watch {
  const waiting = watchers.get(table);
  let isChanged = false;
  let resolve: (() => void) | null = null;
  const waiter = {
    keys,
    wake: () => {
      isChanged = true;
      resolve?.();
    },
  };
  waiting?.add(waiter);
  signal.addEventListener("abort", waiter.wake, { once: true });
  return {
    async next(timeoutMs) {
      if (!isChanged) {
        await new Promise<void>((done) => {
          const timer = setTimeout(done, timeoutMs);
          resolve = () => {
            clearTimeout(timer);
            done();
          };
        });
      }
      isChanged = false;
      resolve = null;
    },
    end() {
      waiting?.delete(waiter);
      signal.removeEventListener("abort", waiter.wake);
    },
  };
}
