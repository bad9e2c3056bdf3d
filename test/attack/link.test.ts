// The peer link behind a fault proxy. What must hold each time stands in LinkAttack.run.
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, Socket } from "node:net";
import { before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { TLSSocket } from "node:tls";
import { systemClock } from "../../agents/adapters/system-clock.ts";
import { TcpPeerLink } from "../../agents/adapters/tcp-peer-link-messages.ts";
import type { PeerLink } from "../../agents/ports/peer-link.ts";
import { findFreePort } from "../../infra/local/free-port.ts";
import type { Direction } from "../support/fault-proxy.ts";
import { unitFaults } from "../support/wire-units.ts";
import { LinkAttack } from "./link-attack.ts";
import { nothingLeftOpen } from "./sockets.ts";
import { inParallel, spread } from "./spread.ts";

const ways: Direction[] = ["forth", "back"];
let attack: LinkAttack;
let bytes: { [D in Direction]: number };
before(async () => {
  attack = await LinkAttack.build();
  const whole = await attack.run({ kind: "none" }, "forth");
  assert.ok(whole.isWhole && whole.links === 1);
  bytes = { ...whole.seen };
});

test("a bit flipped in a link gets nothing altered accepted, and never a link of two different handshakes", async () => {
  const jobs = ways.flatMap((way) =>
    spread(bytes[way], 60, 3).map((at) => async () => {
      const ends = await attack.run({ kind: "flip", at, bit: at % 8 }, way);
      assert.ok(ends.source !== "unreachable" || ends.links === 0 || ends.connections > 1, `byte ${at} ${way}`);
    }),
  );
  await inParallel(jobs, 8);
});

test("a link that is cut or reset at any byte is made anew, or ends for both", async () => {
  const jobs = ways.flatMap((way) =>
    spread(bytes[way], 16, 5).flatMap((at) =>
      (["cut", "reset"] as const).map((kind) => async () => {
        const ends = await attack.run({ kind, at }, way, { connectMs: 5000 });
        assert.equal(ends.source, "linked", `${kind} at byte ${at} ${way}: the source tries again`);
      }),
    ),
  );
  await inParallel(jobs, 8);
});

test("a side that falls silent within the handshake costs the handshake's time, and the next connection gets the link", async () => {
  const jobs = ways.flatMap((way) =>
    [0, 700, 1750].map((at) => async () => {
      const ends = await attack.run({ kind: "hold", at }, way, { connectMs: 3000 });
      assert.equal(ends.source, "linked", `silent from byte ${at} ${way}`);
      assert.equal(ends.connections, 2);
    }),
  );
  await inParallel(jobs, 6);
});

test("a connection whose two ends hear nothing of each other any more costs the handshake's time, and no more", async () => {
  const jobs = [0, 700, 1750].map((at) => async () => {
    const ends = await attack.run({ kind: "half-open", at }, "forth", { connectMs: 3000 });
    assert.equal(ends.source, "linked", `from byte ${at} on`);
  });
  await inParallel(jobs, 3);
});

test("lines and records of a handshake that are lost, doubled or out of their order get nothing altered accepted", async () => {
  const { recorded } = await attack.run({ kind: "none" }, "forth", { record: true });
  const jobs = ways.flatMap((way) =>
    unitFaults(Buffer.concat(recorded[way]), 5).map((fault) => () => attack.run(fault, way, { connectMs: 3000 })),
  );
  const ends = await inParallel(jobs, 8);
  assert.ok(ends.every(({ hit }) => hit));
});

test("a peer that is refused, and neither reads nor closes, keeps no socket of ours", async () => {
  const port = await findFreePort(attack.destination.address);
  const stop = await (await attack.linksAt(attack.destination, port)).expect(attack.identity, () => {});
  await nothingLeftOpen(0);
  const strangers = Array.from({ length: 3 }, () =>
    connect({ host: attack.destination.address, port, localAddress: attack.source.address, allowHalfOpen: true }),
  );
  for (const stranger of strangers) {
    stranger.on("error", () => {});
    stranger.write(`{}\n${"more".repeat(10_000)}`);
  }
  await Promise.all(strangers.map((stranger) => once(stranger, "readable"))); // The refusal is there.
  await nothingLeftOpen(strangers.length, 3000); // Their own ends stay open.
  for (const stranger of strangers) stranger.destroy();
  await stop();
});

test("a destination that is refused, and neither reads nor closes, keeps no socket of the source's", async () => {
  const kept: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    kept.push(socket);
    socket.on("error", () => {});
    socket.write(`{}\n${"more".repeat(10_000)}`);
  });
  const port = await findFreePort(attack.destination.address);
  await new Promise<void>((resolve) => server.listen({ host: attack.destination.address, port }, resolve));
  await nothingLeftOpen(0);
  await assert.rejects((await attack.linksAt(attack.source, port)).connect(attack.identity, 3000), /hello-malformed/);
  await nothingLeftOpen(kept.length, 3000);
  for (const socket of kept) socket.destroy();
  server.close();
});

test("a link that is closed goes, also when its peer reads nothing of what was said last", async () => {
  const deaf = new Socket();
  deaf._write = () => {}; // Never done.
  const gone = new Promise<void>((resolve) => deaf.once("close", () => resolve()));
  const keys = { version: 1, peerIncarnation: "", linkKey: new Uint8Array(), streamKey: new Uint8Array() };
  const link = new TcpPeerLink(deaf as TLSSocket, keys, systemClock);
  link.send({ kind: "source-complete" });
  link.close();
  assert.equal(await Promise.race([gone.then(() => "gone"), sleep(5000, "there")]), "gone");
  deaf.destroy();
});

