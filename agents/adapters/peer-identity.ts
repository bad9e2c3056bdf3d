// Is the peer who the assignment says? Both ends hold the same assignment, signed by the control plane, and a host
// certificate signed by the same key; each compares the other's with its own.
import { isDeepStrictEqual } from "node:util";
import { Assignment, HostCertificate } from "../../schemas/agent.ts";
import { openDocument, type Signed, type Verify } from "../../schemas/signing.ts";

/** What both ends must hold alike. When it was issued, and until when it may be begun, is each one's own matter. */
export function agreedUpon(assignment: Assignment): Omit<Assignment, "issuedAt" | "expiresAt"> {
  const { issuedAt: _issuedAt, expiresAt: _expiresAt, ...agreed } = assignment;
  return agreed;
}

export type PeerFault =
  | "certificate-invalid"
  | "assignment-invalid"
  | "assignment-differs"
  | "stranger"
  | "role-not-opposite";

/** @returns what is wrong with the peer, or null when it is the peer of our assignment */
export async function findPeerFault(
  own: { assignment: Assignment; role: "source" | "destination" },
  peer: { role: "source" | "destination"; certificate: Signed; assignment: Signed },
  verify: Verify,
): Promise<PeerFault | null> {
  if (peer.role === own.role) return "role-not-opposite";
  const certificate = await openDocument(peer.certificate, HostCertificate, verify);
  if (!certificate) return "certificate-invalid";
  const assignment = await openDocument(peer.assignment, Assignment, verify);
  if (!assignment) return "assignment-invalid";
  if (!isDeepStrictEqual(agreedUpon(assignment), agreedUpon(own.assignment))) return "assignment-differs";
  const expected = own.assignment[peer.role];
  const isExpected =
    certificate.clusterId === own.assignment.clusterId &&
    certificate.hostId === expected.hostId &&
    certificate.publicKey === expected.publicKey;
  return isExpected ? null : "stranger";
}
