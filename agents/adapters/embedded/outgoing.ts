// The source's half of a stream: rounds of pre-copy while the guest runs, then what is left while it stands.
// What the destination has is kept as a second copy of memory, the shadow: a page is dirty when it differs from it.
// That is exact, sees writes by devices too, and zero pages are never sent, because both begin as zeros.
import type { TLSSocket } from "node:tls";
import type { OutgoingStream, StreamSample } from "../../ports/hypervisor.ts";
import type { DeviceState } from "./device-state.ts";
import {
  changedBlocks,
  FrameReader,
  finalFrame,
  frame,
  frameType,
  type Hello,
  jsonFrame,
  markFrame,
  maxPagesPerFrame,
  pagesHeader,
  StreamBroken,
  stateBlock,
} from "./frames.ts";
import { Pace } from "./pace.ts";
import { RoundMeter } from "./round-meter.ts";
import { connectStream, isEncrypted } from "./secure-stream.ts";
import { pageBytes, type Vm } from "./vm.ts";

/** Longest time and most pages before the guest and the sockets have their turn. */
const sliceMs = 2;
const slicePages = 128;
const compareBytes = 256 * 1024;
const lookEveryMs = 40;
/** Rounds that find little are not repeated without a breath. */
const smallRoundPages = 256;
const breathMs = 20;
/** For the answer to the greeting: with the handshake's time less than our caller waits for both. */
const welcomeMs = 4000;

export type OutgoingEvents = {
  sampled(sample: StreamSample): void;
  sent(): void;
  failed(detail: string): void;
};

export type OutgoingSide = {
  /** A reset puts another machine in its place, so it is asked for anew each time. */
  vm(): Vm;
  hello: Omit<Hello, "migrationId">;
  executes(): boolean;
  throttlePercent(): number;
};

/** Resolves when the other end has taken the stream.
 *  @throws when it cannot be reached or refuses; nothing was sent then */
export async function startOutgoing(
  side: OutgoingSide,
  stream: OutgoingStream,
  events: OutgoingEvents,
): Promise<Outgoing> {
  const socket = await connectStream(stream);
  const outgoing = new Outgoing(side, stream, socket, events);
  await outgoing.begin({ ...side.hello, migrationId: stream.migrationId });
  return outgoing;
}

export class Outgoing {
  readonly #side: OutgoingSide;
  readonly #socket: TLSSocket;
  readonly #events: OutgoingEvents;
  readonly #pace: Pace;
  readonly #encrypted: boolean;
  readonly #meter = new RoundMeter();
  /** What the destination has. */
  #shadow: Buffer | null;
  #devices: DeviceState | null = null;
  #over: string | null = null;
  #finishing = false;
  /** The guest stands, and the destination has, or will have, all of its memory. */
  #isComplete = false;
  #rounds: Promise<void> = Promise.resolve();
  readonly #answers = new Map<number, (round: number) => void>();
  #wake: (() => void) | null = null;
  #hasBegun = false;

