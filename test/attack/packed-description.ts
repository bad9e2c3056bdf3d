// The JSON within a packed device state, and a state with another one.
export const headerBytes = 16;
export type Description = { buffer_infos: { offset: number; length: number }[]; state: unknown[] };

const infoBytesOf = (packed: Uint8Array): number => new DataView(packed.buffer, packed.byteOffset).getInt32(12, true);

export function readDescription(packed: Uint8Array): Description {
  const json = packed.subarray(headerBytes, headerBytes + infoBytesOf(packed));
  return JSON.parse(Buffer.from(json).toString()) as Description;
}

/** @param description packed as JSON, or as it stands when it is text
 *  @param hasBytes the buffers' bytes are taken over; otherwise there are as many zeros */
export function withDescription(packed: Uint8Array, description: unknown, hasBytes = true): Uint8Array<ArrayBuffer> {
  const json = Buffer.from(typeof description === "string" ? description : JSON.stringify(description));
  const oldBuffersAt = (headerBytes + infoBytesOf(packed) + 3) & ~3;
  const buffersAt = (headerBytes + json.length + 3) & ~3;
  const whole = new Uint8Array(buffersAt + packed.length - oldBuffersAt);
  whole.set(packed.subarray(0, headerBytes));
  whole.set(json, headerBytes);
  if (hasBytes) whole.set(packed.subarray(oldBuffersAt), buffersAt);
  const head = new DataView(whole.buffer);
  head.setInt32(8, whole.length, true);
  head.setInt32(12, json.length, true);
  return whole;
}
