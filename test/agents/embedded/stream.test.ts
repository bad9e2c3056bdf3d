// The destination against a source that lies, and the stream against a listener in the middle.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import net from "node:net";
import { after, before, test } from "node:test";
import tls from "node:tls";
import {
  type FrameType,
  frame,
  frameType,
  type Hello,
  jsonFrame,
  markFrame,
  pagesHeader,
} from "../../../agents/adapters/embedded/frames.ts";
import { Incoming } from "../../../agents/adapters/embedded/incoming.ts";
import { type Outgoing, startOutgoing } from "../../../agents/adapters/embedded/outgoing.ts";
import { connectStream } from "../../../agents/adapters/embedded/secure-stream.ts";
import { pageBytes } from "../../../agents/adapters/embedded/vm.ts";
import type { IncomingStream, OutgoingStream, StreamSample } from "../../../agents/ports/hypervisor.ts";
import { nothingLeftOpen } from "../../attack/sockets.ts";
import { seededRandom } from "../../support/seeded-random.ts";
import { addresses } from "./bench.ts";
import { WatchedVm } from "./vm-bench.ts";

const migrationId = "mig_01KB0000000000000000000000";
const hello: Omit<Hello, "migrationId"> = {
  protocol: 1,
  v86: "0",
  wasmSha256: "0",
  settings: { memoryMiB: 16, acpi: false },
};

let destination: WatchedVm;
before(async () => {
  destination = await WatchedVm.build();
  destination.vm.clearMemory();
});
after(() => destination.vm.dispose());

type Listening = { incoming: Incoming; outgoing: OutgoingStream; told: string[]; over: Promise<void> };

async function listening(key = randomBytes(32)): Promise<Listening> {
  const told: string[] = [];
  let end: () => void = () => undefined;
  const over = new Promise<void>((resolve) => {
    end = resolve;
  });
  const tell = (word: string): void => {
    told.push(word);
    end();
  };
  const incoming = new Incoming({ vm: destination.vm, hello }, migrationId, {
    loaded: () => tell("loaded"),
    failed: (detail) => tell(`failed: ${detail}`),
  });
  const stream: IncomingStream = { address: addresses[1], peerAddress: addresses[0], key, migrationId };
  const endpoint = await incoming.listen(stream);
  const limits = { bandwidthLimitBytesPerSecond: null };
  return { incoming, outgoing: { endpoint, localAddress: addresses[0], key, migrationId, limits }, told, over };
}

/** Sends these bytes as a source that holds the key, and waits until the destination has had enough. */
async function lie(...wire: Uint8Array[]): Promise<string> {
  const { outgoing, told, over } = await listening();
  const socket = await connectStream(outgoing);
  socket.on("error", () => undefined).resume();
  socket.write(Buffer.concat(wire));
  await over;
  socket.destroy();
  assert.equal(told.length, 1);
  return told[0] ?? "";
}

const greeting = (changes: Partial<Hello> = {}): Buffer =>
  jsonFrame(frameType.hello, { ...hello, migrationId, ...changes });
const pages = 16 * 256;
const onePage = Buffer.alloc(pageBytes, 1);

const lies: { [name: string]: [Uint8Array[], RegExp] } = {
  "another version of v86": [[greeting({ v86: "0.5.1" })], /v86 0\.5\.1/],
  "another build of v86": [[greeting({ wasmSha256: "1" })], /another build/],
  "another protocol": [[greeting({ protocol: 2 })], /protocol 2/],
  "another machine": [[greeting({ settings: { memoryMiB: 32, acpi: false } })], /memoryMiB/],
  "a machine with something more": [[greeting({ settings: { ...hello.settings, floppy: true } })], /floppy/],
  "another migration": [[greeting({ migrationId: "mig_01KB0000000000000000000001" })], /another migration/],
  "no greeting": [[pagesHeader(0, 1), onePage], /wrong time/],
  "a second greeting": [[greeting(), greeting()], /second greeting/],
  "pages beyond memory": [[greeting(), pagesHeader(pages - 1, 2), onePage, onePage], /pages/],
  "a page index that overflows": [[greeting(), pagesHeader(0xffff_ffff, 1), onePage], /pages/],
  "more pages than it sent": [[greeting(), pagesHeader(0, 1), onePage, markFrame(0, 2)], /1 pages arrived and 2/],
  "rounds out of order": [[greeting(), markFrame(1, 0)], /order/],
  "a mark that is too short": [[greeting(), frame(frameType.mark, new Uint8Array(3))], /order/],
  "a device state that is none": [[greeting(), frame(frameType.devices, new Uint8Array(2000))], /device state/],
  "an end that is none": [[greeting(), frame(frameType.final, randomBytes(300))], /cut off|malformed|not JSON/],
  "an answer instead of a question": [[greeting(), frame(frameType.loaded)], /no place/],
  "a type of frame that does not exist": [[greeting(), frame(99 as FrameType)], /no place/],
};
for (const [name, [wire, reason]] of Object.entries(lies))
  test(`a source is refused for ${name}`, async () => {
    assert.match(await lie(...wire), reason);
  });