test("one byte per second is no handshake: the source gives up when its time is over", async () => {
  const jobs = ways.map((way) => async () => {
    const began = performance.now();
    const ends = await attack.run({ kind: "trickle", at: 0, bytesPerSecond: 1 }, way, { connectMs: 400 });
    assert.equal(ends.source, "unreachable");
    assert.equal(ends.links, 0);
    assert.ok(performance.now() - began < 4000);
  });
  await inParallel(jobs, 2);
});

test("a handshake that is late, but whole, is a link", async () => {
  for (const way of ways) {
    const ends = await attack.run({ kind: "delay", at: 100, delayMs: 200 }, way, {
      connectMs: 10_000,
      patienceMs: 10_000,
      handshakeTimeoutMs: 10_000,
    });
    assert.ok(ends.isWhole, way);
  }
});

test("a handshake whose lines are repeated or out of their order is none", async () => {
  const { recorded } = await attack.run({ kind: "none" }, "forth", { record: true });
  for (const way of ways) {
    const [first = "", second = ""] = Buffer.concat(recorded[way]).toString("latin1").split("\n");
    for (const line of [first, second]) {
      const inserted = Buffer.from(`${line}\n`, "latin1");
      for (const at of [0, Buffer.byteLength(first) + 1]) {
        const ends = await attack.run({ kind: "insert", at, bytes: inserted }, way);
        assert.equal(ends.isWhole, false, `${way}, at ${at}`);
      }
    }
  }
});

test("of two connections at once the later one is the link, and the earlier one ends", async () => {
  const port = await findFreePort(attack.destination.address);
  const arrived: PeerLink[] = [];
  const stop = await (await attack.linksAt(attack.destination, port)).expect(attack.identity, (link) =>
    arrived.push(link),
  );
  const source = await attack.linksAt(attack.source, port);
  const links = await Promise.all([source.connect(attack.identity, 3000), source.connect(attack.identity, 3000)]);
  const closed: number[] = [];
  const one = Promise.withResolvers<void>();
  for (const [index, link] of links.entries())
    link.listen({
      message: () => {},
      closed: () => {
        closed.push(index);
        one.resolve();
      },
    });
  await one.promise;
  await systemClock.sleep(100);
  const ended = closed.length;
  for (const link of [...links, ...arrived]) link.close();
  await stop();
  assert.equal(arrived.length, 2);
  assert.equal(ended, 1, "one of them lives");
});

test("a peer that holds the key and sends without end before it is listened to loses its link, not our memory", async () => {
  const port = await findFreePort(attack.destination.address);
  const arrived = Promise.withResolvers<PeerLink>();
  const stop = await (await attack.linksAt(attack.destination, port)).expect(attack.identity, arrived.resolve);
  const link = await (await attack.linksAt(attack.source, port)).connect(attack.identity, 3000);
  const closed = Promise.withResolvers<string>();
  link.listen({ message: () => {}, closed: closed.resolve });
  for (let count = 0; count < 1000; count++) link.send({ kind: "source-complete" });
  await closed.promise;
  const told = Promise.withResolvers<string>();
  let messages = 0;
  (await arrived.promise).listen({ message: () => messages++, closed: told.resolve });
  const why = await told.promise;
  await stop();
  assert.match(why, /too much/);
  assert.ok(messages <= 64);
});

test("a peer that never reads loses its link before a megabyte is kept for it", async () => {
  const port = await findFreePort(attack.destination.address);
  const arrived = Promise.withResolvers<PeerLink>();
  const stop = await (await attack.linksAt(attack.destination, port)).expect(attack.identity, arrived.resolve);
  const link = await (await attack.linksAt(attack.source, port)).connect(attack.identity, 3000);
  const closed = Promise.withResolvers<string>();
  link.listen({ message: () => {}, closed: closed.resolve });
  const { promise: peer } = arrived;
  (await peer).listen({ message: () => {}, closed: () => {} });
  // Faster than anybody could read: all of it within one turn of this process.
  const detail = "x".repeat(1000);
  for (let count = 0; count < 3000; count++) link.send({ kind: "failed", reason: "stream-failed", detail });
  const why = await closed.promise;
  (await peer).close();
  await stop();
  assert.match(why, /does not read/);
});

test("hellos full of nonsense, of any depth and length, end their own connection and no other", async () => {
  const port = await findFreePort(attack.destination.address);
  const arrived: PeerLink[] = [];
  const first = Promise.withResolvers<void>();
  const stop = await (await attack.linksAt(attack.destination, port, 300)).expect(attack.identity, (link) => {
    arrived.push(link);
    first.resolve();
  });
  const nonsense = [
    "[".repeat(16_000),
    `{"versions":${"[".repeat(8000)}`,
    '{"__proto__":{"role":"source"}}',
    JSON.stringify({ versions: [1e308], features: [], role: "source" }),
    "\u0000".repeat(500),
    "",
  ];
  for (const words of nonsense) {
    const socket: Socket = connect({ host: attack.destination.address, port, localAddress: attack.source.address });
    socket.on("error", () => {});
    socket.write(`${words}\n${words}\n`);
    socket.resume();
    await new Promise<void>((resolve) => socket.once("close", () => resolve()));
  }
  const link = await (await attack.linksAt(attack.source, port)).connect(attack.identity, 3000);
  await first.promise;
  for (const end of [link, ...arrived]) end.close();
  await stop();
  assert.equal(arrived.length, 1);
});
