// What is signed by one side and checked by the other: nothing passes but what was signed, whole, by that key.
import assert from "node:assert/strict";
import { createHash, createPrivateKey, createPublicKey, verify as verifyWithNode } from "node:crypto";
import { test } from "node:test";
import { z } from "zod";
import {
  contentDigest,
  fromBase64,
  fromBase64Url,
  makeKeyPair,
  openDocument,
  type RequestParts,
  Signed,
  sha256Hex,
  signDocument,
  signerFrom,
  signRequest,
  toBase64,
  toBase64Url,
  verifierFrom,
  verifyRequest,
} from "../../schemas/signing.ts";

const pairOf = async () => {
  const keys = await makeKeyPair();
  return { ...keys, sign: await signerFrom(keys.privateKey), verify: await verifierFrom(keys.publicKey) };
};
const bytesOf = (length: number) => Uint8Array.from({ length }, (_, index) => (index * 7 + 251) % 256);

test("bytes of every length come back from base64, whole", () => {
  for (const length of [0, 1, 2, 3, 4095, 4096, 4097, 9000]) {
    const bytes = bytesOf(length);
    assert.equal(toBase64(bytes), Buffer.from(bytes).toString("base64"));
    assert.equal(toBase64Url(bytes), Buffer.from(bytes).toString("base64url"));
    assert.deepEqual(fromBase64(toBase64(bytes)), bytes);
    assert.deepEqual(fromBase64Url(toBase64Url(bytes)), bytes);
  }
  assert.throws(() => fromBase64("not base64!"));
});

test("the keys that sign and check are not to be had from them again", async (t) => {
  const { privateKey, publicKey } = await makeKeyPair();
  const imported = t.mock.method(crypto.subtle, "importKey");
  await signerFrom(privateKey);
  await verifierFrom(publicKey);
  const keys = await Promise.all(imported.mock.calls.map(({ result }) => result as Promise<CryptoKey>));
  assert.deepEqual(
    keys.map(({ type, extractable, usages }) => [type, extractable, usages]),
    [
      ["private", false, ["sign"]],
      ["public", false, ["verify"]],
    ],
  );
});

test("digests are those that others make", async () => {
  const digest = createHash("sha256").update("a body, ü");
  assert.equal(await sha256Hex("a body, ü"), digest.copy().digest("hex"));
  assert.equal(await contentDigest("a body, ü"), `sha-256=:${digest.digest("base64")}:`);
});

test("a key pair is what others take for one, and never the same twice", async () => {
  const { privateKey, publicKey, sign } = await pairOf();
  const key = createPrivateKey({ key: Buffer.from(privateKey, "base64url"), format: "der", type: "pkcs8" });
  const { x } = createPublicKey(key).export({ format: "jwk" });
  assert.equal(x, publicKey);
  const message = bytesOf(40);
  assert.ok(verifyWithNode(null, message, createPublicKey(key), await sign(message)));
  assert.notEqual((await makeKeyPair()).publicKey, publicKey);
});

const Note = z.object({ type: z.literal("note-1"), text: z.string() });
const note: z.infer<typeof Note> = { type: "note-1", text: "all is well, ü" };

test("a document opens as it was signed", async () => {
  const { sign, verify } = await pairOf();
  const signed = Signed.parse(await signDocument(note, sign));
  assert.deepEqual(JSON.parse(Buffer.from(signed.payload, "base64url").toString()), note);
  assert.deepEqual(await openDocument(signed, Note, verify), note);
});

