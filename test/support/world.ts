// What a cluster under test takes from its surroundings: time and chance. The machine's own by default; a simulation
// brings its own, and then nothing else decides what happens.
import { randomBytes } from "node:crypto";
import { systemClock } from "../../agents/adapters/system-clock.ts";
import type { Clock } from "../../agents/ports/clock.ts";

export type World = {
  clock: Clock;
  /** Of the control plane, milliseconds since the epoch. */
  wallNowMs(): number;
  /** From 0 up to 1. */
  random(): number;
  randomBytes(length: number): Uint8Array<ArrayBuffer>;
};

export const realWorld: World = {
  clock: systemClock,
  wallNowMs: Date.now,
  random: Math.random,
  randomBytes: (length) => new Uint8Array(randomBytes(length)),
};
