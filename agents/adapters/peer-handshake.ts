// The handshake of two agents on the migration network. One hello each way in the clear, then one proof each way: a
// signature with the host key over both hellos. What both ends derive from their ephemeral keys is then the
// pre-shared key of a TLS connection on the same socket, so whoever speaks there has shown that it holds the key too.
//   H1  Nothing secret is sent; ephemeral keys are made for one link and kept by nobody (forward secrecy).
//   H2  Both certificates and both assignments bear the control plane's signature and fit each other.
//   H3  The proof covers both hellos and the role: neither a replay, a mirror nor a lower version gets through.
//   H4  The link's key and the stream's key are bound to the migration and to this very handshake.
import {
  createHash,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { z } from "zod";
import { PeerHello } from "../../schemas/peer.ts";
import {
  fromBase64Url,
  type Sign,
  type Signed,
  toBase64Url,
  type Verify,
  verifierFrom,
} from "../../schemas/signing.ts";
import { type PeerIdentity, PeerRefused } from "../ports/peer-link.ts";
import { findPeerFault } from "./peer-identity.ts";

/** Second line each way: the proof, or why there will be none. */
export const PeerProof = z.union([
  z.object({ signature: z.string().max(128) }),
  z.object({ refused: z.string().max(64) }),
]);

export type Role = "source" | "destination";

export type HandshakeOptions = {
  incarnation: string;
  /** With this host's Ed25519 key. */
  sign: Sign;
  certificate: Signed;
  /** The control plane's. */
  verify: Verify;
  versions: readonly number[];
  /** Offered, and relied on. */
  features: readonly string[];
};

export type LinkKeys = { version: number; peerIncarnation: string; linkKey: Uint8Array; streamKey: Uint8Array };

/** Lines in, lines out; at most one outstanding read. */
export type LineChannel = { writeLine(line: string): void; readLine(): Promise<string> };

/** @throws PeerRefused when the peer is not who the assignment says, shares no version, or lacks a feature that we rely
 *  on; other errors when the channel ends */
export async function shakeHands(
  channel: LineChannel,
  role: Role,
  identity: PeerIdentity,
  options: HandshakeOptions,
): Promise<LinkKeys> {
  const { assignment, signedAssignment } = identity;
  const ephemeral = generateKeyPairSync("x25519");
  const ownHello: PeerHello = {
    versions: [...options.versions],
    features: [...options.features],
    role,
    incarnation: options.incarnation,
    ephemeralKey: rawKey(ephemeral.publicKey),
    nonce: toBase64Url(randomBytes(32)),
    certificate: options.certificate,
    assignment: signedAssignment,
  };
  const ownLine = JSON.stringify(ownHello);
  channel.writeLine(ownLine);
  const peerLine = await channel.readLine();

  const refuse = (why: string): PeerRefused => {
    channel.writeLine(JSON.stringify({ refused: why }));
    return new PeerRefused(why);
  };
  const parsed = PeerHello.safeParse(parseJson(peerLine));
  if (!parsed.success) throw refuse("hello-malformed");
  const peer = parsed.data;
  const version = Math.max(...options.versions.filter((own) => peer.versions.includes(own)));
  if (!Number.isFinite(version)) throw refuse("no-common-version");
  const missing = options.features.find((feature) => !peer.features.includes(feature));
  if (missing) throw refuse(`feature-missing: ${missing}`);
  const fault = await findPeerFault({ assignment, role }, peer, options.verify);
  if (fault) throw refuse(fault);

  const transcript = transcriptOf(role === "source" ? [ownLine, peerLine] : [peerLine, ownLine]);
  const signature = await options.sign(proofBytes(role, transcript));
  channel.writeLine(JSON.stringify({ signature: toBase64Url(signature) }));
  const answer = PeerProof.safeParse(parseJson(await channel.readLine()));
  if (!answer.success) throw new PeerRefused("proof-malformed");
  if ("refused" in answer.data) throw new PeerRefused(`the peer refused us: ${answer.data.refused}`);
  const verifyPeer = await verifierFrom(assignment[peer.role].publicKey);
  if (!(await verifyPeer(proofBytes(peer.role, transcript), fromBase64Url(answer.data.signature)))) {
    throw new PeerRefused("proof-invalid");
  }

  const secret = agree(ephemeral.privateKey, peer.ephemeralKey);
  const derive = (label: string) =>
    new Uint8Array(hkdfSync("sha256", secret, transcript, `${label} ${assignment.migrationId}`, 32));
  return {
    version,
    peerIncarnation: peer.incarnation,
    linkKey: derive("drover-peer-link-1"),
    streamKey: derive("drover-memory-stream-1"),
  };
}

/** Both hellos as they were sent, each with its length before it. */
function transcriptOf(hellos: [string, string]): Uint8Array<ArrayBuffer> {
  const hash = createHash("sha256");
  for (const hello of hellos) hash.update(`${Buffer.byteLength(hello)}:${hello}`);
  return new Uint8Array(hash.digest());
}

function proofBytes(role: Role, transcript: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat([Buffer.from(`drover-peer-proof-1 ${role} `), transcript]));
}

function rawKey(key: KeyObject): string {
  return key.export({ format: "jwk" }).x ?? "";
}

function agree(privateKey: KeyObject, peerKey: string): Uint8Array {
  try {
    const publicKey = createPublicKey({ format: "jwk", key: { kty: "OKP", crv: "X25519", x: peerKey } });
    return diffieHellman({ privateKey, publicKey });
  } catch {
    throw new PeerRefused("ephemeral-key-invalid"); // Malformed, or one of the points that give no secret.
  }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
