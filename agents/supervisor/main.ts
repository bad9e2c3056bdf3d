// The process of one copy's supervisor. It is started ahead or at need, waits on its input for the one order that it
// serves, and outlives the agent that gave it. Without an order it ends with its agent.
//   main.ts <embedded> [spare <MiB> <folder>]   spare: also makes itself and the hypervisor ready for a first guest, of
//                                               so much memory; the folder is made for it, and gone afterwards
import { appendFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { holdExclusively } from "../adapters/exclusive-file.ts";
import { FileGate } from "../adapters/file-gate.ts";
import { obeyHalts } from "../adapters/halt-steps.ts";
import { lineSplitter } from "../adapters/line-socket.ts";
import { SealedLog } from "../adapters/sealed-log.ts";
import { SqliteLockFiles } from "../adapters/sqlite-lock-file.ts";
import { systemClock } from "../adapters/system-clock.ts";
import { durable } from "../durable-step.ts";
import { messageOf } from "../message-of.ts";
import type { Hypervisor } from "../ports/hypervisor.ts";
import { nameProcess } from "../process-title.ts";
import { CopyMemo } from "./memo.ts";
import { launchCopy, recoverCopy } from "./open-copy.ts";
import { aliveName, logName, memoName, Order, type OrderAnswer, processName, removedPrefix } from "./protocol.ts";
import { serve } from "./serve.ts";
import type { Supervisor, SupervisorPorts } from "./supervisor.ts";

const orderLimitBytes = 64 * 1024;

async function loadHypervisor(kind: string | undefined, warmMemoryMiB: number): Promise<Hypervisor> {
  if (kind === "embedded") {
    const { createEmbeddedHypervisor } = await import("../adapters/embedded/hypervisor.ts");
    return createEmbeddedHypervisor(warmMemoryMiB > 0 ? { warmMemoryMiB } : {});
  }
  throw new Error(`a supervisor's process has no hypervisor "${kind}": choose embedded`);
}

function say(answer: OrderAnswer): Promise<void> {
  return new Promise((resolve) => process.stdout.write(`${JSON.stringify(answer)}\n`, () => resolve()));
}

async function leave(code: number): Promise<never> {
  await hypervisor.then((ready) => ready.close()).catch(() => {});
  process.exit(code);
}

/** Held for as long as this process lives; kept here, so that it is never collected and thereby let go. */
let alive: DatabaseSync | null = null;

async function begin(order: Order): Promise<void> {
  obeyHalts(process.env); // Not before: what was rehearsed was no step of any copy.
  process.chdir(order.directory);
  // Two supervisors of one copy would each keep a gate and a lock file of their own.
  alive = await holdExclusively(join(order.directory, aliveName));
  if (!alive) {
    await say({ kind: "busy" });
    return leave(0);
  }
  writeFileSync(processName, `${process.pid}\n`, { mode: 0o600 });
  try {
    const supervisor = await open(order);
    await serve(supervisor, (answered) => void answered.then(() => leave(0)));
    await say({ kind: "ready" });
  } catch (error) {
    log(error);
    if (order.kind === "launch") removeFolder(order.directory);
    await say({ kind: "failed", detail: messageOf(error) });
    await leave(1);
  }
}

async function open(order: Order): Promise<Supervisor> {
  const { directory, sharedVolume, gates } = order;
  const memoLog = new SealedLog(join(directory, memoName));
  const ports: SupervisorPorts = {
    hypervisor: await hypervisor,
    lockFiles: new SqliteLockFiles(sharedVolume),
    gate: new FileGate(gates),
    clock: systemClock,
    memory: { write: (memo) => memoLog.write(JSON.stringify(memo)) },
    directory,
  };
  process.on("uncaughtException", (error) => {
    log(error);
    process.exit(70); // The agent starts another, which reads what is durable.
  });
  let supervisor: Supervisor;
  if (order.kind === "launch") {
    nameProcess("supervisor", order.request);
    supervisor = await launchCopy(order.request, ports);
  } else {
    const memo = CopyMemo.parse(JSON.parse(memoLog.read() ?? "null"));
    nameProcess("supervisor", memo.request);
    supervisor = await recoverCopy(memo, ports);
  }
  supervisor.onDestroyed = () => removeFolder(directory);
  return supervisor;
}

/** In the copy's folder, which is the current one. */
function log(error: unknown): void {
  try {
    appendFileSync(logName, `${error instanceof Error ? error.stack : String(error)}\n`, { mode: 0o600 });
  } catch {} // A disk that takes nothing must not end the supervisor.
}

/** In one step as seen from outside, so that no half of it is ever taken for a copy. */
function removeFolder(directory: string): void {
  const removed = join(dirname(directory), `${removedPrefix}${basename(directory)}`);
  rmSync(removed, { recursive: true, force: true });
  durable("copy:given-up", () => renameSync(directory, removed));
  durable("copy:removed", () => rmSync(removed, { recursive: true, force: true }));
}

// Whoever started this process may be gone at any time.
process.stdout.on("error", () => {});
process.on("SIGHUP", () => {});

const [kind, spare, memoryMiB, rehearsal = ""] = process.argv.slice(2);
const hypervisor = loadHypervisor(kind, Number(memoryMiB ?? 0));
/** What an order waits for: the rehearsal of a spare, which takes a moment and must not meet a real life. */
const ready = hypervisor.then(
  async (loaded) => {
    if (spare !== "spare") return;
    await loaded.warm().catch(() => {});
    const { rehearse } = await import("./rehearsal.ts");
    await rehearse(rehearsal).catch(() => {}); // It only makes the first life slower.
  },
  () => {}, // The order is answered with it.
);

let ordered = false;
const split = lineSplitter(orderLimitBytes, (line) => {
  if (ordered) return;
  ordered = true;
  const order = Order.parse(JSON.parse(line));
  void ready.then(() => begin(order));
});
process.stdin.on("data", (chunk: Buffer) => {
  if (!split(chunk)) process.exit(2);
});
process.stdin.on("error", () => {});
process.stdin.on("close", () => {
  if (!ordered) void leave(0);
});
