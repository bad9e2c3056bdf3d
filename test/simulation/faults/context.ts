// What all faults share: the plan that is on, chance, whom the next one meets, and how long it lasts.
import type { SimulatedProcess } from "../../../agents/adapters/simulated/host.ts";
import type { TestHost } from "../../support/cluster.ts";
import { type FaultPlan, noFaults } from "../fault-plan.ts";
import type { Process } from "../process.ts";
import type { Random } from "../random.ts";
import type { Simulation } from "../simulation.ts";

export const minuteMs = 60_000;
export const hourMs = 60 * minuteMs;
/** As the real peer link's: how long an end waits for a word of the other. */
export const peerSilenceMs = 5500;

export class FaultContext {
  readonly simulation: Simulation;
  /** When things happen, and to whom. */
  readonly random: Random;
  /** What single calls meet. */
  readonly calls: Random;
  plan: FaultPlan = noFaults();
  /** Faults that were to end by themselves end with their era. */
  era = 0;
  count = 0;
  /** Hosts without power. */
  readonly off = new Set<string>();
  /** Hosts whose next request outlives them: it arrives when they have booted again. */
  readonly strays = new Set<string>();
  /** Whom the next happening is to meet, and its peer; null: anybody. */
  target: [TestHost, TestHost] | null = null;

  constructor(simulation: Simulation, random: Random) {
    this.simulation = simulation;
    this.random = random.fork("when");
    this.calls = random.fork("calls");
  }

  get clock() {
    return this.simulation.scheduler.clock;
  }

  get hosts(): TestHost[] {
    return this.simulation.cluster.hosts;
  }

  note(tell: () => string): void {
    this.simulation.history.note("FAULT", tell);
  }

  happens(name: keyof FaultPlan["chance"]): boolean {
    const probability = this.plan.chance[name];
    if (probability === 0 || !this.calls.chance(probability)) return false;
    this.count++;
    return true;
  }

  /** As long as the era lasts. */
  after(milliseconds: number, act: () => void): void {
    const { era } = this;
    this.clock.after(milliseconds, () => {
      if (this.era === era) act();
    });
  }

  /** Most things last seconds, some minutes. */
  later(act: () => void): void {
    const afterMs = this.random.chance(0.15)
      ? this.random.between(minuteMs, 3 * minuteMs)
      : this.random.between(50, 15_000);
    this.after(afterMs, () => {
      this.note(() => "what had been broken is mended");
      act();
    });
  }

  /** @param act meets these two, whoever it would have chosen */
  aimedAt(target: TestHost, peer: TestHost, act: () => void): void {
    this.target = [target, peer];
    act();
    this.target = null;
  }

  any<T>(from: readonly T[]): T | undefined {
    return from.length > 0 ? this.random.pick(from) : undefined;
  }

  anyHost(): TestHost {
    return this.target?.[0] ?? this.random.pick(this.hosts);
  }

  anyPair(): [TestHost, TestHost] {
    if (this.target) return this.target;
    const one = this.anyHost();
    const other = this.random.pick(this.hosts.filter((host) => host !== one));
    return [one, other];
  }

  anySupervisor(): Process | undefined {
    const all = this.simulation.livingSupervisors();
    return this.any(this.target ? all.filter((process) => this.simulation.hostOf(process) === this.target?.[0]) : all);
  }

  anyGuest(): SimulatedProcess | undefined {
    const hosts = this.target ? [this.target[0]] : this.hosts;
    return this.any(hosts.flatMap((host) => host.simulated.processes()));
  }
}
