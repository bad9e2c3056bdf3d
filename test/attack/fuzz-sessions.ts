// Whole conversations with somebody who means harm: a source that holds the stream's key and breaks one rule, and a peer
// whose hello is of the right shape, or nearly.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import {
  type FinalHead,
  finalFrame,
  frame,
  frameType,
  type Hello,
  jsonFrame,
  markFrame,
  pagesHeader,
} from "../../agents/adapters/embedded/frames.ts";
import { Incoming } from "../../agents/adapters/embedded/incoming.ts";
import { connectStream } from "../../agents/adapters/embedded/secure-stream.ts";
import { pageBytes } from "../../agents/adapters/embedded/vm.ts";
import { shakeHands } from "../../agents/adapters/peer-handshake.ts";
import { PeerRefused } from "../../agents/ports/peer-link.ts";
import type { Assignment } from "../../schemas/agent.ts";
import type { PeerHello } from "../../schemas/peer.ts";
import { signDocument, toBase64Url, verifierFrom } from "../../schemas/signing.ts";
import { WatchedVm } from "../agents/embedded/vm-bench.ts";
import { makeAssignment, makeAuthority, makeHost, ulid } from "../support/assignments.ts";
import { seededRandom } from "../support/seeded-random.ts";
import type { Fuzz } from "./fuzz.ts";
import { hostileValue } from "./fuzz-states.ts";

type Random = () => number;
const migrationId = ulid("mig", 1);
const hello: Omit<Hello, "migrationId"> = {
  protocol: 1,
  v86: "0",
  wasmSha256: "0",
  settings: { memoryMiB: 16, acpi: false },
};
const [source, destination] = ["127.0.0.47", "127.0.0.48"];
const pages = 16 * 256;
const answerTypes = [frameType.welcome, frameType.refuse, frameType.ack, frameType.loaded];

const greeting = (changes: object = {}): Buffer => jsonFrame(frameType.hello, { ...hello, migrationId, ...changes });
const somePages = (first: number, count: number): Buffer =>
  Buffer.concat([pagesHeader(first, count), Buffer.alloc(count * pageBytes, 7)]);

function header(type: number, length: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt32LE(length, 1);
  return bytes;
}

const head = (changes: object = {}): FinalHead =>
  ({
    pages: 0,
    stateBytes: 2048,
    blocks: [0, 1],
    registers: { lastResult: 0, mxcsr: 8064, statusWord: 0 },
    clockMs: 0,
    savedAtMs: 0,
    ...changes,
  }) as FinalHead;
const twoBlocks = [Buffer.alloc(1024, 1), Buffer.alloc(1024, 2)];

/** What the rule is, and how it is broken after a good beginning of `sent` pages in the round. */
const breaches: { [rule: string]: (random: Random, sent: number) => Buffer } = {
  "the greeting comes once": () => greeting(),
  "pages lie within memory": (random) => {
    const count = 1 + Math.floor(random() * 64);
    return pagesHeader(pages - count + 1 + Math.floor(random() * (2 ** 32 - pages)), count);
  },
  "pages are whole": (random) => header(frameType.pages, 5 + Math.floor(random() * 4090)),
  "a frame has pages": () => header(frameType.pages, 4),
  "a frame has few pages": (random) => header(frameType.pages, 4 + pageBytes * (65 + Math.floor(random() * 100_000))),
  "rounds are in order": (random, sent) => markFrame(1 + Math.floor(random() * 2 ** 31), sent),
  "all pages of a round arrive": (random, sent) => markFrame(0, sent + 1 + Math.floor(random() * 1e6)),
  "a mark is whole": (random) => frame(frameType.mark, Buffer.alloc(Math.floor(random() * 8))),
  "a mark is no longer": (random) => header(frameType.mark, 9 + Math.floor(random() * 2 ** 31)),
  "a device state is one": (random) => frame(frameType.devices, randomBytes(1 + Math.floor(random() * 5000))),
  "a device state has a bound": (random) => header(frameType.devices, 8 * 2 ** 20 + 1 + Math.floor(random() * 2 ** 31)),
  "an end is whole": (random) => frame(frameType.final, randomBytes(1 + Math.floor(random() * 400))),
  "an end has a bound": (random) => header(frameType.final, 16 * 2 ** 20 + 1 + Math.floor(random() * 2 ** 31)),
  "the end counts the pages": (random, sent) =>
    finalFrame(head({ pages: sent + 1 + Math.floor(random() * 1000) }), twoBlocks),
  "the state is one, blocks put together": (_, sent) => finalFrame(head({ pages: sent }), twoBlocks),
  "blocks lie within the state": (random, sent) =>
    finalFrame(head({ pages: sent, blocks: [0, 2 + Math.floor(random() * 2 ** 31)] }), twoBlocks),
  "blocks are there": (_, sent) => finalFrame(head({ pages: sent, blocks: [0, 1, 1, 1] }), twoBlocks),
  "nothing follows the blocks": (_, sent) => finalFrame(head({ pages: sent, blocks: [0] }), twoBlocks),
  "a head is what it should be": (random, sent) => {
    const names = ["pages", "stateBytes", "blocks", "registers", "clockMs", "savedAtMs", "more"];
    const name = names[Math.floor(random() * names.length)] ?? "";
    return finalFrame(head({ pages: sent, [name]: hostileValue(random) }), twoBlocks);
  },
  "answers are the other end's": (random) =>
    frame(answerTypes[Math.floor(random() * 4)] ?? frameType.ack, Buffer.alloc(4 * Math.floor(random() * 2))),
  "types are known": (random) => header(20 + Math.floor(random() * 236), Math.floor(random() * 2 ** 32)),
};

