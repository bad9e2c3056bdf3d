import { z } from "zod";
import { operatorRead } from "../http/operator-route.ts";
import { watchItems } from "../http/watch-table.ts";
import { keys } from "../operations/keys.ts";
import { waitMigration } from "../operations/wait-migration.ts";

export const waitMigrationRoute = operatorRead({
  path: "/v1/clusters/:cluster/migrations/:migration/wait",
  query: z.strictObject({
    timeoutMs: z.coerce.number().int().min(0).max(25_000).default(25_000),
    revision: z.coerce.number().int().min(0).nullable().default(null),
  }),
  async run(ports, { cluster, migration }, known, signal) {
    const watched = [keys.migration, keys.progress, keys.gap].map((key) => key(cluster, migration));
    const watch = watchItems(ports.table, watched, signal);
    try {
      return await waitMigration(ports, cluster, migration, known, (timeoutMs) => watch.next(timeoutMs), signal);
    } finally {
      watch.end();
    }
  },
});
