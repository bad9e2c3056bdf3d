// One request at a time, as the host's counter asks, and what decides about a guest first: a heartbeat in flight gives
// way to it after a moment, because the guest may be standing still meanwhile.
import type { Clock } from "../ports/clock.ts";

export type Urgency = "verdict" | "routine";

type Job = { urgency: Urgency; run: (signal: AbortSignal) => Promise<void> };

/** How long a routine request in flight may keep a verdict waiting. */
const giveWayMs = 100;

export class RequestQueue {
  readonly #clock: Clock;
  readonly #waiting: Job[] = [];
  #current: { job: Job; giveWay: AbortController; beganMs: number } | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The task's signal is aborted when it must give way; it then ends with whatever it knows. */
  add<T>(urgency: Urgency, task: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const run = (signal: AbortSignal) => task(signal).then(resolve, reject);
      const firstRoutine = this.#waiting.findIndex((job) => job.urgency === "routine");
      const place = urgency === "verdict" && firstRoutine >= 0 ? firstRoutine : this.#waiting.length;
      this.#waiting.splice(place, 0, { urgency, run });
      if (urgency === "verdict") this.#hurry();
      if (!this.#current) void this.#work();
    });
  }

  #hurry(): void {
    const current = this.#current;
    if (!current || current.job.urgency === "verdict") return;
    const leftMs = giveWayMs - (this.#clock.monotonicMs() - current.beganMs);
    this.#clock.after(Math.max(0, leftMs), () => current.giveWay.abort(new Error("gave way to a verdict")));
  }

  async #work(): Promise<void> {
    for (let job = this.#waiting.shift(); job; job = this.#waiting.shift()) {
      const giveWay = new AbortController();
      this.#current = { job, giveWay, beganMs: this.#clock.monotonicMs() };
      await job.run(giveWay.signal);
    }
    this.#current = null;
  }
}
