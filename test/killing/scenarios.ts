// What goes on while a process is ended: each durable step is reached in one of these. A scenario begins with the guest
// running on the source; `arrange` may end processes on the way to steps that are reached after another fault alone.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { lostStatement } from "../../schemas/host.ts";
import {
  limits,
  requestMove,
  slowly,
  specOf,
  startGuest,
  until,
  untilEnded,
  untilRuns,
  viewMigration,
  viewVm,
} from "./guest.ts";
import { signal } from "./processes.ts";
import { cluster, Refused, vmId, type World } from "./world.ts";

export type Stage = { world: World; source: string; destination: string };
export type Scenario = {
  /** Before the step is armed. */
  arrange?: (stage: Stage) => Promise<void>;
  /** What reaches the step, begun once it is armed. Resolves when all that was asked for has been answered; it goes on
   *  while the step is halted and after. */
  act: (stage: Stage) => Promise<void>;
  /** What it added to the world and what is no part of the next cell. */
  clear?: (stage: Stage) => Promise<void>;
  /** The guest is stopped or lost on the way, and is to be started again. */
  endsGuest?: true;
  /** It ends as the user has ordered. */
  stops?: true;
};

/** Where a step is halted. */
export type Place = "control-plane" | "source" | "destination" | "new-host" | "new-control-plane" | "restore";

export function placeOf({ world, source, destination }: Stage, place: Place): string {
  switch (place) {
    case "source":
      return source;
    case "destination":
      return destination;
    case "new-host":
      return newHost(world);
    default:
      return place;
  }
}

const newControlPlane = "new-control-plane";
const newHost = (world: World): string => `host-new-${world.joined}`;

const vmsPath = `/v1/clusters/${cluster}/vms`;
const haltWithinMs = 30_000;

async function move({ world, destination }: Stage, its: object = limits): Promise<string> {
  return requestMove(world, destination, its);
}

const phaseIs = async (world: World, id: string, ...phases: string[]): Promise<boolean> =>
  phases.includes((await viewMigration(world, id)).phase);

/** Ends what serves the copy of the VM on a host. */
async function killCopy(world: World, host: string, ...kinds: ("supervisor" | "guest")[]): Promise<void> {
  await world.kill(kinds.flatMap((kind) => world.find(host, kind)));
}

async function declareLost(world: World, host: string): Promise<void> {
  const path = `/v1/clusters/${cluster}/hosts/${host}`;
  await until(`the lease of ${host} lapses`, 30_000, async () => (await world.ask("GET", path))["alive"] === false);
  const { incarnation } = await world.ask("GET", path);
  await world.ask("POST", `${path}/declare-lost`, {
    incarnation,
    reason: "the kill matrix has switched it off",
    statement: lostStatement,
  });
}

function holdLockFile(world: World): DatabaseSync {
  const database = new DatabaseSync(world.lockFile(vmId), { timeout: 1000 });
  database.exec("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=PERSIST; BEGIN EXCLUSIVE; COMMIT");
  return database;
}

const control = "control-plane";

