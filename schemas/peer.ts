// What the two agents of a migration say to each other on the peer link, after its handshake. The link is
// authenticated by the host keys and encrypted; every message belongs to the one migration of the link.
import { z } from "zod";
import { FencingToken } from "./ids.ts";
import { EndReason } from "./migration.ts";
import { Signed } from "./signing.ts";
import { saidText } from "./text.ts";

/** Versions of the peer protocol that this build speaks, ascending. */
export const peerVersions = [1] as const;
/** What both ends rely on beyond the version: a peer that lacks one is refused by its name. What it has besides is its own. */
export const peerFeatures = ["psk-stream"] as const;

/** First line each way, before encryption: nothing in it is secret. */
export const PeerHello = z.object({
  versions: z.array(z.int().min(1).max(1000)).min(1).max(16),
  features: z.array(z.string().max(64)).max(64),
  role: z.enum(["source", "destination"]),
  incarnation: z.string().max(64),
  ephemeralKey: z.string().max(64).meta({ description: "X25519, raw, base64url; made for this link." }),
  nonce: z.string().max(64),
  certificate: Signed,
  assignment: Signed,
});
export type PeerHello = z.infer<typeof PeerHello>;

export const StreamEndpoint = z.object({ address: z.string().max(64), port: z.int().min(1).max(65_535) });
export type StreamEndpoint = z.infer<typeof StreamEndpoint>;

export const PeerMessage = z.discriminatedUnion("kind", [
  // destination to source
  z.object({ kind: z.literal("ready"), endpoint: StreamEndpoint }),
  z.object({ kind: z.literal("gate-open"), ask: z.int() }), // its own fresh round trip read `open`, no cancel
  z.object({ kind: z.literal("gate-shut"), ask: z.int() }),
  z.object({ kind: z.literal("loaded") }),
  z.object({ kind: z.literal("arrived"), commitMs: z.number() }), // the guest executes here (or arrived paused)
  z.object({ kind: z.literal("record"), record: Signed }), // either way: the record as last read or answered
  z.object({ kind: z.literal("failed"), reason: EndReason, detail: saidText(1000) }),
  z.object({
    kind: z.literal("relinquished"), // rule 7: the destination never sent a commit and has ended its copy
    word: Signed,
  }),
  // source to destination
  z.object({ kind: z.literal("ask-gate"), ask: z.int() }),
  z.object({ kind: z.literal("guest-stands"), resets: z.int().min(0) }), // at the gate; resets made until then
  z.object({ kind: z.literal("source-complete") }), // rule 6: stated after the commit: the source's copy is whole
  z.object({ kind: z.literal("ask-relinquish"), nonce: z.string().max(64) }),
]);
export type PeerMessage = z.infer<typeof PeerMessage>;

/** Rule 7's word, signed with the destination's host key. */
export const RelinquishedWord = z.object({
  type: z.literal("drover-relinquished-1"),
  migrationId: z.string(),
  fencingToken: FencingToken,
  sourceCopyId: z.string(),
  destinationCopyId: z.string(),
  sourceIncarnation: z.string(),
  destinationIncarnation: z.string(),
  nonce: z.string(),
});
export type RelinquishedWord = z.infer<typeof RelinquishedWord>;
