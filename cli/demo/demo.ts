// The demo: starts a cluster, boots guests, moves them while they run, asks them how they took it, and takes all down.
import { availableParallelism } from "node:os";
import type { Migration } from "../../schemas/migration.ts";
import { tellAccess } from "../cluster/access.ts";
import { type Cluster, startCluster } from "../cluster/cluster.ts";
import { CommandFailure } from "../exit.ts";
import { followMigration } from "../follow.ts";
import { awaitInterrupt, type Interrupt } from "../interrupt.ts";
import { createProgress, type Progress } from "../progress.ts";
import { showDuration } from "../units.ts";
import { write } from "../unread.ts";
import { type DemoDocument, type DemoGuest, documentMigration } from "./document.ts";
import { awaitReport, startGuest } from "./guests.ts";
import type { DemoOptions } from "./options.ts";
import { showReport } from "./report.ts";

/** Guests report with their host's heartbeat; once a second keeps what is shown fresh. */
const heartbeatMs = 1000;
const gapWithinMs = 15_000;
/** A source tells twice a second how its round fares, and gives up on a silent stream sooner than this. */
const stuckAfterMs = 60_000;

export async function demo(options: DemoOptions): Promise<void> {
  const progress = createProgress(options.json ? process.stderr : process.stdout);
  const interrupt = awaitInterrupt();
  // Interrupted before it is up: this process ends, and the reaper with it takes down what there is.
  const cluster = await Promise.race([startDemoCluster(options, progress), interrupt.promise]);
  try {
    const document = await Promise.race([
      run(cluster, options, progress, interrupt.signal),
      cluster.broken,
      interrupt.promise,
    ]);
    const report = options.json ? `${JSON.stringify(document, null, 2)}\n` : showReport(document, process.stdout);
    await write(process.stdout, report);
    if (options.keep) await keepUp(cluster, interrupt);
  } catch (error) {
    if (!interrupt.signal.aborted) progress.line(await cluster.logTails());
    throw error;
  } finally {
    progress.line("taking everything down …");
    await cluster.stop();
    interrupt.dispose();
  }
}

async function startDemoCluster(options: DemoOptions, progress: Progress): Promise<Cluster> {
  progress.line(
    `Drover demo: ${options.hosts} hosts, ${options.guests} ${options.guests === 1 ? "guest" : "guests"} of ${options.memoryMiB} MiB ` +
      `writing ${options.dirtyMiBPerSecond} MiB/s, ${options.migrations} migrations`,
  );
  const { hosts, table, doorbell, runtime, memoryMiB, guests } = options;
  return startCluster({
    hosts,
    table,
    doorbell,
    runtime,
    guestMemoryMiB: memoryMiB * (guests + 1),
    heartbeatMs,
    onStep: (text) => progress.line(`  ${text}`),
  });
}

/** Two neighbouring hosts for each guest, so that as many as possible can move at once. */
function hostsOf(guest: number, hosts: string[]): [string, string] {
  const pair = guest % Math.floor(hosts.length / 2);
  return [hosts[2 * pair] ?? "", hosts[2 * pair + 1] ?? ""];
}

