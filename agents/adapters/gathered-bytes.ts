// What has come so far of something whose end is still to come. One buffer that grows: a peer that sends single bytes
// must not make us keep an object for each.

export class GatheredBytes {
  readonly #firstBytes: number;
  #kept: Buffer = Buffer.alloc(0);
  #length = 0;

  /** @param firstBytes how much room there is at first */
  constructor(firstBytes: number) {
    this.#firstBytes = firstBytes;
  }

  get length(): number {
    return this.#length;
  }

  /** @param atMostBytes no more than was announced and allowed: nobody makes us keep what never comes */
  add(bytes: Buffer, atMostBytes: number): void {
    const needed = this.#length + bytes.length;
    if (needed > this.#kept.length) {
      const grown = Buffer.alloc(Math.min(atMostBytes, Math.max(needed, this.#kept.length * 2, this.#firstBytes)));
      this.#kept.copy(grown, 0, 0, this.#length);
      this.#kept = grown;
    }
    bytes.copy(this.#kept, this.#length);
    this.#length = needed;
  }

  /** All of it; nothing is kept then. */
  take(): Buffer {
    const taken = this.#kept.subarray(0, this.#length);
    this.#kept = Buffer.alloc(0);
    this.#length = 0;
    return taken;
  }
}
