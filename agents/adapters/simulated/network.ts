// The migration network of a simulated cluster: ordered, reliable connections that take time by size, and that can be
// slowed or cut on demand. Messages are handed over as they are; only their declared size counts.

import type { StreamEndpoint } from "../../../schemas/peer.ts";
import type { Clock } from "../../ports/clock.ts";

export type LinkConditions = { bandwidthBytesPerSecond: number; latencyMs: number };

/** silent: nothing arrives and nobody is told, as when a switch dies; otherwise both ends see a reset at once. */
export type Cut = { silent: boolean };

export interface SimulatedNetwork {
  /** @returns the endpoint, and how to stop listening */
  listen(address: string, onConnection: (connection: Connection) => void): { endpoint: StreamEndpoint; close(): void };
  /** @throws when nobody listens there, or the way is cut */
  connect(localAddress: string, endpoint: StreamEndpoint): Promise<Connection>;
  /** Both directions between two addresses, from now on. */
  setConditions(one: string, other: string, conditions: Partial<LinkConditions>): void;
  cut(one: string, other: string, cut?: Cut): void;
  heal(one: string, other: string): void;
  /** What is under way between the two stays under way until it is let go on. */
  hold(one: string, other: string): void;
  letGoOn(one: string, other: string): void;
}

export interface Connection {
  readonly remoteAddress: string;
  /** Resolves when the bytes have left; what is sent on a connection that ended is lost. */
  send(message: unknown, bytes: number): Promise<void>;
  listen(on: { message: (message: unknown) => void; closed: (detail: string) => void }): void;
  /** The other end is told. */
  close(detail: string): void;
}

type End = {
  connection: Connection;
  deliver: (message: unknown) => void;
  /** Ends this end only. */
  end: (detail: string) => void;
};

