// What hosts told of themselves while their cluster recovers. A host with many copies tells in pages, each an item of
// its own; those of an earlier restore, or of another way of paging, count no more.
import { type GuestPage, guestPages } from "../../schemas/agent.ts";
import type { HostInventory } from "../domain/last-run.ts";
import type { SessionRecovery } from "../domain/records.ts";
import type { Ports } from "../ports/ports.ts";
import type { Key } from "../ports/table.ts";
import { Batch } from "./items.ts";
import { inventoriesPartition, keys } from "./keys.ts";
import { type HostPlaces, readAll, readPlaces } from "./read.ts";
import { commitStep } from "./retry.ts";

export type InventoryPage = HostInventory & { page?: GuestPage; restoreEpoch?: number };

export function inventoryKeys(clusterId: string, hostId: string, of: GuestPage["of"]): Key[] {
  const pages: GuestPage[] = Array.from({ length: of }, (_, index) => ({ index, of }));
  return pages.map((page) => keys.inventory(clusterId, hostId, page));
}

export function countsNow(page: InventoryPage, recovery: SessionRecovery | null | undefined): boolean {
  if (recovery?.kind !== "recovering") return false;
  const { restoreEpoch = recovery.restoreEpoch } = page;
  return restoreEpoch === recovery.restoreEpoch && (page.page?.of ?? 1) === (recovery.told?.of ?? 1);
}

/** All that a host told, put together from its pages. */
export async function readInventory(
  ports: Ports,
  clusterId: string,
  { hostId, session }: Pick<HostPlaces, "hostId" | "session">,
): Promise<HostInventory | null> {
  const wanted = [...inventoryKeys(clusterId, hostId, 1), ...inventoryKeys(clusterId, hostId, guestPages)];
  const found = await readPlaces<InventoryPage>(ports, wanted);
  const pages = found.flatMap(({ value }) => (value && countsNow(value, session.value.recovery) ? [value] : []));
  if (pages.length === 0) return null;
  return {
    hostId,
    copies: pages.flatMap(({ copies }) => copies),
    parts: pages.flatMap(({ parts }) => parts),
    tokens: pages.flatMap(({ tokens }) => tokens),
  };
}

/** They count no more; more of them may be there than one commit takes. */
export async function forgetInventories(ports: Ports, clusterId: string): Promise<void> {
  const inventories = await readAll<InventoryPage>(ports, inventoriesPartition(clusterId));
  const at = ports.clock.nowMs();
  for (let start = 0; start < inventories.length; start += changesAtOnce) {
    const batch = new Batch({ clusterId, by: "restore", at });
    for (const place of inventories.slice(start, start + changesAtOnce)) batch.remove(place);
    // Where nobody can say, they are left, and count for nothing.
    await commitStep(ports, "inventories-forgotten", batch.changes).catch(() => {});
  }
}

const changesAtOnce = 50;
