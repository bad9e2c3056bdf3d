// The link between the two agents of one migration, on the migration network only: mutually authenticated by the
// host keys, versions negotiated in the hello, encrypted, closed when the migration is over.
// Adapters: TCP (agents/adapters/tcp-peer-link.ts), memory; test/contract/peer-link.ts.
import type { Assignment } from "../../schemas/agent.ts";
import type { PeerMessage } from "../../schemas/peer.ts";
import type { Signed } from "../../schemas/signing.ts";

export type PeerIdentity = {
  assignment: Assignment;
  signedAssignment: Signed;
};

export interface PeerLinks {
  /** Source: connects from its migration address to the destination's and shakes hands. Tries again for as long as
   *  nobody listens there yet, until `timeoutMs`.
   *  @throws PeerRefused when the peer is not who the assignment says or shares no version with us: do not try again
   *  @throws any other error when it cannot be reached */
  connect(identity: PeerIdentity, timeoutMs: number): Promise<PeerLink>;
  /** Destination: listens on its migration address while the migration is expected. `onLink` is called for every link
   *  that has shaken hands (a source that reconnects makes a new one; it replaces the old). Strangers are turned away.
   *  @returns how to stop listening
   *  @throws when nothing can listen there now: the message names the address, the port and the variables they are from */
  expect(identity: PeerIdentity, onLink: (link: PeerLink) => void): Promise<() => Promise<void>>;
}

export interface PeerLink {
  /** 32 bytes that only the two ends know, for the memory stream of this migration. */
  readonly streamKey: Uint8Array;
  readonly peerIncarnation: string;
  readonly version: number;
  /** Queues the message; a link that is down drops it (listen for `closed`). */
  send(message: PeerMessage): void;
  listen(on: { message: (message: PeerMessage) => void; closed: (detail: string) => void }): void;
  close(): void;
}

export class PeerRefused extends Error {
  override name = "PeerRefused";
}
