// `drover restore`: the one command that works on the table itself, because no control plane serves a restored table
// before it was stamped.
import { existsSync } from "node:fs";
import { restoreStatement } from "../../schemas/cluster.ts";
import { readArguments, readInteger } from "../arguments.ts";
import type { Command } from "../command.ts";
import { CommandFailure, exitCodes, UsageError } from "../exit.ts";

const example = `drover restore --table-id paris-2 --epoch 1 --statement "${restoreStatement}"`;

export const restoreCommand: Command = {
  name: "restore",
  summary: "stamp a table that was restored from a backup, so that its clusters recover",
  help: `drover restore: stamps a table that was restored from a backup with a new id and a higher epoch, and marks each of
its clusters as recovering. Nothing is decided there until every host has told what it has; then it opens by itself.

  DROVER_TABLE=sqlite:/var/lib/drover/restored.sqlite ${example}

  --table-id NAME   another than before, 1 to 64 of a-z 0-9 and -
  --epoch N         higher than every one before
  --statement TEXT  to the letter: "${restoreStatement}"
  --dry-run         tells what it would do, and changes nothing

The table is the one that DROVER_TABLE names, as for the control plane (docs/configuration.md). docs/restore.md tells
what to see to before and after.`,
  run: async (args) => {
    const text = { type: "string" } as const;
    const { values } = readArguments(args, {
      "table-id": text,
      epoch: text,
      statement: text,
      "dry-run": { type: "boolean" },
    });
    const tableId = values["table-id"];
    if (!tableId || !/^[a-z0-9-]{1,64}$/.test(tableId)) {
      throw new UsageError(`--table-id is to be the restored table's new name, 1 to 64 of a-z, 0-9 and -: ${example}`);
    }
    if (values.epoch === undefined) throw new UsageError(`--epoch is missing: ${example}`);
    const restoreEpoch = readInteger("epoch", values.epoch, { min: 1, max: 2 ** 20, usual: 1 });
    const dryRun = values["dry-run"] ?? false;
    if (!dryRun && values.statement !== restoreStatement) {
      throw new UsageError(`--statement is to be, to the letter: "${restoreStatement}". Stop them first.`);
    }
    mustExist(process.env["DROVER_TABLE"]);
    const { restoreNamedTable } = await import("../../functions/runtime/restore.ts");
    const { BadEnvironment } = await import("../../functions/runtime/environment.ts");
    const outcome = await restoreNamedTable(process.env, { tableId, restoreEpoch }, { dryRun }).catch(
      (error: unknown) => {
        throw error instanceof BadEnvironment ? new UsageError(error.message) : error;
      },
    );
    if (outcome.kind === "refuse") throw new CommandFailure(outcome.detail, exitCodes.refused);
    const { stands, clusters } = outcome.plan;
    const before = stands ? `"${stands.tableId}", epoch ${stands.restoreEpoch}` : "a table without a name";
    const verb = dryRun ? "would become" : "is now";
    const lines = [`${before} ${verb} "${tableId}", epoch ${restoreEpoch}`];
    for (const { cluster, hosts, recovers } of clusters) {
      const awaited = `${dryRun ? "would wait" : "waits"} for ${hosts.join(", ") || "no host"}`;
      lines.push(`cluster ${cluster}: ${recovers ? awaited : "has begun to recover before"}`);
    }
    process.stdout.write(`${lines.join("\n")}\n`);
    if (dryRun) return;
    process.stderr.write(
      `Start the control plane with DROVER_TABLE_ID=${tableId} DROVER_RESTORE_EPOCH=${restoreEpoch}; then: drover cluster show\n`,
    );
  },
};

/** Opening a SQLite table makes it; a restored one is there. */
function mustExist(table: string | undefined): void {
  const path = /^sqlite:(.+)$/.exec(table ?? "")?.[1];
  if (path && !existsSync(path)) throw new UsageError(`DROVER_TABLE names ${path}, which is not there`);
}