async function run(
  cluster: Cluster,
  options: DemoOptions,
  progress: Progress,
  interrupted: AbortSignal,
): Promise<DemoDocument> {
  const migrations: Migration[] = [];
  const limits = chooseLimits(options);
  // The first guest that fails ends the demo: nobody follows the others any more.
  const failed = new AbortController();
  const signal = AbortSignal.any([failed.signal, interrupted]);
  const spec = { memoryMiB: options.memoryMiB, dirtyMiBPerSecond: options.dirtyMiBPerSecond };
  const names = Array.from({ length: options.guests }, (_, index) => `vm-${index + 1}`);

  const started = await Promise.all(
    names.map(async (vm, index) => {
      const [home] = hostsOf(index, cluster.hosts);
      const found = await startGuest(cluster.api, cluster.name, vm, home, spec);
      progress.line(`  ${vm} runs on ${home}, boot id ${found.guest.bootId}`);
      return found;
    }),
  );
  const moveThereAndBack = async (before: (typeof started)[number], index: number): Promise<DemoGuest> => {
    const moves = Math.floor(options.migrations / names.length) + (index < options.migrations % names.length ? 1 : 0);
    const [home, away] = hostsOf(index, cluster.hosts);
    for (let move = 0; move < moves; move++) {
      const asked = { vm: before.vm, destination: move % 2 === 0 ? away : home, limits };
      migrations.push(await moveGuest(cluster, asked, progress, signal));
    }
    return judgeGuest(cluster, before.vm, before.guest.bootId);
  };
  const guests = await Promise.all(
    started.map(async (before, index): Promise<DemoGuest> => {
      try {
        return await moveThereAndBack(before, index);
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    }),
  );
  const hypervisor = (await cluster.api.getHost(cluster.name, cluster.hosts[0] ?? "")).facts.hypervisor.kind;
  // Ids sort by age.
  migrations.sort((one, other) => (one.id < other.id ? -1 : 1));
  return { hypervisor, table: options.table, migrations: migrations.map(documentMigration), guests };
}

/** Where more guests move at once than there are processors, each gets a share of one: it is allowed a longer pause,
 *  since no round shrinks below what a starved guest writes. Elsewhere the usual limits, but patient with a busy machine. */
function chooseLimits({ hosts, guests }: DemoOptions): { downtimeLimitMs: number; downtimeCeilingMs: number } {
  const crowding = Math.ceil(Math.min(guests, Math.floor(hosts / 2)) / availableParallelism());
  return { downtimeLimitMs: 100 * crowding, downtimeCeilingMs: 5000 * crowding };
}

type Asked = { vm: string; destination: string; limits: ReturnType<typeof chooseLimits> };

async function moveGuest(cluster: Cluster, asked: Asked, progress: Progress, signal: AbortSignal): Promise<Migration> {
  const { api, name } = cluster;
  const { vm, destination } = asked;
  const begun = await api.requestMigration(name, asked);
  const ended = await followMigration(api, name, begun, progress, { signal, stuckAfterMs });
  if (ended.phase !== "completed") documentMigration(ended); // Throws: nothing more will be measured.
  const { downtimeMs, totalMs } = ended.timings;
  const figures =
    downtimeMs === null || totalMs === null
      ? ""
      : `, ${showDuration(totalMs)} in all, ${showDuration(downtimeMs)} down`;
  progress.line(`  ${vm} runs on ${destination}${figures}`);
  return awaitGap(cluster, ended);
}

/** The guest measures its gap by its own clock, and tells a little later. */
async function awaitGap(cluster: Cluster, ended: Migration): Promise<Migration> {
  const deadline = performance.now() + gapWithinMs;
  let migration = ended;
  while (migration.guestGapMs === null && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    migration = await cluster.api.getMigration(cluster.name, ended.id);
  }
  return migration;
}

/** Asks the guest itself, in a report that it made after its last move.
 *  @throws CommandFailure when it was rebooted or found an error in its memory */
async function judgeGuest(cluster: Cluster, vm: string, bootId: string): Promise<DemoGuest> {
  const { api, name } = cluster;
  const earlier = (await api.getVm(name, vm)).guest?.heartbeats ?? 0;
  const { guest, spec } = await awaitReport(
    api,
    name,
    vm,
    "after its last move",
    (found) => found.guest.heartbeats > earlier,
  );
  const judged: DemoGuest = {
    vm,
    memoryMiB: spec.memoryMiB,
    dirtyMiBPerSecond: guest.dirtyMiBPerSecond,
    bootIdUnchanged: guest.bootId === bootId,
    memoryErrors: guest.memoryErrors,
    heartbeats: guest.heartbeats,
  };
  if (!judged.bootIdUnchanged)
    throw new CommandFailure(`${vm} was rebooted: its boot id was ${bootId} and is ${guest.bootId}`);
  if (judged.memoryErrors > 0) throw new CommandFailure(`${vm} found ${judged.memoryErrors} errors in its own memory`);
  return judged;
}

async function keepUp(cluster: Cluster, interrupt: Interrupt): Promise<void> {
  cluster.keepUp((line) => process.stderr.write(`${line}\n`));
  tellAccess(cluster, process.stderr);
  try {
    await Promise.race([interrupt.promise, cluster.broken]);
  } catch (error) {
    // To be taken down is what it was kept up for.
    if (!interrupt.wasAsked()) throw error;
  }
}
