import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ackFrame,
  applyBlocks,
  changedBlocks,
  type FinalHead,
  FrameReader,
  finalFrame,
  frame,
  frameType,
  markFrame,
  maxPagesPerFrame,
  pagesHeader,
  readFinal,
  StreamBroken,
  stateBlock,
  stateBlockBytes,
} from "../../../agents/adapters/embedded/frames.ts";
import { seededRandom } from "../../support/seeded-random.ts";

const pageBytes = 4096;
const headerBytes = 5;
const random = seededRandom(42);
const below = (bound: number): number => Math.floor(random() * bound);
const noise = (bytes: number): Buffer => Buffer.from(Array.from({ length: bytes }, () => below(256)));

type Seen = { frames: { type: number; payload: string }[]; pages: [number, number][]; bytes: Map<number, number> };

function reading(accepts: number[] = [frameType.mark, frameType.pages, frameType.ack, frameType.loaded]): {
  reader: FrameReader;
  seen: Seen;
} {
  const seen: Seen = { frames: [], pages: [], bytes: new Map() };
  const reader = new FrameReader({
    accepts: new Set(accepts),
    frame: (type, payload) => seen.frames.push({ type, payload: payload.toString("hex") }),
    pages: (first, count) => seen.pages.push([first, count]),
    pageBytes(at, bytes) {
      for (const [index, byte] of bytes.entries()) seen.bytes.set(at + index, byte);
    },
  });
  return { reader, seen };
}

test("frames are the same however the network cuts them", () => {
  const pages = noise(3 * pageBytes);
  const wire = Buffer.concat([markFrame(7, 3), pagesHeader(5, 3), pages, ackFrame(1), frame(frameType.loaded)]);
  for (const most of [1, 2, 7, 100, 5000, wire.length]) {
    const { reader, seen } = reading();
    for (let at = 0; at < wire.length; ) {
      const length = 1 + below(most);
      reader.push(wire.subarray(at, at + length));
      at += length;
    }
    assert.deepEqual(
      seen.frames.map(({ type }) => type),
      [frameType.mark, frameType.ack, frameType.loaded],
    );
    assert.deepEqual(seen.pages, [[5, 3]]);
    assert.equal(seen.bytes.size, pages.length);
    assert.ok(pages.every((byte, index) => seen.bytes.get(5 * pageBytes + index) === byte));
  }
});

function header(type: number, length: number): Buffer {
  const bytes = Buffer.alloc(headerBytes);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt32LE(length, 1);
  return bytes;
}

test("a length is refused before anything of that length is kept", () => {
  for (const [type, length] of [
    [frameType.pages, 4],
    [frameType.pages, 4 + pageBytes - 1],
    [frameType.pages, 4 + (maxPagesPerFrame + 1) * pageBytes],
    [frameType.pages, 0xffff_ffff],
    [frameType.mark, 9],
    [frameType.ack, 0x7fff_ffff],
    [frameType.loaded, 1],
  ] as const)
    assert.throws(() => reading().reader.push(header(type, length)), StreamBroken, `type ${type}, ${length} bytes`);
});

test("a frame that has no place at this end, or no meaning at all, is refused", () => {
  for (const type of [frameType.hello, frameType.final, frameType.devices, 0, 6, 200, 255])
    assert.throws(() => reading().reader.push(header(type, 0)), StreamBroken);
});

test("noise is refused as a broken stream, and as nothing else", () => {
  for (let time = 0; time < 500; time++) {
    const { reader } = reading([frameType.mark, frameType.pages, frameType.final, frameType.devices]);
    try {
      reader.push(noise(1 + below(200)));
    } catch (error) {
      assert.ok(error instanceof StreamBroken, String(error));
    }
  }
});

const headFor = (state: Uint8Array, blocks: number[]): FinalHead => ({
  pages: 0,
  stateBytes: state.length,
  blocks,
  registers: { lastResult: 1, mxcsr: 2, statusWord: 3 },
  clockMs: 4.5,
  savedAtMs: 5,
});

test("a state is put together again from what changed in it, longer or shorter than before", () => {
  const base = noise(10 * stateBlockBytes + 100);
  for (const length of [base.length, base.length - 3000, base.length + 3000, 20, stateBlockBytes]) {
    const state = new Uint8Array(length);
    state.set(base.subarray(0, length));
    for (let changes = 0; changes < 5; changes++) state[below(length)] = below(256);
    const blocks = changedBlocks(state, base);
    const sent = finalFrame(
      headFor(state, blocks),
      blocks.map((block) => stateBlock(state, block)),
    );
    const read = readFinal(sent.subarray(headerBytes));
    assert.deepEqual(applyBlocks(base, read.head, read.blocks), state);
  }
});

test("a state whose blocks do not fit it is refused", () => {
  const state = noise(3 * stateBlockBytes);
  const block = Buffer.alloc(stateBlockBytes);
  for (const [blocks, bytes] of [
    [[3], block],
    [[1_000_000], block],
    [[0, 1], block],
    [[0], Buffer.concat([block, block])],
    [[], Buffer.alloc(1)],
  ] as const)
    assert.throws(() => applyBlocks(state, headFor(state, [...blocks]), Buffer.from(bytes)), StreamBroken);
});

test("a final frame with any bytes changed is read or refused, never anything else", () => {
  const state = noise(2 * stateBlockBytes);
  const blocks = changedBlocks(state, new Uint8Array());
  const whole = finalFrame(
    headFor(state, blocks),
    blocks.map((block) => stateBlock(state, block)),
  ).subarray(headerBytes);
  for (let time = 0; time < 500; time++) {
    const changed = Buffer.from(whole.subarray(0, below(2) === 0 ? whole.length : below(whole.length)));
    for (let changes = 0; changes < 3 && changed.length > 0; changes++)
      changed[below(Math.min(changed.length, 200))] = below(256);
    try {
      const { head, blocks: rest } = readFinal(changed);
      applyBlocks(new Uint8Array(), head, rest);
    } catch (error) {
      assert.ok(error instanceof StreamBroken, String(error));
    }
  }
});
