// One cell: the guest runs, something happens to it, a process halts at a step, somebody dies, and it is seen what
// comes of it. The next cell begins where this one ends.
import { setTimeout as delay } from "node:timers/promises";
import { executedAtOnce, guestsAlive, leftBehind } from "./checks.ts";
import { requestMove, startGuest, until, untilEnded, untilRuns, type VmView, viewVm } from "./guest.ts";
import type { Cell, Effect } from "./matrix.ts";
import { type Found, signal } from "./processes.ts";
import { placeOf, type Stage, scenarios } from "./scenarios.ts";
import { cluster, vmId, type World } from "./world.ts";

/** Loose: the machine is shared. What is waited for takes a second or three on a quiet one; but a guest whose supervisor
 *  died before it could note its reference ends by itself after a minute. */
const limits = { reachMs: 60_000, answerMs: 90_000, settleMs: 60_000, moveMs: 60_000, cleanMs: 90_000 };
const stallMs = 2500;
/** In these the destination has loaded by then: its copy is complete, whatever becomes of the source. */
const afterLoading = new Set([
  "journal:commit-sent",
  "table:report-destination-commits",
  "journal:run-intent",
  "memo:permitted",
  "lock:taken",
  "guest:run",
  "table:report-guest-confirmed",
  "guest:destroyed",
  "copy:given-up",
  "copy:removed",
]);

export type CellResult = {
  id: string;
  ms: number;
  ended: "carried on" | "lost with its owner" | "was ended";
  verdict: string;
};

/** @throws with what did not hold */
export async function runCell(world: World, cell: Cell): Promise<CellResult> {
  const beganAt = performance.now();
  const scenario = scenarios[cell.scenario];
  if (!scenario) throw new Error(`there is no scenario "${cell.scenario}"`);
  const before = await untilRuns(world, limits.settleMs);
  const source = before.owner?.hostId ?? "";
  const destination = world.hosts.find((host) => host !== source) ?? "";
  const stage: Stage = { world, source, destination };
  await scenario.arrange?.(stage);

  const place = placeOf(stage, cell.place);
  const armed = { place, moment: cell.moment, step: cell.step };
  world.arm(armed);
  const acting = scenario.act(stage);
  acting.catch(() => {});
  const pid = await Promise.race([
    world.halted(armed, limits.reachMs),
    acting.then(() => world.halted(armed, limits.reachMs)),
  ]);
  if (pid === null) throw new Error(`the step was never reached within ${limits.reachMs} ms`);
  const mayBeLost = await strike(stage, cell, place, pid);
  world.release(place, pid);
  await within(limits.answerMs, acting, "what was asked for was not answered");
  world.letAllUp();

  const after = await settled(world, mayBeLost || scenario.endsGuest === true);
  const lost = after.guest === null;
  if (scenario.stops && after.runState !== "stopped")
    throw new Error(
      `the guest was stopped as ordered, and the record says ${after.runState} (${after.stoppedBecause})`,
    );
  const verdict = lastVerdict(world);
  if (lost && !scenario.endsGuest && !mayBeLost) {
    throw new Error(`the guest was lost, and nobody had to lose it: ${JSON.stringify(after)}`);
  }
  if (!lost && !scenario.endsGuest) sameGuest(before, after);
  await scenario.clear?.(stage);
  if (lost) {
    // A source's stopped copy goes when its host hears that the guest is lost.
    await until("no guest is left of it", limits.cleanMs, () => guestsAlive(world).length === 0);
    await startGuest(world, source);
  }
  await finishCell(world);
  return {
    id: cell.id,
    ms: Math.round(performance.now() - beganAt),
    ended: lost ? (scenario.endsGuest ? "was ended" : "lost with its owner") : "carried on",
    verdict,
  };
}

/** Does what the cell is about, while the process at the step stands still.
 *  @returns whether the guest may be lost by it (I2) */
async function strike(stage: Stage, cell: Cell, place: string, pid: number): Promise<boolean> {
  const { world } = stage;
  const own = world.processes(place).find((found) => found.pid === pid);
  const self: Found = own ?? { pid, kind: "agent", copyId: null };
  if (cell.effect === "stall-self") return stall(world, place, [self], pid);
  if (cell.effect === "stall-source-host" || cell.effect === "stall-destination-host") {
    const host = cell.effect === "stall-source-host" ? stage.source : stage.destination;
    return stall(world, place, world.processes(host), pid);
  }
  const victims = victimsOf(stage, cell.effect, self);
  const mayBeLost = () => mayLose(stage, cell, victims);
  const before = mayBeLost();
  const places = placesOf(stage, cell.effect);
  if (places.length > 0) await world.powerOff(...places);
  else await world.kill(victims);
  // A commit that was under way as they died may have made one of them the owner.
  const after = mayBeLost();
  for (const each of places) world.letUp(each); // What the scenario itself holds down stays so.
  return before || after;
}

/** That lose their power, and have it again. */
function placesOf({ world, source, destination }: Stage, effect: Effect): string[] {
  if (effect === "kill-source-host") return [source];
  if (effect === "kill-destination-host") return [destination];
  return effect === "kill-everything" ? ["control-plane", ...world.hosts] : [];
}

