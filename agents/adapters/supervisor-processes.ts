// Starts the processes of supervisors: detached, so that they outlive the agent, with nothing in their arguments or
// their environment that anybody may not read. One may be kept ahead, its hypervisor warm.
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { VmSpec } from "../../schemas/vm.ts";
import { type Order, OrderAnswer } from "../supervisor/protocol.ts";
import { childEnvironment } from "./child-environment.ts";
import { lineSplitter } from "./line-socket.ts";

/** Beside the supervisor, as source or as packaged JavaScript. */
const program = fileURLToPath(
  new URL(`../supervisor/main${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url),
);
const answerLimitBytes = 64 * 1024;
/** How long after one was used the next is started: not in the middle of what the first was needed for. */
const replenishMs = 3000;

type SupervisorProcess = ChildProcess & {
  stdin: NonNullable<ChildProcess["stdin"]>;
  stdout: NonNullable<ChildProcess["stdout"]>;
};

export class SupervisorProcesses {
  readonly #hypervisor: VmSpec["hypervisor"];
  readonly #rehearsals: string;
  readonly #orderWithinMs: number;
  #spare: SupervisorProcess | null = null;
  /** Of the guest launched last: the next one will be much like it. */
  #memoryMiB = 0;
  #isSpareWanted = false;
  #replenishing: NodeJS.Timeout | null = null;

  /** @param rehearsals where each spare has a folder for its rehearsal; made if absent
   *  @param orderWithinMs a process that has not answered its order by then is ended */
  constructor(hypervisor: VmSpec["hypervisor"], rehearsals: string, orderWithinMs = 60_000) {
    this.#hypervisor = hypervisor;
    this.#rehearsals = rehearsals;
    this.#orderWithinMs = orderWithinMs;
  }

  keepSpare(): void {
    this.#isSpareWanted = true;
    if (this.#spare) return;
    const rehearsal = join(this.#rehearsals, randomBytes(6).toString("hex"));
    const spare = start([this.#hypervisor, "spare", String(this.#memoryMiB), rehearsal]);
    this.#spare = spare;
    spare.once("exit", () => {
      // One that was killed in the middle of it has left it.
      rm(rehearsal, { recursive: true, force: true }).catch(() => {});
      if (this.#spare === spare) this.#spare = null;
    });
    unref(spare);
  }

  /** Gives a process its one order. From its answer on it is spoken to over its socket alone. */
  async give(order: Order): Promise<OrderAnswer> {
    const child = this.#spare ?? start([this.#hypervisor]);
    this.#spare = null;
    if (order.kind === "launch") this.#memoryMiB = order.request.spec.memoryMiB;
    this.#replenishLater();
    try {
      return await give(child, order, this.#orderWithinMs);
    } finally {
      child.stdin.destroy();
      child.stdout.destroy();
      child.unref();
    }
  }

  /** Ends the spare. Those with an order live on. */
  async close(): Promise<void> {
    this.#isSpareWanted = false;
    if (this.#replenishing) clearTimeout(this.#replenishing);
    const spare = this.#spare;
    this.#spare = null;
    if (!spare || spare.exitCode !== null || spare.signalCode !== null) return;
    await new Promise<void>((resolve) => {
      spare.once("exit", () => resolve());
      spare.ref();
      spare.stdin.destroy();
    });
  }

  #replenishLater(): void {
    if (!this.#isSpareWanted) return;
    if (this.#replenishing) clearTimeout(this.#replenishing);
    this.#replenishing = setTimeout(() => {
      if (this.#isSpareWanted) this.keepSpare();
    }, replenishMs);
    this.#replenishing.unref();
  }
}

function start(words: string[]): SupervisorProcess {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program, ...words], {
    detached: true,
    cwd: dirname(program),
    stdio: ["pipe", "pipe", "ignore"],
    env: childEnvironment(),
  });
  child.on("error", () => {}); // Told by its exit or its missing answer.
  child.stdin.on("error", () => {});
  return child as SupervisorProcess;
}

function unref(child: SupervisorProcess): void {
  for (const handle of [child, child.stdin, child.stdout]) (handle as { unref?: () => void }).unref?.();
}

function give(child: SupervisorProcess, order: Order, withinMs: number): Promise<OrderAnswer> {
  for (const handle of [child, child.stdin, child.stdout]) (handle as { ref?: () => void }).ref?.();
  return new Promise((resolve) => {
    const fail = (detail: string) => settle({ kind: "failed", detail });
    const settle = (answer: OrderAnswer) => {
      clearTimeout(timer);
      resolve(answer);
    };
    const timer = setTimeout(() => {
      // Nobody speaks to it any more: it would hold the copy's folder against the one that comes next.
      child.kill("SIGKILL");
      fail("the supervisor's process does not answer");
    }, withinMs);
    child.once("error", (error) => fail(`the supervisor's process did not start: ${error.message}`));
    child.once("close", (code) => fail(`the supervisor's process ended with code ${code}`));
    const split = lineSplitter(answerLimitBytes, (line) => settle(OrderAnswer.parse(JSON.parse(line))));
    child.stdout.on("data", split);
    child.stdin.write(`${JSON.stringify(order)}\n`);
  });
}
