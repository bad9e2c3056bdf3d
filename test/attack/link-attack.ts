// One peer link through a fault proxy: handshake, messages both ways, close. Both ends are the production adapters.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "../../agents/adapters/system-clock.ts";
import { createTcpPeerLinks } from "../../agents/adapters/tcp-peer-link.ts";
import { messageOf } from "../../agents/message-of.ts";
import { type PeerIdentity, type PeerLink, PeerRefused } from "../../agents/ports/peer-link.ts";
import { findFreePort } from "../../infra/local/free-port.ts";
import type { PeerMessage } from "../../schemas/peer.ts";
import { signDocument } from "../../schemas/signing.ts";
import { makeAssignment, makeAuthority, makeHost, type TestAuthority, type TestHost } from "../support/assignments.ts";
import { type Direction, type Fault, type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";

export type LinkEnds = {
  /** How many connections became a link at the destination, and whether the first did. */
  links: number;
  source: "linked" | "refused" | "unreachable";
  /** On the faulty connection every message of both ends arrived. */
  isWhole: boolean;
  /** Every message arrived, on this connection or on a later one. */
  arrived: boolean;
  /** Why the source got no link, or lost the one it had; null when it had it until we closed it. */
  why: string | null;
  durationMs: number;
  seen: FaultProxy["seen"];
  hit: boolean;
  connections: number;
  recorded: FaultProxy["recorded"];
};

const fromSource: PeerMessage[] = [
  { kind: "ask-gate", ask: 1 },
  { kind: "guest-stands", resets: 2 },
  { kind: "source-complete" },
];
const fromDestination: PeerMessage[] = [
  { kind: "ready", endpoint: { address: "127.0.0.1", port: 4242 } },
  { kind: "gate-open", ask: 1 },
  { kind: "loaded" },
];

type Heard = { messages: PeerMessage[]; whole: Promise<void>; closed: Promise<string> };

function hear(link: PeerLink, expected: number): Heard {
  const messages: PeerMessage[] = [];
  const whole = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<string>();
  link.listen({
    message: (message) => {
      messages.push(message);
      if (messages.length === expected) whole.resolve();
    },
    closed: closed.resolve,
  });
  return { messages, whole: whole.promise, closed: closed.promise };
}

export class LinkAttack {
  readonly #authority: TestAuthority;
  readonly source: TestHost;
  readonly destination: TestHost;
  readonly identity: PeerIdentity;

  private constructor(authority: TestAuthority, source: TestHost, destination: TestHost, identity: PeerIdentity) {
    this.#authority = authority;
    this.source = source;
    this.destination = destination;
    this.identity = identity;
  }

  static async build(): Promise<LinkAttack> {
    const authority = await makeAuthority();
    const source = await makeHost(authority, "host-a", "127.0.0.44");
    const destination = await makeHost(authority, "host-b", "127.0.0.45");
    const assignment = makeAssignment(source, destination);
    const signedAssignment = await signDocument(assignment, authority.sign);
    return new LinkAttack(authority, source, destination, { assignment, signedAssignment });
  }

  linksAt(host: TestHost, port: number, handshakeTimeoutMs = 500) {
    return createTcpPeerLinks({
      port,
      incarnation: (host === this.destination ? "b" : "a").repeat(32),
      sign: host.sign,
      certificate: host.certificate,
      verificationKey: this.#authority.verificationKey,
      clock: systemClock,
      handshakeTimeoutMs,
    });
  }

  /** A port that was free a moment ago may be taken by now. */
  async #expect(
    handshakeTimeoutMs: number,
    onLink: (link: PeerLink) => void,
  ): Promise<{ port: number; stop: () => Promise<void> }> {
    for (let attempt = 1; ; attempt++) {
      const port = await findFreePort(this.destination.address);
      try {
        const links = await this.linksAt(this.destination, port, handshakeTimeoutMs);
        return { port, stop: await links.expect(this.identity, onLink) };
      } catch (error) {
        if (attempt === 10) throw error;
      }
    }
  }

  /** Asserts what must hold whatever was done to the wire: what is heard is the beginning of what was said, both ends of
   *  a link hold the same key, and a link that is harmed ends for both.
   *  @param connectMs how long the source tries; later connections pass whole
   *  @param patienceMs how long messages may take before both ends close, as their roles would */
  async run(
    fault: Fault,
    direction: Direction,
    { connectMs = 1200, patienceMs = 800, handshakeTimeoutMs = 500, record = false } = {},
  ): Promise<LinkEnds> {
    const began = performance.now();
    const { source, destination, identity } = this;
    const arrivals: { link: PeerLink; heard: Heard }[] = [];
    const { port: inner, stop } = await this.#expect(handshakeTimeoutMs, (link) => {
      for (const message of fromDestination) link.send(message);
      arrivals.push({ link, heard: hear(link, fromSource.length) });
    });
    const proxy = await startFaultProxy({
      listen: { address: destination.address, port: 0 },
      to: { address: destination.address, port: inner },
      from: source.address,
      fault,
      direction,
      record,
    });
    const ends: LinkEnds = {
      links: 0,
      source: "unreachable",
      isWhole: false,
      arrived: false,
      why: null,
      durationMs: 0,
      seen: proxy.seen,
      hit: false,
      connections: 0,
      recorded: proxy.recorded,
    };
    const patience = new AbortController();
    try {
      const link = await (await this.linksAt(source, proxy.port)).connect(identity, connectMs);
      ends.source = "linked";
      const heard = hear(link, fromDestination.length);
      for (const message of fromSource) link.send(message);
      const own = () => arrivals.find((arrival) => sameKey(arrival.link, link));
      const arrived = async (): Promise<void> => {
        while (!own() && !patience.signal.aborted) await sleep(2);
        await own()?.heard.whole;
      };
      const whole = Promise.all([heard.whole, arrived()]).then(() => {
        ends.arrived = true;
        ends.isWhole = proxy.connections === 1;
      });
      await Promise.race([
        whole,
        heard.closed.then((why) => {
          ends.why = why;
        }),
        sleep(patienceMs, undefined, { signal: patience.signal }).catch(() => {}),
      ]);
      assert.ok(isBeginning(heard.messages, fromDestination), "the source heard what was said");
      link.close();
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      ends.source = error instanceof PeerRefused ? "refused" : "unreachable";
      ends.why = messageOf(error);
    } finally {
      patience.abort();
      ends.durationMs = performance.now() - began;
      ends.links = arrivals.length;
      ends.hit = proxy.hit;
      ends.connections = proxy.connections;
      for (const { link } of arrivals) link.close();
      await stop();
      await proxy.close();
    }
    for (const { heard } of arrivals) {
      assert.ok(isBeginning(heard.messages, fromSource), "the destination heard what was said");
      await heard.closed;
    }
    return ends;
  }
}

const sameKey = (one: PeerLink, other: PeerLink): boolean =>
  Buffer.from(one.streamKey).equals(Buffer.from(other.streamKey));

function isBeginning(heard: PeerMessage[], said: PeerMessage[]): boolean {
  return JSON.stringify(heard) === JSON.stringify(said.slice(0, heard.length));
}
