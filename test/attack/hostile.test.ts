// A source that holds the key and means harm, and whatever else can be said on the wire: parsers refuse it, and the
// process that listens is as it was.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { DeviceState } from "../../agents/adapters/embedded/device-state.ts";
import { FrameReader, frameType, StreamBroken } from "../../agents/adapters/embedded/frames.ts";
import { openState } from "../../agents/adapters/embedded/packed-state.ts";
import { lineSplitter } from "../../agents/adapters/line-socket.ts";
import { Call } from "../../agents/supervisor/protocol.ts";
import { MigrationRecord } from "../../schemas/migration.ts";
import { PeerMessage } from "../../schemas/peer.ts";
import { openDocument, signDocument, verifierFrom } from "../../schemas/signing.ts";
import { WatchedVm } from "../agents/embedded/vm-bench.ts";
import { makeAssignment, makeAuthority, makeHost, makeRecord } from "../support/assignments.ts";
import { seededRandom } from "../support/seeded-random.ts";

let guest: WatchedVm;
let state: DeviceState;
before(async () => {
  guest = await WatchedVm.build();
  state = await guest.vm.saveDevices();
});
after(() => guest.vm.dispose());

const headerBytes = 16;
type Info = { buffer_infos: { offset: number; length: number }[]; state: unknown[] };

/** The state with its description changed, packed again. */
function described(change: (info: Info) => unknown, packed = state.packed): Uint8Array<ArrayBuffer> {
  const view = new DataView(packed.buffer, packed.byteOffset);
  const infoBytes = view.getInt32(12, true);
  const info = JSON.parse(Buffer.from(packed.subarray(headerBytes, headerBytes + infoBytes)).toString()) as Info;
  const changed = change(info) ?? info;
  const json = Buffer.from(typeof changed === "string" ? changed : JSON.stringify(changed));
  const buffersAt = (headerBytes + infoBytes + 3) & ~3;
  const newBuffersAt = (headerBytes + json.length + 3) & ~3;
  const whole = new Uint8Array(newBuffersAt + packed.length - buffersAt);
  whole.set(packed.subarray(0, headerBytes));
  whole.set(json, headerBytes);
  whole.set(packed.subarray(buffersAt), newBuffersAt);
  const head = new DataView(whole.buffer);
  head.setInt32(8, whole.length, true);
  head.setInt32(12, json.length, true);
  return whole;
}

const hostile: { [name: string]: () => Uint8Array<ArrayBuffer> } = {
  "a compressed one, that unpacks without a bound": () => {
    const packed = state.packed.slice();
    new DataView(packed.buffer).setUint32(0, 0xfd2f_b528, true);
    return packed;
  },
  "one buffer listed ten thousand times": () =>
    described((info) => {
      const whole = { offset: 0, length: 1_000_000 };
      info.buffer_infos = Array.from({ length: 10_000 }, () => whole);
    }),
  "buffers over each other": () =>
    described((info) => {
      for (const entry of info.buffer_infos) entry.offset = 0;
    }),
  "an array of four thousand million numbers": () =>
    described((info) => {
      info.state[1] = { __state_type__: "Uint8Array", args: 4e9 };
    }),
  "a type that is none": () =>
    described((info) => {
      info.state[1] = { __state_type__: "constructor", buffer_id: 0 };
    }),
  "a list without an end": () => described(() => `{"buffer_infos":[],"state":${"[".repeat(500_000)}`),
  "lists in lists": () => described(() => `{"buffer_infos":[],"state":${"[".repeat(50_000)}${"]".repeat(50_000)}}`),
  "a buffer beyond its end": () =>
    described((info) => {
      const last = info.buffer_infos.at(-1);
      if (last) last.length = 2 ** 31;
    }),
  "a negative offset": () =>
    described((info) => {
      const first = info.buffer_infos[0];
      if (first) first.offset = -16;
    }),
  "no buffers at all": () => described((info) => ({ state: info.state })),
  nothing: () => described(() => "null"),
  "more memory than the machine has": () =>
    described((info) => {
      info.state[0] = 2 ** 31;
    }),
  "less memory than the machine has": () =>
    described((info) => {
      info.state[0] = 0;
    }),
  "another length than it says": () => state.packed.slice(0, state.packed.length - 4),
};
for (const [name, make] of Object.entries(hostile))
  test(`a device state is refused before v86 sees it: ${name}`, async () => {
    const packed = make();
    const before = process.memoryUsage.rss();
    await assert.rejects(guest.vm.restoreDevices({ ...state, packed }, 0));
    assert.ok(process.memoryUsage.rss() - before < 200 * 2 ** 20);
    assert.equal(guest.vm.memory().length, guest.vm.memoryBytes);
  });

test("a device state that is v86's own is opened, and packed anew without a change it still is", () => {
  assert.equal(openState(state.packed).slots[0], guest.vm.memoryBytes);
  assert.equal(openState(described(() => undefined)).slots.length, openState(state.packed).slots.length);
});

test("a device state with any byte changed is taken or refused, and never reaches beyond the machine", async () => {
  const random = seededRandom(23);
  const view = new DataView(state.packed.buffer);
  const described = headerBytes + view.getInt32(12, true);
  const machine = await WatchedVm.build();
  for (let time = 0; time < 150; time++) {
    const packed = state.packed.slice();
    // Mostly in the description, where the structure is.
    const within = time % 3 === 0 ? packed.length : described;
    for (let changes = 0; changes < 1 + (time % 3); changes++)
      packed[Math.floor(random() * within)] = Math.floor(random() * 256);
    await machine.vm.restoreDevices({ ...state, packed }, 0).catch(() => undefined);
    assert.equal(machine.vm.memory().length, machine.vm.memoryBytes);
  }
  await machine.vm.dispose();
});

test("eight megabytes that come byte by byte are kept once, not as eight million objects", () => {
  let frames = 0;
  const reader = new FrameReader({
    accepts: new Set([frameType.devices]),
    frame: (_type, payload) => {
      frames += payload.length;
    },
    pages: () => undefined,
    pageBytes: () => undefined,
  });
  const length = 8 * 2 ** 20;
  const header = Buffer.alloc(5);
  header.writeUInt8(frameType.devices, 0);
  header.writeUInt32LE(length, 1);
  reader.push(header);
  const before = process.memoryUsage.rss();
  const byte = Buffer.alloc(1);
  for (let at = 0; at < length; at++) reader.push(byte);
  assert.equal(frames, length);
  const grown = process.memoryUsage.rss() - before;
  assert.ok(grown < 150 * 2 ** 20, `${grown} bytes more`);
});

test("frames of any type, length and page index are handed on within bounds or refused", () => {
  const random = seededRandom(5);
  const pages = 4096;
  for (let time = 0; time < 20_000; time++) {
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
});

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

test("peer messages, calls of a supervisor and signed documents of any shape are read or refused, never more", async () => {
  const random = seededRandom(31);
  const authority = await makeAuthority();
  const verify = await verifierFrom(authority.verificationKey);
  const [a, b] = [await makeHost(authority, "a", "127.0.0.1"), await makeHost(authority, "b", "127.0.0.2")];
  const signed = await signDocument(makeRecord(makeAssignment(a, b)), authority.sign);
  for (let time = 0; time < 20_000; time++) {
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
});

test("lines cut anywhere are the same lines; a line over its limit ends the reading", () => {
  const random = seededRandom(17);
  for (let time = 0; time < 2000; time++) {
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
});
