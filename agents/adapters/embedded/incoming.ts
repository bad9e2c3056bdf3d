// The destination's half of a stream. Everything that arrives is checked before it touches the machine, and the machine
// never runs by itself: when all is in place it is loaded, and that is all.
import type { TLSSocket } from "node:tls";
import type { StreamEndpoint } from "../../../schemas/peer.ts";
import type { IncomingStream } from "../../ports/hypervisor.ts";
import type { DeviceState } from "./device-state.ts";
import {
  ackFrame,
  applyBlocks,
  FrameReader,
  frame,
  frameType,
  Hello,
  readFinal,
  readJson,
  StreamBroken,
  streamProtocol,
} from "./frames.ts";
import { listenForStream, type StreamListener } from "./secure-stream.ts";
import { pageBytes, type Vm } from "./vm.ts";

/** For the last word to go out. */
const partingMs = 2000;

export type IncomingEvents = { loaded(): void; failed(detail: string): void };

export type IncomingSide = { vm: Vm; hello: Omit<Hello, "migrationId"> };

export class Incoming {
  readonly #side: IncomingSide;
  readonly #migrationId: string;
  readonly #events: IncomingEvents;
  readonly #pages: number;
  #listener: StreamListener | null = null;
  #socket: TLSSocket | null = null;
  #over = false;
  #welcomed = false;
  #final = false;
  #round = 0;
  #roundPages = 0;
  /** Monotonic, when the source was last known to go on: its guest's state cannot be older than that. */
  #liveAtMs = 0;
  #devices: Uint8Array<ArrayBuffer> = new Uint8Array();
  #rehearsal: Promise<void> = Promise.resolve();

  constructor(side: IncomingSide, migrationId: string, events: IncomingEvents) {
    this.#side = side;
    this.#migrationId = migrationId;
    this.#events = events;
    this.#pages = side.vm.memoryBytes / pageBytes;
  }

