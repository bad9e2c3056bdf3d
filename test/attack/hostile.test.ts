// A source that holds the key and means harm, and whatever else can be said on the wire: parsers refuse it, and the
// process that listens is as it was.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { DeviceState } from "../../agents/adapters/embedded/device-state.ts";
import { FrameReader, frameType } from "../../agents/adapters/embedded/frames.ts";
import { openState } from "../../agents/adapters/embedded/packed-state.ts";
import { lineSplitter } from "../../agents/adapters/line-socket.ts";
import { WatchedVm } from "../agents/embedded/vm-bench.ts";
import { fuzzDeviceStates, fuzzFrames, fuzzLines, fuzzMessages } from "./fuzz.ts";
import { fuzzLengths } from "./fuzz-lengths.ts";
import { fuzzHellos, fuzzSessions } from "./fuzz-sessions.ts";
import { fuzzDescriptions, fuzzSlots } from "./fuzz-states.ts";
import { type Description, readDescription, withDescription } from "./packed-description.ts";

let guest: WatchedVm;
let state: DeviceState;
before(async () => {
  guest = await WatchedVm.build();
  state = await guest.vm.saveDevices();
});
after(() => guest.vm.dispose());

/** The state with its description changed, packed again. */
function described(change: (info: Description) => unknown): Uint8Array<ArrayBuffer> {
  const info = readDescription(state.packed);
  return withDescription(state.packed, change(info) ?? info);
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

test("a device state with any byte changed is taken or refused, and never reaches beyond the machine", () =>
  fuzzDeviceStates(150, 23));

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

test("a line of a quarter of a megabyte that comes byte by byte is kept once as well", () => {
  const split = lineSplitter(2 ** 18, () => undefined);
  const before = process.memoryUsage().rss;
  for (let at = 0; at < 2 ** 18; at++) split(Buffer.from([0x78]));
  const grown = process.memoryUsage().rss - before;
  assert.ok(grown < 40 * 2 ** 20, `${grown} bytes more`);
});

test("frames of any type, length and page index are handed on within bounds or refused", () => fuzzFrames(20_000, 5));

test("peer messages, calls of a supervisor and signed documents of any shape are read or refused, never more", () =>
  fuzzMessages(20_000, 31));

test("lines cut anywhere are the same lines; a line over its limit ends the reading", () => fuzzLines(2000, 17));

test("a length that is announced and never comes costs nothing", () => fuzzLengths(5000, 3));

test("hellos of the peer link that are nearly right get no link", () => fuzzHellos(1000, 41));

test("a source that holds the key and breaks any rule of the stream is refused, and nothing is loaded", () =>
  fuzzSessions(300, 43));

test("a description of a device state that is read names no bytes but its own, each once", () =>
  fuzzDescriptions(1000, 47));

test("a device state with anything in any slot is taken or refused, soon, and within the machine's memory", () =>
  fuzzSlots(300, 53));
