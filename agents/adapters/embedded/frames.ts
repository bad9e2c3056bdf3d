// The stream's framing: one byte of type, four of length (little endian), payload. Everything here was sent by somebody
// else: a length, a page index or a count is believed only after it was checked.
import { z } from "zod";
import { GatheredBytes } from "../gathered-bytes.ts";
import { pageBytes } from "./vm.ts";

export const streamProtocol = 1;

export const frameType = {
  // source to destination
  hello: 1,
  pages: 2, // index of the first page, then whole pages
  mark: 3, // end of a round: its number, how many pages it had
  devices: 4, // the device state as it was during the rounds: what the last one is compared with
  final: 5, // what has changed in it since, and everything else; the guest stands
  // destination to source
  welcome: 16,
  refuse: 17,
  ack: 18,
  loaded: 19,
} as const;
export type FrameType = (typeof frameType)[keyof typeof frameType];

export const maxPagesPerFrame = 64;
const headerBytes = 5;
const pagesHeaderBytes = 4;
const firstKeptBytes = 1024;
export const maxStateBytes = 8 * 1024 * 1024;
/** The device state is compared and sent in blocks of this size. */
export const stateBlockBytes = 1024;

const maxPayload: { [type: number]: number } = {
  [frameType.hello]: 16_384,
  [frameType.pages]: pagesHeaderBytes + maxPagesPerFrame * pageBytes,
  [frameType.mark]: 8,
  [frameType.devices]: maxStateBytes,
  [frameType.final]: maxStateBytes * 2,
  [frameType.welcome]: 0,
  [frameType.refuse]: 4096,
  [frameType.ack]: 4,
  [frameType.loaded]: 0,
};

/** The other end broke the protocol: the stream ends. */
export class StreamBroken extends Error {
  override name = "StreamBroken";
}

export function frame(type: FrameType, payload: Uint8Array = new Uint8Array()): Buffer {
  const bytes = Buffer.allocUnsafe(headerBytes + payload.length);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt32LE(payload.length, 1);
  bytes.set(payload, headerBytes);
  return bytes;
}

export const jsonFrame = (type: FrameType, value: unknown): Buffer => frame(type, Buffer.from(JSON.stringify(value)));

/** What stands before whole pages on the wire; the pages follow. */
export function pagesHeader(firstPage: number, count: number): Buffer {
  const bytes = Buffer.allocUnsafe(headerBytes + pagesHeaderBytes);
  bytes.writeUInt8(frameType.pages, 0);
  bytes.writeUInt32LE(pagesHeaderBytes + count * pageBytes, 1);
  bytes.writeUInt32LE(firstPage, headerBytes);
  return bytes;
}

export function markFrame(round: number, pages: number): Buffer {
  const payload = Buffer.allocUnsafe(8);
  payload.writeUInt32LE(round, 0);
  payload.writeUInt32LE(pages, 4);
  return frame(frameType.mark, payload);
}

export function ackFrame(round: number): Buffer {
  const payload = Buffer.allocUnsafe(4);
  payload.writeUInt32LE(round, 0);
  return frame(frameType.ack, payload);
}

export type FrameHandler = {
  /** Types that this end takes. */
  accepts: ReadonlySet<number>;
  frame(type: number, payload: Buffer): void;
  /** Whole pages begin: check them before any is written. @throws StreamBroken */
  pages(firstPage: number, count: number): void;
  /** Bytes of those pages, as they come. */
  pageBytes(at: number, bytes: Buffer): void;
};

/** Cuts what arrives into frames. Pages are handed on as they come, without being gathered first. */
export class FrameReader {
  readonly #handler: FrameHandler;
  /** What has come of a header or payload so far. */
  readonly #begun = new GatheredBytes(firstKeptBytes);
  #type: number | null = null;
  #length = 0;
  #pageAt = 0;
  #pageLeft = 0;

  constructor(handler: FrameHandler) {
    this.#handler = handler;
  }

