// Events are written with the change they tell of; which of them still lack a sequence number is this index.
import type { DroverEvent } from "../../schemas/events.ts";
import type { Ports } from "../ports/ports.ts";
import { readItem } from "./items.ts";
import { pendingEventsPartition } from "./keys.ts";

/** Ordered by subject, and within it by item and revision. @param after the position that the page before ended with */
export async function listUnsequencedEvents(
  ports: Ports,
  clusterId: string | null,
  page: { limit: number; after?: string },
): Promise<{ events: { position: string; event: DroverEvent }[]; next: string | null }> {
  const { items, next } = await ports.table.query({ partition: pendingEventsPartition(clusterId), ...page });
  const events = items.map((item) => ({ position: item.sort, event: readItem<DroverEvent>(item).value }));
  return { events, next };
}
