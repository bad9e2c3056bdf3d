// What a host tells of itself while its cluster recovers (agents/table-back.ts, functions/operations/inventory.ts).
import type { HostInventory, Part } from "../../../functions/domain/last-run.ts";
import type { Assignment } from "../../../schemas/agent.ts";
import type { InventoryCopy } from "../../../schemas/inventory.ts";
import { clusterId, limits } from "./control-plane.ts";
import {
  type Copy,
  guestAt,
  hostAt,
  hostIds,
  type Move,
  moveAt,
  type Side,
  sidesAt,
  vmAt,
  vmOf,
  type World,
} from "./world.ts";

export function inventoryOf(world: World, h: number): HostInventory {
  const copies: InventoryCopy[] = [];
  for (const v of world.guests.keys()) {
    for (const copy of guestAt(world, v).copies) {
      // Of one that was destroyed nothing is left to tell.
      if (copy.host === h && (copy.machine !== "ended" || copy.hasRemains)) copies.push(accountOf(world, v, copy));
    }
  }
  const parts = sidesAt(world, h).flatMap(({ m, side }) => partOf(world, m, side) ?? []);
  const tokens = hostAt(world, h).tokens.map((fencingToken, v) => ({ vmId: vmAt(world, v).vmId, fencingToken }));
  return { hostId: hostIds[h] as string, copies, parts, tokens };
}

function accountOf(world: World, v: number, copy: Copy): InventoryCopy {
  const { vmId, spec } = vmAt(world, v);
  const { lock } = guestAt(world, v);
  const leaving = world.moves.find(
    ({ record, wire }) => record.source.copyId === copy.id && (wire.stream !== "none" || wire.gate !== null),
  );
  const arrived = world.moves.find(({ record }) => record.destination.copyId === copy.id);
  return {
    vmId,
    copyId: copy.id,
    spec,
    migrationId: (leaving ?? arrived)?.record.id ?? null,
    machine: copy.machine,
    lockToken: copy.lockToken ?? null,
    lockFile: lock.holder !== null ? "held" : { copyId: lock.copyId, fencingToken: lock.fencingToken },
    gate: leaving?.wire.gate ?? null,
    isAtGate: copy.machine === "stopped",
    wasPaused: false,
    ended: copy.machine === "ended" ? "killed" : null,
  };
}

function partOf(world: World, m: number, side: Side): Part | null {
  const move = moveAt(world, m);
  const journal = move.wire.journal[side];
  if (!journal) return null;
  const of = move.wire.journal.destination;
  const told =
    side === "destination" && of ? of : { commitSent: false, runIntent: 0, runRefused: 0, relinquished: false };
  return {
    role: side,
    assignment: assignmentOf(world, move),
    recordToken: move.record.openedUnderToken,
    commitSent: told.commitSent,
    runIntent: told.runIntent,
    runRefused: told.runRefused,
    arrivesPaused: false,
    relinquished: told.relinquished,
    over: journal.isOver,
  };
}

function assignmentOf(world: World, move: Move): Assignment {
  const { record } = move;
  const { vmId, spec } = vmAt(world, vmOf(move));
  const end = (side: Side) => ({ ...record[side], address: "127.0.0.1", publicKey: "" });
  return {
    type: "drover-assignment-1",
    clusterId,
    migrationId: record.id,
    vmId,
    fencingToken: record.openedUnderToken,
    mode: record.mode,
    spec,
    limits,
    source: end("source"),
    destination: end("destination"),
    issuedAt: 0,
    expiresAt: 0,
  };
}
