// Chance under one seed. Every part of a simulation draws from a stream of its own, so that one more draw in one of
// them leaves the others as they were.
import { seededRandom } from "../support/seeded-random.ts";

export class Random {
  readonly #seed: number;
  readonly #next: () => number;

  constructor(seed: number) {
    this.#seed = seed >>> 0;
    this.#next = seededRandom(mix(this.#seed, 0x9e3779b9));
  }

  /** A stream that has nothing to do with this one. */
  fork(name: string): Random {
    let state = this.#seed;
    for (const character of name) state = mix(state, character.charCodeAt(0));
    return new Random(state);
  }

  /** From 0 up to 1. */
  next(): number {
    return this.#next();
  }

  chance(probability: number): boolean {
    return probability > 0 && this.#next() < probability;
  }

  /** A whole number from `least` to `most`, both included. */
  whole(least: number, most: number): number {
    return least + Math.floor(this.#next() * (most - least + 1));
  }

  between(least: number, most: number): number {
    return least + this.#next() * (most - least);
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[Math.floor(this.#next() * from.length)];
    if (picked === undefined) throw new Error("nothing to pick from");
    return picked;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => Math.floor(this.#next() * 256));
  }
}

function mix(state: number, value: number): number {
  let mixed = Math.imul(state ^ value, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