export const scenarios: { [name: string]: Scenario } = {
  migrate: {
    act: async (stage) => {
      await move(stage);
    },
  },

  start: {
    arrange: async ({ world }) => {
      await world.ask("POST", `${vmsPath}/${vmId}/stop`, {});
      await until("the guest is stopped", 20_000, async () => (await viewVm(world)).runState === "stopped");
    },
    act: ({ world, source }) => startGuest(world, source),
    endsGuest: true,
  },

  stop: {
    act: async ({ world }) => {
      await world.ask("POST", `${vmsPath}/${vmId}/stop`, {});
    },
    endsGuest: true,
    stops: true,
  },

  "pause, reset and resume": {
    act: async ({ world }) => {
      const state = async (wanted: string) => (await viewVm(world)).runState === wanted;
      await world.ask("POST", `${vmsPath}/${vmId}/pause`, {});
      await until("it is paused", 30_000, () => state("paused"));
      await world.ask("POST", `${vmsPath}/${vmId}/reset`, {});
      await world.ask("POST", `${vmsPath}/${vmId}/resume`, {});
      await until("it runs", 30_000, () => state("running"));
    },
    endsGuest: true, // A reset is another boot.
  },

  "pause after a gate": {
    arrange: async (stage) => {
      await agentDiesAtGate(stage);
      await untilRuns(stage.world, 30_000);
    },
    act: async ({ world }) => {
      await world.ask("POST", `${vmsPath}/${vmId}/pause`, {});
      await until("it is paused", 30_000, async () => (await viewVm(world)).runState === "paused");
      await world.ask("POST", `${vmsPath}/${vmId}/resume`, {});
    },
  },

  "define and delete": {
    act: async ({ world }) => {
      const other = `vm-other-${Math.random().toString(36).slice(2, 10)}`;
      await world.ask("POST", vmsPath, { vm: other, spec: specOf(world) });
      await world.ask("DELETE", `${vmsPath}/${other}`);
    },
  },

  cancel: {
    act: async (stage) => {
      const id = await move(stage, slowly);
      await until("it copies", 20_000, () => phaseIs(stage.world, id, "precopy", "failed"));
      await stage.world.ask("POST", `/v1/clusters/${cluster}/migrations/${id}/cancel`, {}).catch(tooLate);
    },
  },

  "destination's guest dies while it loads": {
    act: async (stage) => {
      const id = await move(stage, slowly);
      const { world, source, destination } = stage;
      await until("it copies", 20_000, () => phaseIs(world, id, "precopy", "failed"));
      // The source sees its stream break as well, and would abort first now and then.
      const agents = world.find(source, "agent");
      for (const { pid } of agents) signal(pid, "SIGSTOP");
      await killCopy(world, destination, "guest");
      await delay(2000);
      for (const { pid } of agents) signal(pid, "SIGCONT");
    },
  },

  "agent dies at the gate": { act: agentDiesAtGate },

  "destination's guest dies before it may run": {
    act: (stage) =>
      onTheWay(stage, control, "after", "table:report-destination-commits", async () => {
        await killCopy(stage.world, stage.destination, "guest");
        await delay(500); // Its agent hears of it while the commit is not answered yet.
      }),
  },

  "lock file is held by another": {
    act: async (stage) => {
      let holder: DatabaseSync | null = null;
      await onTheWay(stage, stage.source, "after", "lock:released", () => {
        holder = holdLockFile(stage.world);
      });
      setTimeout(() => holder?.close(), 4000);
    },
  },

  "cut off past the gate": {
    act: async (stage) => {
      const { world, source, destination } = stage;
      await onTheWay(stage, source, "after", "gate:past", async () => {
        world.holdDown(control);
        await world.kill(world.processes(control));
        await killCopy(world, destination, "guest");
        setTimeout(() => world.letUp(control), 10_000);
      });
    },
  },

  "supervisor and guest die at rest": {
    act: async ({ world, source }) => killCopy(world, source, "supervisor", "guest"),
    endsGuest: true,
  },

  "guest dies at rest": {
    act: async ({ world, source }) => killCopy(world, source, "guest"),
    endsGuest: true,
  },

  "two wait for each other": {
    act: async (stage) => {
      const { world, source, destination } = stage;
      const other = `vm-other-${Math.random().toString(36).slice(2, 10)}`;
      await world.ask("POST", vmsPath, { vm: other, spec: specOf(world) });
      await startGuestOf(world, other, destination);
      const first = await move(stage, slowly);
      const asked = { vm: other, destination: source, limits };
      const second = await world.ask("POST", `/v1/clusters/${cluster}/migrations`, asked);
      await world.ask("POST", `/v1/clusters/${cluster}/migrations/${first}/cancel`, {}).catch(tooLate);
      await untilEnded(world, String(second["id"]), 40_000);
      await world.ask("DELETE", `${vmsPath}/${other}`);
    },
  },

  "host joins": {
    act: async ({ world }) => {
      await world.addHost(newHost(world));
      await until("it has joined", 40_000, () => isAliveHost(world, newHost(world)));
    },
    // As when it is taken out of the rack.
    clear: ({ world }) => world.removeHost(newHost(world)),
  },

  "cluster and key are made": {
    act: async ({ world }) => {
      await world.ask("POST", "/v1/clusters", { cluster: `other-${Math.random().toString(36).slice(2, 10)}` });
      const key = await world.ask("POST", "/v1/keys", { name: "brief", scopes: ["read"] });
      await world.ask("DELETE", `/v1/keys/${key["id"]}`);
    },
  },

  "control plane is set up": {
    act: async ({ world }) => {
      const key = join(world.folder, "key-of-new");
      writeFileSync(key, `drover_${"x".repeat(43)}`, { mode: 0o600 });
      const url = await world.addControlPlane(newControlPlane, key);
      writeFileSync(key, `drover_${"y".repeat(43)}`, { mode: 0o600 });
      await world.kill(world.processes(newControlPlane));
      await until("it serves under its new key", 30_000, async () => {
        const headers = { authorization: `Bearer drover_${"y".repeat(43)}` };
        return fetch(new URL("/v1/keys", url), { headers, signal: AbortSignal.timeout(2000) }).then(
          (answer) => answer.ok,
          () => false,
        );
      });
    },
    clear: ({ world }) => world.removeControlPlane(newControlPlane),
  },

  "table goes back": {
    act: async ({ world, destination }) => {
      world.backUpTable();
      await untilEnded(world, await requestMove(world, destination), 60_000);
      await world.putBackupBack();
      await until("it is noticed", 60_000, async () => (await recovery(world)) === "table-went-back");
      await world.restoreTable("restore");
      await until("all have told what they have", 60_000, async () => (await recovery(world)) === null);
    },
  },

  "source host is lost while the table goes back": {
    act: async ({ world, source }) => {
      world.backUpTable();
      await world.restoreTable("restore");
      await world.powerOff(source);
      await until("it recovers", 60_000, async () => (await recovery(world)) === "recovering");
      await declareLost(world, source);
      await until("the others have told what they have", 60_000, async () => (await recovery(world)) === null);
      world.letUp(source);
      await until("it is back", 60_000, () => isAliveHost(world, source));
    },
    endsGuest: true,
  },

  "source host is declared lost": {
    act: async ({ world, source, destination }) => {
      await world.powerOff(source);
      await declareLost(world, source);
      await world
        .ask("POST", `${vmsPath}/${vmId}/force`, {
          reason: "the kill matrix goes on elsewhere",
          action: { kind: "start-from-disk", host: destination },
        })
        .catch(tooLate);
      setTimeout(() => world.letUp(source), 1000);
    },
    endsGuest: true,
  },

  "destination host is lost before it may run": {
    act: async (stage) => {
      const { world, destination } = stage;
      await onTheWay(stage, destination, "before", "journal:run-intent", () => world.powerOff(destination));
      await takeBack(world, destination);
    },
  },

  "destination host is lost when it may have run": {
    act: async (stage) => {
      const { world, source, destination } = stage;
      await onTheWay(stage, destination, "after", "lock:taken", () => world.powerOff(destination));
      await takeBack(world, destination);
      await until("the wish was refused", 30_000, () => !hasOpenWish(world));
      await world.ask("POST", `${vmsPath}/${vmId}/force`, {
        reason: "the kill matrix goes on from the disk",
        action: { kind: "start-from-disk", host: source },
      });
    },
    endsGuest: true,
  },
};