test("noise after a good greeting never gets further than a refusal", async () => {
  const random = seededRandom(7);
  for (let time = 0; time < 20; time++) {
    const noise = Buffer.from(Array.from({ length: 400 }, () => Math.floor(random() * 256)));
    noise[0] = Math.floor(random() * 7);
    noise[3] = 0;
    noise[4] = 0;
    assert.match(await lie(greeting(), noise, frame(frameType.loaded), new Uint8Array(70_000)), /^failed/);
  }
});

test("an end without the rounds before it leaves nothing loaded", async () => {
  const { outgoing, told, over } = await listening();
  const socket = await connectStream(outgoing);
  socket.on("error", () => undefined).resume();
  socket.end(greeting());
  await over;
  assert.match(told[0] ?? "", /before the guest was complete/);
});

test("only the peer's address is listened to, and only until the peer is there", async () => {
  const { incoming, outgoing, told } = await listening();
  await assert.rejects(connectStream({ ...outgoing, localAddress: addresses[2] }));
  await assert.rejects(connectStream({ ...outgoing, key: randomBytes(32) }));
  await assert.rejects(connectStream({ ...outgoing, migrationId: "mig_01KB0000000000000000000001" }));
  assert.deepEqual(told, [], "strangers change nothing");
  const socket = await connectStream(outgoing);
  socket.on("error", () => undefined);
  await assert.rejects(connectStream(outgoing), "the listener is closed");
  incoming.cancel();
  socket.destroy();
});

test("nothing is said to a peer without encryption", async () => {
  const { incoming, outgoing } = await listening();
  const plain = net.connect({ ...outgoing.endpoint, host: outgoing.endpoint.address, localAddress: addresses[0] });
  plain.on("error", () => undefined);
  plain.write(greeting());
  const heard: Buffer[] = [];
  plain.on("data", (chunk: Buffer) => heard.push(chunk));
  await new Promise<void>((resolve) => plain.on("close", () => resolve()));
  assert.doesNotMatch(Buffer.concat(heard).toString("latin1"), /protocol|v86/);
  incoming.cancel();
});

test("TLS below 1.3, or without the key, gets no connection", async () => {
  const { incoming, outgoing } = await listening();
  for (const options of [
    { maxVersion: "TLSv1.2", ciphers: "PSK", pskCallback: () => ({ psk: outgoing.key, identity: migrationId }) },
    { minVersion: "TLSv1.3" },
  ] as const) {
    const { address: host, port } = outgoing.endpoint;
    const socket = tls.connect({
      socket: net.connect({ host, port, localAddress: addresses[0] }),
      checkServerIdentity: () => undefined,
      rejectUnauthorized: false,
      ...options,
    });
    const refused = await new Promise<boolean>((resolve) => {
      socket.on("error", () => resolve(true));
      socket.on("close", () => resolve(true));
      socket.on("secureConnect", () => resolve(false));
    });
    assert.equal(refused, true);
    socket.destroy();
  }
  incoming.cancel();
});

