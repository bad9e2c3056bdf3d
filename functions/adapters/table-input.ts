// What every table adapter refuses before it touches anything, so that all of them refuse the same. Bad input is a bug of
// the caller: it is thrown as a TypeError that says what was wrong.
import type { Change, Expected, Json, Key, RangeQuery } from "../ports/table.ts";

const utf8 = new TextEncoder();
const keyBytesLimit = 1024;
const itemsLimit = 100;
const rangeLimit = 1000;
/** Of one item's data as JSON, in bytes of UTF-8. */
export const dataBytesLimit = 300 * 1024;
/** Of all data in one commit: DynamoDB takes 4 MB in a transaction, keys and names included. */
export const commitBytesLimit = 3 * 1024 * 1024;

/** A put's data is carried as the JSON text that will be stored, so that it is written only once. */
export type EncodedChange =
  | { kind: "put"; key: Key; expected: Expected; schemaVersion: number; text: string }
  | { kind: "delete"; key: Key; expected: number }
  | { kind: "check"; key: Key; expected: Expected };

export function checkKeys(keys: readonly Key[]): void {
  if (keys.length < 1 || keys.length > itemsLimit) refuse(`1 to ${itemsLimit} keys at once, not ${keys.length}`);
  for (const key of keys) checkKey(key);
  refuseDoubles(keys);
}

export function checkRange(range: RangeQuery): void {
  checkKeyPart("partition", range.partition);
  if (range.prefix !== undefined) checkText("prefix", range.prefix);
  if (range.after !== undefined) checkText("after", range.after);
  if (!Number.isInteger(range.limit) || range.limit < 1 || range.limit > rangeLimit) {
    refuse(`limit is 1 to ${rangeLimit}, not ${range.limit}`);
  }
}

/** Checks all of a commit and writes the data of its puts as JSON. */
export function encodeChanges(changes: readonly Change[]): EncodedChange[] {
  if (changes.length < 1 || changes.length > itemsLimit)
    refuse(`1 to ${itemsLimit} changes at once, not ${changes.length}`);
  const texts: string[] = [];
  const encoded = changes.map((change): EncodedChange => {
    checkKey(change.key);
    checkExpected(change.expected, change.kind);
    const key = { partition: change.key.partition, sort: change.key.sort };
    if (change.kind === "delete") return { kind: "delete", key, expected: change.expected };
    if (change.kind === "check") return { kind: "check", key, expected: change.expected };
    if (!Number.isSafeInteger(change.schemaVersion) || change.schemaVersion < 1) {
      refuse(`schemaVersion is a whole number from 1, not ${change.schemaVersion}`);
    }
    const text = encodeData(change.data);
    if (exceeds(text, dataBytesLimit)) {
      refuse(`data of ${describe(key)} has ${bytesOf(text)} bytes; ${dataBytesLimit} at most`);
    }
    texts.push(text);
    return { kind: "put", key, expected: change.expected, schemaVersion: change.schemaVersion, text };
  });
  refuseDoubles(encoded.map((change) => change.key));
  const all = texts.join("");
  if (exceeds(all, commitBytesLimit)) {
    refuse(`a commit of ${bytesOf(all)} bytes of data; ${commitBytesLimit} at most`);
  }
  return encoded;
}

export function decodeData(text: string): { [name: string]: Json } {
  const data: unknown = JSON.parse(text);
  if (!isJsonObject(data)) throw new Error("the table holds data that is not a JSON object");
  return data;
}

/** Orders well-formed strings as their UTF-8 bytes do: by code points, where JavaScript compares UTF-16 units. */
export function compareUtf8(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const unitA = a.charCodeAt(i);
    const unitB = b.charCodeAt(i);
    if (unitA !== unitB) return rank(unitA) - rank(unitB);
  }
  return a.length - b.length;
}

/** Half of a pair stands for a code point above U+FFFF: it ranks above all units that stand for themselves. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** The lowest string that sorts after everything with this prefix; null when nothing does. */
export function prefixEnd(prefix: string): string | null {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    if (last === 0x10ffff) continue;
    return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
  }
  return null;
}

/** The part of a partition that a query may give: from here (null: its beginning) to below there (null: its end). */
export type Bounds = { from: string | null; fromIncluded: boolean; below: string | null };

/** Brings `prefix` and `after` together. */
export function boundsOf(range: RangeQuery): Bounds {
  const bounds: Bounds = { from: null, fromIncluded: true, below: null };
  if (range.prefix) {
    bounds.from = range.prefix;
    bounds.below = prefixEnd(range.prefix);
  }
  const { after } = range;
  if (after === undefined) return bounds;
  if (range.order === "descending") {
    if (bounds.below === null || compareUtf8(after, bounds.below) < 0) bounds.below = after;
  } else if (bounds.from === null || compareUtf8(after, bounds.from) >= 0) {
    bounds.from = after;
    bounds.fromIncluded = false;
  }
  return bounds;
}

export function describe(key: Key): string {
  return `${JSON.stringify(key.partition)}/${JSON.stringify(key.sort)}`;
}

function checkKey(key: Key): void {
  checkKeyPart("partition", key.partition);
  checkKeyPart("sort", key.sort);
}

function checkKeyPart(part: string, value: string): void {
  checkText(part, value);
  if (value === "") refuse(`${part} is empty`);
}

function checkText(part: string, value: string): void {
  if (typeof value !== "string") refuse(`${part} is not a string`);
  if (!value.isWellFormed()) refuse(`${part} has half of a surrogate pair, which UTF-8 cannot hold`);
  if (exceeds(value, keyBytesLimit)) refuse(`${part} is longer than ${keyBytesLimit} bytes`);
}

const bytesOf = (text: string): number => utf8.encode(text).length;

/** A text that is short enough whatever its characters is not encoded. */
function exceeds(text: string, limit: number): boolean {
  return text.length * 3 > limit && bytesOf(text) > limit;
}

function checkExpected(expected: Expected, kind: Change["kind"]): void {
  if (expected === "absent" && kind !== "delete") return;
  if (typeof expected !== "number" || !Number.isSafeInteger(expected) || expected < 1) {
    refuse(`a ${kind} cannot expect ${String(expected)}`);
  }
}

function encodeData(data: { [name: string]: Json }): string {
  if (!isJsonObject(data)) refuse("data is not a JSON object");
  checkWritable("", data);
  return JSON.stringify(data);
}

/** Refuses what JSON would quietly turn into null or leave out. */
function checkWritable(name: string, value: unknown): void {
  if (typeof value === "object" && value !== null) {
    for (const [inner, member] of Object.entries(value)) checkWritable(inner, member);
    return;
  }
  const isWritable = typeof value !== "number" || Number.isFinite(value);
  if (!isWritable || typeof value === "function" || typeof value === "symbol") {
    refuse(`data has ${String(value)} at ${JSON.stringify(name)}, which JSON cannot hold`);
  }
}

function isJsonObject(value: unknown): value is { [name: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refuseDoubles(keys: readonly Key[]): void {
  // They are few: comparing each with each costs less than composing a name of each.
  for (const [index, key] of keys.entries()) {
    for (let before = 0; before < index; before++) {
      const other = keys[before];
      if (other?.sort === key.sort && other.partition === key.partition) refuse(`${describe(key)} is named twice`);
    }
  }
}

function refuse(what: string): never {
  throw new TypeError(`table: ${what}`);
}
