// A packed v86 state as it came from another host, before v86 sees it. v86 believes what stands in it: it would unpack a
// compressed one without a bound, allocate any length it names, and copy the same bytes for every buffer listed.
const magic = -2_039_052_682;
const format = 6;
const headerBytes = 16;
/** Ours have about 60 buffers, are 5 deep and have 7 KiB of description. */
const mostBuffers = 1024;
const mostDepth = 32;
const mostInfoBytes = 1024 * 1024;
const arrays = new Set([
  "Uint8Array",
  "Int8Array",
  "Uint16Array",
  "Int16Array",
  "Uint32Array",
  "Int32Array",
  "Float32Array",
  "Float64Array",
]);

export type PackedState = { slots: unknown[]; buffers: { at: number; length: number }[] };

/** @returns what it describes, and where each buffer stands in it
 *  @throws when it is not a state that v86 packs, uncompressed */
export function openState(packed: Uint8Array): PackedState {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  if (packed.byteLength < headerBytes || view.getInt32(0, true) !== magic || view.getInt32(4, true) !== format)
    throw new Error(`not a v86 state of format ${format}`);
  const infoBytes = view.getInt32(12, true);
  if (view.getInt32(8, true) !== packed.byteLength || infoBytes < 0 || headerBytes + infoBytes > packed.byteLength)
    throw new Error("the v86 state is cut off");
  if (infoBytes > mostInfoBytes) throw new Error("the v86 state describes too much");
  const info: unknown = JSON.parse(new TextDecoder().decode(packed.subarray(headerBytes, headerBytes + infoBytes)));
  if (!isRecord(info) || !Array.isArray(info["state"])) throw malformed();
  const buffers = readBuffers(info["buffer_infos"], (headerBytes + infoBytes + 3) & ~3, packed.byteLength);
  mayBeUnpacked(info["state"], buffers.length, 0);
  return { slots: info["state"], buffers };
}

/** In ascending order, none over another: together no more than was sent. */
function readBuffers(infos: unknown, from: number, end: number): PackedState["buffers"] {
  if (!Array.isArray(infos) || infos.length > mostBuffers) throw malformed();
  let free = from;
  return infos.map((info: unknown) => {
    if (!isRecord(info)) throw malformed();
    const { offset, length } = info;
    if (!isCount(offset) || !isCount(length)) throw malformed();
    const at = from + offset;
    if (at < free || at + length > end) throw malformed();
    free = at + length;
    return { at, length };
  });
}

/** Plain values, lists, and typed arrays over a buffer that is there. */
function mayBeUnpacked(value: unknown, buffers: number, depth: number): void {
  if (typeof value !== "object" || value === null) return;
  if (depth > mostDepth) throw malformed();
  if (Array.isArray(value)) {
    for (const item of value) mayBeUnpacked(item, buffers, depth + 1);
    return;
  }
  const { __state_type__: type, buffer_id: buffer, ...more } = value as Record<string, unknown>;
  const isArray = typeof type === "string" && arrays.has(type) && isCount(buffer) && buffer < buffers;
  if (!isArray || Object.keys(more).length > 0) throw malformed();
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const malformed = (): Error => new Error("the v86 state is not laid out as v86 lays it out");
