// Slows a guest by a share of the processor time that it takes when nobody slows it. A share of its own demand and not
// of the clock: a guest that is mostly idle would not feel the loss of time that it does not use.
const lowestDemand = 0.05;
const longestSleepMs = 100;
const memoryMs = 500;

export class Throttle {
  #percent = 0;
  /** Share of time spent executing, while nobody slowed it. */
  #demand = 1;
  #lastStartMs: number | null = null;
  #debtMs = 0;

  set(percent: number): void {
    this.#percent = percent;
    if (percent === 0) this.#debtMs = 0;
  }

  /** Called after each slice that the processor executed.
   *  @returns how long to sleep: `wantedMs`, or longer */
  after(startedMs: number, endedMs: number, wantedMs: number): number {
    const executedMs = endedMs - startedMs;
    const sinceMs = this.#lastStartMs === null ? executedMs : startedMs - this.#lastStartMs;
    this.#lastStartMs = startedMs;
    if (this.#percent === 0) {
      // The slice counts against the period that it opens, which its sleep makes about as long as it wants.
      const periodMs = executedMs + wantedMs;
      if (periodMs > 0) {
        const weight = 1 - Math.exp(-periodMs / memoryMs);
        this.#demand += weight * (executedMs / periodMs - this.#demand);
      }
      return wantedMs;
    }
    const share = Math.max(this.#demand, lowestDemand) * (1 - this.#percent / 100);
    // Each slice must be paid with the time it should have taken; what has passed since the last one pays.
    this.#debtMs = Math.min(Math.max(this.#debtMs - sinceMs, 0) + executedMs / share, 10 * longestSleepMs);
    const sleepMs = Math.min(this.#debtMs - executedMs, longestSleepMs);
    return sleepMs >= 1 ? Math.max(wantedMs, sleepMs) : wantedMs;
  }
}
