// Processes and hosts: killed, standing still, started again; power that goes and comes back.
import type { TestHost } from "../../support/cluster.ts";
import { type FaultContext, minuteMs, peerSilenceMs } from "./context.ts";

export class ProcessFaults {
  readonly #at: FaultContext;
  /** When an agent is to be started again, where that is not left to chance. */
  readonly #awayUntilMs = new Map<string, number>();

  constructor(context: FaultContext) {
    this.#at = context;
  }

  readonly happenings = {
    agentDies: () => this.killAgent(this.#at.anyHost()),
    supervisorDies: () => {
      const process = this.#at.anySupervisor();
      if (!process) return;
      this.#at.note(() => `${process.name}: its supervisor is killed`);
      process.end();
    },
    guestDies: () => {
      const found = this.#at.anyGuest();
      if (!found) return;
      this.#at.note(() => `${found.copyId} of ${found.vmId}: its process is killed`);
      this.#at.simulation.willLose(found);
      found.vanish("killed", "killed");
    },
    guestEnds: () => {
      const found = this.#at.anyGuest();
      if (found?.state !== "running") return;
      this.#at.note(() => `${found.copyId} of ${found.vmId}: the guest ends by itself`);
      this.#at.simulation.endedByItself(found);
      found.endGuest(this.#at.random.chance(0.5) ? "powered-off" : "crashed", "injected");
    },
    hostDies: () => this.powerOff(this.#at.anyHost(), this.#at.random.between(500, 40_000)),
    controlPlaneDies: () => {
      this.#at.note(() => "control plane: killed and started again");
      void this.#at.simulation.cluster.startControlPlane();
    },
    agentStalls: () => this.stallAgent(this.#at.anyHost(), this.#stallMs()),
    supervisorStalls: () => {
      const process = this.#at.anySupervisor();
      if (!process) return;
      const stallMs = this.#stallMs();
      this.#at.note(() => `${process.name}: its supervisor stands still for ${Math.round(stallMs)} ms`);
      process.stall(stallMs);
    },
  };

  killAgent(host: TestHost): void {
    const process = this.#at.simulation.agents.get(host.hostId);
    if (!process || process.isDead) return;
    this.#at.note(() => `${host.hostId}: its agent is killed`);
    process.end();
  }

  stallAgent(host: TestHost, stallMs: number): void {
    const { simulation } = this.#at;
    const process = simulation.agents.get(host.hostId);
    if (!process || process.isDead) return;
    this.#at.note(() => `${host.hostId}: its agent stands still for ${Math.round(stallMs)} ms`);
    if (simulation.isPastGate(host)) simulation.counts.add("agent stalled past the gate");
    process.stall(stallMs);
    // The peer hears nothing, and gives the link up.
    this.#at.clock.after(peerSilenceMs, () => {
      if (process.isStalled) simulation.cluster.peerNetwork.endLinks(host.address);
    });
  }

  powerOff(host: TestHost, offMs: number): void {
    const { off, simulation, clock } = this.#at;
    if (off.has(host.hostId)) return;
    this.#at.note(() => `${host.hostId}: the power goes`);
    simulation.hostLost(host);
    off.add(host.hostId);
    host.losePower();
    clock.after(offMs, () => this.powerOn(host));
  }

  powerOn(host: TestHost): void {
    if (!this.#at.off.delete(host.hostId)) return;
    this.#at.note(() => `${host.hostId}: boots`);
    host.reboot();
    this.#openAgent(host);
  }

  /** Should its agent end within the next moments, it is started again after this long. */
  keepAway(host: TestHost, milliseconds: number): void {
    this.#awayUntilMs.set(host.hostId, this.#at.simulation.nowMs + milliseconds);
  }

  /** An agent's process is gone: whoever keeps it running starts it again. */
  agentEnded(host: TestHost): void {
    const { plan, random, clock, off, simulation } = this.#at;
    const isCalm = plan.rate.agentDies === 0 && plan.chance.endsBeforeStep === 0;
    const awayMs = (this.#awayUntilMs.get(host.hostId) ?? 0) - simulation.nowMs;
    this.#awayUntilMs.delete(host.hostId);
    clock.after(awayMs > 0 ? awayMs : random.between(50, isCalm ? 1000 : 10_000), () => {
      if (!off.has(host.hostId)) this.#openAgent(host);
    });
  }

  /** People see to it: nothing stands still, all have power, every agent is started. */
  putRight(): void {
    const { simulation, off } = this.#at;
    for (const process of [...simulation.agents.values(), ...simulation.livingSupervisors()]) process.goOn();
    for (const host of this.#at.hosts) {
      if (off.has(host.hostId)) this.powerOn(host);
      else if (!host.isAgentAlive) this.#openAgent(host);
    }
  }

  #openAgent(host: TestHost): void {
    if (host.isAgentAlive) return;
    this.#at.note(() => `${host.hostId}: its agent is started`);
    host.openAgent().catch((error: unknown) => {
      this.#at.note(() => `${host.hostId}: its agent could not start: ${error}`);
      host.killAgent();
      this.agentEnded(host);
    });
  }

  #stallMs(): number {
    const { random } = this.#at;
    return random.chance(0.2) ? random.between(10_000, 3 * minuteMs) : random.between(50, 10_000);
  }
}
