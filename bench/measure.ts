// Moves one guest back and forth over the public API, and notes what is measured and what the waiting client sees.
import { readFileSync } from "node:fs";
import { type Cluster, controlPlaneName } from "../cli/cluster/cluster.ts";
import { awaitReport, startGuest } from "../cli/demo/guests.ts";
import { isTerminal, type Migration } from "../schemas/migration.ts";

export type Move = {
  migration: Migration;
  /** From sending the POST to its answer. */
  postMs: number;
  /** From sending the POST to reading that the guest runs on the destination, as the destination confirmed it. */
  postToRunningMs: number;
};

export type Memory = { name: string; afterMoves: number; rssMiB: number };

export type Measured = { moves: Move[]; memory: Memory[]; bootIdUnchanged: boolean; memoryErrors: number };

export type MeasureOptions = {
  memoryMiB: number;
  dirtyMiBPerSecond: number;
  moves: number;
  warmUp: number;
  pauseMs: number;
};

/** The moves of the warm-up are made and not counted. */
export async function measure(
  cluster: Cluster,
  options: MeasureOptions,
  onMove: (move: Move, index: number) => void,
): Promise<Measured> {
  const { memoryMiB, dirtyMiBPerSecond, moves, warmUp, pauseMs } = options;
  const vm = "vm-1";
  const [home = "", away = ""] = cluster.hosts;
  const started = await startGuest(cluster.api, cluster.name, vm, home, { memoryMiB, dirtyMiBPerSecond });
  const measured: Move[] = [];
  const memory: Memory[] = [];
  for (let index = -warmUp; index < moves; index++) {
    // As in life, a move seldom follows upon another: what is made ready ahead is ready again.
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    if (index >= 0 && index % Math.max(1, Math.floor(moves / 5)) === 0) memory.push(...readMemory(cluster, index));
    const move = await moveOnce(cluster, vm, (index + warmUp) % 2 === 0 ? away : home);
    if (index < 0) continue;
    measured.push(move);
    onMove(move, index);
  }
  const heartbeats = (await cluster.api.getVm(cluster.name, vm)).guest?.heartbeats ?? 0;
  const { guest } = await awaitReport(
    cluster.api,
    cluster.name,
    vm,
    "after its last move",
    (found) => found.guest.heartbeats > heartbeats,
  );
  memory.push(...readMemory(cluster, moves));
  return {
    moves: measured,
    memory,
    bootIdUnchanged: guest.bootId === started.guest.bootId,
    memoryErrors: guest.memoryErrors,
  };
}

async function moveOnce(cluster: Cluster, vm: string, destination: string): Promise<Move> {
  const { api, name } = cluster;
  const sentMs = performance.now();
  let migration = await api.requestMigration(name, { vm, destination });
  const postMs = performance.now() - sentMs;
  let postToRunningMs: number | null = null;
  while (true) {
    if (migration.confirmed) postToRunningMs ??= performance.now() - sentMs;
    if (isTerminal(migration.phase)) break;
    migration = await api.waitMigration(name, migration.id, migration.revision, 20_000);
  }
  if (migration.phase !== "completed" || postToRunningMs === null) {
    throw new Error(`${migration.id} ended ${migration.phase}: ${migration.reason}: ${migration.detail}`);
  }
  // The guest tells its own gap a little later.
  for (let tries = 0; migration.guestGapMs === null && tries < 100; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    migration = await api.getMigration(name, migration.id);
  }
  return { migration, postMs, postToRunningMs };
}

function readMemory(cluster: Cluster, afterMoves: number): Memory[] {
  return [controlPlaneName, ...cluster.hosts].map((name) => {
    const { pid } = cluster.process(name);
    const resident = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return { name, afterMoves, rssMiB: Number(resident) / 1024 };
  });
}
