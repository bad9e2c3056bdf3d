// A simulated guest: a counter and memory. It writes its working set round and round at its dirty rate, so what every
// page must hold follows from how long it has executed; a page that holds anything else is a memory error.
import type { GuestReport, VmSpec } from "../../../schemas/vm.ts";

export const pageBytes = 65_536;
const pagesPerMiB = 16;
const heartbeatMs = 10;

/** Everything of a guest but its memory. `lineage` numbers its runs across hosts; null: never executed. */
export type DeviceState = {
  bootId: string;
  executedMs: number;
  writes: number;
  lineage: number | null;
  /** When it was stopped last, and what its longest pause was since the last report; on simulated time. */
  stoppedAtMs: number | null;
  longestGapMs: number;
};

export type Guest = { readonly spec: VmSpec; device: DeviceState; readonly pages: Uint32Array };

/** Version that a page has after boot; the page written by the n-th write (from 0) has n + 2. */
const bootVersion = 1;

export function bootGuest(spec: VmSpec, bootId: string): Guest {
  const pages = new Uint32Array(spec.memoryMiB * pagesPerMiB).fill(bootVersion);
  return { spec, pages, device: freshDevice(bootId) };
}

/** Memory that will come by a stream: empty until then. */
export function emptyGuest(spec: VmSpec): Guest {
  return { spec, pages: new Uint32Array(spec.memoryMiB * pagesPerMiB), device: freshDevice("") };
}

export function resetGuest(guest: Guest, bootId: string): void {
  guest.pages.fill(bootVersion);
  // The same machine goes on, so its line of runs does too.
  guest.device = { ...freshDevice(bootId), lineage: guest.device.lineage };
}

function freshDevice(bootId: string): DeviceState {
  return { bootId, executedMs: 0, writes: 0, lineage: null, stoppedAtMs: null, longestGapMs: heartbeatMs };
}

/** Lets the guest execute for this long. */
export function executeGuest(guest: Guest, milliseconds: number): void {
  const { device, pages, spec } = guest;
  device.executedMs += milliseconds;
  const writes = Math.floor((device.executedMs / 1000) * spec.dirtyMiBPerSecond * pagesPerMiB);
  const workingPages = spec.workingSetMiB * pagesPerMiB;
  // Only the last lap over the working set is still to be seen.
  for (let write = Math.max(device.writes, writes - workingPages); write < writes; write++) {
    pages[write % workingPages] = write + 2;
  }
  device.writes = Math.max(device.writes, writes);
}

/** Pages that do not hold what the guest left there. */
export function countMemoryErrors(guest: Guest): number {
  const { device, pages, spec } = guest;
  const workingPages = spec.workingSetMiB * pagesPerMiB;
  let errors = 0;
  for (let page = 0; page < pages.length; page++) {
    const written = page < workingPages && device.writes > page;
    const lastWrite = page + workingPages * Math.floor((device.writes - 1 - page) / workingPages);
    if (pages[page] !== (written ? lastWrite + 2 : bootVersion)) errors++;
  }
  return errors;
}

export function reportOf(guest: Guest): GuestReport {
  return {
    bootId: guest.device.bootId,
    heartbeats: Math.floor(guest.device.executedMs / heartbeatMs),
    memoryErrors: countMemoryErrors(guest),
    longestGapMs: guest.device.longestGapMs,
    uptimeMs: guest.device.executedMs,
    dirtyMiBPerSecond: guest.spec.dirtyMiBPerSecond,
  };
}
