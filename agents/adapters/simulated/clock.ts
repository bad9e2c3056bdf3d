// Simulated time: it stands still while anything is left to do at this instant, then jumps to the next timer.
// Timers of one instant fire in the order in which they were set, so the same calls give the same run.
import type { Clock } from "../../ports/clock.ts";

export interface SimulatedClock extends Clock {
  /** Fires the timers of the next instant that has any. False when none is set. */
  step(): boolean;
  /** When the next timer fires; null when none is set. */
  nextAtMs(): number | null;
  /** Steps whenever this process has nothing else to do. @returns how to stop it */
  runFreely(): () => void;
}

/** A stopped timer has no action, and passes without notice. */
type Timer = { atMs: number; order: number; action: (() => void) | null };

/** @param startMs what the clock shows first */
export function createSimulatedClock(startMs = 0): SimulatedClock {
  let nowMs = startMs;
  let nextOrder = 0;
  const timers: Timer[] = []; // A binary heap: earliest first.

  const after = (milliseconds: number, action: () => void): (() => void) => {
    const timer: Timer = { atMs: nowMs + Math.max(0, milliseconds), order: nextOrder++, action };
    push(timers, timer);
    return () => {
      timer.action = null;
    };
  };

  const first = (): Timer | null => {
    while (timers[0]?.action === null) pop(timers);
    return timers[0] ?? null;
  };

  const step = (): boolean => {
    const next = first();
    if (!next) return false;
    pop(timers);
    nowMs = next.atMs;
    const { action } = next;
    next.action = null; // What it held may be forgotten while somebody still keeps the way to stop it.
    action?.();
    return true;
  };

  return {
    monotonicMs: () => nowMs,
    after,
    sleep: (milliseconds, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const stop = after(milliseconds, () => {
          signal?.removeEventListener("abort", onAbort);
          resolve();
        });
        const onAbort = () => {
          stop();
          reject(signal?.reason);
        };
        signal?.addEventListener("abort", onAbort, { once: true });
      }),
    step,
    nextAtMs: () => first()?.atMs ?? null,
    runFreely: () => {
      let running = true;
      const turn = () => {
        if (!running) return;
        // Everything promised at this instant is kept before time moves on.
        if (step()) setImmediate(turn);
        else setTimeout(turn, 1);
      };
      setImmediate(turn);
      return () => {
        running = false;
      };
    },
  };
}

const isEarlier = (a: Timer, b: Timer): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

function push(heap: Timer[], timer: Timer): void {
  let index = heap.push(timer) - 1;
  while (index > 0) {
    const parentIndex = (index - 1) >> 1;
    const parent = heap[parentIndex];
    if (!parent || !isEarlier(timer, parent)) break;
    heap[index] = parent;
    index = parentIndex;
  }
  heap[index] = timer;
}

function pop(heap: Timer[]): Timer | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (!last || heap.length === 0) return first;
  let index = 0;
  while (true) {
    const left = heap[2 * index + 1];
    const right = heap[2 * index + 2];
    const child = right && left && isEarlier(right, left) ? right : left;
    if (!child || !isEarlier(child, last)) break;
    heap[index] = child;
    index = child === left ? 2 * index + 1 : 2 * index + 2;
  }
  heap[index] = last;
  return first;
}
