// What hosts tell of one VM after its table went back, as plain values: copies and parts of the migration mig_1, which
// opened under token 7.
import assert from "node:assert/strict";
import type { Part, ToldPart, VmInventory } from "../../../functions/domain/last-run.ts";
import type { LateStanding } from "../../../functions/domain/late-host.ts";
import type { RecoveryContext } from "../../../functions/domain/recovery.ts";
import type { InventoryCopy } from "../../../schemas/inventory.ts";
import { spec } from "../../support/assignments.ts";
import { admitted, destination, runningVm, source } from "./motions.ts";

export type Seen = InventoryCopy & { hostId: string };

const slot = admitted({}).slots.source;
assert.ok(slot?.migration);
export const { assignment } = slot.migration;

export const copyOf = (ref: { hostId: string; copyId: string }, changes: Partial<InventoryCopy> = {}): Seen => ({
  ...ref,
  vmId: "vm-1",
  spec,
  migrationId: null,
  machine: "running",
  lockToken: 7,
  lockFile: null,
  gate: null,
  isAtGate: false,
  wasPaused: false,
  ended: null,
  ...changes,
});
export const partOf = (role: "source" | "destination", changes: Partial<Part> = {}): ToldPart => ({
  hostId: assignment[role].hostId,
  role,
  assignment,
  recordToken: 7,
  commitSent: false,
  runIntent: 0,
  runRefused: 0,
  arrivesPaused: false,
  relinquished: false,
  over: false,
  ...changes,
});
export const inventory = (copies: Seen[], parts: ToldPart[] = [], lostHosts: string[] = []): VmInventory => ({
  copies,
  parts,
  lostHosts: new Set(lostHosts),
});
/** As its own host tells it. */
export const bare = <T extends { hostId: string }>({ hostId: _, ...rest }: T): Omit<T, "hostId"> => rest;
/** At the gate of the migration, past it. */
export const past = copyOf(source, { machine: "stopped", migrationId: "mig_1", gate: "past", isAtGate: true });
export const loaded = copyOf(destination, { machine: "loaded", lockToken: null, migrationId: "mig_1" });
export const gone = { machine: "ended", ended: "crashed" } as const;

export const context: RecoveryContext = { clusterId: "test", restoreEpoch: 3, at: 9000 };
export const atRest = runningVm({ migrationId: null });

/** A host that comes back, and has nothing. */
export const lateStanding = (changes: Partial<LateStanding>): LateStanding => ({
  hostId: "host-a",
  vmId: "vm-1",
  vm: atRest,
  migrations: [],
  copies: [],
  parts: [],
  others: { copies: [], parts: [] },
  settled: { copies: [], parts: [] },
  lostHosts: new Set(),
  ...changes,
});
