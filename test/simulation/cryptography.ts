// The platform's Web Crypto works on threads of its own, and answers in any order: here it is done at once, from seeded
// keys, behind the same functions, so that the product runs unchanged.
//   real   Ed25519 as it is, by Node's own synchronous functions.
//   quick  a checksum of public key and message in a signature's place: nobody forges in a simulation, but nothing
//          altered passes, and a signature by another key is refused.
import { createPrivateKey, createPublicKey, hash, type KeyObject, sign, verify } from "node:crypto";

export type Strength = "real" | "quick";

/** Of an Ed25519 key in PKCS #8 and SPKI, before its 32 bytes. */
const pkcs8Prefix = Buffer.from("302e020100300506032b657004220420", "hex");
const spkiPrefix = Buffer.from("302a300506032b6570032100", "hex");

type Key = { publicKey: Buffer; secret: Buffer | null; object: KeyObject | null };

/** From now on `crypto.subtle` is the simulation's. @returns how to put the platform's back */
export function installCryptography(strength: Strength, randomBytes: (length: number) => Uint8Array): () => void {
  const subtle = new SimulatedSubtle(strength, randomBytes);
  Object.defineProperty(globalThis.crypto, "subtle", { value: subtle, configurable: true });
  return () => {
    delete (globalThis.crypto as { subtle?: unknown }).subtle; // The platform's own stands on the prototype.
  };
}

class SimulatedSubtle {
  readonly #strength: Strength;
  readonly #randomBytes: (length: number) => Uint8Array;

  constructor(strength: Strength, randomBytes: (length: number) => Uint8Array) {
    this.#strength = strength;
    this.#randomBytes = randomBytes;
  }

  async digest(algorithm: string, data: Uint8Array): Promise<ArrayBuffer> {
    if (algorithm !== "SHA-256") throw new Error(`simulated cryptography knows no ${algorithm}`);
    return toArrayBuffer(hash("sha256", data, "buffer"));
  }

  async generateKey(): Promise<{ privateKey: Key; publicKey: Key }> {
    const key = this.#private(Buffer.from(this.#randomBytes(32)));
    return { privateKey: key, publicKey: key };
  }

  async importKey(format: string, data: Uint8Array): Promise<Key> {
    const bytes = Buffer.from(data);
    if (format === "raw") return this.#public(bytes);
    if (format !== "pkcs8" || !bytes.subarray(0, pkcs8Prefix.length).equals(pkcs8Prefix))
      throw new Error("not an Ed25519 key");
    return this.#private(bytes.subarray(pkcs8Prefix.length));
  }

  async exportKey(format: string, key: Key): Promise<ArrayBuffer | { x: string }> {
    if (format === "jwk") return { x: key.publicKey.toString("base64url") };
    if (format === "raw") return toArrayBuffer(key.publicKey);
    if (!key.secret) throw new Error("a public key has no secret half");
    return toArrayBuffer(Buffer.concat([pkcs8Prefix, key.secret]));
  }

  async sign(_: string, key: Key, data: Uint8Array): Promise<ArrayBuffer> {
    if (!key.secret) throw new Error("only a private key signs");
    return toArrayBuffer(key.object ? sign(null, data, key.object) : quickSignature(key.publicKey, data));
  }

  async verify(_: string, key: Key, signature: Uint8Array, data: Uint8Array): Promise<boolean> {
    if (!key.object) return quickSignature(key.publicKey, data).equals(signature);
    return verify(null, data, key.object, signature);
  }

  #private(secret: Buffer): Key {
    if (this.#strength === "quick") {
      return { secret, publicKey: hash("sha256", Buffer.concat([pkcs8Prefix, secret]), "buffer"), object: null };
    }
    const object = createPrivateKey({ key: Buffer.concat([pkcs8Prefix, secret]), format: "der", type: "pkcs8" });
    const spki = createPublicKey(object).export({ format: "der", type: "spki" });
    return { secret, publicKey: spki.subarray(spkiPrefix.length), object };
  }

  #public(publicKey: Buffer): Key {
    if (this.#strength === "quick") return { publicKey, secret: null, object: null };
    const object = createPublicKey({ key: Buffer.concat([spkiPrefix, publicKey]), format: "der", type: "spki" });
    return { publicKey, secret: null, object };
  }
}

/** Two FNV-1a sums of different beginnings, at the end of as many bytes as a signature has. */
function quickSignature(publicKey: Buffer, data: Uint8Array): Buffer {
  let one = 0x811c9dc5;
  let other = 0x01234567;
  for (const bytes of [publicKey, data]) {
    for (let index = 0; index < bytes.length; index++) {
      const byte = bytes[index] ?? 0;
      one = Math.imul(one ^ byte, 0x01000193);
      other = Math.imul(other ^ byte, 0x01000193);
    }
  }
  const signature = Buffer.alloc(64);
  signature.writeInt32LE(one, 56);
  signature.writeInt32LE(other, 60);
  return signature;
}

const toArrayBuffer = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer;
