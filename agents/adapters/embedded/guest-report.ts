// What the selftest guest says of itself on its console, put into the words of the API.
import type { GuestReport } from "../../../schemas/vm.ts";

export type StatusLine = {
  bootId: string;
  heartbeats: number;
  errors: number;
  /** Which checks failed, as bits; see guest/selftest.asm. */
  kinds: number;
  gapMs: number;
  uptimeMs: number;
  pagesWritten: number;
};

const pattern =
  /^S ([0-9a-f]{16}) ([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8})$/;

/** Null for any other line: a guest may print what it likes. */
export function readStatusLine(line: string): StatusLine | null {
  const match = pattern.exec(line);
  if (match === null) return null;
  const [heartbeats = 0, errors = 0, kinds = 0, gap = 0, uptime = 0, pagesWritten = 0] = match
    .slice(2)
    .map((word) => Number.parseInt(word, 16));
  return {
    bootId: match[1] ?? "",
    heartbeats,
    errors,
    kinds,
    gapMs: (gap * 1024) / 1e6,
    uptimeMs: (uptime * 2 ** 20) / 1e6,
    pagesWritten,
  };
}

/** The guest prints ten lines a second. */
const linesPerReport = 10;

/** Makes about one report a second out of the status lines, and measures the gap around an arrival once. */
export class StatusReader {
  readonly #onReport: (report: GuestReport) => void;
  readonly #onGap: (guestGapMs: number) => void;
  #window: StatusLine[] = [];
  #before: StatusLine | null = null;
  #arrival: StatusLine[] | null = null;

  constructor(onReport: (report: GuestReport) => void, onGap: (guestGapMs: number) => void) {
    this.#onReport = onReport;
    this.#onGap = onGap;
  }

  /** The guest executes here for the first time: the next second holds the gap of its switchover. */
  arrived(): void {
    this.#arrival = [];
  }

  read(text: string): void {
    const line = readStatusLine(text);
    if (line === null) return;
    if (this.#arrival !== null) {
      this.#arrival.push(line);
      if (this.#arrival.length === linesPerReport) {
        this.#onGap(Math.max(...this.#arrival.map(({ gapMs }) => gapMs)));
        this.#arrival = null;
      }
    }
    this.#window.push(line);
    // The first report is made of two lines, because it is the sign that the guest lives; a rate needs two.
    if (this.#window.length < (this.#before === null ? 2 : linesPerReport)) return;
    const before = this.#before ?? this.#window[0] ?? line;
    const elapsedMs = line.uptimeMs - before.uptimeMs;
    const pages = (line.pagesWritten - before.pagesWritten) >>> 0;
    this.#onReport({
      bootId: line.bootId,
      heartbeats: line.heartbeats,
      memoryErrors: line.errors,
      longestGapMs: Math.max(...this.#window.map(({ gapMs }) => gapMs)),
      uptimeMs: line.uptimeMs,
      // Another boot id means that the guest was reset in between.
      dirtyMiBPerSecond: elapsedMs > 0 && before.bootId === line.bootId ? pages / 256 / (elapsedMs / 1000) : 0,
    });
    this.#before = line;
    this.#window = [];
  }
}
