// The ports that every runtime fills alike: the system's clock, ids and randomness, and the deployment's signing key.
import { signerFrom } from "../../schemas/signing.ts";
import type { Doorbell } from "../ports/doorbell.ts";
import { defaultSettings, type Ports, type Settings } from "../ports/ports.ts";
import type { Table } from "../ports/table.ts";

/** @param signingKey an Ed25519 private key, PKCS #8 in base64url. @throws when it is not one */
export async function systemPorts(parts: {
  table: Table;
  doorbell: Doorbell;
  signingKey: string;
  settings: Partial<Settings> & { tableId: string };
}): Promise<Ports> {
  return {
    table: parts.table,
    doorbell: parts.doorbell,
    clock: { nowMs: () => Date.now() },
    newId: makeUlids(Date.now, randomBytes),
    randomBytes,
    signing: { sign: await signerFrom(parts.signingKey), publicKey: await publicKeyOf(parts.signingKey) },
    settings: { ...defaultSettings, ...parts.settings },
  };
}

function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}

async function publicKeyOf(signingKey: string): Promise<string> {
  const pkcs8 = Uint8Array.from(atob(signingKey.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  const key = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", true, ["sign"]);
  const { x } = await crypto.subtle.exportKey("jwk", key);
  if (!x) throw new Error("the signing key has no public half");
  return x;
}

const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** As many as eight digits hold. */
const halfTail = 2 ** 40;

/** Ids that sort by age: 48 bits of time and 80 of randomness, counted up within one millisecond so that those of one
 *  process sort in the order they were made. */
export function makeUlids(nowMs: () => number, random: (length: number) => Uint8Array): () => string {
  let lastMs = -1;
  let high = 0;
  let low = 0;
  return () => {
    const now = nowMs();
    if (now > lastMs) {
      lastMs = now;
      const bytes = random(10);
      const drawn = wholeOf(bytes.subarray(0, 5));
      // Its highest bit is left empty: room to count up.
      high = Math.floor(drawn / 2);
      low = Math.floor(wholeOf(bytes.subarray(5)) / 2) + (drawn % 2) * (halfTail / 2);
    } else {
      low += 1;
      if (low === halfTail) {
        low = 0;
        high += 1;
      }
    }
    return inDigits(lastMs, 10) + inDigits(high, 8) + inDigits(low, 8);
  };
}

const wholeOf = (bytes: Uint8Array): number => bytes.reduce((sum, byte) => sum * 256 + byte, 0);

function inDigits(value: number, length: number): string {
  let text = "";
  for (let left = value; text.length < length; left = Math.floor(left / 32)) text = digits.charAt(left % 32) + text;
  return text;
}
