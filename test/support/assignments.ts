// Assignments, certificates and records as the control plane would sign them, for tests of what agents do with them.
import type { Assignment, HostCertificate } from "../../schemas/agent.ts";
import type { MigrationRecord } from "../../schemas/migration.ts";
import { makeKeyPair, type Sign, type Signed, signDocument, signerFrom } from "../../schemas/signing.ts";
import type { VmSpec } from "../../schemas/vm.ts";

export const spec: VmSpec = {
  hypervisor: "simulated",
  image: "selftest",
  memoryMiB: 16,
  dirtyMiBPerSecond: 1,
  workingSetMiB: 1,
};

export type TestAuthority = { sign: Sign; verificationKey: string };

export async function makeAuthority(): Promise<TestAuthority> {
  const keys = await makeKeyPair();
  return { sign: await signerFrom(keys.privateKey), verificationKey: keys.publicKey };
}

export type TestHost = { hostId: string; address: string; sign: Sign; publicKey: string; certificate: Signed };

export async function makeHost(authority: TestAuthority, hostId: string, address: string): Promise<TestHost> {
  const keys = await makeKeyPair();
  const body: HostCertificate = {
    type: "drover-host-certificate-1",
    clusterId: "test-1",
    hostId,
    publicKey: keys.publicKey,
    issuedAt: 1_790_000_000_000,
  };
  const certificate = await signDocument(body, authority.sign);
  return { hostId, address, sign: await signerFrom(keys.privateKey), publicKey: keys.publicKey, certificate };
}

export const ulid = (prefix: string, number: number): string => `${prefix}_01KB${String(number).padStart(22, "0")}`;

export function makeAssignment(source: TestHost, destination: TestHost, changes: Partial<Assignment> = {}): Assignment {
  return {
    type: "drover-assignment-1",
    clusterId: "test-1",
    migrationId: ulid("mig", 1),
    vmId: "vm-1",
    fencingToken: 5,
    mode: "live",
    spec,
    limits: {
      downtimeLimitMs: 100,
      downtimeCeilingMs: 500,
      roundLimit: 30,
      bandwidthLimitBytesPerSecond: null,
      throttleCeilingPercent: 90,
    },
    source: { hostId: source.hostId, copyId: ulid("copy", 1), address: source.address, publicKey: source.publicKey },
    destination: {
      hostId: destination.hostId,
      copyId: ulid("copy", 2),
      address: destination.address,
      publicKey: destination.publicKey,
    },
    issuedAt: 1_790_000_000_000,
    expiresAt: 1_790_000_060_000,
    ...changes,
  };
}

export function makeRecord(assignment: Assignment, changes: Partial<MigrationRecord> = {}): MigrationRecord {
  const { hostId, copyId } = assignment.source;
  return {
    type: "drover-record-1",
    clusterId: assignment.clusterId,
    migrationId: assignment.migrationId,
    vmId: assignment.vmId,
    openedUnderToken: assignment.fencingToken,
    source: { hostId, copyId },
    destination: { hostId: assignment.destination.hostId, copyId: assignment.destination.copyId },
    verdict: "open",
    verdictToken: assignment.fencingToken,
    owner: { hostId, copyId },
    confirmed: false,
    cancelRequested: null,
    issuedAt: 1_790_000_000_000,
    ...changes,
  };
}
