// A table is served only under the id and the restore epoch that the deployment's configuration names: a restored table
// is another table, and one that is opened by mistake is found out before anything is decided on it.
import type { Ports } from "../ports/ports.ts";
import { schemaVersion } from "./items.ts";
import { readOne } from "./read.ts";
import { commitStep } from "./retry.ts";

const key = { partition: "table", sort: "name" };

type TableName = { tableId: string; restoreEpoch: number };

/** Names a new table. @returns whether this table goes by the configured name */
export async function nameTable(ports: Ports): Promise<boolean> {
  const { tableId, restoreEpoch } = ports.settings;
  const isNamed = async () => {
    const { value } = await readOne<TableName>(ports, key);
    return value && value.tableId === tableId && value.restoreEpoch === restoreEpoch;
  };
  const known = await isNamed();
  if (known !== null) return known;
  const outcome = await commitStep(ports, "table-named", [
    { kind: "put", key, expected: "absent", schemaVersion, data: { tableId, restoreEpoch } },
  ]);
  return outcome.kind === "committed" || (await isNamed()) === true; // Another instance may have been quicker.
}
