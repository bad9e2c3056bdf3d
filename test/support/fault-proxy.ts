// A TCP proxy that does one thing wrong, at one byte of one direction of the first connection. Later connections pass
// whole, so that what comes after a fault can be watched as well.
import { connect, createServer, type Socket } from "node:net";
import { unitSplitter } from "./wire-units.ts";

export type Fault =
  | { kind: "none" }
  /** The connection ends in order, as if by the other end. */
  | { kind: "cut"; at: number }
  | { kind: "reset"; at: number }
  | { kind: "flip"; at: number; bit: number }
  /** Nothing of this direction arrives any more, and nobody is told, not even of its end. */
  | { kind: "hold"; at: number }
  /** The same for both directions, as when the other host's power fails. */
  | { kind: "half-open"; at: number }
  | { kind: "trickle"; at: number; bytesPerSecond: number }
  | { kind: "delay"; at: number; delayMs: number }
  /** Bytes that were not sent, or were sent already. */
  | { kind: "insert"; at: number; bytes: Buffer }
  /** One line or TLS record (wire-units.ts), counted from 0: it is lost, comes twice, or after the one behind it. */
  | { kind: "unit"; index: number; act: "drop" | "repeat" | "swap" };

export type Direction = "forth" | "back";

export type FaultProxy = {
  port: number;
  /** Bytes received for each direction of the first connection. */
  readonly seen: { [D in Direction]: number };
  /** What came on the first connection, if asked for. */
  readonly recorded: { [D in Direction]: Buffer[] };
  /** That reached the other end. */
  readonly connections: number;
  /** The fault's byte was reached. */
  readonly hit: boolean;
  close(): Promise<void>;
};

type Target = { address: string; port: number };

export type FaultProxyOptions = {
  listen: { address: string; port: number };
  /** Asked anew for each connection where it is not known before. */
  to: Target | (() => Target);
  /** From which the proxy connects on: each end sees its peer's own address. */
  from: string;
  fault: Fault;
  direction: Direction;
  record?: boolean;
};

export async function startFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const { listen, to, from, fault, direction, record = false } = options;
  const sockets = new Set<Socket>();
  const timers = new Set<NodeJS.Timeout>();
  const seen = { forth: 0, back: 0 };
  const recorded: FaultProxy["recorded"] = { forth: [], back: [] };
  let connections = 0;
  let hit = false;

  const later = (delayMs: number, act: () => void): void => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      act();
    }, delayMs);
    timers.add(timer);
  };

  const isSilent = (way: Direction): boolean =>
    hit && ((fault.kind === "hold" && way === direction) || fault.kind === "half-open");

  /** Bytes of the faulty direction from the fault on. */
  const harm = (near: Socket, far: Socket, rest: Buffer, isFirst: boolean): void => {
    switch (fault.kind) {
      case "none":
      case "unit":
        far.write(rest);
        return;
      case "cut":
        far.end();
        near.end();
        return;
      case "reset":
        far.resetAndDestroy();
        near.resetAndDestroy();
        return;
      case "flip":
        if (isFirst) rest.writeUInt8(rest.readUInt8(0) ^ (1 << fault.bit), 0);
        far.write(rest);
        return;
      case "hold":
      case "half-open":
        return;
      case "trickle":
        near.pause();
        for (const [index, byte] of rest.entries())
          later(((index + 1) * 1000) / fault.bytesPerSecond, () => {
            if (far.writable) far.write(Buffer.of(byte));
            if (index === rest.length - 1) near.resume();
          });
        return;
      case "delay":
        if (isFirst) near.pause();
        later(isFirst ? fault.delayMs : 0, () => {
          if (far.writable) far.write(rest);
          near.resume();
        });
        return;
      case "insert":
        if (isFirst) far.write(fault.bytes);
        far.write(rest);
        return;
    }
  };

  const disorder = ({ index, act }: Extract<Fault, { kind: "unit" }>, far: Socket): ((chunk: Buffer) => void) => {
    let count = 0;
    let late: Buffer | null = null;
    return unitSplitter((unit) => {
      const isHit = count++ === index;
      if (isHit) hit = true;
      if (isHit && act === "swap") late = unit;
      else if (!isHit || act === "repeat") far.write(unit);
      if (isHit && act === "repeat") far.write(unit);
      if (!isHit && late) {
        far.write(late);
        late = null;
      }
    });
  };

  const carry = (near: Socket, far: Socket, way: Direction, isFaulty: boolean): void => {
    const units = fault.kind === "unit" && isFaulty && way === direction ? disorder(fault, far) : null;
    near.on("data", (chunk: Buffer) => {
      const begin = seen[way];
      if (isFaulty) seen[way] += chunk.length;
      if (record && isFaulty) recorded[way].push(Buffer.from(chunk));
      if (units) return units(chunk);
      if (isFaulty && isSilent(way)) return;
      if (!isFaulty || way !== direction || fault.kind === "none" || fault.kind === "unit") {
        if (!far.write(chunk)) pauseUntilDrained(near, far);
        return;
      }
      const until = Math.max(0, Math.min(chunk.length, fault.at - begin));
      if (until > 0 && !far.write(chunk.subarray(0, until))) pauseUntilDrained(near, far);
      if (until === chunk.length) return;
      const isFirst = !hit;
      hit = true;
      harm(near, far, Buffer.from(chunk.subarray(until)), isFirst);
    });
    // Behind what is still on its way.
    const follow = (act: () => void): void => {
      if (isFaulty && isSilent(way)) return;
      if (isFaulty && way === direction && (fault.kind === "delay" || fault.kind === "trickle")) later(0, act);
      else act();
    };
    near.on("end", () => follow(() => far.end()));
    near.on("close", (hadError) => follow(() => (hadError ? far.destroy() : far.destroySoon())));
  };

  const server = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
    const { address: host, port } = typeof to === "function" ? to() : to;
    const far = connect({ host, port, localAddress: from, noDelay: true, allowHalfOpen: true });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => sockets.delete(socket));
    }
    // Whoever is not reached yet is tried again: the first connection is the first that both ends have.
    const forget = () => [near, far].forEach((socket) => void socket.destroy());
    near.once("close", forget);
    far.once("close", forget);
    far.once("connect", () => {
      near.off("close", forget);
      far.off("close", forget);
      const isFaulty = connections++ === 0;
      carry(near, far, "forth", isFaulty);
      carry(far, near, "back", isFaulty);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: listen.address, port: listen.port }, resolve);
  });
  const address = server.address();
  return {
    port: address !== null && typeof address === "object" ? address.port : listen.port,
    seen,
    recorded,
    get connections() {
      return connections;
    },
    get hit() {
      return hit;
    },
    close() {
      for (const timer of timers) clearTimeout(timer);
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

function pauseUntilDrained(near: Socket, far: Socket): void {
  near.pause();
  far.once("drain", () => near.resume());
}
