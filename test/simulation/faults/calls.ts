// What single calls and messages meet on their way: between a process and its own disk, volume and hypervisor, between
// an agent and the control plane, the control plane and its table, two agents, and at the queue.
import type { Delivery } from "../../../agents/adapters/memory-peer-link.ts";
import type { RingFault } from "../../../functions/adapters/faulty-doorbell.ts";
import type { TableCall, TableFault } from "../../../functions/adapters/faulty-table.ts";
import type { Key } from "../../../functions/ports/table.ts";
import type { AgentRequest } from "../../support/cluster.ts";
import type { Fate, Process } from "../process.ts";
import { type FaultContext, hourMs, minuteMs } from "./context.ts";

/** What makes something durable, or fails to. */
const writes = new Set([
  "journal.write",
  "journal.raiseToken",
  "journal.forget",
  "gate.decide",
  "memory.write",
  "lockFiles.take",
  "lock.permitNext",
]);

export class CallFaults {
  readonly #at: FaultContext;
  /** Whether nothing arrives in this direction of the migration network. */
  readonly #isDeaf: (direction: string) => boolean;
  readonly #lastDeliveryMs = new Map<string, number>();

  constructor(context: FaultContext, isDeaf: (direction: string) => boolean) {
    this.#at = context;
    this.#isDeaf = isDeaf;
  }

