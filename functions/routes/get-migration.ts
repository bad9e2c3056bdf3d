import { operatorRead } from "../http/operator-route.ts";
import { getMigration } from "../operations/migrations.ts";

export const getMigrationRoute = operatorRead({
  path: "/v1/clusters/:cluster/migrations/:migration",
  run: (ports, { cluster, migration }) => getMigration(ports, cluster, migration),
});
