// The copies of guests on this host, each with a supervisor's process of its own. `<data>/copies/<copyId>/` is what a
// copy leaves on disk; whoever has such a folder has a copy, whatever became of its processes.
import { existsSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CopyId } from "../../schemas/ids.ts";
import type { VmSpec } from "../../schemas/vm.ts";
import { durable } from "../durable-step.ts";
import type { Copies, Copy, CopyRequest } from "../ports/copies.ts";
import { CopyMemo } from "../supervisor/memo.ts";
import { aliveName, type Greeting, memoName, removedPrefix, socketName } from "../supervisor/protocol.ts";
import { syncFolder } from "./durable-file.ts";
import { holdExclusively } from "./exclusive-file.ts";
import { FileGate } from "./file-gate.ts";
import { ProcessCopy, type SupervisorFinder } from "./process-copy.ts";
import { SealedLog } from "./sealed-log.ts";
import { SupervisorProcesses } from "./supervisor-processes.ts";
import { connectInFolder } from "./unix-socket.ts";

export type ProcessCopiesOptions = {
  /** This host's own folder, `DROVER_DATA`. */
  data: string;
  sharedVolume: string;
  hypervisor: VmSpec["hypervisor"];
};

const failuresBeforeSaying = 3;
/** How long a list waits for a supervisor before it gives the copy as one that cannot be asked. */
const listWithinMs = 5000;

/** The folder of gate decisions, to be read by FileGate also where a copy is gone. */
export const gatesFolder = (data: string): string => join(data, "gates");

/** @param options.data a folder that this process holds (own-folder.ts): two agents would command the same copies */
export async function openProcessCopies(options: ProcessCopiesOptions): Promise<Copies> {
  const folder = join(options.data, "copies");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const rehearsals = join(options.data, "rehearsals");
  await rm(rehearsals, { recursive: true, force: true }); // Of spares that were killed together with their agent.
  return new ProcessCopies(folder, options, rehearsals);
}

class ProcessCopies implements Copies {
  readonly #folder: string;
  readonly #options: ProcessCopiesOptions;
  readonly #processes: SupervisorProcesses;
  readonly #copies = new Map<string, ProcessCopy>();
  readonly #launching = new Map<string, Promise<Copy>>();
  readonly #finder: SupervisorFinder = {
    reach: (copyId, signal) => this.#reach(copyId, signal),
    read: (copyId) => readIdentity(this.#directory(copyId)),
    gone: (copyId) => this.#gone(copyId),
  };

  constructor(folder: string, options: ProcessCopiesOptions, rehearsals: string) {
    this.#folder = folder;
    this.#options = options;
    this.#processes = new SupervisorProcesses(options.hypervisor, rehearsals);
  }

  launch(request: CopyRequest): Promise<Copy> {
    const { copyId } = request;
    const known = this.#launching.get(copyId);
    if (known) return known;
    const launching = this.#launch(request).finally(() => this.#launching.delete(copyId));
    this.#launching.set(copyId, launching);
    return launching;
  }

