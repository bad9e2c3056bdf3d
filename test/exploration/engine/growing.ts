/** Numbers in one block of memory that grows by itself. */
export class GrowingInts {
  #data: Int32Array;
  length = 0;

  constructor(capacity = 1 << 12) {
    this.#data = new Int32Array(capacity);
  }

  push(value: number): void {
    if (this.length === this.#data.length) this.#grow();
    this.#data[this.length] = value;
    this.length += 1;
  }

  at(index: number): number {
    return this.#data[index] as number;
  }

  #grow(): void {
    const bigger = new Int32Array(this.#data.length * 2);
    bigger.set(this.#data);
    this.#data = bigger;
  }
}
