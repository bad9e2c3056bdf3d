// `drover restore` on the table that the environment names. It serves nothing and signs nothing.
import { makeKeyPair } from "../../schemas/signing.ts";
import { createLongPollDoorbell } from "../adapters/long-poll-doorbell.ts";
import type { TableName } from "../operations/name-table.ts";
import { type RestoreOutcome, restoreTable } from "../operations/restore-table.ts";
import type { Environment } from "./environment.ts";
import { readTableConfiguration } from "./node-environment.ts";
import { openTable } from "./open-table.ts";
import { systemPorts } from "./system-ports.ts";

/** @throws BadEnvironment naming the variable */
export async function restoreNamedTable(
  environment: Environment,
  becomes: TableName,
  options: { dryRun: boolean },
): Promise<RestoreOutcome> {
  const table = await openTable(readTableConfiguration(environment));
  try {
    const { privateKey } = await makeKeyPair();
    const doorbell = createLongPollDoorbell();
    const ports = await systemPorts({ table, doorbell, signingKey: privateKey, settings: becomes });
    return await restoreTable(ports, becomes, options);
  } finally {
    await table.close();
  }
}
