// The peer link over TCP, on the migration network only: a handshake of our own (peer-handshake.ts), then TLS with the
// key that it gave, then messages as lines of JSON. An empty line is a sign of life.
import { connect, createServer, type Server, type Socket } from "node:net";
import { connect as connectTls, TLSSocket } from "node:tls";
import { peerFeatures, peerVersions } from "../../schemas/peer.ts";
import { type Sign, type Signed, type Verify, verifierFrom } from "../../schemas/signing.ts";
import type { Clock } from "../ports/clock.ts";
import { type PeerIdentity, type PeerLink, type PeerLinks, PeerRefused } from "../ports/peer-link.ts";
import { isSameAddress } from "./address.ts";
import { readLine } from "./line-socket.ts";
import { type LinkKeys, type Role, shakeHands } from "./peer-handshake.ts";
import { TcpPeerLink } from "./tcp-peer-link-messages.ts";

export type TcpPeerLinksOptions = {
  port: number;
  incarnation: string;
  sign: Sign;
  certificate: Signed;
  /** The control plane's Ed25519 key, raw, base64url. */
  verificationKey: string;
  clock: Clock;
  versions?: readonly number[];
  features?: readonly string[];
  handshakeTimeoutMs?: number;
};

/** A hello carries two signed documents; nobody unknown may make us keep more. */
const helloLimitBytes = 16 * 1024;
const handshakesAtOnce = 4;
const usualHandshakeMs = 5000;
/** A peer that was refused has so long to hear why and to close its side; then its socket goes all the same. */
const partingMs = 500;
const tls = { minVersion: "TLSv1.3", maxVersion: "TLSv1.3", ciphers: "TLS_AES_128_GCM_SHA256" } as const;

export async function createTcpPeerLinks(options: TcpPeerLinksOptions): Promise<PeerLinks> {
  const verify = await verifierFrom(options.verificationKey);
  return {
    connect: (identity, timeoutMs) => connectToPeer(identity, timeoutMs, options, verify),
    expect: (identity, onLink) => expectPeer(identity, onLink, options, verify),
  };
}

async function connectToPeer(
  identity: PeerIdentity,
  timeoutMs: number,
  options: TcpPeerLinksOptions,
  verify: Verify,
): Promise<PeerLink> {
  const { clock, handshakeTimeoutMs = usualHandshakeMs } = options;
  const timeout = new AbortController();
  const { address } = identity.assignment.destination;
  const stopTimer = clock.after(timeoutMs, () =>
    timeout.abort(new Error(`${address} could not be reached within ${timeoutMs} ms`)),
  );
  try {
    for (let pauseMs = 10; ; pauseMs = Math.min(50, pauseMs * 2)) {
      // One connection that fell silent must not cost the time of all that could follow.
      const attempt = new AbortController();
      const stopAttempt = clock.after(handshakeTimeoutMs, () =>
        attempt.abort(new Error("the handshake took too long")),
      );
      try {
        const signal = AbortSignal.any([timeout.signal, attempt.signal]);
        const socket = await openSocket(identity, options.port, signal);
        return await secure(socket, "source", identity, options, verify, signal);
      } catch (error) {
        if (error instanceof PeerRefused || timeout.signal.aborted) throw error;
        await clock.sleep(pauseMs, timeout.signal).catch(() => {});
        if (timeout.signal.aborted) throw new Error(timeout.signal.reason.message, { cause: error });
      } finally {
        stopAttempt();
      }
    }
  } finally {
    stopTimer();
  }
}

