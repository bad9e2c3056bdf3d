// All that the operations need from outside, so that a test or a simulation supplies it.
import type { Sign } from "../../schemas/signing.ts";
import type { Doorbell } from "./doorbell.ts";
import type { Table } from "./table.ts";

export interface Ports {
  table: Table;
  doorbell: Doorbell;
  /** `sleep` for pauses between tries; a simulation brings its own, without it the runtime's timer serves. */
  clock: { nowMs(): number; sleep?(milliseconds: number): Promise<void> };
  /** 26 characters that sort by age (ULID). */
  newId(): string;
  /** Cryptographically random bytes. */
  randomBytes(length: number): Uint8Array;
  /** The control plane's signing key; it comes from the deployment's configuration, never from the table. */
  signing: { sign: Sign; publicKey: string };
  settings: Settings;
  /** Told of a commit that kept failing for the table's own reasons, for the log. */
  onTableFault?(step: string, error: unknown): void;
  /** Takes over work that the answer need not wait for (rings, housekeeping), where the runtime lives on after
   *  answering. Without it that work is done before the answer. */
  defer?(work: Promise<void>): void;
  /** A seam for tests: told before and after each durable step, and may stand still there. */
  atStep?(step: string, moment: "before" | "after"): void;
}

export interface Settings {
  /** Names the table that this deployment serves; a restored table is another one. */
  tableId: string;
  restoreEpoch: number;
  leaseMs: number;
  heartbeatMs: number;
  busyHeartbeatMs: number;
  /** How long an assignment may wait to be begun. */
  assignmentMs: number;
  /** How far a request's signing time may be from now. */
  clockSkewMs: number;
}

export const defaultSettings: Omit<Settings, "tableId"> = {
  restoreEpoch: 0,
  leaseMs: 30_000,
  heartbeatMs: 10_000,
  busyHeartbeatMs: 1_000,
  assignmentMs: 60_000,
  clockSkewMs: 60_000,
};