test("a document does not open that another key signed, that was changed, or that is of another type", async () => {
  const { sign, verify } = await pairOf();
  const signed = await signDocument(note, sign);
  const open = (changes: Partial<Signed>) => openDocument({ ...signed, ...changes }, Note, verify);
  assert.equal(await openDocument(signed, Note, (await pairOf()).verify), null);
  const payload = toBase64Url(new TextEncoder().encode(JSON.stringify({ ...note, text: "all is lost" })));
  assert.equal(await open({ payload }), null);
  assert.equal(await open({ signature: toBase64Url(bytesOf(64)) }), null);
  assert.equal(await open({ signature: "not base64!" }), null);
  assert.equal(await openDocument(await signDocument({ ...note, type: "note-2" }, sign), Note, verify), null);
  const text = "no document";
  const noDocument = { payload: text, signature: toBase64Url(await sign(new TextEncoder().encode(text))) };
  assert.equal(await openDocument(noDocument, Note, verify), null);
});

test("what is signed is bounded, so that a host cannot send more", () => {
  const sized = (payload: number, signature: number) =>
    Signed.safeParse({ payload: "a".repeat(payload), signature: "a".repeat(signature) }).success;
  assert.deepEqual([sized(65_536, 128), sized(65_537, 128), sized(65_536, 129)], [true, false, false]);
});

test("what is signed says in the document of the API what it is", () => {
  assert.equal(Signed.meta()?.id, "Signed");
  for (const [name, { description }] of Object.entries(Signed.shape)) assert.ok(description, name);
});

const parts: RequestParts = {
  method: "POST",
  path: "/v1/agent/report?page=1",
  contentDigest: await contentDigest("{}"),
  host: "host-a",
  incarnation: "inc-1",
  counter: "7",
  acknowledged: "6",
};

test("a request verifies as it was signed, and tells when", async () => {
  const { sign, verify } = await pairOf();
  for (const created of [5, 1_790_000_000]) {
    const { "signature-input": signatureInput, signature } = await signRequest(parts, created, sign);
    assert.match(signatureInput, new RegExp(`^drover=\\("@method" .*;created=${created};alg="ed25519"$`));
    assert.match(signature, /^drover=:[A-Za-z0-9+/]{86}==:$/);
    assert.equal(await verifyRequest(parts, { signatureInput, signature }, verify), created);
  }
});

test("a request verifies no more once any part of it was changed", async () => {
  const { sign, verify } = await pairOf();
  const { "signature-input": signatureInput, signature } = await signRequest(parts, 1000, sign);
  for (const name of Object.keys(parts)) {
    assert.equal(
      await verifyRequest({ ...parts, [name]: "another" }, { signatureInput, signature }, verify),
      null,
      name,
    );
  }
  assert.equal(await verifyRequest(parts, { signatureInput, signature }, (await pairOf()).verify), null);
});

test("a request that says no time is refused, though its host signed it so", async () => {
  const { sign, verify } = await pairOf();
  for (const created of [Number.NaN, -1, 1.5, 1e12]) {
    const { "signature-input": signatureInput, signature } = await signRequest(parts, created, sign);
    assert.equal(await verifyRequest(parts, { signatureInput, signature }, verify), null, `${created}`);
  }
});

test("a request's signature is taken in its one form alone", async () => {
  const { sign, verify } = await pairOf();
  const { "signature-input": signatureInput, signature } = await signRequest(parts, 1000, sign);
  const check = (changes: Partial<{ signatureInput: string; signature: string }>) =>
    verifyRequest(parts, { signatureInput, signature, ...changes }, verify);
  assert.equal(await check({}), 1000);
  for (const changed of [
    "",
    ` ${signatureInput}`,
    `${signatureInput} `,
    signatureInput.replace("1000", "1001"),
    signatureInput.replace("1000", "01000"),
    signatureInput.replace("1000", "1".repeat(13)),
    signatureInput.replace("1000", "x"),
    signatureInput.replace("1000", ""),
    signatureInput.replace('"@path" ', ""),
  ]) {
    assert.equal(await check({ signatureInput: changed }), null, changed);
  }
  for (const changed of [
    "",
    ` ${signature}`,
    `${signature} `,
    "drover=::",
    "drover=:!:",
    "drover=:a:",
    signature.replace("==:", "=:"),
    `drover=:${"A".repeat(132)}:`,
  ]) {
    assert.equal(await check({ signature: changed }), null, changed);
  }
});
