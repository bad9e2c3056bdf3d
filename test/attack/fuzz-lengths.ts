// Lengths that are announced, and never come.
import assert from "node:assert/strict";
import { FrameReader, frameType, StreamBroken } from "../../agents/adapters/embedded/frames.ts";
import { seededRandom } from "../support/seeded-random.ts";
import type { Fuzz } from "./fuzz.ts";

const together = 1000;
/** What is kept of one that has sent a few bytes. */
const keptBytes = 4096;

/** Readers to whom any length was announced keep what has come, and nothing for what has not. */
export const fuzzLengths: Fuzz = (times, seed) => {
  const random = seededRandom(seed);
  for (let done = 0; done < times; done += together) {
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: Math.min(together, times - done) }, () => announce(random));
    const kept = process.memoryUsage().arrayBuffers - before;
    assert.ok(kept < readers.length * keptBytes, `${kept} bytes are kept for ${readers.length} readers`);
  }
};

function announce(random: () => number): FrameReader {
  const reader = new FrameReader({
    accepts: new Set([frameType.hello, frameType.pages, frameType.mark, frameType.devices, frameType.final]),
    frame: () => undefined,
    pages: () => undefined,
    pageBytes: () => undefined,
  });
  const wire = Buffer.alloc(5 + Math.floor(random() * 16), 1);
  wire.writeUInt8(1 + Math.floor(random() * 5), 0);
  wire.writeUInt32LE(Math.floor(2 ** (random() * 32)), 1);
  try {
    reader.push(wire.subarray(0, 7));
    reader.push(wire.subarray(7));
  } catch (error) {
    assert.ok(error instanceof StreamBroken, String(error));
  }
  return reader;
}
