// An operator who declares hosts lost and forces their VMs: truthfully, of hosts that are off, which come back later; or
// told a lie, of hosts that only cannot be heard, whose guests run on: then the lock file must keep the second copy from
// running. One with patience believes it as well, and mostly waits for the hosts to return. An override of the lock file in
// words is never a lie here: nothing could tell such a word from a true one.
import { hostLost } from "../../../functions/domain/vms.ts";
import type { Item } from "../../../functions/ports/table.ts";
import { type Host, lostStatement } from "../../../schemas/host.ts";
import type { TestHost } from "../../support/cluster.ts";
import type { FaultContext } from "./context.ts";

export type OperatorManner = "never" | "truthful" | "lying" | "patient";

/** Leases short enough for an operator to act within a scenario. */
export const quickSettings = { heartbeatMs: 1000, busyHeartbeatMs: 500, leaseMs: 4000 };

/** How long hosts that are back have to decide by themselves, before an operator looks at what is left. */
const patienceMs = 10_000;

export class Operator {
  readonly #at: FaultContext;

  constructor(context: FaultContext) {
    this.#at = context;
  }

  begin(): void {
    const { plan, random } = this.#at;
    if (plan.operator === "never") return;
    const look = async () => {
      await this.#look().catch((error: unknown) => this.#at.note(() => `operator: ${error}`));
      this.#at.after(random.between(300, 4000), () => void look());
    };
    this.#at.after(random.between(300, 4000), () => void look());
  }

  /** What waits for a human once all hosts are back: a commit of which its destination, called lost, knows nothing. */
  putRight(): void {
    this.#at.after(patienceMs, () => {
      void this.#decideTheRest().catch((error: unknown) => this.#at.note(() => `operator: ${error}`));
      this.putRight();
    });
  }

  async #decideTheRest(): Promise<void> {
    for (const { vmId, migrationId } of this.#at.simulation.tableWatch.vms.values()) {
      const { verdict, seen, takeBack } = this.#at.simulation.tableWatch.migrations.get(migrationId ?? "") ?? {};
      if (verdict?.kind !== "committed" || verdict.confirmed || seen?.destination?.because !== hostLost) continue;
      if (takeBack?.refused === null) continue;
      const host = this.#at.random.pick(this.#at.hosts).hostId;
      const action = takeBack ? { kind: "start-from-disk", host } : { kind: "take-back" };
      const { status } = await this.#ask("POST", `vms/${vmId}/force`, { reason: "power cut in rack 7", action });
      if (status === 202) this.#at.simulation.counts.add("taken back from a destination that knows nothing of it");
    }
  }

  async #look(): Promise<void> {
    const { simulation, plan, off } = this.#at;
    const { cluster } = simulation;
    const { era } = this.#at;
    for (const host of this.#at.hosts) {
      const isOff = off.has(host.hostId);
      if (!isOff && plan.operator === "truthful") continue;
      const { status, body } = await this.#ask("GET", `hosts/${host.hostId}`);
      if (status !== 200 || this.#at.era !== era) continue;
      const { alive, incarnation, declaredLost } = body as Host;
      if (alive || !incarnation || declaredLost) continue;
      await this.#declareLost(host, incarnation);
    }
    for (const { vmId, deleted } of simulation.tableWatch.vms.values()) {
      if (plan.operator === "patient" && !this.#at.random.chance(0.06)) continue;
      if (!deleted && this.#at.era === era && !cluster.isControlPlaneAway) await this.#force(vmId);
    }
  }

  async #declareLost(host: TestHost, incarnation: string): Promise<void> {
    const { simulation, off } = this.#at;
    // What is said is true when it is said: it may have booted since it was looked at.
    const isOff = off.has(host.hostId);
    if (!isOff && this.#at.plan.operator === "truthful") return;
    this.#at.note(() => `operator: declares ${host.hostId} lost${isOff ? "" : ", which is a lie"}`);
    simulation.declaredLost(host);
    const loss = { incarnation, reason: "power cut in rack 7", statement: lostStatement };
    const { status } = await this.#ask("POST", `hosts/${host.hostId}/declare-lost`, loss);
    if (status !== 200) return;
    simulation.counts.add(isOff ? "host declared lost" : "host declared lost that lives");
    const isRecovering = ({ sort, data }: Item) => sort === "recovery" && data["kind"] === "recovering";
    if (simulation.store.items().some(isRecovering)) simulation.observers.late.add(host.hostId);
  }

  async #force(vmId: string): Promise<void> {
    const { simulation, random } = this.#at;
    const vm = simulation.tableWatch.vms.get(vmId);
    const migration = simulation.tableWatch.migrations.get(vm?.migrationId ?? "");
    const isLost = vm?.runState === "guest-lost" && vm.stoppedBecause === hostLost;
    const isTorn = [migration?.seen.source, migration?.seen.destination].some((seen) => seen?.because === hostLost);
    if (!vm || (!isLost && !isTorn)) return;
    const isCommitted = migration?.verdict.kind === "committed";
    const action =
      isCommitted && random.chance(0.6)
        ? { kind: "take-back" }
        : { kind: "start-from-disk", host: random.pick(this.#at.hosts).hostId };
    const { status } = await this.#ask("POST", `vms/${vmId}/force`, { reason: "power cut in rack 7", action });
    if (status === 202)
      simulation.counts.add(action.kind === "take-back" ? "taking back asked for" : "forced to start from disk");
  }

  #ask(method: string, tail: string, body?: object) {
    const { cluster } = this.#at.simulation;
    this.#at.note(() => `operator: ${method} ${tail} ${body ? JSON.stringify(body) : ""}`);
    return cluster.tryCall(method, cluster.path(tail), body);
  }
}
