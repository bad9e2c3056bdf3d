// Keeps a stream under its bandwidth limit: what was written is paid for with time.
export class Pace {
  readonly #bytesPerMs: number | null;
  #paidUntilMs = 0;

  constructor(bandwidthLimitBytesPerSecond: number | null) {
    this.#bytesPerMs = bandwidthLimitBytesPerSecond === null ? null : bandwidthLimitBytesPerSecond / 1000;
  }

  spent(bytes: number): void {
    if (this.#bytesPerMs === null) return;
    this.#paidUntilMs = Math.max(this.#paidUntilMs, performance.now()) + bytes / this.#bytesPerMs;
  }

  /** @returns how long to write nothing */
  waitMs(): number {
    if (this.#bytesPerMs === null) return 0;
    const waitMs = this.#paidUntilMs - performance.now();
    return waitMs < 1 ? 0 : waitMs;
  }
}
