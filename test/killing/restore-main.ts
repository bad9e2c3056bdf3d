// `restore` as a process of its own, so that it can be halted and ended like any other; started again until it is done.
//   restore-main.ts <table file> <signing key file> <table id> <restore epoch>
import { readFileSync } from "node:fs";
import { createLongPollDoorbell } from "../../functions/adapters/long-poll-doorbell.ts";
import { openSqliteTable } from "../../functions/adapters/sqlite-table.ts";
import { restoreTable } from "../../functions/operations/restore-table.ts";
import { haltsFrom } from "../../functions/runtime/halt-steps.ts";
import { systemPorts } from "../../functions/runtime/system-ports.ts";

const [file = "", keyFile = "", tableId = "", epoch = ""] = process.argv.slice(2);
const atStep = haltsFrom(process.env);
const ports = await systemPorts({
  table: openSqliteTable(file),
  doorbell: createLongPollDoorbell(),
  signingKey: readFileSync(keyFile, "utf8").trim(),
  settings: { tableId, restoreEpoch: Number(epoch) },
});
const becomes = { tableId, restoreEpoch: Number(epoch) };
const outcome = await restoreTable({ ...ports, ...(atStep ? { atStep } : {}) }, becomes, { dryRun: false });
process.exit(outcome.kind === "done" ? 0 : 1);
