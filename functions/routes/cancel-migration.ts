import { z } from "zod";
import { operatorWrite } from "../http/operator-route.ts";
import { cancelMigration } from "../operations/migrations.ts";

export const cancelMigrationRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/migrations/:migration/cancel",
  scope: "migrate",
  body: z.strictObject({}),
  run: (ports, operator, { cluster, migration }) => cancelMigration(ports, operator, cluster, migration),
});
