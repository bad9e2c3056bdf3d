// Peer links in memory, for simulation: every delivery goes through a scheduler of the simulation's own, which may
// delay it, cut it off, or do it twice. What the handshake checks is checked here too, the cryptography apart.
import { isDeepStrictEqual } from "node:util";
import type { PeerMessage } from "../../schemas/peer.ts";
import { PeerMessage as PeerMessageSchema, peerFeatures, peerVersions } from "../../schemas/peer.ts";
import type { Clock } from "../ports/clock.ts";
import { type PeerIdentity, type PeerLink, type PeerLinks, PeerRefused } from "../ports/peer-link.ts";
import { agreedUpon } from "./peer-identity.ts";

export type Delivery = { migrationId: string; from: string; to: string; message: PeerMessage };

export type MemoryPeerNetworkOptions = {
  clock: Clock;
  /** Carries a message: call `deliver` now, later, twice or never. Default: at once, in order. */
  carry?: (delivery: Delivery, deliver: () => void) => void;
  /** Makes the streams' keys. Default: they count up. */
  randomBytes?: (length: number) => Uint8Array;
};

type Listener = { host: MemoryHost; identity: PeerIdentity; onLink: (link: PeerLink) => void; current: LinkEnd | null };
type MemoryHost = {
  address: string;
  incarnation: string;
  versions: readonly number[];
  features: readonly string[];
  isGone: boolean;
};

const tryAgainMs = 10;

export class MemoryPeerNetwork {
  readonly #options: MemoryPeerNetworkOptions;
  readonly #listeners = new Map<string, Listener>();
  readonly #links = new Set<{ addresses: string[]; cut: (detail: string) => void }>();
  readonly #cut = new Set<string>();
  readonly #hosts = new Map<string, MemoryHost>();
  #linkCount = 0;

  constructor(options: MemoryPeerNetworkOptions) {
    this.#options = options;
  }

  /** The links as the host with this migration address makes them. */
  at(
    host: Pick<MemoryHost, "address" | "incarnation"> & Partial<Pick<MemoryHost, "versions" | "features">>,
  ): PeerLinks {
    const own: MemoryHost = { versions: peerVersions, features: peerFeatures, ...host, isGone: false };
    this.#hosts.set(host.address, own);
    return {
      connect: (identity, timeoutMs) => this.#connect(own, identity, timeoutMs),
      expect: async (identity, onLink) => this.#expect(own, identity, onLink),
    };
  }

