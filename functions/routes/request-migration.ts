import { MigrationRequest } from "../../schemas/migration.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { requestMigration } from "../operations/migrations.ts";

/** 202: accepted, not done; the agents carry it out from here. */
export const requestMigrationRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/migrations",
  scope: "migrate",
  body: MigrationRequest,
  run: (ports, operator, { cluster }, request) => requestMigration(ports, operator, cluster, request),
});