function openSocket(identity: PeerIdentity, port: number, signal: AbortSignal): Promise<Socket> {
  const { source, destination } = identity.assignment;
  return new Promise((resolve, reject) => {
    const socket = connect({ host: destination.address, port, localAddress: source.address, noDelay: true });
    const onAbort = () => socket.destroy(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("error", reject);
    socket.once("connect", () => {
      signal.removeEventListener("abort", onAbort);
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

async function expectPeer(
  identity: PeerIdentity,
  onLink: (link: PeerLink) => void,
  options: TcpPeerLinksOptions,
  verify: Verify,
): Promise<() => Promise<void>> {
  const { source, destination } = identity.assignment;
  const { clock, handshakeTimeoutMs = usualHandshakeMs } = options;
  const stopped = new AbortController();
  const inHandshake = new Set<Socket>();
  let current: PeerLink | null = null;

  const server = createServer({ noDelay: true }, async (socket) => {
    socket.on("error", () => {}); // Whoever it was is gone; the handshake ends by itself.
    if (!isSameAddress(socket.remoteAddress, source.address) || inHandshake.size >= handshakesAtOnce) {
      return socket.destroy();
    }
    inHandshake.add(socket);
    const timeout = new AbortController();
    const stopTimer = clock.after(handshakeTimeoutMs, () => timeout.abort(new Error("the handshake took too long")));
    try {
      const signal = AbortSignal.any([stopped.signal, timeout.signal]);
      const link = await secure(socket, "destination", identity, options, verify, signal);
      current?.close(); // A source that connects anew has lost the link before.
      current = link;
      onLink(link);
    } catch {
      // A stranger, or a link that broke before it was one: the peer has been told what there is to tell.
    } finally {
      stopTimer();
      inHandshake.delete(socket);
    }
  });
  await listening(server, destination.address, options.port).catch((error: Error) => {
    throw new Error(`${error.message} (DROVER_MIGRATION_ADDRESS and DROVER_PEER_PORT of ${destination.hostId})`);
  });
  return () => {
    stopped.abort(new Error("no peer is expected any more"));
    for (const socket of inHandshake) socket.destroy();
    return new Promise((resolve) => {
      server.close(() => resolve());
      if (server.listening === false) resolve();
    });
  };
}

function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, exclusive: true }, () => {
      server.off("error", reject);
      server.on("error", () => {}); // Accepting failed once; the next connection is accepted again.
      resolve();
    });
  });
}

async function secure(
  socket: Socket,
  role: Role,
  identity: PeerIdentity,
  options: TcpPeerLinksOptions,
  verify: Verify,
  signal: AbortSignal,
): Promise<PeerLink> {
  const ignore = () => {};
  socket.on("error", ignore);
  try {
    const channel = {
      writeLine: (line: string) => void socket.write(`${line}\n`),
      readLine: () => readLine(socket, helloLimitBytes, signal),
    };
    const { incarnation, sign, certificate, versions = peerVersions, features = peerFeatures, clock } = options;
    const keys = await shakeHands(channel, role, identity, {
      incarnation,
      sign,
      certificate,
      verify,
      versions,
      features,
    });
    const encrypted = await encrypt(socket, role, keys, identity.assignment.migrationId, signal);
    return new TcpPeerLink(encrypted, keys, clock);
  } catch (error) {
    if (error instanceof PeerRefused) await part(socket, options.clock, signal);
    else socket.destroy();
    throw error;
  }
}

/** What was said last still goes out. What the peer sends after it is read by nobody, so its end would never be seen. */
function part(socket: Socket, clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) socket.destroy();
    if (socket.destroyed) return resolve();
    const destroy = () => void socket.destroy();
    const stopTimer = clock.after(partingMs, destroy);
    signal.addEventListener("abort", destroy, { once: true });
    socket.once("close", () => {
      stopTimer();
      signal.removeEventListener("abort", destroy);
      resolve();
    });
    socket.resume();
    socket.end();
  });
}

/** TLS on the same socket. Only who holds the key can finish it, so its end is the proof that both do. */
function encrypt(
  socket: Socket,
  role: Role,
  keys: LinkKeys,
  identity: string,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const psk = Buffer.from(keys.linkKey);
  const asServer = { isServer: true, pskCallback: (_: TLSSocket, name: string) => (name === identity ? psk : null) };
  const encrypted =
    role === "destination"
      ? new TLSSocket(socket, { ...tls, ...asServer } as object)
      : connectTls({ ...tls, socket, pskCallback: () => ({ psk, identity }), checkServerIdentity: () => undefined });
  return new Promise((resolve, reject) => {
    const onError = (error: Error) => finish(() => reject(error));
    const onClose = () => finish(() => reject(new Error("the peer closed the connection")));
    const onAbort = () => finish(() => reject(signal.reason));
    const finish = (act: () => void) => {
      encrypted.off("error", onError);
      encrypted.off("close", onClose);
      signal.removeEventListener("abort", onAbort);
      act();
    };
    encrypted.once("error", onError);
    encrypted.once("close", onClose);
    signal.addEventListener("abort", onAbort, { once: true });
    encrypted.once("secure", () => finish(() => resolve(encrypted)));
  });
}