  /** Cuts every link between the two addresses and lets no new one come about until `mend`. */
  cut(a: string, b: string): void {
    this.bar(a, b);
    for (const link of this.#links) if (pair(...(link.addresses as [string, string])) === pair(a, b)) link.cut("cut");
  }

  /** Lets no new link come about until `mend`; those there are stay. */
  bar(a: string, b: string): void {
    this.#cut.add(pair(a, b));
  }

  /** Ends the links of an address, as when the host at the other end has heard nothing for too long. */
  endLinks(address: string): void {
    for (const link of this.#links) if (link.addresses.includes(address)) link.cut("the peer is silent");
  }

  mend(a: string, b: string): void {
    this.#cut.delete(pair(a, b));
  }

  /** An agent or its host is gone: its links close at the other end, its listeners are gone. */
  hostDied(address: string): void {
    const host = this.#hosts.get(address);
    if (host) host.isGone = true;
    for (const [key, listener] of this.#listeners) if (listener.host.address === address) this.#listeners.delete(key);
    for (const link of this.#links) if (link.addresses.includes(address)) link.cut("the peer is gone");
  }

  async #expect(host: MemoryHost, identity: PeerIdentity, onLink: (link: PeerLink) => void) {
    const key = keyOf(identity);
    if (host.address !== identity.assignment.destination.address) throw new Error("not the destination's address");
    const listener: Listener = { host, identity, onLink, current: null };
    this.#listeners.set(key, listener);
    return async () => {
      if (this.#listeners.get(key) === listener) this.#listeners.delete(key);
    };
  }

  async #connect(host: MemoryHost, identity: PeerIdentity, timeoutMs: number): Promise<PeerLink> {
    const { clock } = this.#options;
    const { source, destination } = identity.assignment;
    const endMs = clock.monotonicMs() + timeoutMs;
    while (true) {
      if (host.isGone) throw new Error("this host is gone");
      const listener = this.#cut.has(pair(source.address, destination.address))
        ? undefined
        : this.#listenerAt(destination.address);
      if (listener) return this.#shakeHands(host, identity, listener);
      if (clock.monotonicMs() >= endMs) throw new Error(`${destination.address} cannot be reached`);
      await clock.sleep(tryAgainMs);
    }
  }

  #listenerAt(address: string): Listener | undefined {
    return [...this.#listeners.values()].find((listener) => listener.host.address === address);
  }

  #shakeHands(source: MemoryHost, identity: PeerIdentity, listener: Listener): PeerLink {
    const { assignment } = identity;
    const isSame = isDeepStrictEqual(agreedUpon(assignment), agreedUpon(listener.identity.assignment));
    if (!isSame) throw new PeerRefused("assignment-differs: the peer holds another assignment");
    if (source.address !== assignment.source.address) throw new PeerRefused("stranger: not the source's address");
    const version = Math.max(...source.versions.filter((own) => listener.host.versions.includes(own)));
    if (!Number.isFinite(version))
      throw new PeerRefused("no-common-version: no version of the peer protocol in common");
    const missing = listener.host.features.find((feature) => !source.features.includes(feature));
    if (missing) throw new PeerRefused(`feature-missing: ${missing}`);

    const streamKey = this.#newStreamKey();
    const [near, far] = this.#link(source, listener.host, assignment.migrationId, streamKey, version);
    listener.current?.close();
    listener.current = far;
    queueMicrotask(() => listener.onLink(far));
    return near;
  }

  #newStreamKey(): Uint8Array {
    if (this.#options.randomBytes) return this.#options.randomBytes(32);
    const key = new Uint8Array(32);
    new DataView(key.buffer).setUint32(0, ++this.#linkCount);
    return key;
  }

  #link(source: MemoryHost, destination: MemoryHost, migrationId: string, streamKey: Uint8Array, version: number) {
    const carry = this.#options.carry ?? ((_: Delivery, deliver: () => void) => queueMicrotask(deliver));
    const cut = (detail: string) => {
      this.#links.delete(registered);
      for (const end of [near, far]) end.closed(detail);
    };
    const end = (from: MemoryHost, to: MemoryHost, other: () => LinkEnd) =>
      new LinkEnd({
        streamKey,
        version,
        peerIncarnation: to.incarnation,
        onSend: (message) =>
          carry({ migrationId, from: from.address, to: to.address, message }, () => other().received(message)),
        onClose: () => queueMicrotask(() => cut("closed by the peer")),
      });
    const near: LinkEnd = end(source, destination, () => far);
    const far: LinkEnd = end(destination, source, () => near);
    const registered = { addresses: [source.address, destination.address], cut };
    this.#links.add(registered);
    return [near, far] as const;
  }
}

type LinkEndOptions = {
  streamKey: Uint8Array;
  version: number;
  peerIncarnation: string;
  onSend: (message: PeerMessage) => void;
  onClose: () => void;
};

class LinkEnd implements PeerLink {
  readonly streamKey: Uint8Array;
  readonly peerIncarnation: string;
  readonly version: number;
  readonly #options: LinkEndOptions;
  readonly #waiting: PeerMessage[] = [];
  #on: Parameters<PeerLink["listen"]>[0] | null = null;
  #closedBecause: string | null = null;
  #told = false;

  constructor(options: LinkEndOptions) {
    this.#options = options;
    this.streamKey = options.streamKey.slice();
    this.peerIncarnation = options.peerIncarnation;
    this.version = options.version;
  }

  send(message: PeerMessage): void {
    if (this.#closedBecause === null) this.#options.onSend(PeerMessageSchema.parse(structuredClone(message)));
  }

  listen(on: Parameters<PeerLink["listen"]>[0]): void {
    this.#on = on;
    for (const message of this.#waiting.splice(0)) on.message(message);
    this.#tell();
  }

  close(): void {
    if (this.#closedBecause !== null) return;
    this.closed("closed");
    this.#options.onClose();
  }

  received(message: PeerMessage): void {
    if (this.#closedBecause !== null) return;
    if (this.#on) this.#on.message(message);
    else this.#waiting.push(message);
  }

  closed(detail: string): void {
    this.#closedBecause ??= detail;
    this.#tell();
  }

  #tell(): void {
    if (this.#told || this.#closedBecause === null || !this.#on) return;
    this.#told = true;
    this.#on.closed(this.#closedBecause);
  }
}

const keyOf = (identity: PeerIdentity) =>
  `${identity.assignment.destination.address} ${identity.assignment.migrationId}`;
const pair = (a: string, b: string) => [a, b].toSorted().join(" ");