  async listen(stream: IncomingStream): Promise<StreamEndpoint> {
    this.#listener = await listenForStream(stream, (socket) => this.#accept(socket));
    if (this.#over) this.#listener.close();
    return this.#listener.endpoint;
  }

  /** Ends the stream without a word to our own side. */
  cancel(): void {
    this.#over = true;
    this.#listener?.close();
    this.#socket?.destroy();
  }

  #accept(socket: TLSSocket): void {
    this.#socket = socket;
    this.#liveAtMs = performance.now();
    const reader = new FrameReader({
      accepts: new Set([frameType.hello, frameType.pages, frameType.mark, frameType.devices, frameType.final]),
      frame: (type, payload) => this.#heard(type, payload),
      pages: (first, count) => this.#mayWrite(first, count),
      pageBytes: (at, bytes) => {
        // The view is taken anew: memory may have moved since the last chunk.
        this.#side.vm.memory().set(bytes, at);
      },
    });
    socket.on("data", (chunk: Buffer) => {
      if (this.#over) return;
      try {
        reader.push(chunk);
      } catch (error) {
        this.#refuse(error instanceof StreamBroken ? error.message : "malformed");
      }
    });
    socket.on("error", (error) => this.#fail(`the stream broke: ${(error as NodeJS.ErrnoException).code ?? "error"}`));
    socket.on("end", () => this.#fail("the stream ended before the guest was complete"));
    socket.on("close", () => this.#fail("the stream ended before the guest was complete"));
  }

  #heard(type: number, payload: Buffer): void {
    if (this.#final) throw new StreamBroken("something after the end");
    if (type !== frameType.hello && !this.#welcomed) throw new StreamBroken("no greeting");
    if (type === frameType.hello) this.#greet(payload);
    else if (type === frameType.mark) this.#mark(payload);
    else if (type === frameType.devices) this.#rehearse(payload);
    else this.#end(payload);
  }

  #greet(payload: Buffer): void {
    if (this.#welcomed) throw new StreamBroken("a second greeting");
    const hello = readJson(Hello, payload);
    const obstacle = findDifference({ ...this.#side.hello, migrationId: this.#migrationId }, hello);
    if (obstacle !== null) throw new StreamBroken(obstacle);
    this.#welcomed = true;
    this.#socket?.write(frame(frameType.welcome));
  }

  #mayWrite(first: number, count: number): void {
    if (!this.#welcomed || this.#final) throw new StreamBroken("pages at the wrong time");
    if (first + count > this.#pages) throw new StreamBroken(`pages ${first} to ${first + count} of ${this.#pages}`);
    this.#roundPages += count;
  }

  #mark(payload: Buffer): void {
    const round = payload.length === 8 ? payload.readUInt32LE(0) : -1;
    const pages = payload.length === 8 ? payload.readUInt32LE(4) : -1;
    if (round !== this.#round) throw new StreamBroken("a round out of its order");
    if (pages !== this.#roundPages) throw new StreamBroken(`${this.#roundPages} pages arrived and ${pages} were sent`);
    this.#round++;
    this.#roundPages = 0;
    this.#liveAtMs = performance.now();
    this.#socket?.write(ackFrame(round));
  }

  /** Takes the state once while the guest still runs on the source: the code that does it is warm in the pause. */
  #rehearse(payload: Buffer): void {
    if (this.#devices.length > 0) throw new StreamBroken("a second device state");
    this.#devices = new Uint8Array(payload);
    const state: DeviceState = {
      packed: this.#devices.slice(),
      registers: { lastResult: 0, mxcsr: 0x1f80, statusWord: 0 },
      clockMs: 0,
    };
    this.#rehearsal = this.#side.vm.restoreDevices(state, 0);
    this.#rehearsal.catch(() => this.#refuse("the device state cannot be taken"));
  }

  #end(payload: Buffer): void {
    this.#final = true;
    this.#load(payload).catch((error: unknown) => {
      this.#refuse(error instanceof StreamBroken ? error.message : "the device state cannot be taken");
    });
  }

  async #load(payload: Buffer): Promise<void> {
    const { head, blocks } = readFinal(payload);
    if (head.pages !== this.#roundPages)
      throw new StreamBroken(`${this.#roundPages} pages arrived and ${head.pages} were sent`);
    const packed = applyBlocks(this.#devices, head, blocks);
    await this.#rehearsal;
    // The hosts' clocks may disagree: less than nothing cannot have passed, nor more than since the last round.
    const elapsedMs = Math.min(Math.max(Date.now() - head.savedAtMs, 0), performance.now() - this.#liveAtMs);
    await this.#side.vm.restoreDevices({ packed, registers: head.registers, clockMs: head.clockMs }, elapsedMs);
    if (this.#over) return;
    this.#over = true;
    this.#events.loaded();
    this.#sayLast(frame(frameType.loaded));
  }

  /** Says why, and ends the stream. */
  #refuse(detail: string): void {
    if (this.#over) return;
    this.#sayLast(frame(frameType.refuse, Buffer.from(detail.slice(0, 300))));
    this.#fail(detail);
  }

  /** A source that is lost, or does not read, must not keep a socket in a guest that lives on for years. */
  #sayLast(bytes: Buffer): void {
    const socket = this.#socket;
    socket?.end(bytes);
    setTimeout(() => socket?.destroy(), partingMs).unref();
  }

  #fail(detail: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#listener?.close();
    this.#socket?.removeAllListeners("data").resume();
    this.#events.failed(detail);
  }
}

/** The first thing in which the other end is not built alike; null when all is equal. */
export function findDifference(own: Hello, other: Hello): string | null {
  if (other.protocol !== streamProtocol) return `stream protocol ${other.protocol} against ${own.protocol}`;
  if (other.migrationId !== own.migrationId) return "another migration";
  if (other.v86 !== own.v86) return `v86 ${other.v86} against ${own.v86}`;
  if (other.wasmSha256 !== own.wasmSha256) return "another build of v86";
  for (const name of new Set([...Object.keys(own.settings), ...Object.keys(other.settings)]))
    if (own.settings[name] !== other.settings[name])
      return `machine setting ${name}: ${String(other.settings[name])} against ${String(own.settings[name])}`;
  return null;
}