  constructor(side: OutgoingSide, stream: OutgoingStream, socket: TLSSocket, events: OutgoingEvents) {
    this.#side = side;
    this.#socket = socket;
    this.#events = events;
    this.#pace = new Pace(stream.limits.bandwidthLimitBytesPerSecond);
    this.#encrypted = isEncrypted(socket);
    this.#shadow = Buffer.alloc(side.vm().memoryBytes);
    const reader = new FrameReader({
      accepts: new Set([frameType.welcome, frameType.refuse, frameType.ack, frameType.loaded]),
      frame: (type, payload) => this.#heard(type, payload),
      pages: () => undefined,
      pageBytes: () => undefined,
    });
    socket.on("data", (chunk: Buffer) => {
      try {
        if (this.#over === null) reader.push(chunk);
      } catch (error) {
        this.#fail(error instanceof Error ? error.message : String(error));
      }
    });
    socket.on("drain", () => this.#wakeUp());
    socket.on("error", (error) => this.#fail(`the stream broke: ${(error as NodeJS.ErrnoException).code ?? "error"}`));
    socket.on("close", () => this.#fail("the stream was closed by the other end"));
  }

  get isOver(): boolean {
    return this.#over !== null;
  }

  get isFinishing(): boolean {
    return this.#finishing && this.#over === null;
  }

  /** Says hello and begins the rounds. @throws when the other end refuses */
  async begin(hello: Hello): Promise<void> {
    const welcome = this.#answer(frameType.welcome);
    this.#socket.write(jsonFrame(frameType.hello, hello));
    const timer = setTimeout(() => this.#end("the other end does not answer the greeting"), welcomeMs);
    await welcome;
    clearTimeout(timer);
    if (this.#over !== null) throw new Error(this.#over);
    this.#hasBegun = true;
    this.#rounds = this.#runRounds();
  }

  /** The guest's processors were stopped. What is left of its memory goes out while it is decided what follows; the
   *  device state does not, so the other end cannot be complete. */
  guestStands(): void {
    this.#isComplete = false;
    setImmediate(() => {
      if (!this.#mayGoOn() || !this.#hasBegun || this.#side.executes()) return;
      this.#sendLastPages();
    });
  }

  /** The guest executes again. */
  guestRuns(): void {
    this.#isComplete = false;
  }

  /** The guest stands: sends the rest. */
  finish(): void {
    if (this.#finishing || this.#over !== null) return;
    this.#finishing = true;
    this.#wakeUp();
    void this.#rounds.then(() => this.#sendRest()).catch((error: unknown) => this.#fail(String(error)));
  }

  /** Ends the stream without a word to our own side. */
  cancel(): void {
    this.#end("cancelled");
  }

  #heard(type: number, payload: Buffer): void {
    if (type === frameType.refuse) {
      this.#fail(`refused by the other end: ${printable(payload)}`);
      return;
    }
    const answer = this.#answers.get(type);
    if (answer === undefined) throw new StreamBroken(`an answer of type ${type} that nobody asked for`);
    this.#answers.delete(type);
    answer(type === frameType.ack && payload.length === 4 ? payload.readUInt32LE(0) : 0);
  }

  #answer(type: number): Promise<number> {
    return new Promise((resolve) => this.#answers.set(type, resolve));
  }

  #fail(detail: string): void {
    if (this.#over !== null) return;
    this.#end(detail);
    if (this.#hasBegun) this.#events.failed(detail);
  }

  #end(detail: string): void {
    if (this.#over !== null) return;
    this.#over = detail;
    this.#shadow = null;
    this.#devices = null;
    this.#socket.destroy();
    this.#wakeUp();
    // Whoever waits for an answer goes on and finds the stream over.
    for (const answer of this.#answers.values()) answer(0);
    this.#answers.clear();
  }

  #mayGoOn(): boolean {
    return this.#over === null && !this.#finishing;
  }

  async #runRounds(): Promise<void> {
    const look = setInterval(() => this.#sample(false), lookEveryMs);
    try {
      let dirty: number[] | null = null;
      while (this.#mayGoOn()) {
        this.#meter.begin();
        if (dirty === null) await this.#sendAll();
        else await this.#sendPages(dirty);
        await this.#mark();
        if (!this.#mayGoOn()) return;
        const durationMs = this.#meter.delivered();
        if (dirty === null) await this.#sendDevices();
        const found: number[] | null = await this.#findDirty();
        if (found === null) return;
        dirty = found;
        this.#meter.found(dirty.length * pageBytes);
        this.#sample(true, durationMs);
        this.#meter.round++;
        this.#meter.begin();
        if (dirty.length < smallRoundPages) await this.#sleep(breathMs);
      }
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
    } finally {
      clearInterval(look);
    }
  }

  /** Round 0: everything that is not zero, looked at and sent in one walk. */
  async #sendAll(): Promise<void> {
    const pages = this.#side.vm().memoryBytes / pageBytes;
    this.#meter.remainingBytes = pages * pageBytes;
    let page = 0;
    while (page < pages && this.#mayGoOn()) {
      const until = performance.now() + sliceMs;
      let sent = 0;
      const memory = this.#side.vm().memory();
      while (page < pages && sent < slicePages && performance.now() < until) {
        const end = Math.min(page + compareBytes / pageBytes, pages);
        const dirty = this.#dirtyIn(memory, page, end);
        this.#send(memory, dirty);
        sent += dirty.length;
        page = end;
        this.#meter.remainingBytes = (pages - page) * pageBytes;
      }
      await this.#yield();
    }
  }

  async #sendPages(dirty: readonly number[]): Promise<void> {
    let next = 0;
    this.#meter.remainingBytes = dirty.length * pageBytes;
    while (next < dirty.length && this.#mayGoOn()) {
      const some = dirty.slice(next, next + slicePages);
      this.#send(this.#side.vm().memory(), some);
      next += some.length;
      this.#meter.remainingBytes = (dirty.length - next) * pageBytes;
      await this.#yield();
    }
  }

  /** The pages among these that differ from what the destination has. */
  #dirtyIn(memory: Buffer, from: number, to: number): number[] {
    const shadow = this.#shadow;
    const dirty: number[] = [];
    if (shadow === null) return dirty;
    const start = from * pageBytes;
    const end = to * pageBytes;
    if (memory.compare(shadow, start, end, start, end) === 0) return dirty;
    for (let at = start, page = from; page < to; at += pageBytes, page++)
      if (memory.compare(shadow, at, at + pageBytes, at, at + pageBytes) !== 0) dirty.push(page);
    return dirty;
  }

  /** Sends pages in ascending order, neighbours together. They go into the shadow first and out from there: a page is
   *  sent once per round and the round's mark drains the pipe, so what waits in the socket is not overwritten. */
  #send(memory: Buffer, pages: readonly number[]): void {
    const shadow = this.#shadow;
    if (shadow === null) return;
    for (let at = 0; at < pages.length; ) {
      const first = pages[at] ?? 0;
      let count = 1;
      while (count < maxPagesPerFrame && pages[at + count] === first + count) count++;
      const start = first * pageBytes;
      const end = start + count * pageBytes;
      memory.copy(shadow, start, start, end);
      this.#socket.cork();
      this.#write(pagesHeader(first, count));
      this.#write(shadow.subarray(start, end));
      this.#socket.uncork();
      this.#meter.pages += count;
      at += count;
    }
  }

  #write(bytes: Buffer): void {
    this.#socket.write(bytes);
    this.#meter.sent(bytes.length);
    this.#pace.spent(bytes.length);
  }

  /** The guest and the sockets have their turn, for as long as the pipe is full or the limit asks for. */
  async #yield(): Promise<void> {
    for (let waitMs = this.#pace.waitMs(); waitMs > 0 && this.#mayGoOn(); waitMs = this.#pace.waitMs())
      await this.#sleep(waitMs);
    while (this.#mayGoOn() && this.#socket.writableNeedDrain)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    await new Promise<void>((resolve) => setImmediate(resolve));
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  /** Sleeps, but for as long only as the rounds may go on. */
  async #sleep(milliseconds: number): Promise<void> {
    if (!this.#mayGoOn()) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = null;
  }

  /** Ends the round on the wire, and waits until the other end has all of it: what still stood in sockets would
   *  otherwise be part of the pause. */
  async #mark(): Promise<void> {
    if (this.#over !== null) return;
    const acknowledged = this.#answer(frameType.ack);
    this.#write(markFrame(this.#meter.round, this.#meter.pages));
    this.#meter.pages = 0;
    const round = await acknowledged;
    if (this.#over === null && round !== this.#meter.round) throw new StreamBroken("an answer to another round");
  }

  /** Sent once while the guest runs: in the pause only what has changed since is sent, and both ends' code is warm. */
  async #sendDevices(): Promise<void> {
    const devices = await this.#side.vm().saveDevices();
    if (!this.#mayGoOn()) return;
    this.#devices = devices;
    this.#write(frame(frameType.devices, devices.packed));
    await this.#yield();
  }

  /** All pages that the destination lacks; null when the rounds must not go on. */
  async #findDirty(): Promise<number[] | null> {
    const pages = this.#side.vm().memoryBytes / pageBytes;
    const dirty: number[] = [];
    for (let page = 0; page < pages; ) {
      const until = performance.now() + sliceMs;
      const memory = this.#side.vm().memory();
      while (page < pages && performance.now() < until) {
        const end = Math.min(page + compareBytes / pageBytes, pages);
        for (const found of this.#dirtyIn(memory, page, end)) dirty.push(found);
        page = end;
      }
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (!this.#mayGoOn()) return null;
    }
    return dirty;
  }

  /** All pages that the destination lacks, in one go: the guest stands, and both memories are equal afterwards. */
  #sendLastPages(): void {
    const vm = this.#side.vm();
    const memory = vm.memory();
    const pages = vm.memoryBytes / pageBytes;
    for (let page = 0; page < pages; page += compareBytes / pageBytes)
      this.#send(memory, this.#dirtyIn(memory, page, Math.min(page + compareBytes / pageBytes, pages)));
    this.#isComplete = true;
  }

  /** The last pages, and the device state. */
  async #sendRest(): Promise<void> {
    if (this.#over !== null) return;
    const vm = this.#side.vm();
    this.#meter.begin();
    if (!this.#isComplete) this.#sendLastPages();
    const devices = await vm.saveDevices();
    const savedAtMs = Date.now();
    if (this.#over !== null) return;
    const base = this.#devices?.packed ?? new Uint8Array();
    const blocks = changedBlocks(devices.packed, base);
    const head = {
      pages: this.#meter.pages,
      stateBytes: devices.packed.length,
      blocks,
      registers: devices.registers,
      clockMs: devices.clockMs,
      savedAtMs,
    };
    const loaded = this.#answer(frameType.loaded);
    this.#write(
      finalFrame(
        head,
        blocks.map((block) => stateBlock(devices.packed, block)),
      ),
    );
    await loaded;
    if (this.#over !== null) return;
    this.#meter.found(0); // The guest stood.
    this.#sample(true);
    this.#end("sent");
    this.#events.sent();
  }

  #sample(roundDone: boolean, durationMs: number = this.#meter.elapsedMs()): void {
    if (this.#over !== null) return;
    const measured = this.#meter.sample(roundDone, durationMs);
    this.#events.sampled({ ...measured, throttlePercent: this.#side.throttlePercent(), encrypted: this.#encrypted });
  }
}

const printable = (payload: Buffer): string =>
  payload
    .toString("latin1")
    .replace(/[^\x20-\x7e]/g, "?")
    .slice(0, 300);
