// A process that runs cells one after the other on a cluster of its own, for as long as the cluster is well.
import { type CellResult, runCell } from "./cell.ts";
import { firstGuest } from "./guest.ts";
import { runHeadline } from "./headline.ts";
import type { Cell } from "./matrix.ts";
import { World, type WorldOptions } from "./world.ts";

export type Task = { kind: "cell"; cell: Cell } | { kind: "headline"; number: number };
export type Outcome =
  | { kind: "passed"; result: CellResult }
  | { kind: "failed"; id: string; why: string; logs: string };

export class Worker {
  readonly #options: WorldOptions;
  #world: World | null = null;

  constructor(options: WorldOptions) {
    this.#options = options;
  }

  /** A world in which something failed is not used again. */
  async run(task: Task): Promise<Outcome> {
    const id = task.kind === "cell" ? task.cell.id : `headline ${task.number}`;
    try {
      this.#world ??= await beginWorld(this.#options);
      const result =
        task.kind === "cell" ? await runCell(this.#world, task.cell) : await runHeadline(this.#world, task.number);
      return { kind: "passed", result };
    } catch (error) {
      const logs = this.#world ? `${this.#world.logTails()}\n${this.#world.describe()}` : "";
      await this.close();
      return { kind: "failed", id, why: error instanceof Error ? error.message : String(error), logs };
    }
  }

  async close(): Promise<void> {
    const world = this.#world;
    this.#world = null;
    await world?.stop();
  }
}

async function beginWorld(options: WorldOptions): Promise<World> {
  const world = await World.start(options);
  try {
    await firstGuest(world);
    return world;
  } catch (error) {
    await world.stop();
    throw error;
  }
}

if (import.meta.main) {
  const worker = new Worker({ hypervisor: (process.argv[2] ?? "embedded") as WorldOptions["hypervisor"] });
  process.on("message", (task: Task | "end") => {
    if (task === "end") void worker.close().then(() => process.exit(0));
    else void worker.run(task).then((outcome) => process.send?.(outcome));
  });
  // Whoever gave the tasks is gone: the reaper sees to the rest.
  process.on("disconnect", () => process.exit(1));
}
