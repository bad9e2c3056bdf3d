// Simulated time, one task at a time: a timer fires, everything that follows from it at this instant is done, the checks
// are made, and only then does time go on. The product's promises need nothing but microtasks, so one turn of Node's
// loop is enough to let them all be kept; what works outside of this thread (files, say) is waited for by name.
import { createSimulatedClock } from "../../agents/adapters/simulated/clock.ts";
import type { Clock } from "../../agents/ports/clock.ts";

export class Scheduler {
  readonly clock: Clock;
  readonly #timers = createSimulatedClock();
  #outside = Promise.resolve();
  #pending = 0;
  /** Called after every step. */
  afterStep: (atMs: number) => void = () => {};
  steps = 0;

  constructor() {
    this.clock = this.#timers;
  }

  nowMs(): number {
    return this.clock.monotonicMs();
  }

  /** Work that leaves this thread: time waits for it, and what is asked for first is done first. */
  outside<T>(work: () => Promise<T>): Promise<T> {
    this.#pending++;
    const done = this.#outside.then(work).finally(() => {
      this.#pending--;
    });
    this.#outside = done.then(
      () => {},
      () => {},
    );
    return done;
  }

  /** Lets time pass until the promise has settled. @throws when nothing is left to wait for */
  async settle<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settled = () => {
      isSettled = true;
    };
    promise.then(settled, settled);
    await this.#quiet();
    while (!isSettled) {
      if (!this.#timers.step()) throw new Error("simulated time stands still: nothing is left that could happen");
      await this.#quiet();
      this.#stepped();
    }
    return promise;
  }

  /** Lets this much time pass. */
  async pass(milliseconds: number): Promise<void> {
    const endMs = this.nowMs() + milliseconds;
    let isOver = false;
    this.#timers.after(milliseconds, () => {
      isOver = true;
    });
    await this.#quiet();
    while (!isOver && (this.#timers.nextAtMs() ?? Number.POSITIVE_INFINITY) <= endMs) {
      this.#timers.step();
      await this.#quiet();
      this.#stepped();
    }
  }

  #stepped(): void {
    this.steps++;
    this.afterStep(this.nowMs());
  }

  async #quiet(): Promise<void> {
    for (;;) {
      await turn();
      if (this.#pending === 0) return;
      // What follows from it is done as well before time goes on.
      while (this.#pending > 0) await this.#outside;
    }
  }
}

/** As many at once as one round of Node's loop may have: between two of them, whatever was promised is kept. */
const turnsPerRound = 32;
let turnsAhead = 0;
let onTurn: (() => void) | null = null;

function turn(): Promise<void> {
  if (turnsAhead === 0) {
    turnsAhead = turnsPerRound;
    for (let count = 0; count < turnsPerRound; count++) setImmediate(takeTurn);
  }
  return new Promise((resolve) => {
    onTurn = resolve;
  });
}

function takeTurn(): void {
  turnsAhead--;
  const resolve = onTurn;
  onTurn = null;
  resolve?.();
}
