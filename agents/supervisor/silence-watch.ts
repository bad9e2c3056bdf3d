// Is the agent still there? From the gate on, its silence is what lets the supervisor act alone.
import type { Clock } from "../ports/clock.ts";

/** This process may itself have been kept waiting: what the agent said meanwhile is read first. */
const readFirstMs = 50;

export class SilenceWatch {
  readonly #clock: Clock;
  #lastSeenMs: number;
  #stop: (() => void) | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#lastSeenMs = clock.monotonicMs();
  }

  seen(): void {
    this.#lastSeenMs = this.#clock.monotonicMs();
  }

  isSilentFor(milliseconds: number): boolean {
    return this.#clock.monotonicMs() - this.#lastSeenMs >= milliseconds;
  }

  /** Calls `onSilence` once when the agent has been silent for so long. Beginning again replaces the watch before. */
  begin(silenceMs: number, onSilence: () => void): void {
    this.end();
    const wait = () => {
      const leftMs = silenceMs - (this.#clock.monotonicMs() - this.#lastSeenMs);
      this.#stop = this.#clock.after(Math.max(0, leftMs) + readFirstMs, () => {
        if (this.isSilentFor(silenceMs)) onSilence();
        else wait();
      });
    };
    wait();
  }

  end(): void {
    this.#stop?.();
    this.#stop = null;
  }
}
