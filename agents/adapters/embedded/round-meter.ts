// Counts what a stream's rounds send and find, and puts it into samples.
import type { StreamSample } from "../../ports/hypervisor.ts";

/** Bytes after which a round says all about the bandwidth; smaller ones are mostly waiting. */
const tellingBytes = 8 * 1024 * 1024;

export class RoundMeter {
  round = 0;
  /** Pages sent since the last mark. */
  pages = 0;
  remainingBytes = 0;
  #startedMs = performance.now();
  #bytes = 0;
  #totalBytes = 0;
  #dirtyBytesPerSecond = 0;
  #bandwidth = 0;

  /** A round begins; its bytes count from here. */
  begin(): void {
    this.#startedMs = performance.now();
    this.#bytes = 0;
  }

  sent(bytes: number): void {
    this.#bytes += bytes;
    this.#totalBytes += bytes;
  }

  /** The other end has all of the round. @returns how long that took */
  delivered(): number {
    const durationMs = this.elapsedMs();
    if (durationMs > 0) {
      const measured = (this.#bytes / durationMs) * 1000;
      const weight = this.#bandwidth === 0 ? 1 : Math.min(1, this.#bytes / tellingBytes);
      this.#bandwidth += weight * (measured - this.#bandwidth);
    }
    return durationMs;
  }

  /** What was found dirty since the round began. */
  found(bytes: number): void {
    this.remainingBytes = bytes;
    const elapsedMs = this.elapsedMs();
    this.#dirtyBytesPerSecond = elapsedMs > 0 ? (bytes / elapsedMs) * 1000 : 0;
  }

  elapsedMs(): number {
    return performance.now() - this.#startedMs;
  }

  sample(roundDone: boolean, durationMs: number): Omit<StreamSample, "throttlePercent" | "encrypted"> {
    const soFar = durationMs > 0 ? (this.#bytes / durationMs) * 1000 : 0;
    return {
      round: this.round,
      bytes: this.#bytes,
      durationMs,
      remainingBytes: this.remainingBytes,
      dirtyBytesPerSecond: this.#dirtyBytesPerSecond,
      bandwidthBytesPerSecond: this.#bandwidth === 0 ? soFar : this.#bandwidth,
      roundDone,
      totalBytes: this.#totalBytes,
    };
  }
}