test("a listener in the middle sees no page of the guest, and memory is equal at the switchover", async () => {
  const source = await WatchedVm.build();
  await source.vm.run();
  for (let lines = 0; lines < 3; lines++) await source.line();

  const fresh = destination;
  fresh.vm.clearMemory();
  const { outgoing: straight, told, over } = await listening();
  const captured: Buffer[] = [];
  const proxy = net.createServer((near) => {
    const far = net.connect({
      port: straight.endpoint.port,
      host: straight.endpoint.address,
      localAddress: addresses[0],
    });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on("data", (chunk: Buffer) => {
        captured.push(Buffer.from(chunk));
        to.write(chunk);
      });
      from.on("close", () => to.destroy());
      from.on("error", () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => proxy.listen(0, addresses[2], resolve));
  const { port } = proxy.address() as net.AddressInfo;

  const samples: StreamSample[] = [];
  let roundsDone: () => void = () => undefined;
  const rounds = new Promise<void>((resolve) => {
    roundsDone = resolve;
  });
  let sent: () => void = () => undefined;
  const arrived = new Promise<void>((resolve) => {
    sent = resolve;
  });
  const outgoing: Outgoing = await startOutgoing(
    { vm: () => source.vm, hello, executes: () => true, throttlePercent: () => 0 },
    { ...straight, endpoint: { address: addresses[2], port } },
    {
      sampled(sample) {
        samples.push(sample);
        if (sample.roundDone && sample.round === 1) roundsDone();
      },
      sent: () => sent(),
      failed: (detail) => assert.fail(detail),
    },
  );
  await rounds;
  source.vm.stop();
  outgoing.finish();
  await Promise.all([arrived, over]);
  proxy.close();

  assert.deepEqual(told, ["loaded"]);
  assert.equal(source.vm.memory().equals(fresh.vm.memory()), true);
  assert.ok(samples.every((sample) => sample.encrypted));
  assert.equal(samples.at(-1)?.remainingBytes, 0);

  const wire = Buffer.concat(captured);
  const memory = source.vm.memory();
  const zeros = Buffer.alloc(pageBytes);
  const known = (page: number): Buffer => memory.subarray(page * pageBytes, page * pageBytes + 32);
  const filled = [256, ...Array.from({ length: 40 }, (_, index) => 300 + index * 90)].filter(
    (page) => !known(page).equals(zeros.subarray(0, 32)),
  );
  assert.ok(filled.length > 30);
  assert.ok(wire.length > memory.length * 0.8, "the capture holds the whole stream");
  for (const page of filled) assert.equal(wire.indexOf(known(page)), -1, `page ${page} was seen`);
  await source.vm.dispose();
});

test("a source that is lost once all has arrived keeps no socket of the guest's, which lives on", async () => {
  const source = await WatchedVm.build();
  destination.vm.clearMemory();
  const { outgoing: straight, told, over } = await listening();
  const kept: net.Socket[] = [];
  // Whatever becomes of the source, the destination hears nothing of it.
  const relay = net.createServer({ allowHalfOpen: true }, (near) => {
    const { address: host, port } = straight.endpoint;
    const far = net.connect({ host, port, localAddress: addresses[0], allowHalfOpen: true });
    near.on("error", () => undefined).on("data", (chunk: Buffer) => far.write(chunk));
    far.on("error", () => undefined).on("data", (chunk: Buffer) => near.write(chunk));
    far.on("end", () => near.end());
    kept.push(far);
  });
  await new Promise<void>((resolve) => relay.listen(0, addresses[2], resolve));
  const { port } = relay.address() as net.AddressInfo;
  const sent = Promise.withResolvers<void>();
  const roundDone = Promise.withResolvers<void>();
  const outgoing = await startOutgoing(
    { vm: () => source.vm, hello, executes: () => false, throttlePercent: () => 0 },
    { ...straight, endpoint: { address: addresses[2], port } },
    {
      sampled: (sample) => sample.roundDone && roundDone.resolve(),
      sent: sent.resolve,
      failed: (detail) => sent.reject(new Error(detail)),
    },
  );
  await roundDone.promise;
  outgoing.finish();
  await Promise.all([sent.promise, over]);
  assert.deepEqual(told, ["loaded"]);
  relay.close();
  await nothingLeftOpen(kept.length, 4000);
  for (const far of kept) far.destroy();
  await source.vm.dispose();
});