export function createSimulatedNetwork(options: {
  clock: Clock;
  conditions?: Partial<LinkConditions>;
  /** How long an end of a silent connection waits before it gives up. */
  silenceMs?: number;
}): SimulatedNetwork {
  const { clock, silenceMs = 5000 } = options;
  const usual: LinkConditions = { bandwidthBytesPerSecond: 500_000_000, latencyMs: 0.2, ...options.conditions };
  const listeners = new Map<string, (connection: Connection) => void>();
  const conditions = new Map<string, LinkConditions>();
  const cuts = new Map<string, Cut>();
  const held = new Map<string, (() => void)[]>();
  const open = new Set<{ pair: string; ends: [End, End] }>();
  const linkFreeAtMs = new Map<string, number>(); // Connections of one direction share its bandwidth.
  let nextPort = 49_152;

  const pairOf = (one: string, other: string): string => [one, other].sort().join(" ");

  function createPair(from: string, to: string): [End, End] {
    const pair = pairOf(from, to);
    const makeEnd = (local: string, remote: string, other: () => End): End => {
      let ended: string | null = null;
      let handlers: Parameters<Connection["listen"]>[0] | null = null;
      const early: unknown[] = [];
      let arrivesAtMs = 0; // What was sent last; nothing overtakes it, also when the way becomes quicker.
      const end = (detail: string) => {
        if (ended !== null) return;
        ended = detail;
        open.delete(entry);
        handlers?.closed(detail);
      };
      return {
        end,
        deliver: (message) => {
          if (ended !== null) return;
          if (handlers) handlers.message(message);
          else early.push(message);
        },
        connection: {
          remoteAddress: remote,
          send: (message, bytes) =>
            new Promise((resolve) => {
              const link = conditions.get(pair) ?? usual;
              const direction = `${local} ${remote}`;
              const nowMs = clock.monotonicMs();
              const startMs = Math.max(nowMs, linkFreeAtMs.get(direction) ?? 0);
              const leftMs = startMs + (bytes / link.bandwidthBytesPerSecond) * 1000;
              linkFreeAtMs.set(direction, leftMs);
              clock.after(leftMs - nowMs, resolve);
              arrivesAtMs = Math.max(arrivesAtMs, leftMs + link.latencyMs);
              const deliver = () => {
                if (ended === null && !cuts.has(pair)) other().deliver(message);
              };
              clock.after(arrivesAtMs - nowMs, () => {
                const waiting = held.get(pair);
                if (waiting) waiting.push(deliver);
                else deliver();
              });
            }),
          listen: (on) => {
            handlers = on;
            for (const message of early.splice(0)) on.message(message);
            if (ended !== null) on.closed(ended);
          },
          close: (detail) => {
            if (ended !== null) return;
            ended = detail;
            open.delete(entry);
            const link = conditions.get(pair) ?? usual;
            // What was sent before the close still arrives before it.
            const freeAtMs = Math.max(clock.monotonicMs(), linkFreeAtMs.get(`${local} ${remote}`) ?? 0);
            const behindMs = Math.max(arrivesAtMs, freeAtMs + link.latencyMs) - clock.monotonicMs();
            const silent = cuts.get(pair)?.silent === true;
            clock.after(silent ? silenceMs : behindMs, () => other().end(detail));
          },
        },
      };
    };
    const near: End = makeEnd(from, to, () => far);
    const far: End = makeEnd(to, from, () => near);
    const entry: { pair: string; ends: [End, End] } = { pair, ends: [near, far] };
    open.add(entry);
    return entry.ends;
  }

  return {
    listen: (address, onConnection) => {
      const endpoint = { address, port: nextPort };
      nextPort = nextPort === 65_535 ? 49_152 : nextPort + 1;
      const name = `${endpoint.address}:${endpoint.port}`;
      listeners.set(name, onConnection);
      return { endpoint, close: () => void listeners.delete(name) };
    },
    connect: async (localAddress, endpoint) => {
      const pair = pairOf(localAddress, endpoint.address);
      const link = conditions.get(pair) ?? usual;
      await clock.sleep(link.latencyMs * 2);
      const cut = cuts.get(pair);
      if (cut) {
        if (cut.silent) await clock.sleep(silenceMs);
        throw new Error(`connecting to ${endpoint.address}: ${cut.silent ? "no answer" : "reset"}`);
      }
      const accept = listeners.get(`${endpoint.address}:${endpoint.port}`);
      if (!accept) throw new Error(`connecting to ${endpoint.address}:${endpoint.port}: refused`);
      const [near, far] = createPair(localAddress, endpoint.address);
      accept(far.connection);
      return near.connection;
    },
    setConditions: (one, other, changed) => {
      const pair = pairOf(one, other);
      const before = conditions.get(pair) ?? usual;
      const link = { ...before, ...changed };
      conditions.set(pair, link);
      // What waits for its turn is carried at the new pace.
      const slower = before.bandwidthBytesPerSecond / link.bandwidthBytesPerSecond;
      const nowMs = clock.monotonicMs();
      for (const direction of [`${one} ${other}`, `${other} ${one}`]) {
        const queuedMs = (linkFreeAtMs.get(direction) ?? 0) - nowMs;
        if (queuedMs > 0) linkFreeAtMs.set(direction, nowMs + queuedMs * slower);
      }
    },
    cut: (one, other, cut = { silent: false }) => {
      const pair = pairOf(one, other);
      cuts.set(pair, cut);
      for (const entry of [...open]) {
        if (entry.pair !== pair) continue;
        for (const end of entry.ends) clock.after(cut.silent ? silenceMs : 0, () => end.end("connection reset"));
      }
    },
    heal: (one, other) => void cuts.delete(pairOf(one, other)),
    hold: (one, other) => {
      const pair = pairOf(one, other);
      if (!held.has(pair)) held.set(pair, []);
    },
    letGoOn: (one, other) => {
      const pair = pairOf(one, other);
      const waiting = held.get(pair) ?? [];
      held.delete(pair);
      for (const deliver of waiting) deliver();
    },
  };
}
