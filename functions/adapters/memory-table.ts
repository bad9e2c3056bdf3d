// The table in this process's memory, for simulation and tests: the same answers as the real ones, gone when the process is.
import type { Change, CommitOutcome, Expected, Item, Key, RangeQuery, Table } from "../ports/table.ts";
import { boundsOf, checkKeys, checkRange, compareUtf8, decodeData, encodeChanges } from "./table-input.ts";

/** Data is kept as JSON text: what was handed in can change afterwards without changing the table. */
type Row = { sort: string; revision: number; schemaVersion: number; text: string; data?: Item["data"] };
type Partitions = Map<string, Row[]>;

export interface MemoryTable extends Table {
  /** All that is in it, by partition and sort key: for tests that look for traces. */
  allItems(): Item[];
  /** A copy to go back to, as from a backup. */
  snapshot(): MemorySnapshot;
  restore(snapshot: MemorySnapshot): void;
}
export type MemorySnapshot = { readonly partitions: ReadonlyMap<string, readonly Row[]> };

export type MemoryTableOptions = {
  /** What is handed out is made once and cannot be changed, where it is made anew each time by default: it costs less, and
   *  whoever changes what he was given is found out. */
  handsOutFrozen?: boolean;
};

export function createMemoryTable({ handsOutFrozen = false }: MemoryTableOptions = {}): MemoryTable {
  let partitions: Partitions = new Map();
  let isClosed = false;

  function refuseClosed(): void {
    if (isClosed) throw new Error("table: closed");
  }

  function find(key: Key): Row | null {
    const rows = partitions.get(key.partition);
    if (!rows) return null;
    const row = rows[firstNotBelow(rows, key.sort)];
    return row?.sort === key.sort ? row : null;
  }

  function itemAt(key: Key): Item | null {
    const row = find(key);
    return row === null ? null : toItem(key.partition, row);
  }

  function toItem(partition: string, row: Row): Item {
    const { sort, revision, schemaVersion, text } = row;
    if (!handsOutFrozen) return { partition, sort, revision, schemaVersion, data: decodeData(text) };
    row.data ??= frozen(decodeData(text));
    return { partition, sort, revision, schemaVersion, data: row.data };
  }

  function put(key: Key, row: Row): void {
    const rows = partitions.get(key.partition) ?? [];
    partitions.set(key.partition, rows);
    const at = firstNotBelow(rows, key.sort);
    rows.splice(at, rows[at]?.sort === key.sort ? 1 : 0, row);
  }

  function remove(key: Key): void {
    const rows = partitions.get(key.partition);
    if (!rows) return;
    rows.splice(firstNotBelow(rows, key.sort), 1);
    if (rows.length === 0) partitions.delete(key.partition);
  }

  return {
    async get(keys: readonly Key[]): Promise<(Item | null)[]> {
      refuseClosed();
      checkKeys(keys);
      return keys.map(itemAt);
    },

    async query(range: RangeQuery): Promise<{ items: Item[]; next: string | null }> {
      refuseClosed();
      checkRange(range);
      const rows = partitions.get(range.partition) ?? [];
      const { from, fromIncluded, below } = boundsOf(range);
      let start = from === null ? 0 : firstNotBelow(rows, from);
      if (!fromIncluded && rows[start]?.sort === from) start++;
      const end = below === null ? rows.length : firstNotBelow(rows, below);
      const inRange = rows.slice(start, Math.max(start, end));
      if (range.order === "descending") inRange.reverse();
      const items = inRange.slice(0, range.limit).map((row) => toItem(range.partition, row));
      return { items, next: inRange.length > items.length ? (items.at(-1)?.sort ?? null) : null };
    },

    async commit(changes: readonly Change[]): Promise<CommitOutcome> {
      refuseClosed();
      const encoded = encodeChanges(changes);
      const failed = encoded.filter((change) => !isAsExpected(find(change.key), change.expected));
      if (failed.length > 0) {
        const standing = failed.map(({ key }) => ({ key, item: itemAt(key) }));
        return { kind: "conflict", standing };
      }
      for (const change of encoded) {
        if (change.kind === "delete") remove(change.key);
        if (change.kind !== "put") continue;
        const { key, expected, schemaVersion, text } = change;
        put(key, { sort: key.sort, revision: expected === "absent" ? 1 : expected + 1, schemaVersion, text });
      }
      return { kind: "committed" };
    },

    async close(): Promise<void> {
      isClosed = true;
    },

    allItems(): Item[] {
      return [...partitions.keys()]
        .sort(compareUtf8)
        .flatMap((partition) => (partitions.get(partition) ?? []).map((row) => toItem(partition, row)));
    },

    // Rows are replaced, never changed, so a copy of the lists is a copy of all.
    snapshot: () => ({ partitions: copyOf(partitions) }),
    restore(snapshot: MemorySnapshot): void {
      partitions = copyOf(snapshot.partitions);
    },
  };
}

function copyOf(partitions: ReadonlyMap<string, readonly Row[]>): Partitions {
  return new Map([...partitions].map(([partition, rows]) => [partition, [...rows]]));
}

function isAsExpected(row: Row | null, expected: Expected): boolean {
  return expected === "absent" ? row === null : row?.revision === expected;
}

function frozen<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  for (const member of Object.values(value)) frozen(member);
  return Object.freeze(value);
}

function firstNotBelow(rows: readonly Row[], sort: string): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const row = rows[middle];
    if (row && compareUtf8(row.sort, sort) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
