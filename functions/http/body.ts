// Bodies: JSON of at most 256 KiB, checked against the schema of the route.
import type { Context } from "hono";
import { z } from "zod";
import type { Problem } from "../../schemas/problems.ts";
import type { Env } from "./app.ts";
import { repeatedName } from "./repeated-name.ts";

export const bodyBytesLimit = 256 * 1024;

/** Replacing what is no UTF-8 would make a body larger than it came. */
const decoder = new TextDecoder("utf-8", { fatal: true });

/** The body's text, cut off as soon as it is longer than it may be. */
export async function readText(c: Context<Env>): Promise<string | Problem> {
  const detail = `The body may have ${bodyBytesLimit} bytes at most.`;
  const tooLarge: Problem = { code: "body-too-large", detail, errors: [{ pointer: "", detail }] };
  if (Number(c.req.header("content-length") ?? 0) > bodyBytesLimit) return tooLarge;
  const stream = c.req.raw.body;
  if (!stream) return "";
  const reader = stream.getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.byteLength;
    if (length > bodyBytesLimit) {
      await reader.cancel();
      return tooLarge;
    }
    parts.push(value);
  }
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.byteLength;
  }
  try {
    return decoder.decode(bytes);
  } catch {
    const detail = "The body is not UTF-8; send JSON in UTF-8.";
    return { code: "malformed-json", detail, errors: [{ pointer: "", detail: "must be UTF-8" }] };
  }
}

/** An empty body counts as `{}`. */
export function parseBody<T>(c: Context<Env>, text: string, schema: z.ZodType<T>): { value: T } | { problem: Problem } {
  const type = c.req.header("content-type") ?? "";
  if (text !== "" && !/^application\/json\s*(;.*)?$/i.test(type)) {
    const detail = 'Send the body as JSON, with "Content-Type: application/json".';
    return { problem: { code: "unsupported-media-type", detail } };
  }
  let json: unknown;
  try {
    json = text === "" ? {} : JSON.parse(text);
  } catch {
    const detail = "The body is not JSON; see where it breaks off.";
    return { problem: { code: "malformed-json", detail, errors: [{ pointer: "", detail: "must be JSON" }] } };
  }
  const repeated = repeatedName(text);
  if (repeated !== null) {
    const pointer = shorten(repeated);
    const detail = "is given more than once in its object";
    return { problem: { code: "invalid-request", detail: `${pointer}: ${detail}`, errors: [{ pointer, detail }] } };
  }
  return check(json, schema);
}

/** @returns the value as the schema has it, or every fault with its place and bounds */
export function check<T>(input: unknown, schema: z.ZodType<T>): { value: T } | { problem: Problem } {
  const parsed = schema.safeParse(input);
  if (parsed.success) return { value: parsed.data };
  const faults = parsed.error.issues.flatMap((issue) =>
    issue.code === "unrecognized_keys"
      ? issue.keys.map((key) => ({ pointer: pointerOf([...issue.path, key]), detail: "there is no such field" }))
      : [{ pointer: pointerOf(issue.path), detail: issue.message }],
  );
  // One fault a place: of a number that is too large for any whole number, the bound of its own comes last.
  const errors = [...new Map(faults.map((fault) => [fault.pointer, fault])).values()];
  const named = errors.slice(0, errorsAtMost).map(({ pointer, detail }) => ({
    pointer: shorten(pointer),
    detail: shorten(detail),
  }));
  const left = errors.length - named.length;
  const sentences = named.map((error) => `${error.pointer || "the body"}: ${error.detail}`);
  const detail = `${sentences.join("; ")}${left > 0 ? `; and ${left} more` : ""}`;
  return { problem: { code: "invalid-request", detail, errors: named } };
}

/** Likewise the query of an address; one that is given twice has two meanings, and so none. */
export function checkQuery<T>(c: Context<Env>, schema: z.ZodType<T>): { value: T } | { problem: Problem } {
  const repeated = Object.entries(c.req.queries()).find(([, values]) => values.length > 1);
  if (!repeated) return check(c.req.query(), schema);
  const pointer = shorten(pointerOf([repeated[0]]));
  const detail = "is given more than once in the query";
  return { problem: { code: "invalid-request", detail: `${pointer}: ${detail}`, errors: [{ pointer, detail }] } };
}

/** For addresses that take none. */
export const noQuery = z.strictObject({});

const errorsAtMost = 20;
const shorten = (text: string): string => (text.length > 200 ? `${text.slice(0, 199)}…` : text);

/** RFC 6901 */
function pointerOf(path: readonly PropertyKey[]): string {
  return path.map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}
