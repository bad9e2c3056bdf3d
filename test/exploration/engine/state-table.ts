// The set of states seen so far. Each is a row of part numbers, kept whole and compared whole: no state is ever taken
// for another because their hashes agree. About `width * 4 + 10` bytes a state.
import { GrowingInts } from "./growing.ts";

export class StateTable {
  readonly #width: number;
  readonly #rows: GrowingInts;
  #buckets = new Int32Array(1 << 16);
  #count = 0;

  constructor(width: number) {
    this.#width = width;
    this.#rows = new GrowingInts(width << 12);
  }

  get size(): number {
    return this.#count;
  }

  /** @returns the row's number, negative (`-1 - number`) when it was there before */
  add(row: readonly number[]): number {
    if (this.#count * 2 > this.#buckets.length) this.#rehash();
    const mask = this.#buckets.length - 1;
    let bucket = hashOf(row) & mask;
    for (;;) {
      const found = this.#buckets[bucket] as number;
      if (found === 0) break;
      if (this.#isRow(found - 1, row)) return -found;
      bucket = (bucket + 1) & mask;
    }
    this.#buckets[bucket] = this.#count + 1;
    for (const part of row) this.#rows.push(part);
    this.#count += 1;
    return this.#count - 1;
  }

  row(number: number): number[] {
    const row: number[] = [];
    for (let column = 0; column < this.#width; column += 1) row.push(this.#rows.at(number * this.#width + column));
    return row;
  }

  #isRow(number: number, row: readonly number[]): boolean {
    const start = number * this.#width;
    for (let column = 0; column < this.#width; column += 1) {
      if (this.#rows.at(start + column) !== row[column]) return false;
    }
    return true;
  }

  #rehash(): void {
    const bigger = new Int32Array(this.#buckets.length * 4);
    const mask = bigger.length - 1;
    for (let number = 0; number < this.#count; number += 1) {
      let bucket = hashOf(this.row(number)) & mask;
      while (bigger[bucket] !== 0) bucket = (bucket + 1) & mask;
      bigger[bucket] = number + 1;
    }
    this.#buckets = bigger;
  }
}

function hashOf(row: readonly number[]): number {
  let hash = 0x811c9dc5;
  for (const part of row) {
    hash = Math.imul(hash ^ part, 0x01000193);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
