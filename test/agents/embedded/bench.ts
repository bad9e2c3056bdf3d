// Two hosts of embedded guests on loopback, and what a test may do to their processes.
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createEmbeddedHypervisor } from "../../../agents/adapters/embedded/hypervisor.ts";
import { MachineClient } from "../../../agents/adapters/embedded/machine-client.ts";
import { isAlive } from "../../../agents/adapters/embedded/process-identity.ts";
import type { Hypervisor, Machine, MachineEvent, StreamSample } from "../../../agents/ports/hypervisor.ts";
import type { GuestReport, VmSpec } from "../../../schemas/vm.ts";

// Many short-lived processes: compiled sources are kept between them.
process.env["NODE_COMPILE_CACHE"] ??= join(import.meta.dirname, "../../../node_modules/.cache/drover-compiled");

export const smallSpec: VmSpec = {
  hypervisor: "embedded",
  image: "selftest",
  memoryMiB: 16,
  dirtyMiBPerSecond: 10,
  workingSetMiB: 4,
};

export const addresses = ["127.0.0.11", "127.0.0.12", "127.0.0.13"] as const;

export type EmbeddedBench = {
  folder: string;
  hypervisor: Hypervisor;
  makeDirectory(): Promise<string>;
  kill(machine: Machine): Promise<void>;
  close(): Promise<void>;
};

export function makeBench(): EmbeddedBench {
  const folder = mkdtempSync(join(tmpdir(), "drover-embedded-"));
  const hypervisor = createEmbeddedHypervisor({ warmMemoryMiB: smallSpec.memoryMiB });
  return {
    folder,
    hypervisor,
    makeDirectory: () => mkdtemp(join(folder, "copy-")),
    async kill({ reference: { pid, startedAt } }) {
      if (isAlive(pid, startedAt)) process.kill(pid, "SIGKILL");
      while (isAlive(pid, startedAt)) await sleep(5);
    },
    async close() {
      await hypervisor.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Processes whose working folder is within this one, as every launched guest's is. */
export function processesIn(folder: string): number[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      return readlinkSync(`/proc/${name}/cwd`).startsWith(folder) ? [Number(name)] : [];
    } catch {
      return []; // It ended meanwhile.
    }
  });
}

export const asClient = (machine: Machine): MachineClient => {
  if (machine instanceof MachineClient) return machine;
  throw new Error("not an embedded machine");
};

/** Everything that a machine tells, and a way to wait for more of it. */
export class Ear {
  readonly events: MachineEvent[] = [];
  readonly #wakers = new Set<() => void>();

  constructor(machine: Machine) {
    machine.listen((event) => {
      this.events.push(event);
      for (const wake of [...this.#wakers]) wake();
    });
  }

  /** The first event that suits, from `from` on: by default only what comes after now. */
  until<E extends MachineEvent>(suits: (event: MachineEvent) => event is E, from = this.events.length): Promise<E> {
    return new Promise((resolve) => {
      const look = (): void => {
        const found = this.events.slice(from).find(suits);
        if (found === undefined) return;
        this.#wakers.delete(look);
        resolve(found);
      };
      this.#wakers.add(look);
      look();
    });
  }

  kind<K extends MachineEvent["kind"]>(
    kind: K,
    from = this.events.length,
  ): Promise<Extract<MachineEvent, { kind: K }>> {
    return this.until((event): event is Extract<MachineEvent, { kind: K }> => event.kind === kind, from);
  }

  async report(suits: (report: GuestReport) => boolean = () => true): Promise<GuestReport> {
    type Reported = Extract<MachineEvent, { kind: "guest-reported" }>;
    const told = await this.until((event): event is Reported => event.kind === "guest-reported" && suits(event.report));
    return told.report;
  }

  async roundDone(round: number): Promise<StreamSample> {
    type Sampled = Extract<MachineEvent, { kind: "sampled" }>;
    const told = await this.until(
      (event): event is Sampled => event.kind === "sampled" && event.sample.roundDone && event.sample.round >= round,
    );
    return told.sample;
  }
}
