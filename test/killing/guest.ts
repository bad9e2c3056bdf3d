// The one VM of a world, as its user sees it and as the guest itself reports.
import { setTimeout as delay } from "node:timers/promises";
import type { GuestReport, RunState } from "../../schemas/vm.ts";
import { cluster, vmId, type World } from "./world.ts";

export type VmView = {
  runState: RunState;
  wantedRunState: string;
  stoppedBecause: string | null;
  owner: { hostId: string; copyId: string } | null;
  migration: string | null;
  guest: GuestReport | null;
};
export type MigrationView = {
  id: string;
  phase: string;
  verdict: string;
  reason: string | null;
  detail: string | null;
};

const vmPath = `/v1/clusters/${cluster}/vms/${vmId}`;
const lookEveryMs = 100;
const aliveWithinMs = 60_000;
const terminal = ["completed", "cancelled", "failed"];
/** The machine is shared: the longest pause that is allowed is far beyond what is needed. */
export const limits = { downtimeLimitMs: 2000, downtimeCeilingMs: 20_000 };
/** So slow that a migration is surely still copying when it is meant to be. */
export const slowly = { ...limits, bandwidthLimitBytesPerSecond: 1_000_000, roundLimit: 1000 };

export const specOf = (world: World) => ({
  hypervisor: world.hypervisor,
  memoryMiB: 16,
  dirtyMiBPerSecond: 4,
  workingSetMiB: 4,
});

export async function viewVm(world: World): Promise<VmView> {
  return (await world.ask("GET", vmPath)) as unknown as VmView;
}

export async function startGuest(world: World, host: string): Promise<void> {
  await world.ask("POST", `${vmPath}/start`, { host });
}

/** Hosts that were just started again may not have renewed their leases yet, and a move is refused meanwhile.
 *  @returns its id */
export async function requestMove(world: World, destination: string, its: object = limits): Promise<string> {
  await until("all hosts are alive", aliveWithinMs, async () => {
    const { items } = (await world.ask("GET", `/v1/clusters/${cluster}/hosts`)) as {
      items: { host: string; alive: boolean }[];
    };
    return world.hosts.every((host) => items.some((item) => item.host === host && item.alive));
  });
  const asked = { vm: vmId, destination, limits: its };
  return String((await world.ask("POST", `/v1/clusters/${cluster}/migrations`, asked))["id"]);
}

export async function viewMigration(world: World, id: string): Promise<MigrationView> {
  return (await world.ask("GET", `/v1/clusters/${cluster}/migrations/${id}`)) as unknown as MigrationView;
}

/** @throws when it has not ended in time */
export async function untilEnded(world: World, id: string, withinMs: number): Promise<MigrationView> {
  for (const until = performance.now() + withinMs; ; await delay(lookEveryMs)) {
    const found = await viewMigration(world, id);
    if (terminal.includes(found.phase)) return found;
    if (performance.now() > until)
      throw new Error(`migration ${id} is still in ${found.phase}, ${found.verdict}, after ${withinMs} ms`);
  }
}

/** The guest runs, and has said so itself since: two reports, one after the other.
 *  @param mayBeHeld a migration may still hold it
 *  @throws when it does not in time */
export async function untilRuns(
  world: World,
  withinMs: number,
  mayBeHeld = false,
): Promise<VmView & { guest: GuestReport }> {
  let first: GuestReport | null = null;
  let last: VmView | null = null;
  for (const until = performance.now() + withinMs; performance.now() < until; await delay(lookEveryMs)) {
    last = await viewVm(world);
    const { guest, runState } = last;
    if (runState !== "running" || !guest || (last.migration !== null && !mayBeHeld)) continue;
    if (first?.bootId === guest.bootId && guest.heartbeats > first.heartbeats) return { ...last, guest };
    first ??= guest;
    if (first.bootId !== guest.bootId) first = guest;
  }
  throw new Error(`the guest does not run ${withinMs} ms later: ${JSON.stringify(last)}`);
}

export async function until(what: string, withinMs: number, holds: () => Promise<boolean> | boolean): Promise<void> {
  for (const end = performance.now() + withinMs; !(await holds()); await delay(lookEveryMs / 2)) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
  }
}

/** Defines the VM that the cells are about, and starts it. */
export async function firstGuest(world: World): Promise<void> {
  await world.ask("POST", `/v1/clusters/${cluster}/vms`, { vm: vmId, spec: specOf(world) });
  await startGuest(world, world.hosts[0] ?? "");
  await untilRuns(world, 60_000);
}
