// Gives every distinct part of a world one number, so that a state is a handful of numbers and nothing is kept twice.
// Exact: two values have the same number only when they have the same fields with the same values. What is inside a
// value is numbered first, so that a value is a short row of numbers, compared whole; values are never written to, so a
// number once given to an object stays true.
import { GrowingInts } from "./growing.ts";

type Value = { [name: string]: unknown };

// What a field holds, as one number: its kind in the low bits.
const ofText = 0;
const ofValue = 1;
const ofSmall = 2;
const ofOther = 3;
const smallest = -(2 ** 28);
const largest = 2 ** 28;

export class Interner {
  readonly #byValue = new Map<object, number>();
  readonly #values: (object | null)[] = [null];
  readonly #parts = new Set<number>([0]);
  /** Names and texts, and whatever else a field may hold, by the order they were met. */
  readonly #texts = new Map<string, number>();
  readonly #others = new Map<unknown, number>();
  /** The rows of all values, each from where it starts to where the next one does. */
  readonly #rows = new GrowingInts(1 << 16);
  readonly #starts = new GrowingInts();
  #buckets = new Int32Array(1 << 16);
  /** One row for each depth of nesting. */
  readonly #scratch: number[][] = [];
  #depth = 0;

  constructor() {
    this.#starts.push(0);
    this.#starts.push(0);
  }

  /** The number of a part of a state; 0 is null. */
  partIdOf(part: object | null): number {
    if (part === null) return 0;
    const id = this.#byValue.get(part);
    if (id !== undefined) {
      this.#parts.add(id);
      return id;
    }
    const found = this.#idOf(part as Value);
    this.#parts.add(found);
    return found;
  }

  valueOf(id: number): object | null {
    return this.#values[id] ?? null;
  }

  /** Every distinct part that was ever seen. */
  parts(): (object | null)[] {
    return [...this.#parts].map((id) => this.valueOf(id));
  }

  #idOf(value: Value): number {
    const known = this.#byValue.get(value);
    if (known !== undefined) return known;
    this.#scratch[this.#depth] ??= [];
    const row = this.#scratch[this.#depth] as number[];
    this.#depth += 1;
    let length = 0;
    if (Array.isArray(value)) {
      row[length++] = -1;
      for (const inner of value) row[length++] = this.#codeOf(inner);
    } else {
      for (const name in value) {
        const inner = value[name];
        if (inner === undefined) continue;
        row[length++] = this.#textIdOf(name);
        row[length++] = this.#codeOf(inner);
      }
    }
    this.#depth -= 1;
    return this.#add(value, row, length);
  }

  #codeOf(inner: unknown): number {
    if (typeof inner === "string") return this.#textIdOf(inner) * 4 + ofText;
    if (typeof inner === "number" && Number.isInteger(inner) && inner > smallest && inner < largest) {
      return inner * 4 + ofSmall;
    }
    if (typeof inner === "object" && inner !== null) return this.#idOf(inner as Value) * 4 + ofValue;
    return numbered(this.#others, inner) * 4 + ofOther;
  }

  #textIdOf(text: string): number {
    return numbered(this.#texts, text);
  }

  #add(value: Value, row: readonly number[], length: number): number {
    if (this.#values.length * 2 > this.#buckets.length) this.#rehash();
    const mask = this.#buckets.length - 1;
    let hash = 0x811c9dc5;
    for (let at = 0; at < length; at += 1) hash = mixed(hash, row[at] as number);
    let bucket = spread(hash) & mask;
    for (;;) {
      const found = this.#buckets[bucket] as number;
      if (found === 0) break;
      if (this.#isRow(found, row, length)) return found;
      bucket = (bucket + 1) & mask;
    }
    const id = this.#values.length;
    this.#buckets[bucket] = id;
    for (let at = 0; at < length; at += 1) this.#rows.push(row[at] as number);
    this.#starts.push(this.#rows.length);
    this.#values.push(value);
    this.#byValue.set(value, id);
    return id;
  }

  #isRow(id: number, row: readonly number[], length: number): boolean {
    const start = this.#starts.at(id);
    if (this.#starts.at(id + 1) - start !== length) return false;
    for (let at = 0; at < length; at += 1) if (this.#rows.at(start + at) !== row[at]) return false;
    return true;
  }

  #rehash(): void {
    const bigger = new Int32Array(this.#buckets.length * 4);
    const mask = bigger.length - 1;
    for (let id = 1; id < this.#values.length; id += 1) {
      let hash = 0x811c9dc5;
      for (let at = this.#starts.at(id); at < this.#starts.at(id + 1); at += 1) hash = mixed(hash, this.#rows.at(at));
      let bucket = spread(hash) & mask;
      while (bigger[bucket] !== 0) bucket = (bucket + 1) & mask;
      bigger[bucket] = id;
    }
    this.#buckets = bigger;
  }
}

function numbered<T>(known: Map<T, number>, one: T): number {
  const found = known.get(one);
  if (found !== undefined) return found;
  known.set(one, known.size);
  return known.size - 1;
}

function mixed(hash: number, code: number): number {
  const next = Math.imul(hash ^ code, 0x01000193);
  return next ^ (next >>> 15);
}

function spread(hash: number): number {
  const next = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (next ^ (next >>> 13)) >>> 0;
}