  async list(): Promise<Copy[]> {
    const launched = Promise.allSettled(this.#launching.values());
    if (this.#launching.size > 0) await Promise.race([launched, delay(listWithinMs, undefined, { ref: false })]);
    const copies: ProcessCopy[] = [];
    for (const name of await readdir(this.#folder)) {
      // A supervisor that died while it removed its copy's folder.
      if (name.startsWith(removedPrefix)) await rm(join(this.#folder, name), { recursive: true, force: true });
      if (CopyId.safeParse(name).success && (await this.#isCopy(name))) copies.push(this.#copy(name));
    }
    // One that cannot be reached is not left out: who asks would take it for gone. Nor does it keep others back.
    const found = await Promise.all(copies.map((copy) => copy.found(listWithinMs)));
    return copies.filter((_, index) => found[index]);
  }

  forgetGate(migrationId: string): Promise<void> {
    return new FileGate(gatesFolder(this.#options.data)).forget(migrationId);
  }

  keepSpare(): void {
    this.#processes.keepSpare();
  }

  async close(): Promise<void> {
    for (const copy of this.#copies.values()) copy.detach();
    this.#copies.clear();
    await this.#processes.close();
  }

  async #launch(request: CopyRequest): Promise<Copy> {
    const { copyId } = request;
    const directory = this.#directory(CopyId.parse(copyId));
    if (existsSync(join(directory, memoName))) {
      const copy = this.#copy(copyId);
      const greeting = await copy.greeted();
      if (greeting?.built) return copy;
      if (greeting) await copy.destroy(); // It never was: no guest was built, so nothing is lost.
    }
    this.#copies.delete(copyId); // What is left here of one that is gone.
    await durable("copy:folder-made", async () => {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      await syncFolder(this.#folder);
    });
    const answer = await this.#processes.give({ kind: "launch", ...this.#place(directory), request });
    if (answer.kind === "failed") throw new Error(`launching ${copyId}: ${answer.detail}`);
    const copy = this.#copy(copyId);
    if (!(await copy.greeted())) throw new Error(`launching ${copyId}: it was destroyed meanwhile`);
    return copy;
  }

  #copy(copyId: string): ProcessCopy {
    let copy = this.#copies.get(copyId);
    if (!copy) {
      copy = new ProcessCopy(copyId, this.#finder);
      this.#copies.set(copyId, copy);
    }
    return copy;
  }

  #gone(copyId: string): void {
    this.#copies.delete(copyId);
    // Its supervisor may have died while it removed the folder.
    const removed = join(this.#folder, `${removedPrefix}${copyId}`);
    void rm(removed, { recursive: true, force: true }).catch(() => {}); // The next start of the agent tries again.
  }

  /** A folder without a memo is what a supervisor left that died before it began; nothing can run there. */
  async #isCopy(copyId: string): Promise<boolean> {
    const directory = this.#directory(copyId);
    if (existsSync(join(directory, memoName))) return true;
    const alive = await holdExclusively(join(directory, aliveName)).catch(() => null);
    if (!alive) return existsSync(directory); // Its supervisor is just beginning.
    alive.close();
    await rm(directory, { recursive: true, force: true });
    return false;
  }

  async #reach(copyId: string, signal: AbortSignal): Promise<Socket | null> {
    const directory = this.#directory(copyId);
    let failures = 0;
    for (let pauseMs = 20; ; pauseMs = Math.min(1000, pauseMs * 2)) {
      signal.throwIfAborted();
      try {
        return await connectInFolder(directory, socketName);
      } catch {
        // Nobody listens: dead, or not yet there.
      }
      if (!existsSync(directory)) return null;
      const answer = existsSync(join(directory, memoName))
        ? await this.#processes.give({ kind: "recover", ...this.#place(directory) })
        : null;
      if (answer?.kind === "failed" && ++failures === failuresBeforeSaying) {
        throw new Error(`the supervisor of ${copyId} in ${directory} cannot be started: ${answer.detail}`);
      }
      if (answer?.kind !== "ready") await delay(pauseMs);
    }
  }

  #directory(copyId: string): string {
    return join(this.#folder, copyId);
  }

  #place(directory: string) {
    return { directory, sharedVolume: this.#options.sharedVolume, gates: gatesFolder(this.#options.data) };
  }
}

/** What the folder of a copy says of it; null when it is damaged. */
function readIdentity(directory: string): Greeting | null {
  try {
    const memo = CopyMemo.parse(JSON.parse(new SealedLog(join(directory, memoName)).read() ?? "null"));
    const { vmId, spec, migrationId } = memo.request;
    return { vmId, spec, migrationId: memo.leaving?.migrationId ?? migrationId, built: memo.machine !== null };
  } catch {
    return null;
  }
}
