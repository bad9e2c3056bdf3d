// The embedded hypervisor: each guest an x86 machine (v86) in a process of its own. It is for demonstrations and tests:
// 32 bits, one processor, emulated.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type { HostFacts } from "../../../schemas/host.ts";
import { messageOf } from "../../message-of.ts";
import type { Hypervisor, LaunchRequest, Machine, MachineReference } from "../../ports/hypervisor.ts";
import { childEnvironment } from "../child-environment.ts";
import { LaunchAnswer, type LaunchLine, readLines } from "./control-protocol.ts";
import { lastWords, MachineClient } from "./machine-client.ts";
import { isAlive } from "./process-identity.ts";
import { v86Version } from "./v86-build.ts";

/** Beside this file, as source or as the packaged JavaScript. */
const program = fileURLToPath(
  new URL(`./guest-main${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url),
);
const launchWithinMs = 30_000;

type GuestProcess = ChildProcess & {
  stdin: NonNullable<ChildProcess["stdin"]>;
  stdout: NonNullable<ChildProcess["stdout"]>;
};

export type EmbeddedOptions = {
  /** Memory of the machine that `warm` builds ahead, until a launch has shown what is asked for. */
  warmMemoryMiB?: number;
  /** A guest that has never executed and never had a stream ends when nobody has held it for so long: whoever launched
   *  it died before it could note its reference. */
  lonelyMs?: number;
};

export function createEmbeddedHypervisor({ warmMemoryMiB = 64, lonelyMs = 60_000 }: EmbeddedOptions = {}): Hypervisor {
  return new EmbeddedHypervisor(warmMemoryMiB, lonelyMs);
}

class EmbeddedHypervisor implements Hypervisor {
  readonly kind = "embedded";
  #spare: GuestProcess | null = null;
  #warmMemoryMiB: number;
  readonly #lonelyMs: number;

  constructor(warmMemoryMiB: number, lonelyMs: number) {
    this.#warmMemoryMiB = warmMemoryMiB;
    this.#lonelyMs = lonelyMs;
  }

  async version(): Promise<HostFacts["hypervisor"]> {
    return { kind: this.kind, version: `v86 ${v86Version()}` };
  }

  async warm(): Promise<void> {
    if (this.#spare !== null) return;
    const spare = start([String(this.#warmMemoryMiB)]);
    this.#spare = spare;
    spare.once("exit", () => {
      if (this.#spare === spare) this.#spare = null;
    });
    // A spare keeps nobody alive: it ends by itself when its owner does.
    for (const handle of [spare, spare.stdin, spare.stdout]) (handle as { unref?: () => void }).unref?.();
  }

  async launch(request: LaunchRequest): Promise<Machine> {
    const { vmId, copyId, spec, directory, arriving } = request;
    mkdirSync(directory, { recursive: true });
    const child = this.#spare ?? start([]);
    this.#spare = null;
    this.#warmMemoryMiB = spec.memoryMiB;
    const { pid } = child;
    try {
      const answer = await order(child, { vmId, copyId, spec, directory, arriving, lonelyMs: this.#lonelyMs });
      if (answer.kind === "failed") throw new Error(answer.detail);
      if (pid === undefined) throw new Error("the process has no id");
      const { startedAt, socket } = answer;
      return await MachineClient.connect({ pid, startedAt, socket });
    } catch (error) {
      await end(child);
      throw new Error(`building the guest of ${vmId}: ${messageOf(error)}`);
    } finally {
      // From here on it is spoken to over its socket alone, and outlives us.
      child.stdin.destroy();
      child.stdout.destroy();
      child.unref();
    }
  }

  async adopt(reference: MachineReference): Promise<Machine | null> {
    if (isAlive(reference.pid, reference.startedAt)) {
      try {
        return await MachineClient.connect(reference);
      } catch (error) {
        // It may have ended meanwhile; one that lives and cannot be reached is not given up for dead.
        if (isAlive(reference.pid, reference.startedAt))
          throw new Error(`reaching the guest's process ${reference.pid}`, { cause: error });
      }
    }
    const ended = lastWords(reference);
    return ended === null ? null : MachineClient.ended(reference, ended);
  }

  async close(): Promise<void> {
    const spare = this.#spare;
    this.#spare = null;
    if (spare === null || spare.exitCode !== null) return;
    await new Promise<void>((resolve) => {
      spare.once("exit", () => resolve());
      spare.ref();
      spare.stdin.destroy();
    });
  }
}

async function end(child: GuestProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  await new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.ref();
    child.kill("SIGKILL");
  });
}

function start(words: string[]): GuestProcess {
  // Detached: a session of its own, so that a signal to the caller's terminal does not reach the guest.
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program, ...words], {
    detached: true,
    cwd: dirname(program),
    stdio: ["pipe", "pipe", "ignore"],
    env: childEnvironment(),
  });
  return child as GuestProcess;
}

function order(child: GuestProcess, line: LaunchLine): Promise<LaunchAnswer> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("its process does not answer")), launchWithinMs);
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      act();
    };
    for (const handle of [child, child.stdout]) (handle as { ref?: () => void }).ref?.();
    child.once("error", (error) => settle(() => reject(error)));
    child.once("exit", (code) => settle(() => reject(new Error(`its process ended with code ${code}`))));
    child.stdin.on("error", () => undefined);
    readLines(child.stdout as unknown as Parameters<typeof readLines>[0], (text) =>
      settle(() => resolve(LaunchAnswer.parse(JSON.parse(text)))),
    );
    child.stdin.write(`${JSON.stringify(line)}\n`);
  });
}
