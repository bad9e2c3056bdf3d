// The memory stream between two simulated machines: pre-copy rounds against a shadow of what the destination has,
// then the rest and the device state. The same order of messages as a real engine needs, over a simulated network.
import type { Clock } from "../../ports/clock.ts";
import type { IncomingStream, OutgoingStream, StreamSample } from "../../ports/hypervisor.ts";
import { type DeviceState, type Guest, pageBytes } from "./guest.ts";
import type { Connection, SimulatedNetwork } from "./network.ts";

type Settings = { [name: string]: string | number | boolean };

type StreamMessage =
  | { kind: "hello"; migrationId: string; key: string; settings: Settings }
  | { kind: "welcome" }
  | { kind: "no"; detail: string }
  | { kind: "pages"; pages: { page: number; version: number }[] }
  | { kind: "mark" }
  | { kind: "marked" }
  | { kind: "final"; device: DeviceState }
  | { kind: "loaded" };

const smallMessageBytes = 256;
const deviceStateBytes = 16_384;
const lookEveryMs = 50;
const idleRoundMs = 10;
const pagesPerMessage = 16;

/** What a stream may do with the machine it belongs to. */
export type StreamSide = {
  clock: Clock;
  network: SimulatedNetwork;
  guest: Guest;
  settings: Settings;
  /** Brings the guest's memory to this instant. */
  settle: () => void;
  executes: () => boolean;
  throttlePercent: () => number;
};

export type Outgoing = { finish(): void; end(detail: string): void };

export type OutgoingEvents = {
  sampled: (sample: StreamSample) => void;
  sent: () => void;
  failed: (detail: string) => void;
};

const keyText = (key: Uint8Array): string => key.join(",");

/** Resolves when the other end has taken the stream. @throws when it cannot be reached or says no */
export async function startOutgoing(
  side: StreamSide,
  stream: OutgoingStream,
  events: OutgoingEvents,
): Promise<Outgoing> {
  const { clock, guest } = side;
  const connection = await side.network.connect(stream.localAddress, stream.endpoint);
  const answers = new Map<string, (message: StreamMessage) => void>();
  let over: string | null = null;
  let finishing = false;
  let wake = (): void => {};

  const finishWith = (detail: string, tell: () => void): void => {
    if (over !== null) return;
    over = detail;
    for (const answer of answers.values()) answer({ kind: "no", detail });
    wake();
    tell();
  };
  const awaitAnswer = (kind: StreamMessage["kind"]): Promise<StreamMessage> =>
    over === null
      ? new Promise((resolve) => answers.set(kind, resolve))
      : Promise.resolve({ kind: "no", detail: over });

  connection.listen({
    message: (raw) => {
      const message = raw as StreamMessage;
      const waiting = message.kind === "no" ? [...answers.keys()] : [message.kind];
      for (const kind of waiting) {
        answers.get(kind)?.(message);
        answers.delete(kind);
      }
    },
    closed: (detail) => finishWith(detail, () => connected && events.failed(detail)),
  });

  let connected = false;
  const welcome = awaitAnswer("welcome");
  void connection.send(
    {
      kind: "hello",
      migrationId: stream.migrationId,
      key: keyText(stream.key),
      settings: side.settings,
    } satisfies StreamMessage,
    smallMessageBytes,
  );
  const answer = await welcome;
  if (answer.kind !== "welcome") {
    connection.close("refused");
    throw new Error(
      `stream to ${stream.endpoint.address}: ${answer.kind === "no" ? answer.detail : "unexpected answer"}`,
    );
  }
  connected = true;

  const shadow = new Uint32Array(guest.pages.length);
  const dirtyPages = (): number[] => {
    side.settle();
    const dirty: number[] = [];
    for (let page = 0; page < shadow.length; page++) if (guest.pages[page] !== shadow[page]) dirty.push(page);
    return dirty;
  };
  let totalBytes = 0;

  /** One pass over these pages. @returns what is to be told of it */
  async function pass(round: number, dirty: number[], last: boolean): Promise<void> {
    const startedMs = clock.monotonicMs();
    let bytes = 0;
    let next = 0;
    const sample = (roundDone: boolean, remainingBytes: number): StreamSample => {
      const durationMs = clock.monotonicMs() - startedMs;
      const perSecond = (amount: number): number => (durationMs > 0 ? (amount / durationMs) * 1000 : 0);
      return {
        round,
        bytes,
        durationMs,
        remainingBytes,
        dirtyBytesPerSecond: roundDone ? perSecond(remainingBytes) : 0,
        bandwidthBytesPerSecond: perSecond(bytes),
        throttlePercent: side.throttlePercent(),
        roundDone,
        totalBytes,
        encrypted: true,
      };
    };
    let stopLooking = (): void => {};
    const look = (): void => {
      stopLooking = clock.after(lookEveryMs, () => {
        events.sampled(sample(false, (dirty.length - next) * pageBytes));
        look();
      });
    };
    look();
    try {
      while (next < dirty.length && over === null && (last || !finishing)) {
        side.settle();
        const some = dirty.slice(next, next + pagesPerMessage);
        const pages = some.map((page) => {
          const version = guest.pages[page] ?? 0;
          shadow[page] = version;
          return { page, version };
        });
        await connection.send({ kind: "pages", pages } satisfies StreamMessage, some.length * pageBytes);
        next += some.length;
        bytes += some.length * pageBytes;
        totalBytes += some.length * pageBytes;
        const limit = stream.limits.bandwidthLimitBytesPerSecond;
        const aheadMs = limit === null || last ? 0 : (bytes / limit) * 1000 - (clock.monotonicMs() - startedMs);
        if (aheadMs > 0) await pause(aheadMs);
      }
      if (over !== null) return;
      // What still lies in buffers would count as downtime later, so a round ends when it has arrived.
      const marked = awaitAnswer("marked");
      void connection.send({ kind: "mark" } satisfies StreamMessage, smallMessageBytes);
      await marked;
    } finally {
      stopLooking();
    }
    if (over === null) events.sampled(sample(true, dirtyPages().length * pageBytes));
  }

  /** A pause that `finish` and the stream's end cut short. */
  const pause = (milliseconds: number): Promise<void> =>
    new Promise((resolve) => {
      const stop = clock.after(milliseconds, resolve);
      wake = () => {
        stop();
        resolve();
      };
    });

  async function copy(): Promise<void> {
    let round = 0;
    while (over === null && !finishing) {
      const dirty = dirtyPages();
      // An empty round is told as well: whoever waits for something else waits for the next one.
      if (dirty.length === 0) await pause(idleRoundMs);
      if (over === null && !finishing) await pass(round++, dirty, false);
    }
    if (over !== null) return;
    await pass(round, dirtyPages(), true);
    if (over !== null) return;
    const loaded = awaitAnswer("loaded");
    void connection.send({ kind: "final", device: { ...guest.device } } satisfies StreamMessage, deviceStateBytes);
    totalBytes += deviceStateBytes;
    if ((await loaded).kind === "loaded") {
      finishWith("sent", events.sent);
      connection.close("sent");
    }
  }
  void copy();

  return {
    finish: () => {
      if (side.executes()) throw new Error("the guest must be stopped before its stream is finished");
      finishing = true;
      wake();
    },
    end: (detail) => {
      finishWith(detail, () => {});
      connection.close(detail);
    },
  };
}