  /** @throws StreamBroken when the other end says what it may not; push nothing afterwards */
  push(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#pageLeft > 0) {
        const bytes = rest.subarray(0, this.#pageLeft);
        this.#handler.pageBytes(this.#pageAt, bytes);
        this.#pageAt += bytes.length;
        this.#pageLeft -= bytes.length;
        rest = rest.subarray(bytes.length);
        continue;
      }
      const wanted =
        this.#type === null ? headerBytes : this.#type === frameType.pages ? pagesHeaderBytes : this.#length;
      const taken = rest.subarray(0, wanted - this.#begun.length);
      rest = rest.subarray(taken.length);
      if (taken.length === wanted) {
        this.#complete(taken);
        continue;
      }
      this.#begun.add(taken, wanted);
      if (this.#begun.length === wanted) this.#complete(this.#begun.take());
    }
  }

  #complete(bytes: Buffer): void {
    if (this.#type === null) {
      const type = bytes.readUInt8(0);
      const length = bytes.readUInt32LE(1);
      if (!this.#handler.accepts.has(type)) throw new StreamBroken(`a frame of type ${type} has no place here`);
      if (length > (maxPayload[type] ?? 0)) throw new StreamBroken(`a frame of type ${type} with ${length} bytes`);
      if (type === frameType.pages && (length <= pagesHeaderBytes || (length - pagesHeaderBytes) % pageBytes !== 0))
        throw new StreamBroken(`${length} bytes are no whole pages`);
      if (length === 0) {
        this.#handler.frame(type, Buffer.alloc(0));
        return;
      }
      this.#type = type;
      this.#length = length;
      return;
    }
    const type = this.#type;
    this.#type = null;
    if (type !== frameType.pages) {
      this.#handler.frame(type, bytes);
      return;
    }
    const firstPage = bytes.readUInt32LE(0);
    const count = (this.#length - pagesHeaderBytes) / pageBytes;
    this.#handler.pages(firstPage, count);
    this.#pageAt = firstPage * pageBytes;
    this.#pageLeft = count * pageBytes;
  }
}

export const Hello = z.strictObject({
  protocol: z.int(),
  migrationId: z.string().max(64),
  v86: z.string().max(64),
  wasmSha256: z.string().max(64),
  settings: z.record(z.string().max(64), z.union([z.string().max(512), z.number(), z.boolean()])),
});
export type Hello = z.infer<typeof Hello>;

/** The head of the final frame; the changed blocks of the device state follow. */
export const FinalHead = z.strictObject({
  pages: z.int().min(0),
  stateBytes: z.int().min(16).max(maxStateBytes),
  blocks: z.array(z.int().min(0)).max(maxStateBytes / stateBlockBytes),
  registers: z.strictObject({
    lastResult: z.int().min(0).max(0xffff_ffff),
    mxcsr: z.int().min(0).max(0xffff_ffff),
    statusWord: z.int().min(0).max(0xffff),
  }),
  clockMs: z.number(),
  /** The source host's wall clock when the state was taken, ms. */
  savedAtMs: z.number(),
});
export type FinalHead = z.infer<typeof FinalHead>;

export function finalFrame(head: FinalHead, blocks: readonly Uint8Array[]): Buffer {
  const json = Buffer.from(JSON.stringify(head));
  const size = Buffer.allocUnsafe(4);
  size.writeUInt32LE(json.length, 0);
  return frame(frameType.final, Buffer.concat([size, json, ...blocks]));
}

/** @throws StreamBroken */
export function readFinal(payload: Buffer): { head: FinalHead; blocks: Buffer } {
  if (payload.length < 4) throw new StreamBroken("the final frame is cut off");
  const size = payload.readUInt32LE(0);
  if (size > payload.length - 4) throw new StreamBroken("the final frame is cut off");
  return { head: readJson(FinalHead, payload.subarray(4, 4 + size)), blocks: payload.subarray(4 + size) };
}

/** @throws StreamBroken */
export function readJson<T>(schema: z.ZodType<T>, payload: Buffer): T {
  let value: unknown;
  try {
    value = JSON.parse(payload.toString("utf8"));
  } catch {
    throw new StreamBroken("not JSON");
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new StreamBroken(`malformed: ${parsed.error.issues[0]?.path.join(".") ?? ""}`);
  return parsed.data;
}

/** The blocks of a state that differ from the one before; what lies beyond the old one's end counts as zeros. */
export function changedBlocks(state: Uint8Array, base: Uint8Array): number[] {
  const changed: number[] = [];
  const zeros = Buffer.alloc(stateBlockBytes);
  const now = Buffer.from(state.buffer, state.byteOffset, state.byteLength);
  const before = Buffer.from(base.buffer, base.byteOffset, base.byteLength);
  for (let at = 0, block = 0; at < now.length; at += stateBlockBytes, block++) {
    const end = Math.min(at + stateBlockBytes, now.length);
    const same =
      end <= before.length
        ? now.compare(before, at, end, at, end) === 0
        : at >= before.length && now.compare(zeros, 0, end - at, at, end) === 0;
    if (!same) changed.push(block);
  }
  return changed;
}

export const stateBlock = (state: Uint8Array, block: number): Uint8Array =>
  state.subarray(block * stateBlockBytes, Math.min((block + 1) * stateBlockBytes, state.length));

/** The state that `changedBlocks` described, put together again.
 *  @throws StreamBroken when the blocks do not fit it */
export function applyBlocks(base: Uint8Array, head: FinalHead, blocks: Buffer): Uint8Array<ArrayBuffer> {
  const state = new Uint8Array(head.stateBytes);
  state.set(base.subarray(0, state.length));
  let at = 0;
  for (const block of head.blocks) {
    const target = stateBlock(state, block);
    if (target.length === 0 || at + target.length > blocks.length) throw new StreamBroken("a block of no state");
    target.set(blocks.subarray(at, at + target.length));
    at += target.length;
  }
  if (at !== blocks.length) throw new StreamBroken("bytes of no block");
  return state;
}
