import { Migration } from "../../schemas/migration.ts";
import { operatorRead } from "../http/operator-route.ts";
import { getMigration } from "../operations/migrations.ts";

export const getMigrationRoute = operatorRead({
  path: "/v1/clusters/:cluster/migrations/:migration",
  summary: "A migration: how far it is, and what was measured.",
  answer: Migration,
  run: (ports, { cluster, migration }) => getMigration(ports, cluster, migration),
});
