// A table is served only under the id and the restore epoch that the deployment's configuration names: a restored table
// is another table, and one that is opened by mistake is found out before anything is decided on it.
import type { Ports } from "../ports/ports.ts";
import type { Table } from "../ports/table.ts";
import { type Place, schemaVersion } from "./items.ts";
import { clustersPartition, keysPartition } from "./keys.ts";
import { readOne } from "./read.ts";
import { commitStep } from "./retry.ts";

export const tableNameKey = { partition: "table", sort: "name" };

export type TableName = { tableId: string; restoreEpoch: number };

export type Naming =
  | { kind: "named" }
  /** It goes by another name, which is told where it is known: null is a table in use that was never named. */
  | { kind: "other"; stands: TableName | null };

/** Names a new table, and tells a table that is not the one that the configuration means. */
export async function nameTable(ports: Ports): Promise<Naming> {
  const { tableId, restoreEpoch } = ports.settings;
  const known = await readTableName(ports);
  if (known.value) return compare(known.value, ports);
  if (await isInUse(ports.table)) return { kind: "other", stands: null };
  const outcome = await commitStep(ports, "table-named", [
    { kind: "put", key: tableNameKey, expected: "absent", schemaVersion, data: { tableId, restoreEpoch } },
  ]);
  if (outcome.kind === "committed") return { kind: "named" };
  const { value } = await readTableName(ports); // Another instance was quicker.
  return value ? compare(value, ports) : { kind: "other", stands: null };
}

export function readTableName(ports: Ports): Promise<Place<TableName>> {
  return readOne<TableName>(ports, tableNameKey);
}

function compare(stands: TableName, { settings }: Ports): Naming {
  const isMeant = stands.tableId === settings.tableId && stands.restoreEpoch === settings.restoreEpoch;
  return isMeant ? { kind: "named" } : { kind: "other", stands };
}

async function isInUse(table: Table): Promise<boolean> {
  for (const partition of [clustersPartition, keysPartition]) {
    if ((await table.query({ partition, limit: 1 })).items.length > 0) return true;
  }
  return false;
}

/** For whoever started a control plane on it: which variable to change, and to what. */
export function explainNaming({ stands }: Extract<Naming, { kind: "other" }>, settings: TableName): string {
  if (!stands) {
    return "DROVER_TABLE names a table that is in use and bears no name: was it copied in part? To serve it, stamp it with drover restore; nothing was changed.";
  }
  const { tableId, restoreEpoch } = stands;
  if (tableId !== settings.tableId) {
    return `DROVER_TABLE_ID is "${settings.tableId}", and this table is "${tableId}" (restore epoch ${restoreEpoch}): serve the right table, or, if this one was restored from a backup, run drover restore on it first; nothing was changed.`;
  }
  const why =
    restoreEpoch < settings.restoreEpoch
      ? "it is a backup from before a restore; run drover restore on it first, with an epoch above both"
      : "it was restored since; take the epoch that drover restore has told";
  return `DROVER_RESTORE_EPOCH is ${settings.restoreEpoch}, and this table's is ${restoreEpoch}: ${why}; nothing was changed.`;
}