  fateOf(process: Process, step: string): Fate {
    const { simulation, calls, plan } = this.#at;
    if (step === "hypervisor.run") {
      const host = simulation.hostOf(process);
      if (this.#at.happens("runRefused")) host.simulated.expectFault({ kind: "run-refused", detail: "injected" });
      else if (this.#at.happens("runUnknown")) {
        simulation.counts.add("run outcome unknown");
        host.simulated.expectFault({ kind: "run-outcome-unknown", executes: calls.chance(0.5) });
      }
    }
    if (step === "hypervisor.launch" && this.#at.happens("launchFails")) {
      simulation.hostOf(process).simulated.expectFault({ kind: "launch-fails", detail: "injected" });
    }
    if (writes.has(step) && this.#at.happens("writeFails")) {
      this.#countWrite(step);
      return { kind: "fails", detail: "injected: the disk is full" };
    }
    if (this.#at.happens("endsBeforeStep")) return this.#said(process, `is ended before ${step}`, "ends-before");
    if (this.#at.happens("endsAfterStep")) return this.#said(process, `is ended after ${step}`, "ends-after");
    if (plan.chance.stepTakesLong > 0 && this.#at.happens("stepTakesLong")) {
      return { kind: "takes", milliseconds: calls.between(1, calls.chance(0.1) ? 8000 : 200) };
    }
    return { kind: "passes" };
  }

  table(call: TableCall): TableFault {
    const { simulation, calls } = this.#at;
    const isCommit = call.kind === "commit";
    simulation.tableCalls++;
    const delay = () => this.#sleepAtTable(calls.between(1, calls.chance(0.05) ? 2000 : 50));
    const slow = this.#at.happens("tableSlow") ? (calls.chance(0.5) ? { before: delay } : { after: delay }) : {};
    if (this.#at.happens("tableThrottled")) return { ...slow, kind: "throttled" };
    if (isCommit && this.#at.happens("tableConflict")) return { ...slow, kind: "conflict" };
    if (call.kind === "get" && call.keys.length > 1 && this.#at.happens("tableTorn")) {
      // Its items are read one after the other: each is as before or as after a commit that is made meanwhile.
      const { tableWatch } = simulation;
      const began = tableWatch.commits;
      const isOld = (key: Key) => tableWatch.changedBy(key) > began && calls.chance(0.5);
      return { kind: "torn", before: () => this.#sleepAtTable(calls.between(1, 30)), isOld };
    }
    if (this.#at.happens("tableRequestLost")) return { ...slow, kind: "request-lost" };
    if (isCommit && this.#at.happens("tableRequestLate")) {
      return { ...slow, kind: "request-late", late: () => this.#sleepAtTable(calls.between(1, 5000)) };
    }
    if (this.#at.happens("tableAnswerLost")) {
      if (isCommit && commits(call)) simulation.counts.add("commit's outcome unknown at the table");
      return { ...slow, kind: "answer-lost" };
    }
    return { ...slow, kind: "none" };
  }

  /** What was on its way to a table that has been replaced meanwhile arrives nowhere. */
  async #sleepAtTable(milliseconds: number): Promise<void> {
    const { simulation, clock } = this.#at;
    const { tablesBefore } = simulation;
    await clock.sleep(milliseconds);
    if (simulation.tablesBefore !== tablesBefore) await new Promise(() => {});
  }

  ring(): RingFault {
    const { calls, clock } = this.#at;
    if (this.#at.happens("ringLost")) return { kind: "lost" };
    if (this.#at.happens("ringRepeated")) return { kind: "repeated", times: 3 };
    if (this.#at.happens("ringLate")) {
      const lateMs = calls.chance(0.1) ? 24 * hourMs : calls.between(10, minuteMs);
      return { kind: "late", late: () => clock.sleep(lateMs) };
    }
    return { kind: "none" };
  }

  /** An agent's request on its way to the control plane and back. */
  async request({ hostId, kind, pass }: AgentRequest): Promise<Response> {
    const { simulation, calls, clock } = this.#at;
    await clock.sleep(calls.between(0.5, 3));
    if (this.#at.strays.delete(hostId)) await this.#untilBootedAgain(hostId);
    if (this.#at.happens("requestDelayed")) await clock.sleep(calls.between(1, calls.chance(0.2) ? 20_000 : 500));
    if (this.#at.happens("requestLost")) return this.#lost(hostId, kind, "the request was lost");
    const isDoubled = this.#at.happens("requestDoubled");
    const first = await this.#passed(pass);
    if (isDoubled) {
      const again = this.#passed(pass);
      again.then(
        () => simulation.counts.add("request repeated by the network refused"),
        () => {},
      );
      if (calls.chance(0.3)) return again;
    }
    await clock.sleep(calls.between(0.5, 3));
    if (this.#at.happens("answerLost")) {
      if (kind === "destination-commits" && first.status < 300) simulation.counts.add("answer lost after the commit");
      return this.#lost(hostId, kind, "the answer was lost");
    }
    return first;
  }

  /** A peer link is ordered and loses nothing but its end: what is late makes the next one late. */
  carry(delivery: Delivery, deliver: () => void): void {
    const { simulation, calls, clock } = this.#at;
    const direction = `${delivery.from} ${delivery.to}`;
    if (this.#isDeaf(direction)) return;
    const delayMs = this.#at.happens("messageDelayed") ? calls.between(1, 3000) : calls.between(0.1, 0.4);
    const key = `${direction} ${delivery.migrationId}`;
    const atMs = Math.max(simulation.nowMs + delayMs, this.#lastDeliveryMs.get(key) ?? 0);
    this.#lastDeliveryMs.set(key, atMs);
    const times = this.#at.happens("messageDoubled") ? 2 : 1;
    for (let time = 0; time < times; time++) {
      clock.after(atMs - simulation.nowMs, () => {
        if (this.#isDeaf(direction)) return;
        simulation.observers.delivered(delivery);
        simulation.history.note(delivery.from, () => `tells ${delivery.to}: ${JSON.stringify(delivery.message)}`);
        deliver();
      });
    }
  }

  /** And heard under its new name; no longer than a network keeps anything. */
  async #untilBootedAgain(hostId: string): Promise<void> {
    const { simulation, clock } = this.#at;
    const host = simulation.cluster.host(hostId);
    const { incarnation } = host;
    for (let second = 0; second < 30; second++) {
      await clock.sleep(1000);
      if (host.incarnation !== incarnation && host.isAgentAlive) break;
    }
    await clock.sleep(500);
  }

  async #passed(pass: () => Promise<Response>): Promise<Response> {
    try {
      return await pass();
    } catch (error) {
      if (error instanceof Error && error.message.includes("reset")) {
        this.#at.simulation.counts.add("control plane ended in mid-request");
      }
      throw error;
    }
  }

  /** Some losses are noticed at once, some by nobody. */
  async #lost(hostId: string, kind: string, detail: string): Promise<never> {
    this.#at.note(() => `${hostId} ${kind}: ${detail}`);
    if (this.#at.calls.chance(0.5)) await this.#at.clock.sleep(30_000);
    throw new Error(detail);
  }

  #countWrite(step: string): void {
    const { counts } = this.#at.simulation;
    if (step === "gate.decide") counts.add("gate write failed");
    if (step === "memory.write") counts.add("memo write failed");
    if (step.startsWith("journal")) counts.add("journal write failed");
  }

  #said(process: Process, what: string, kind: "ends-before" | "ends-after"): Fate {
    this.#at.note(() => `${process.name} ${what}`);
    return { kind };
  }
}

function commits(call: Extract<TableCall, { kind: "commit" }>): boolean {
  return call.changes.some((change) => {
    if (change.kind !== "put" || !change.key.partition.endsWith("/migrations")) return false;
    const { verdict } = change.data as { verdict?: { kind?: string; confirmed?: unknown } };
    return verdict?.kind === "committed" && verdict.confirmed === null;
  });
}