export type IncomingEvents = { loaded: () => void; failed: (detail: string) => void };
export type Incoming = { endpoint: OutgoingStream["endpoint"]; end(detail: string): void };

/** Opens the listener for the one stream. */
export function startIncoming(side: StreamSide, stream: IncomingStream, events: IncomingEvents): Incoming {
  const { guest } = side;
  let taken: Connection | null = null;
  let over = false;

  const listener = side.network.listen(stream.address, (connection) => {
    const refuse = (detail: string): void => {
      void connection.send({ kind: "no", detail } satisfies StreamMessage, smallMessageBytes);
      connection.close(detail);
    };
    if (connection.remoteAddress !== stream.peerAddress) return refuse("not the peer that is expected");
    connection.listen({
      message: (raw) => {
        const message = raw as StreamMessage;
        if (message.kind === "hello") {
          if (message.key !== keyText(stream.key)) return refuse("another key");
          if (message.migrationId !== stream.migrationId) return refuse("another migration");
          if (JSON.stringify(message.settings) !== JSON.stringify(side.settings)) return refuse("other settings");
          if (taken || over) return refuse("the stream has begun already");
          taken = connection;
          listener.close();
          void connection.send({ kind: "welcome" } satisfies StreamMessage, smallMessageBytes);
          return;
        }
        if (connection !== taken || over) return;
        if (message.kind === "pages") for (const { page, version } of message.pages) guest.pages[page] = version;
        if (message.kind === "mark")
          void connection.send({ kind: "marked" } satisfies StreamMessage, smallMessageBytes);
        if (message.kind === "final") {
          guest.device = { ...message.device };
          over = true;
          events.loaded();
          void connection.send({ kind: "loaded" } satisfies StreamMessage, smallMessageBytes);
        }
      },
      closed: (detail) => {
        if (connection !== taken || over) return;
        over = true;
        events.failed(detail);
      },
    });
  });

  return {
    endpoint: listener.endpoint,
    end: (detail) => {
      over = true;
      listener.close();
      taken?.close(detail);
    },
  };
}
