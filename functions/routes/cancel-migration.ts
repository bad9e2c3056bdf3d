import { z } from "zod";
import { Migration } from "../../schemas/migration.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { cancelMigration } from "../operations/migrations.ts";

export const cancelMigrationRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/migrations/:migration/cancel",
  scope: "migrate",
  body: z.strictObject({}),
  summary: "Cancels a migration, or says that it is too late.",
  answer: { status: 202, schema: Migration },
  problems: ["migration-over", "too-late-committed"],
  run: (ports, operator, { cluster, migration }) => cancelMigration(ports, operator, cluster, migration),
});
