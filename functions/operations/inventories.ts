// What hosts told of themselves while their cluster recovers. A host with many copies tells in pages, each an item of
// its own; those of an earlier restore, or of another way of paging, count no more.
import { type GuestPage, guestPages } from "../../schemas/agent.ts";
import type { HostInventory } from "../domain/last-run.ts";
import type { SessionRecovery } from "../domain/records.ts";
import type { Ports } from "../ports/ports.ts";
import type { Key } from "../ports/table.ts";
import type { Stored } from "./items.ts";
import { keys } from "./keys.ts";
import { type HostPlaces, readPlaces } from "./read.ts";

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

/** All that a host told, put together from its pages; and every item that there is of it. */
export async function readInventory(
  ports: Ports,
  clusterId: string,
  { hostId, session }: Pick<HostPlaces, "hostId" | "session">,
): Promise<{ told: HostInventory | null; places: Stored<InventoryPage>[] }> {
  const wanted = [...inventoryKeys(clusterId, hostId, 1), ...inventoryKeys(clusterId, hostId, guestPages)];
  const found = await readPlaces<InventoryPage>(ports, wanted);
  const places = found.flatMap((place) => (place.value === null ? [] : [place]));
  const pages = places.filter(({ value }) => countsNow(value, session.value.recovery)).map(({ value }) => value);
  if (pages.length === 0) return { told: null, places };
  const told: HostInventory = {
    hostId,
    copies: pages.flatMap(({ copies }) => copies),
    parts: pages.flatMap(({ parts }) => parts),
    tokens: pages.flatMap(({ tokens }) => tokens),
  };
  return { told, places };
}
