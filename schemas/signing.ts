// Signatures both sides make and check: documents signed by the control plane, and HTTP requests signed by a host
// (RFC 9421 with Ed25519; RFC 9530 for the body's digest). WebCrypto only, so that it runs on every runtime.
import { z } from "zod";

export const Signed = z
  .object({
    payload: z.string().max(65_536).meta({ description: "JSON in base64url; its `type` says what it is." }),
    signature: z.string().max(128).meta({ description: "Ed25519 over the payload's characters, base64url." }),
  })
  .meta({ id: "Signed" });
export type Signed = z.infer<typeof Signed>;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function toBase64Url(bytes: Uint8Array): string {
  return toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
export function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  return fromBase64(text.replaceAll("-", "+").replaceAll("_", "/"));
}
export function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let from = 0; from < bytes.length; from += 4096) {
    // Spread, each byte would pass through an iterator.
    binary += String.fromCharCode.apply(null, bytes.subarray(from, from + 4096) as unknown as number[]);
  }
  return btoa(binary);
}
/** Throws on characters outside of base64. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

export async function sha256Hex(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text)));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Something that signs; the private key stays behind it. */
export type Sign = (bytes: Uint8Array<ArrayBuffer>) => Promise<Uint8Array>;

/** @param pkcs8 an Ed25519 private key, PKCS #8 in base64url */
export async function signerFrom(pkcs8: string): Promise<Sign> {
  const key = await crypto.subtle.importKey("pkcs8", fromBase64Url(pkcs8), "Ed25519", false, ["sign"]);
  return async (bytes) => new Uint8Array(await crypto.subtle.sign("Ed25519", key, bytes));
}

export type Verify = (bytes: Uint8Array<ArrayBuffer>, signature: Uint8Array<ArrayBuffer>) => Promise<boolean>;

/** @param publicKey an Ed25519 public key, raw in base64url */
export async function verifierFrom(publicKey: string): Promise<Verify> {
  const key = await crypto.subtle.importKey("raw", fromBase64Url(publicKey), "Ed25519", false, ["verify"]);
  return (bytes, signature) => crypto.subtle.verify("Ed25519", key, signature, bytes);
}

/** A new Ed25519 key pair: private as PKCS #8, public raw, both base64url. */
export async function makeKeyPair(): Promise<{ privateKey: string; publicKey: string }> {
  const pair = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
  return {
    privateKey: toBase64Url(new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey))),
    publicKey: toBase64Url(new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey))),
  };
}

/** Signs a document. Its `type` names what it is, so that a signature on one kind never serves for another. */
export async function signDocument(body: { type: string }, sign: Sign): Promise<Signed> {
  const payload = toBase64Url(encoder.encode(JSON.stringify(body)));
  return { payload, signature: toBase64Url(await sign(encoder.encode(payload))) };
}

/** The document, when the signature holds and it is of the schema; otherwise null. */
export async function openDocument<T>(signed: Signed, schema: z.ZodType<T>, verify: Verify): Promise<T | null> {
  try {
    if (!(await verify(encoder.encode(signed.payload), fromBase64Url(signed.signature)))) return null;
    const parsed = schema.safeParse(JSON.parse(decoder.decode(fromBase64Url(signed.payload))));
    return parsed.success ? parsed.data : null;
  } catch {
    return null; // Not base64, not JSON: as good as unsigned.
  }
}

/** What an agent's request signature covers. `path` includes the query. */
export type RequestParts = {
  method: string;
  path: string;
  contentDigest: string;
  host: string;
  incarnation: string;
  counter: string;
  acknowledged: string;
};

const covered =
  '("@method" "@path" "content-digest" "drover-host" "drover-incarnation" "drover-counter" "drover-acknowledged")';

/** RFC 9530 Content-Digest of a body (empty for none). */
export async function contentDigest(body: string): Promise<string> {
  return `sha-256=:${toBase64(new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(body))))}:`;
}

function signatureParameters(createdSeconds: number): string {
  return `${covered};created=${createdSeconds};alg="ed25519"`;
}

/** RFC 9421, section 2.5, for our fixed list of components. */
function signatureBase(parts: RequestParts, parameters: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(
    `"@method": ${parts.method}\n` +
      `"@path": ${parts.path}\n` +
      `"content-digest": ${parts.contentDigest}\n` +
      `"drover-host": ${parts.host}\n` +
      `"drover-incarnation": ${parts.incarnation}\n` +
      `"drover-counter": ${parts.counter}\n` +
      `"drover-acknowledged": ${parts.acknowledged}\n` +
      `"@signature-params": ${parameters}`,
  );
}

export async function signRequest(
  parts: RequestParts,
  createdSeconds: number,
  sign: Sign,
): Promise<{ "signature-input": string; signature: string }> {
  const parameters = signatureParameters(createdSeconds);
  const signature = await sign(signatureBase(parts, parameters));
  return { "signature-input": `drover=${parameters}`, signature: `drover=:${toBase64(signature)}:` };
}

/** When the request was signed, in seconds, if the signature holds; otherwise null. */
export async function verifyRequest(
  parts: RequestParts,
  headers: { signatureInput: string; signature: string },
  verify: Verify,
): Promise<number | null> {
  const created = /;created=(\d{1,12});/.exec(headers.signatureInput)?.[1];
  const signature = /^drover=:([A-Za-z0-9+/=]{1,128}):$/.exec(headers.signature)?.[1];
  if (!created || !signature) return null;
  const parameters = signatureParameters(Number(created));
  if (headers.signatureInput !== `drover=${parameters}`) return null;
  try {
    return (await verify(signatureBase(parts, parameters), fromBase64(signature))) ? Number(created) : null;
  } catch {
    return null;
  }
}
