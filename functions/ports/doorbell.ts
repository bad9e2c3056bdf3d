// The doorbell tells a host to look at its assignments. It carries nothing else, and losing every ring costs one
// heartbeat interval. Adapters: SQS (one queue per host), long poll on the control plane; test/contract/doorbell.ts.
import type { DoorbellAddress } from "../../schemas/agent.ts";

export type HostAddress = { clusterId: string; hostId: string };

export interface Doorbell {
  /** Rings at once, and again 3 s later, so that one lost ring costs 3 s. Never throws: a ring is a hint. */
  ring(host: HostAddress): Promise<void>;
  /** Makes what the host needs to wait at its doorbell (its queue, say), and tells where that is. */
  install(host: HostAddress): Promise<DoorbellAddress>;
  /** Waits for a ring on behalf of the host; null where the host waits elsewhere (SQS).
   *  True when it rang, false when `timeoutMs` passed or the signal ended the wait. A ring that comes while nobody
   *  waits is kept for the next wait. */
  wait: ((host: HostAddress, timeoutMs: number, signal: AbortSignal) => Promise<boolean>) | null;
  close(): Promise<void>;
}

/** How long after the first ring the second goes out. */
export const secondRingMs = 3000;
