// The table: small items, each under a partition and a sort key, changed only by conditional commits.
// Adapters: DynamoDB, SQLite, memory; test/contract/table.ts holds them all to this page. Input beyond the bounds below is
// a bug of the caller: a TypeError, before anything is touched.

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Both parts are non-empty, at most 1,024 bytes of UTF-8. Sort keys order by their UTF-8 bytes. */
export type Key = { partition: string; sort: string };

export type Item = Key & {
  /** 1 when first put, one more with every put after. A deleted item that is put again begins at 1. */
  revision: number;
  /** Of the shape of `data`, so that a newer program can read what an older one wrote. */
  schemaVersion: number;
  /** At most 300 KB as JSON. */
  data: { [name: string]: Json };
};

/** What the item must be like for the change to happen: at this revision, or not there. */
export type Expected = number | "absent";

export type Change =
  | { kind: "put"; key: Key; expected: Expected; schemaVersion: number; data: { [name: string]: Json } }
  | { kind: "delete"; key: Key; expected: number }
  /** Changes nothing; the commit happens only if this holds. */
  | { kind: "check"; key: Key; expected: Expected };

export type CommitOutcome =
  | { kind: "committed" }
  /** Nothing was changed. `standing` has what stands at each key whose condition failed (null: nothing does). */
  | { kind: "conflict"; standing: { key: Key; item: Item | null }[] };

export type RangeQuery = {
  partition: string;
  /** Only sort keys that begin with this. */
  prefix?: string;
  /** Only sort keys after this one (in the order asked for). */
  after?: string;
  order?: "ascending" | "descending";
  /** 1 to 1,000. */
  limit: number;
};

export interface Table {
  /** Strongly consistent, in the order asked, null for what is not there. 1 to 100 distinct keys, one round trip.
   *  @throws TableThrottled, as queries do */
  get(keys: readonly Key[]): Promise<(Item | null)[]>;
  /** Strongly consistent. `next` is the sort key to go on after, or null at the end. */
  query(range: RangeQuery): Promise<{ items: Item[]; next: string | null }>;
  /** All or none, 1 to 100 changes on distinct keys, with at most 3 MB of data. Durable when it answers `committed`.
   *  @throws OutcomeUnknown when nobody can say whether it happened: read again and compare
   *  @throws TableThrottled when it certainly did not happen; worth another try later */
  commit(changes: readonly Change[]): Promise<CommitOutcome>;
  close(): Promise<void>;
}

export class OutcomeUnknown extends Error {
  override name = "OutcomeUnknown";
}
export class TableThrottled extends Error {
  override name: string = "TableThrottled";
}
/** Not for load: the table cannot be reached, does not answer, or has no room. */
export class TableFailing extends TableThrottled {
  override name = "TableFailing";
}
