// An encrypted peer link: messages as lines of JSON, an empty line each second as a sign of life.
import type { TLSSocket } from "node:tls";
import { PeerMessage } from "../../schemas/peer.ts";
import type { Clock } from "../ports/clock.ts";
import type { PeerLink } from "../ports/peer-link.ts";
import { lineSplitter } from "./line-socket.ts";
import type { LinkKeys } from "./peer-handshake.ts";

const messageLimitBytes = 256 * 1024;
const signOfLifeMs = 1000;
const silenceMs = 5000;
/** How long what was sent last may take to go out after `close`, to a peer that may not read. */
const partingMs = 2000;
/** A peer that sends before it is listened to, or that never reads, must not fill our memory. */
const earlyLimit = 64;
const unreadLimitBytes = 1024 * 1024;

export class TcpPeerLink implements PeerLink {
  readonly streamKey: Uint8Array;
  readonly peerIncarnation: string;
  readonly version: number;
  readonly #socket: TLSSocket;
  readonly #clock: Clock;
  readonly #early: PeerMessage[] = [];
  #on: Parameters<PeerLink["listen"]>[0] | null = null;
  #closedBecause: string | null = null;
  #told = false;
  #lastHeardMs: number;
  #stopTimer: () => void = () => {};

  constructor(socket: TLSSocket, keys: LinkKeys, clock: Clock) {
    this.streamKey = keys.streamKey;
    this.peerIncarnation = keys.peerIncarnation;
    this.version = keys.version;
    this.#socket = socket;
    this.#clock = clock;
    this.#lastHeardMs = clock.monotonicMs();
    const split = lineSplitter(messageLimitBytes, (line) => this.#received(line));
    socket.on("data", (chunk: Buffer) => {
      this.#lastHeardMs = clock.monotonicMs();
      if (!split(chunk)) this.#closed("the peer sent a line that is too long");
    });
    // OpenSSL's own words name files and lines of its source.
    socket.on("error", (error) => this.#closed(`the link broke: ${(error as NodeJS.ErrnoException).code ?? "error"}`));
    socket.on("end", () => this.#closed("closed by the peer"));
    socket.on("close", () => this.#closed("closed by the peer"));
    this.#watch();
  }

  send(message: PeerMessage): void {
    if (this.#closedBecause !== null) return;
    this.#socket.write(`${JSON.stringify(message)}\n`);
    if (this.#socket.writableLength > unreadLimitBytes) this.#closed("the peer does not read");
  }

  listen(on: Parameters<PeerLink["listen"]>[0]): void {
    this.#on = on;
    for (const message of this.#early.splice(0)) on.message(message);
    this.#tell();
  }

  close(): void {
    this.#socket.end();
    this.#closed("closed");
  }

  #received(line: string): void {
    if (line === "" || this.#closedBecause !== null) return;
    let message: PeerMessage;
    try {
      message = PeerMessage.parse(JSON.parse(line));
    } catch {
      this.#closed("the peer sent what is no message");
      return;
    }
    if (this.#on) this.#on.message(message);
    else if (this.#early.length < earlyLimit) this.#early.push(message);
    else this.#closed("the peer sent too much at once");
  }

  /** A dead peer sends no end; its silence is noticed instead. */
  #watch(): void {
    this.#stopTimer = this.#clock.after(signOfLifeMs, () => {
      if (this.#clock.monotonicMs() - this.#lastHeardMs > silenceMs) return this.#closed("the peer is silent");
      this.#socket.write("\n");
      this.#watch();
    });
  }

  #closed(detail: string): void {
    if (this.#closedBecause !== null) return;
    this.#closedBecause = detail;
    this.#stopTimer();
    // What was sent last still goes out after `close`; otherwise there is nobody to send it to.
    if (detail === "closed") {
      this.#socket.once(
        "close",
        this.#clock.after(partingMs, () => this.#socket.destroy()),
      );
      this.#socket.destroySoon();
    } else this.#socket.destroy();
    this.#tell();
  }

  #tell(): void {
    if (this.#told || this.#closedBecause === null || !this.#on) return;
    this.#told = true;
    this.#on.closed(this.#closedBecause);
  }
}
