// What a peer that holds the key may say, drawn at random: handed on within bounds, or refused. Each throws when more
// comes of it.
import assert from "node:assert/strict";
import { FrameReader, frameType, StreamBroken } from "../../agents/adapters/embedded/frames.ts";
import { lineSplitter } from "../../agents/adapters/line-socket.ts";
import { Call } from "../../agents/supervisor/protocol.ts";
import { MigrationRecord } from "../../schemas/migration.ts";
import { PeerMessage } from "../../schemas/peer.ts";
import { openDocument, signDocument, verifierFrom } from "../../schemas/signing.ts";
import { WatchedVm } from "../agents/embedded/vm-bench.ts";
import { makeAssignment, makeAuthority, makeHost, makeRecord } from "../support/assignments.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { headerBytes } from "./packed-description.ts";

export type Fuzz = (times: number, seed: number) => Promise<void> | void;

/** Any type, any length, any page index, in pieces of any size. */
export const fuzzFrames: Fuzz = (times, seed) => {
  const random = seededRandom(seed);
  const pages = 4096;
  for (let time = 0; time < times; time++) {
    const reader = new FrameReader({
      accepts: new Set([frameType.hello, frameType.pages, frameType.mark, frameType.devices, frameType.final]),
      frame: () => undefined,
      pages: (first, count) => {
        if (first + count > pages) throw new StreamBroken("beyond memory");
      },
      pageBytes: (at, bytes) => assert.ok(at >= 0 && at + bytes.length <= pages * 4096),
    });
    const wire = Buffer.alloc(9 + Math.floor(random() * 200));
    for (let at = 0; at < wire.length; at++) wire[at] = Math.floor(random() * 256);
    wire[0] = Math.floor(random() * 8);
    if (time % 2 === 0) wire.writeUInt32LE(4 + 4096 * Math.floor(random() * 66), 1);
    if (time % 4 === 0) wire.writeUInt32LE(Math.floor(random() * 5000), 5);
    try {
      for (let at = 0; at < wire.length; ) {
        const most = 1 + Math.floor(random() * 40);
        reader.push(wire.subarray(at, at + most));
        at += most;
      }
    } catch (error) {
      assert.ok(error instanceof StreamBroken, String(error));
    }
  }
};

/** JSON values of every kind, some deep, some with names that mean something to an object. */
function value(random: () => number, depth = 0): unknown {
  const choices = depth > 4 ? 6 : 8;
  switch (Math.floor(random() * choices)) {
    case 0:
      return null;
    case 1:
      return random() * 1e20 - 5e19;
    case 2:
      return Math.floor(random() * 10) - 5;
    case 3:
      return ["__proto__", "constructor", "failed", "record", "ready", "", "\u0000", "x".repeat(2000)][
        Math.floor(random() * 8)
      ];
    case 4:
      return random() < 0.5;
    case 5:
      return 0xffff_ffff;
    case 6:
      return Array.from({ length: Math.floor(random() * 4) }, () => value(random, depth + 1));
    default:
      return Object.fromEntries(
        ["kind", "method", "id", "record", "stream", "__proto__", "endpoint", "payload"]
          .filter(() => random() < 0.4)
          .map((name) => [name, value(random, depth + 1)]),
      );
  }
}

/** Peer messages, calls of a supervisor, and signed documents with a character changed. */
export const fuzzMessages: Fuzz = async (times, seed) => {
  const random = seededRandom(seed);
  const authority = await makeAuthority();
  const verify = await verifierFrom(authority.verificationKey);
  const [a, b] = [await makeHost(authority, "a", "127.0.0.1"), await makeHost(authority, "b", "127.0.0.2")];
  const signed = await signDocument(makeRecord(makeAssignment(a, b)), authority.sign);
  for (let time = 0; time < times; time++) {
    const some = value(random);
    const message = PeerMessage.safeParse(some);
    if (message.success) assert.equal(typeof message.data.kind, "string");
    Call.safeParse(some);
    if (time % 20 !== 0) continue;
    const field = time % 40 === 0 ? "payload" : "signature";
    const at = Math.floor(random() * signed[field].length);
    const other = signed[field][at] === "A" ? "B" : "A";
    const changed = { ...signed, [field]: signed[field].slice(0, at) + other + signed[field].slice(at + 1) };
    const read = await openDocument(changed, MigrationRecord, verify);
    // Only spare bits of the signature's last character may differ.
    if (read !== null) assert.ok(field === "signature" && at === signed.signature.length - 1);
  }
  assert.equal(({} as { role?: string }).role, undefined);
};

/** Lines cut anywhere are the same lines; one over its limit ends the reading. */
export const fuzzLines: Fuzz = (times, seed) => {
  const random = seededRandom(seed);
  for (let time = 0; time < times; time++) {
    const limit = 50;
    const lines = Array.from({ length: 5 }, () => "y".repeat(Math.floor(random() * 60)));
    const wire = Buffer.from(lines.map((line) => `${line}\n`).join(""));
    const heard: string[] = [];
    const split = lineSplitter(limit, (line) => heard.push(line));
    let goesOn = true;
    for (let at = 0; at < wire.length && goesOn; ) {
      const most = 1 + Math.floor(random() * 30);
      goesOn = split(wire.subarray(at, at + most));
      at += most;
    }
    const tooLong = lines.findIndex((line) => line.length > limit);
    assert.deepEqual(heard, tooLong < 0 ? lines : lines.slice(0, tooLong));
    assert.equal(goesOn, tooLong < 0);
  }
};

/** A device state with some bytes changed is taken or refused, and never reaches beyond the machine. */
export const fuzzDeviceStates: Fuzz = async (times, seed) => {
  const machine = await WatchedVm.build();
  const state = await machine.vm.saveDevices();
  const random = seededRandom(seed);
  const view = new DataView(state.packed.buffer);
  const described = headerBytes + view.getInt32(12, true);
  for (let time = 0; time < times; time++) {
    const packed = state.packed.slice();
    // Mostly in the description, where the structure is.
    const within = time % 3 === 0 ? packed.length : described;
    for (let changes = 0; changes < 1 + (time % 3); changes++)
      packed[Math.floor(random() * within)] = Math.floor(random() * 256);
    await machine.vm.restoreDevices({ ...state, packed }, 0).catch(() => undefined);
    assert.equal(machine.vm.memory().length, machine.vm.memoryBytes);
  }
  await machine.vm.dispose();
};
