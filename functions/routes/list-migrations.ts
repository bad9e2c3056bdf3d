import { z } from "zod";
import { MigrationId } from "../../schemas/ids.ts";
import { pageOf } from "../../schemas/list.ts";
import { Migration } from "../../schemas/migration.ts";
import { operatorRead } from "../http/operator-route.ts";
import { wholeNumber } from "../http/whole-number.ts";
import { listMigrations } from "../operations/migrations.ts";

export const listMigrationsRoute = operatorRead({
  path: "/v1/clusters/:cluster/migrations",
  query: z.strictObject({
    limit: wholeNumber(1, 100).default(20),
    cursor: MigrationId.nullable().default(null),
  }),
  summary: "The migrations of a cluster, the newest first.",
  answer: pageOf(Migration),
  run: (ports, { cluster }, page) => listMigrations(ports, cluster, page),
});
