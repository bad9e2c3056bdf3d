// What travels on a peer link or a stream, cut into the units that its ends read: lines as long as it is in the clear,
// TLS records (a type from 20 to 23, the version, a length) from the first of them on.
import type { Fault } from "./fault-proxy.ts";

const recordHeaderBytes = 5;
const newline = 0x0a;

/** @returns takes what arrives, and hands on each unit once it is whole */
export function unitSplitter(onUnit: (unit: Buffer) => void): (chunk: Buffer) => void {
  let pending: Buffer = Buffer.alloc(0);
  return (chunk) => {
    pending = Buffer.concat([pending, chunk]);
    for (let length = unitLength(pending); length > 0; length = unitLength(pending)) {
      onUnit(Buffer.from(pending.subarray(0, length)));
      pending = pending.subarray(length);
    }
  };
}

/** @returns 0 while the first unit is not whole */
function unitLength(bytes: Buffer): number {
  const type = bytes[0];
  if (type === undefined) return 0;
  if (type < 20 || type > 23) return bytes.indexOf(newline) + 1;
  if (bytes.length < recordHeaderBytes) return 0;
  const length = recordHeaderBytes + bytes.readUInt16BE(3);
  return bytes.length < length ? 0 : length;
}

export function unitsOf(bytes: Buffer): Buffer[] {
  const units: Buffer[] = [];
  unitSplitter((unit) => units.push(unit))(bytes);
  return units;
}

/** Each of the first units lost, doubled, and after the one behind it. */
export function unitFaults(bytes: Buffer, atMost: number): Extract<Fault, { kind: "unit" }>[] {
  return unitsOf(bytes)
    .slice(0, atMost)
    .flatMap((_, index) => (["drop", "repeat", "swap"] as const).map((act) => ({ kind: "unit", index, act }) as const));
}
