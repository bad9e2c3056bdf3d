import { Migration, MigrationRequest } from "../../schemas/migration.ts";
import { hostObstacleCodes } from "../domain/obstacles.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { requestMigration } from "../operations/migrations.ts";

/** 202: accepted, not done; the agents carry it out from here. */
export const requestMigrationRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/migrations",
  scope: "migrate",
  body: MigrationRequest,
  summary: "Asks for a migration to the host that is named. 202: accepted, not done.",
  answer: { status: 202, schema: Migration },
  problems: [
    ...hostObstacleCodes,
    "vm-unknown",
    "migration-unknown",
    "vm-deleted",
    "vm-not-running",
    "vm-already-migrating",
    "same-host",
    "mode-not-offered",
    "placement-not-offered",
  ],
  run: (ports, operator, { cluster }, request) => requestMigration(ports, operator, cluster, request),
});
