// Counts what is asked of a table.
import type { Table } from "../../../functions/ports/table.ts";

export type Counts = { reads: number; commits: number };

export function createCountingTable(table: Table): { table: Table; take(): Counts } {
  let counts: Counts = { reads: 0, commits: 0 };
  return {
    table: {
      ...table,
      get: (keys) => {
        counts.reads++;
        return table.get(keys);
      },
      query: (range) => {
        counts.reads++;
        return table.query(range);
      },
      commit: (changes) => {
        counts.commits++;
        return table.commit(changes);
      },
      close: () => table.close(),
    },
    take() {
      const taken = counts;
      counts = { reads: 0, commits: 0 };
      return taken;
    },
  };
}
