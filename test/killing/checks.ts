// What must hold after any death: no two copies executed at once, and nothing is left behind.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { executionsName } from "../../agents/adapters/embedded/execution-note.ts";
import { isAlive, processesOf } from "./processes.ts";
import { cluster, vmId, type World } from "./world.ts";

type Note = { atNs: string; pid: number; copyId: string; executes: boolean };
export type Interval = { copyId: string; pid: number; fromNs: bigint; toNs: bigint };

/** When each copy executed, by the guests' own notes and by the deaths that the harness has seen. */
export function intervalsOf(notes: readonly Note[], deaths: ReadonlyMap<number, bigint>, nowNs: bigint): Interval[] {
  const intervals: Interval[] = [];
  const open = new Map<number, Interval>();
  const close = (pid: number, toNs: bigint) => {
    const interval = open.get(pid);
    if (interval) intervals.push({ ...interval, toNs });
    open.delete(pid);
  };
  for (const { atNs, pid, copyId, executes } of notes) {
    if (!executes) close(pid, BigInt(atNs));
    else if (!open.has(pid)) open.set(pid, { copyId, pid, fromNs: BigInt(atNs), toNs: nowNs });
  }
  for (const pid of [...open.keys()]) close(pid, deaths.get(pid) ?? nowNs);
  return intervals;
}

/** @returns a sentence for each pair of copies that executed at the same time */
export function overlaps(intervals: readonly Interval[]): string[] {
  const sorted = [...intervals].sort((one, other) => (one.fromNs < other.fromNs ? -1 : 1));
  return sorted.flatMap((one, index) =>
    sorted
      .slice(index + 1)
      .filter((other) => other.copyId !== one.copyId && other.fromNs < one.toNs)
      .map((other) => {
        const bothUntil = one.toNs < other.toNs ? one.toNs : other.toNs;
        return `two copies executed at once: ${one.copyId} and ${other.copyId}, for ${Number(bothUntil - other.fromNs) / 1e6} ms`;
      }),
  );
}

/** @param others copies of other VMs */
export function executedAtOnce(world: World, others: ReadonlySet<string>): string[] {
  const notes = world.hosts.flatMap((host) =>
    world
      .readText(join(world.haltFolder(host), executionsName))
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Note)
      .filter(({ copyId }) => !others.has(copyId)),
  );
  return overlaps(intervalsOf(notes, world.deaths, process.hrtime.bigint()));
}

/** @param owner the host that has the guest; null when nobody has
 *  @returns a sentence for whatever is there and should not be */
export async function leftBehind(world: World, owner: string | null): Promise<string[]> {
  const found: string[] = [];
  for (const host of world.hosts) {
    const copies = host === owner ? 1 : 0;
    found.push(...leftInFolders(world, host, copies), ...leftRunning(world, host, copies));
    const view = await world.ask("GET", `/v1/clusters/${cluster}/hosts/${host}`);
    if (view["migration"] !== null) found.push(`${host}'s slot is held by ${String(view["migration"])}`);
    if (view["alive"] !== true) found.push(`${host} is not alive`);
  }
  if (processesOf(world.haltFolder("control-plane")).length !== 1) found.push("there is not one control plane");
  const locks = readdirSync(join(world.folder, "shared-volume", "locks")).filter(
    (name) => !name.startsWith(`${vmId}.lock`) && !name.startsWith("vm-other-"),
  );
  found.push(...locks.map((name) => `lock file ${name}`));
  return found;
}

function leftInFolders(world: World, host: string, copies: number): string[] {
  const data = world.dataFolder(host);
  const list = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);
  const folders = list(join(data, "copies"));
  const strangers = [
    ...list(data).filter((name) => name.endsWith(".writing")),
    ...list(join(data, "gates")).map((name) => `gates/${name}`),
    ...list(join(data, "journal"))
      .filter((name) => name !== "tokens.json" && name !== "table-standing.json")
      .map((name) => `journal/${name}`),
    ...list(join(world.folder, host, "run")).filter((name) => name !== "incarnation"),
  ];
  if (folders.length !== copies)
    strangers.push(...folders.map((name) => `copies/${name}`), `(${copies} copies belong)`);
  return strangers.map((name) => `${host}: ${name}`);
}

/** An agent, at most one spare supervisor and its spare guest, and two processes for each copy. */
function leftRunning(world: World, host: string, copies: number): string[] {
  const processes = world.processes(host);
  const count = (kind: string, isSpare: boolean) =>
    processes.filter((found) => found.kind === kind && (found.copyId === null) === isSpare).length;
  const wrong: string[] = [];
  if (count("agent", true) !== 1) wrong.push(`${count("agent", true)} agents`);
  if (count("supervisor", true) > 1) wrong.push(`${count("supervisor", true)} spare supervisors`);
  if (count("guest", true) > count("supervisor", true) + copies) wrong.push(`${count("guest", true)} spare guests`);
  if (count("supervisor", false) !== copies) wrong.push(`${count("supervisor", false)} supervisors of copies`);
  if (count("guest", false) !== copies) wrong.push(`${count("guest", false)} guests`);
  return wrong.map((what) => `${host}: ${what} (${copies} copies belong)`);
}

/** Which guests' processes live for a copy, on all hosts. */
export function guestsAlive(world: World): string[] {
  return world.hosts.flatMap((host) =>
    world
      .find(host, "guest")
      .filter(({ pid }) => isAlive(pid))
      .map(({ copyId }) => `${copyId} on ${host}`),
  );
}
