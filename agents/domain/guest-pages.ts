// How a host tells of its guests. One with few tells of all of them each time; one with many in pages, a page with each
// heartbeat, so that no number of guests makes a heartbeat too large to be taken: its lease hangs on it.
import {
  alarmsOnPageAtMost,
  type GuestPage,
  guestPageOf,
  guestPages,
  guestsOnPageAtMost,
  type HeartbeatRequest,
  onlyPage,
} from "../../schemas/agent.ts";
import type { InventoryReport } from "../../schemas/inventory.ts";

const guestsOnOnePage = 128;
const tokensOnPage = 512;
/** Below what the control plane takes of a body, with room for the host's facts to grow. */
const roomBytes = 240 * 1024;
const shortDetail = 100;

/** The page after this one. */
export function turnPage(page: GuestPage, copies: number): GuestPage {
  if (copies <= guestsOnOnePage) return onlyPage;
  return { index: page.of === 1 ? 0 : (page.index + 1) % guestPages, of: guestPages };
}

export const isOnPage = (copyId: string, { index, of }: GuestPage): boolean =>
  of === 1 || guestPageOf(copyId) === index;

/** All pages come around in the time of one idle heartbeat, or as often as a busy host speaks. */
export function paceOf(page: GuestPage, waitMs: number, idleMs: number): number {
  return Math.min(waitMs, Math.ceil(idleMs / page.of));
}

/** What is least missed goes first: long words, then what guests say of themselves, then the alarms. */
export function fitHeartbeat(request: HeartbeatRequest): HeartbeatRequest {
  const { guests, alarms = [] } = request;
  const whole = {
    ...request,
    guests: guests.slice(0, guestsOnPageAtMost),
    alarms: alarms.slice(0, alarmsOnPageAtMost),
  };
  const shortened = {
    ...whole,
    alarms: whole.alarms.map((alarm) => ({ ...alarm, detail: alarm.detail.slice(0, shortDetail) })),
  };
  const unspoken = { ...shortened, guests: [] };
  const silent = { ...unspoken, alarms: [] };
  return [whole, shortened, unspoken].find((candidate) => bytesOf(candidate) <= roomBytes) ?? silent;
}

type Inventory = Omit<InventoryReport, "page">;

/** Likewise when all is told at once. A copy and a VM's token are always on the same page, so that pages told at two
 *  times leave nothing out. */
export function pageInventory({ copies, migrations, tokens }: Inventory): InventoryReport[] {
  const isOne = copies.length <= guestsOnOnePage && tokens.length <= tokensOnPage;
  const of = isOne ? 1 : guestPages;
  return Array.from({ length: of }, (_, index) => {
    const page: GuestPage = { index, of };
    const here = tokens.filter(({ vmId }) => sumOf(vmId) % of === index);
    return {
      page,
      copies: copies.filter(({ copyId }) => isOnPage(copyId, page)),
      migrations: index === 0 ? migrations : [],
      // The highest say most.
      tokens: here.sort((one, other) => other.fencingToken - one.fencingToken).slice(0, tokensOnPage),
    };
  });
}

const sumOf = (name: string): number => [...name].reduce((sum, letter) => sum + letter.charCodeAt(0), 0);

const encoder = new TextEncoder();
const bytesOf = (value: unknown): number => encoder.encode(JSON.stringify(value)).length;
