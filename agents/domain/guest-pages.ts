// What a heartbeat tells of guests. A host with few tells of all of them each time; one with many tells of them in turn,
// a page with each heartbeat, so that no number of guests makes a heartbeat too large to be taken: its lease hangs on it.
import {
  alarmsOnPageAtMost,
  type GuestPage,
  guestPageOf,
  guestPages,
  guestsOnPageAtMost,
  type HeartbeatRequest,
} from "../../schemas/agent.ts";

const guestsOnOnePage = 128;
/** Below what the control plane takes of a body, with room for the host's facts to grow. */
const roomBytes = 240 * 1024;
const shortDetail = 100;

export const onlyPage: GuestPage = { index: 0, of: 1 };

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

const encoder = new TextEncoder();
const bytesOf = (value: unknown): number => encoder.encode(JSON.stringify(value)).length;
