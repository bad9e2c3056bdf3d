import assert from "node:assert/strict";
import { connect as connectSocket, createServer, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { MemoryPeerNetwork } from "../../../agents/adapters/memory-peer-link.ts";
import { systemClock } from "../../../agents/adapters/system-clock.ts";
import { createTcpPeerLinks, type TcpPeerLinksOptions } from "../../../agents/adapters/tcp-peer-link.ts";
import { type PeerIdentity, type PeerLink, PeerRefused } from "../../../agents/ports/peer-link.ts";
import type { Assignment } from "../../../schemas/agent.ts";
import { signDocument } from "../../../schemas/signing.ts";
import { heard, peerLinkContract } from "../../contract/peer-link.ts";
import { makeAssignment, makeAuthority, makeHost, type TestHost } from "../../support/assignments.ts";

const incarnations = { source: "a".repeat(32), destination: "b".repeat(32) };

/** A port that is free on both addresses right now. */
async function freePort(address: string): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function makeTcpWorld() {
  const authority = await makeAuthority();
  const a = await makeHost(authority, "host-a", "127.0.0.41");
  const b = await makeHost(authority, "host-b", "127.0.0.42");
  const port = await freePort(b.address);
  const linksOf = (host: TestHost, changes: Partial<TcpPeerLinksOptions> = {}) =>
    createTcpPeerLinks({
      port,
      incarnation: host === b ? incarnations.destination : incarnations.source,
      sign: host.sign,
      certificate: host.certificate,
      verificationKey: authority.verificationKey,
      clock: systemClock,
      ...changes,
    });
  const identity = async (changes: Partial<Assignment> = {}, sign = authority.sign): Promise<PeerIdentity> => {
    const assignment = makeAssignment(a, b, changes);
    return { assignment, signedAssignment: await signDocument(assignment, sign) };
  };
  return { authority, a, b, port, linksOf, identity };
}

peerLinkContract("TCP", async () => {
  const { a, b, linksOf, identity } = await makeTcpWorld();
  return {
    source: await linksOf(a),
    destination: await linksOf(b),
    sourceOfVersion7: await linksOf(a, { versions: [7] }),
    sourceWithoutFeatures: await linksOf(a, { features: [] }),
    identity,
    incarnations,
    close: async () => {},
  };
});

peerLinkContract("memory", async () => {
  const { a, b, identity } = await makeTcpWorld();
  const network = new MemoryPeerNetwork({ clock: systemClock });
  const source = { address: a.address, incarnation: incarnations.source };
  return {
    source: network.at(source),
    destination: network.at({ address: b.address, incarnation: incarnations.destination }),
    sourceOfVersion7: network.at({ ...source, versions: [7] }),
    sourceWithoutFeatures: network.at({ ...source, features: [] }),
    identity,
    incarnations,
    close: async () => {},
  };
});

type World = Awaited<ReturnType<typeof makeTcpWorld>>;

/** A destination that listens while `act` does its worst; answers how many links came about. */
async function linksDuring(
  world: World,
  act: (firstLink: Promise<void>) => Promise<void>,
  changes: Partial<TcpPeerLinksOptions> = {},
): Promise<number> {
  let links = 0;
  const first = Promise.withResolvers<void>();
  const { linksOf, identity, b } = world;
  const stop = await (await linksOf(b, changes)).expect(await identity(), () => {
    links++;
    first.resolve();
  });
  try {
    await act(first.promise);
  } finally {
    await stop();
  }
  return links;
}

const refusedAs = (name: RegExp) => (error: unknown) => error instanceof PeerRefused && name.test(error.message);

test("a host with a certificate but another key is refused", async () => {
  const world = await makeTcpWorld();
  const stranger = await makeHost(world.authority, "host-a", world.a.address);
  const links = await linksDuring(world, async () => {
    const wrongKey = await world.linksOf(world.a, { sign: stranger.sign });
    await assert.rejects(wrongKey.connect(await world.identity(), 500));
    const wrongCertificate = await world.linksOf(world.a, { sign: stranger.sign, certificate: stranger.certificate });
    await assert.rejects(wrongCertificate.connect(await world.identity(), 5000), refusedAs(/stranger/));
  });
  assert.equal(links, 0);
});

test("certificates and assignments that the control plane did not sign are refused", async () => {
  const world = await makeTcpWorld();
  const forger = await makeAuthority();
  const forged = await makeHost(forger, "host-a", world.a.address);
  const links = await linksDuring(world, async () => {
    const source = await world.linksOf(world.a, { certificate: forged.certificate });
    await assert.rejects(source.connect(await world.identity(), 5000), refusedAs(/certificate-invalid/));
    const honest = await world.linksOf(world.a);
    await assert.rejects(honest.connect(await world.identity({}, forger.sign), 5000), refusedAs(/assignment-invalid/));
  });
  assert.equal(links, 0);
});

test("a source refuses a destination with another key, and does not try again", async () => {
  const world = await makeTcpWorld();
  const stranger = await makeHost(world.authority, "host-b", world.b.address);
  const stop = await (await world.linksOf(world.b, { sign: stranger.sign, certificate: stranger.certificate })).expect(
    await world.identity(),
    () => {},
  );
  try {
    await assert.rejects((await world.linksOf(world.a)).connect(await world.identity(), 5000), refusedAs(/stranger/));
  } finally {
    await stop();
  }
});

test("a peer of the same role as ours, such as our own mirrored hello, is refused", async () => {
  const world = await makeTcpWorld();
  const mirror = createServer((socket) => void socket.pipe(socket));
  await new Promise<void>((resolve) => mirror.listen(world.port, world.b.address, resolve));
  try {
    const connecting = (await world.linksOf(world.a)).connect(await world.identity(), 5000);
    await assert.rejects(connecting, refusedAs(/role-not-opposite/));
  } finally {
    await new Promise((resolve) => mirror.close(resolve));
  }
});

test("a recorded handshake played again gets no link", async () => {
  const world = await makeTcpWorld();
  const { a, b, port, linksOf, identity } = world;
  const recorded: Buffer[] = [];
  // Everything that the real source sends passes here once, byte for byte.
  const relayPort = port;
  const elsewhere = await freePort("127.0.0.42");
  const destination = await linksOf(b, { port: elsewhere });
  let links = 0;
  const first = Promise.withResolvers<void>();
  const stop = await destination.expect(await identity(), () => {
    links++;
    first.resolve();
  });
  const relay = createServer((inward) => {
    const outward = connectSocket({ host: b.address, port: elsewhere, localAddress: a.address });
    inward.on("data", (chunk: Buffer) => {
      recorded.push(chunk);
      outward.write(chunk);
    });
    outward.on("data", (chunk: Buffer) => void inward.write(chunk));
    for (const socket of [inward, outward]) {
      socket.on("error", () => {});
      socket.on("close", () => {
        inward.destroy();
        outward.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => relay.listen(relayPort, b.address, resolve));
  try {
    const link = await (await linksOf(a)).connect(await identity(), 5000);
    await first.promise;
    link.close();
    const socket = connectSocket({ host: b.address, port: elsewhere, localAddress: a.address });
    socket.on("error", () => {});
    for (const chunk of recorded) socket.write(chunk);
    await text(socket).catch(() => "");
    assert.equal(links, 1);
  } finally {
    relay.close();
    await stop();
  }
});

test("a stranger's address, garbage and an endless line are turned away; the true peer gets its link meanwhile", async () => {
  const world = await makeTcpWorld();
  const { a, b, port } = world;
  const answers: string[] = [];
  const links = await linksDuring(world, async (firstLink) => {
    const speak = async (localAddress: string, words: string | Buffer) => {
      const socket: Socket = connectSocket({ host: b.address, port, localAddress });
      socket.on("error", () => {});
      socket.write(words);
      const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
      answers.push(await text(socket).catch(() => "reset"));
      await closed;
    };
    await speak("127.0.0.43", "GET / HTTP/1.1\n\n");
    assert.ok(["", "reset"].includes(answers[0] ?? "?"), "a stranger is told nothing at all");
    await speak(a.address, "GET / HTTP/1.1\n\n");
    await speak(a.address, '{"versions":[1]}\n');
    await speak(a.address, Buffer.alloc(64 * 1024, 0x61));
    const link = await (await world.linksOf(a)).connect(await world.identity(), 5000);
    await firstLink;
    link.close();
  });
  assert.equal(links, 1);
});

test("whoever connects and says nothing is turned away when its time is up, and at most four may wait", async () => {
  const world = await makeTcpWorld();
  const { a, b, port } = world;
  const changes = { handshakeTimeoutMs: 200 };
  await linksDuring(
    world,
    async () => {
      const closed = Array.from({ length: 8 }, () => {
        const socket = connectSocket({ host: b.address, port, localAddress: a.address });
        socket.on("error", () => {});
        socket.resume();
        return new Promise<void>((resolve) => socket.once("close", () => resolve()));
      });
      await Promise.all(closed);
    },
    changes,
  );
});

test("the listener is on the migration address only", async () => {
  const world = await makeTcpWorld();
  await linksDuring(world, async () => {
    await assert.rejects(
      new Promise((resolve, reject) => {
        const socket = connectSocket({ host: "127.0.0.1", port: world.port });
        socket.once("connect", () => {
          socket.destroy();
          resolve(null);
        });
        socket.once("error", reject);
      }),
      /ECONNREFUSED/,
    );
  });
});

test("nothing that is said on the link crosses the wire in the clear", async () => {
  const world = await makeTcpWorld();
  const { a, b, port, linksOf, identity } = world;
  const elsewhere = await freePort(b.address);
  const wire: Buffer[] = [];
  let far: PeerLink | null = null;
  const arrived = Promise.withResolvers<void>();
  const stop = await (await linksOf(b, { port: elsewhere })).expect(await identity(), (link) => {
    far = link;
    void heard(link, 1).then(() => arrived.resolve());
  });
  const relay = createServer((inward) => {
    const outward = connectSocket({ host: b.address, port: elsewhere, localAddress: a.address });
    for (const [from, to] of [
      [inward, outward],
      [outward, inward],
    ] as const) {
      from.on("data", (chunk: Buffer) => {
        wire.push(chunk);
        to.write(chunk);
      });
      from.on("error", () => {});
      from.on("close", () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => relay.listen(port, b.address, resolve));
  try {
    const link = await (await linksOf(a)).connect(await identity(), 5000);
    link.send({ kind: "ask-relinquish", nonce: "a-word-nobody-else-may-read" });
    await arrived.promise;
    const bytes = Buffer.concat(wire);
    assert.ok(bytes.includes("drover") || bytes.includes("ephemeralKey"), "the hello was seen");
    assert.equal(bytes.includes("a-word-nobody-else-may-read"), false);
    assert.equal(bytes.includes(Buffer.from(link.streamKey)), false);
    link.close();
    (far as PeerLink | null)?.close();
  } finally {
    relay.close();
    await stop();
  }
});