async function stall(world: World, place: string, victims: Found[], halted: number): Promise<false> {
  for (const { pid } of victims) signal(pid, "SIGSTOP");
  world.release(place, halted);
  await delay(stallMs);
  for (const { pid } of victims) signal(pid, "SIGCONT");
  return false;
}

function victimsOf({ world, source, destination }: Stage, effect: Effect, self: Found): Found[] {
  const [, side = "", kind = ""] = /^kill-(source|destination)-(agent|supervisor|guest|host)$/.exec(effect) ?? [];
  const host = side === "source" ? source : destination;
  if (kind === "host") return world.processes(host);
  if (kind === "agent" || kind === "supervisor" || kind === "guest") return world.find(host, kind);
  if (effect === "kill-control-plane") return world.processes("control-plane");
  if (effect === "kill-everything")
    return [...world.processes("control-plane"), ...world.hosts.flatMap((each) => world.processes(each))];
  return [self];
}

/** I2: only with the guest's own process on its owner, or with the host of the only complete copy. */
function mayLose({ world, destination }: Stage, cell: Cell, victims: Found[]): boolean {
  const dead = new Set(victims.filter(({ kind }) => kind === "guest").map(({ copyId }) => copyId));
  const vm = world.item(`c/${cluster}/vms`, vmId) as { owner: { copyId: string } | null; migrationId: string | null };
  const owner = vm?.owner?.copyId ?? null;
  if (owner === null || !dead.has(owner)) return false;
  const migration = vm.migrationId ? world.item(`c/${cluster}/migrations`, vm.migrationId) : null;
  if (!migration || cell.scenario !== "migrate") return true;
  const copyOf = (side: string) => (migration[side] as { copyId: string }).copyId;
  // A source that dies after the destination has loaded costs nothing.
  const destinationLives = !dead.has(copyOf("destination")) && world.find(destination, "guest").length > 0;
  return !(owner === copyOf("source") && afterLoading.has(cell.step) && destinationLives);
}

/** The VM is at rest: it runs and says so itself, twice, or it has ended, as far as it may. */
async function settled(world: World, mayHaveEnded: boolean): Promise<VmView> {
  let last: VmView | null = null;
  let first: VmView["guest"] = null;
  await until("the VM is at rest", limits.settleMs, async () => {
    last = await viewVm(world);
    const { migration, runState, guest } = last;
    if (migration !== null) return false;
    if (runState === "guest-lost" || runState === "stopped") return true;
    if (runState !== "running" || !guest) return false;
    if (first?.bootId !== guest.bootId) first = guest;
    return guest.heartbeats > first.heartbeats;
  }).catch((error: unknown) => {
    throw new Error(`${error instanceof Error ? error.message : error}; it is ${JSON.stringify(last)}`);
  });
  const found = last as VmView | null;
  if (!found) throw new Error("the VM was never looked at");
  if (found.runState === "running") return found;
  if (found.runState === "stopped" && !mayHaveEnded) {
    throw new Error(`the guest has ended, which the record calls ${found.runState} (${found.stoppedBecause})`);
  }
  return { ...found, guest: null };
}

export function sameGuest(before: VmView, after: VmView): void {
  if (!before.guest || !after.guest) return;
  if (after.guest.bootId !== before.guest.bootId) throw new Error("the guest was rebooted");
  if (after.guest.memoryErrors !== 0)
    throw new Error(`the guest finds ${after.guest.memoryErrors} errors in its memory`);
  if (after.guest.heartbeats <= before.guest.heartbeats) throw new Error("the guest's heartbeats went back");
}

function lastVerdict(world: World): string {
  const found = world.lastMigration();
  const verdict = found?.["verdict"] as { kind: string } | undefined;
  return verdict?.kind ?? "none";
}

/** To the other host, after which nothing of all that is left. */
export async function finishCell(world: World): Promise<void> {
  const before = await untilRuns(world, limits.settleMs);
  const destination = world.hosts.find((host) => host !== before.owner?.hostId) ?? "";
  const moved = await untilEnded(world, await requestMove(world, destination), limits.moveMs);
  if (moved.phase !== "completed")
    throw new Error(`the VM does not move again: ${moved.phase}, ${moved.reason}, ${moved.detail}`);
  const after = await untilRuns(world, limits.settleMs);
  sameGuest(before, after);
  const atOnce = executedAtOnce(world, world.copiesOfOthers());
  if (atOnce.length > 0) throw new Error(atOnce.join("; "));
  let left: string[] = [];
  await until("nothing is left behind", limits.cleanMs, async () => {
    left = await leftBehind(world, after.owner?.hostId ?? null);
    return left.length === 0;
  }).catch(() => {
    throw new Error(`left behind: ${left.join("; ")}`);
  });
}

async function within<T>(milliseconds: number, work: Promise<T>, what: string): Promise<T> {
  const late = new AbortController();
  const timeout = delay(milliseconds, undefined, { signal: late.signal }).then(() => {
    throw new Error(`${what} within ${milliseconds} ms`);
  });
  timeout.catch(() => {});
  try {
    return await Promise.race([work, timeout]);
  } finally {
    late.abort();
  }
}