/** The supervisor waits for it a while, then takes the guest back. */
async function agentDiesAtGate(stage: Stage): Promise<void> {
  const { world, source } = stage;
  await onTheWay(stage, source, "after", "guest:stopped", async () => {
    world.holdDown(source);
    await world.kill(world.find(source, "agent"));
    setTimeout(() => world.letUp(source), 4000);
  });
}

async function takeBack(world: World, destination: string): Promise<void> {
  await declareLost(world, destination);
  await world
    .ask("POST", `${vmsPath}/${vmId}/force`, {
      reason: "the kill matrix goes on with the source's copy",
      action: { kind: "take-back" },
    })
    .catch(tooLate);
  setTimeout(() => world.letUp(destination), 2000);
}

function hasOpenWish(world: World): boolean {
  const vm = world.item(`c/${cluster}/vms`, vmId);
  const migration = vm?.["migrationId"] ? world.item(`c/${cluster}/migrations`, String(vm["migrationId"])) : null;
  const wish = migration?.["takeBack"] as { refused: string | null } | null | undefined;
  return wish ? wish.refused === null : false;
}

/** A move during which another step is a station on the way to the one that is armed. */
async function onTheWay(
  stage: Stage,
  place: string,
  moment: "before" | "after",
  step: string,
  act: () => Promise<void> | void,
): Promise<void> {
  const { world } = stage;
  const armed = world.takeArmed();
  const station = { place, moment, step };
  world.arm(station);
  await move(stage);
  const pid = await world.halted(station, haltWithinMs);
  if (pid === null) throw new Error(`the way to the step was never gone: ${moment} ${step} on ${place}`);
  await act();
  if (armed) world.arm(armed);
  world.release(place, pid);
}

async function recovery(world: World): Promise<string | null> {
  const found = (await world.ask("GET", `/v1/clusters/${cluster}`))["recovery"] as { state: string } | null;
  return found?.state ?? null;
}

async function startGuestOf(world: World, vm: string, host: string): Promise<void> {
  await world.ask("POST", `${vmsPath}/${vm}/start`, { host });
  await until(`${vm} runs`, 30_000, async () => (await world.ask("GET", `${vmsPath}/${vm}`))["runState"] === "running");
}

async function isAliveHost(world: World, host: string): Promise<boolean> {
  const { items } = (await world.ask("GET", `/v1/clusters/${cluster}/hosts`)) as {
    items: { host: string; alive: boolean }[];
  };
  return items.some((found) => found.host === host && found.alive);
}

/** What was asked for came too late, which is an answer as well. */
function tooLate(error: unknown): void {
  if (!(error instanceof Refused)) throw error;
}
