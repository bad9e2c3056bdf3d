// Time, as an agent may know it: durations on its own monotonic clock, and timers. Wall time is the control plane's.
export interface Clock {
  monotonicMs(): number;
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
  /** @returns how to stop it */
  after(milliseconds: number, action: () => void): () => void;
}