function helloBreach(random: Random): Buffer {
  const names = ["protocol", "migrationId", "v86", "wasmSha256", "settings", "more"];
  const name = names[Math.floor(random() * names.length)] ?? "";
  const settings = { ...hello.settings, [random() < 0.5 ? "memoryMiB" : "floppy"]: hostileValue(random) };
  const all = greeting(name === "settings" && random() < 0.5 ? { settings } : { [name]: hostileValue(random) });
  // `undefined` is left out by JSON: a field that is missing.
  return random() < 0.1 ? greeting({ [name === "more" ? "v86" : name]: undefined }) : all;
}

/** A source that holds the key and breaks a rule: it is refused, nothing is loaded, whatever it sent before. */
export const fuzzSessions: Fuzz = async (times, seed) => {
  const machine = await WatchedVm.build();
  const random = seededRandom(seed);
  const rules = Object.entries(breaches);
  for (let time = 0; time < times; time++) {
    const sent = Math.floor(random() * 3);
    const good = [greeting(), ...(sent > 0 ? [somePages(Math.floor(random() * (pages - sent)), sent)] : [])];
    const [rule, breach] = rules[time % rules.length] ?? ["", () => Buffer.alloc(0)];
    const isGreeting = time % 7 === 0;
    const wire = isGreeting ? [helloBreach(random)] : [...good, breach(random, sent)];
    const told = await converse(machine, Buffer.concat(wire));
    assert.match(told, /^failed/, `${isGreeting ? "the greeting" : rule}: ${told}`);
    assert.equal(machine.vm.memory().length, machine.vm.memoryBytes);
  }
  await machine.vm.dispose();
};

/** @returns what the destination says of it */
async function converse(machine: WatchedVm, wire: Buffer): Promise<string> {
  const key = randomBytes(32);
  const over = Promise.withResolvers<string>();
  const incoming = new Incoming({ vm: machine.vm, hello }, migrationId, {
    loaded: () => over.resolve("loaded"),
    failed: (detail) => over.resolve(`failed: ${detail}`),
  });
  const stream = { address: destination, peerAddress: source, key: Buffer.from(key), migrationId };
  const endpoint = await incoming.listen(stream);
  const limits = { bandwidthLimitBytesPerSecond: null };
  const socket = await connectStream({ endpoint, localAddress: source, key, migrationId, limits });
  socket.on("error", () => undefined).resume();
  socket.write(wire);
  // One who is not refused for what it said is told from one that was by waiting.
  const timer = setTimeout(() => over.resolve("nothing"), 5000);
  const told = await over.promise;
  clearTimeout(timer);
  socket.destroy();
  incoming.cancel();
  return told;
}

/** A peer without the keys, with a hello that was signed for this very migration or nearly so: there is no link. */
export const fuzzHellos: Fuzz = async (times, seed) => {
  const random = seededRandom(seed);
  const authority = await makeAuthority();
  const verify = await verifierFrom(authority.verificationKey);
  const [a, b] = [await makeHost(authority, "a", source), await makeHost(authority, "b", destination)];
  const assignment = makeAssignment(a, b);
  const sign = (body: Assignment) => signDocument(body, authority.sign);
  const signedAssignment = await sign(assignment);
  const others = [
    await sign(makeAssignment(a, b, { fencingToken: assignment.fencingToken + 1 })),
    await sign({ ...assignment, migrationId: ulid("mig", 2) }),
    b.certificate,
    a.certificate,
  ];
  const good: PeerHello = {
    versions: [1],
    features: ["psk-stream"],
    role: "source",
    incarnation: "a".repeat(32),
    ephemeralKey: toBase64Url(randomBytes(32)),
    nonce: toBase64Url(randomBytes(32)),
    certificate: a.certificate,
    assignment: signedAssignment,
  };
  const names = Object.keys(good);
  for (let time = 0; time < times; time++) {
    const changed: { [name: string]: unknown } = { ...good };
    const name = names[Math.floor(random() * names.length)] ?? "";
    if (random() < 0.3) changed[name] = others[Math.floor(random() * others.length)];
    else if (random() < 0.2) delete changed[name];
    else changed[name] = hostileValue(random);
    const text = JSON.stringify(changed);
    const line = random() < 0.9 ? text : text.slice(0, Math.floor(random() * text.length));
    let own = "";
    const proofs = [JSON.stringify({ signature: toBase64Url(randomBytes(64)) }), '{"signature":""}', "null"];
    const lines = [line, proofs[Math.floor(random() * proofs.length)] ?? ""];
    const channel = {
      writeLine: (said: string) => {
        own = said;
      },
      // Its own hello comes back now and then.
      readLine: async () => (random() < 0.05 ? own : (lines.shift() ?? "")),
    };
    await assert.rejects(
      shakeHands(
        channel,
        "destination",
        { assignment, signedAssignment },
        {
          incarnation: "b".repeat(32),
          sign: b.sign,
          certificate: b.certificate,
          verify,
          versions: [1],
          features: ["psk-stream"],
        },
      ),
      PeerRefused,
      line.slice(0, 300),
    );
  }
};
