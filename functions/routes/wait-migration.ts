import { z } from "zod";
import { Migration } from "../../schemas/migration.ts";
import { operatorRead } from "../http/operator-route.ts";
import { watchItems } from "../http/watch-table.ts";
import { wholeNumber } from "../http/whole-number.ts";
import { keys } from "../operations/keys.ts";
import { waitMigration } from "../operations/wait-migration.ts";

export const waitMigrationRoute = operatorRead({
  path: "/v1/clusters/:cluster/migrations/:migration/wait",
  query: z.strictObject({
    timeoutMs: wholeNumber(0, 25_000).default(25_000),
    revision: wholeNumber(0, Number.MAX_SAFE_INTEGER).nullable().default(null),
  }),
  summary: "A migration once it has changed, or after the time given.",
  answer: Migration,
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
