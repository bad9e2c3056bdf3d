// The stream's connection: TLS 1.3 with a pre-shared key that the two agents derived, fresh for this one migration.
// There is no other mode. The key is looked up by the migration's id, so nothing is said to a stranger.
import { randomBytes } from "node:crypto";
import net from "node:net";
import { duplexPair } from "node:stream";
import tls from "node:tls";
import type { StreamEndpoint } from "../../../schemas/peer.ts";
import type { IncomingStream, OutgoingStream } from "../../ports/hypervisor.ts";
import { isSameAddress } from "../address.ts";

const transport = {
  minVersion: "TLSv1.3",
  maxVersion: "TLSv1.3",
  ciphers: "TLS_AES_128_GCM_SHA256",
} as const;
const handshakeMs = 5000;
const keyBytes = 32;

function mustBeKey(key: Uint8Array): void {
  if (key.byteLength !== keyBytes) throw new Error(`a stream key has ${keyBytes} bytes, not ${key.byteLength}`);
}

/** Connects from the local address, and nothing has been sent in the clear when this resolves.
 *  @throws when the peer cannot be reached or does not hold the key */
export function connectStream(stream: OutgoingStream): Promise<tls.TLSSocket> {
  mustBeKey(stream.key);
  const key = Buffer.from(stream.key);
  return new Promise((resolve, reject) => {
    const socket = net.connect({
      host: stream.endpoint.address,
      port: stream.endpoint.port,
      localAddress: stream.localAddress,
    });
    const secured = tls.connect({
      ...transport,
      socket,
      // Who holds the key is the peer; there are no certificates.
      checkServerIdentity: () => undefined,
      pskCallback: () => ({ psk: key, identity: stream.migrationId }),
    });
    const timer = setTimeout(() => secured.destroy(new Error("the peer does not answer")), handshakeMs);
    const fail = (error: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(new Error(`stream to ${stream.endpoint.address}: ${reason(error)}`));
    };
    socket.once("error", fail);
    secured.once("error", fail);
    secured.once("close", () => fail(new Error("closed by the peer")));
    secured.once("secureConnect", () => {
      clearTimeout(timer);
      secured.removeAllListeners("close");
      secured.removeListener("error", fail);
      socket.removeListener("error", fail);
      key.fill(0);
      if (!isEncrypted(secured)) return fail(new Error("not encrypted"));
      socket.setNoDelay(true);
      resolve(secured);
    });
  });
}

export type StreamListener = { endpoint: StreamEndpoint; close(): void };

/** Listens for the one stream. Other addresses are turned away at once, other keys by the handshake; the listener
 *  closes with the first connection that holds the key, or with `close`. */
export function listenForStream(
  stream: IncomingStream,
  onConnected: (socket: tls.TLSSocket) => void,
): Promise<StreamListener> {
  mustBeKey(stream.key);
  const key = Buffer.from(stream.key);
  const sockets = new Set<net.Socket>();
  const handshakes = tls.createServer({
    ...transport,
    handshakeTimeout: handshakeMs,
    pskCallback: (_socket, identity) => (identity === stream.migrationId ? key : null),
  });
  const listener = net.createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    if (!isSameAddress(socket.remoteAddress, stream.peerAddress) || sockets.size >= 8) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    handshakes.emit("connection", socket);
  });
  const close = (except?: net.Socket): void => {
    listener.close();
    for (const socket of sockets) if (socket !== except) socket.destroy();
    key.fill(0);
  };
  let taken = false;
  handshakes.on("tlsClientError", (_error, socket) => socket.destroy());
  handshakes.on("secureConnection", (secured) => {
    if (taken || !isEncrypted(secured)) {
      secured.destroy();
      return;
    }
    taken = true;
    const own = [...sockets].find((socket) => socket.remotePort === secured.remotePort);
    close(own);
    onConnected(secured);
  });
  return new Promise((resolve, reject) => {
    listener.once("error", (error) => reject(new Error(`listening on ${stream.address}: ${reason(error)}`)));
    listener.listen(0, stream.address, () => {
      const address = listener.address();
      if (address === null || typeof address === "string") return reject(new Error("the listener has no port"));
      resolve({ endpoint: { address: stream.address, port: address.port }, close: () => close() });
    });
  });
}

/** One handshake with ourselves, without any network: the first of a process is slow. */
export async function rehearseHandshake(): Promise<void> {
  const key = randomBytes(keyBytes);
  const [here, there] = duplexPair();
  const server = tls.createServer({ ...transport, pskCallback: () => key });
  server.emit("connection", there);
  const client = tls.connect({
    ...transport,
    socket: here,
    checkServerIdentity: () => undefined,
    pskCallback: () => ({ psk: key, identity: "rehearsal" }),
  });
  await new Promise<void>((resolve) => {
    client.on("error", () => resolve());
    client.once("secureConnect", () => resolve());
  });
  client.destroy();
  there.destroy();
}

/** What the socket itself says. */
export const isEncrypted = (socket: tls.TLSSocket): boolean =>
  socket.getProtocol() === "TLSv1.3" && socket.getCipher().name === transport.ciphers;

/** OpenSSL's own words go into no report: they name files and lines of its source. */
function reason(error: Error): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code?.startsWith("ERR_SSL") === true || code === "ECONNRESET") return "refused by the peer (address or key)";
  return code ?? error.message;
}
