// Carries out what a fault plan says, for as long as it is on; and afterwards puts everything right again, as people
// would: power on, cables in, disks with room. What died stays dead. What there is to go wrong is in faults/, by kind.
import type { TestHost } from "../support/cluster.ts";
import { describePlan, type FaultPlan, noFaults } from "./fault-plan.ts";
import { Aims } from "./faults/aims.ts";
import { CallFaults } from "./faults/calls.ts";
import { FaultContext, minuteMs } from "./faults/context.ts";
import { NetworkFaults } from "./faults/networks.ts";
import { Operator } from "./faults/operator.ts";
import { ProcessFaults } from "./faults/processes.ts";
import { SurroundingFaults } from "./faults/surroundings.ts";
import { TableFaults } from "./faults/table-back.ts";
import type { Fate, Process } from "./process.ts";
import type { Random } from "./random.ts";
import type { Simulation } from "./simulation.ts";

type RateName = keyof FaultPlan["rate"];

/** What may happen at a moment; the more often named, the more often. */
const atMoments: readonly RateName[] = [
  "agentDies",
  "agentDies",
  "supervisorDies",
  "guestDies",
  "hostDies",
  "hostDies",
  "controlPlaneAway",
  "controlPlaneAway",
  "hostCutOff",
  "hostCutOff",
  "networkCut",
  "networkOneWay",
  "agentStalls",
  "supervisorStalls",
  "diskFull",
  "controlPlaneDies",
  "guestEnds",
  "tableGoesBack",
];

export class Faults {
  readonly calls: CallFaults;
  readonly aims: Aims;
  readonly #at: FaultContext;
  readonly #processes: ProcessFaults;
  readonly #networks: NetworkFaults;
  readonly #surroundings: SurroundingFaults;
  readonly #table: TableFaults;
  readonly #operator: Operator;
  readonly #happenings: { [R in RateName]: () => void };

  constructor(simulation: Simulation, random: Random) {
    this.#at = new FaultContext(simulation, random);
    this.#processes = new ProcessFaults(this.#at);
    this.#networks = new NetworkFaults(this.#at);
    this.#surroundings = new SurroundingFaults(this.#at);
    this.#table = new TableFaults(this.#at);
    this.#operator = new Operator(this.#at);
    this.calls = new CallFaults(this.#at, (direction) => this.#networks.isDeaf(direction));
    this.aims = new Aims(this.#at, this.#processes, this.#networks);
    this.aims.tableGoesBack = () => this.#table.goBack(true);
    this.#happenings = {
      ...this.#processes.happenings,
      ...this.#networks.happenings,
      ...this.#surroundings.happenings,
      ...this.#table.happenings,
    };
  }

  get count(): number {
    return this.#at.count;
  }

  controlPlaneOffsetMs(): number {
    return this.#surroundings.controlPlaneOffsetMs;
  }

  hostOffsetMs(hostId: string): number {
    return this.#surroundings.hostOffsetMs(hostId);
  }

  begin(plan: FaultPlan): void {
    this.#at.plan = plan;
    this.#at.era++;
    this.#at.note(() => `begin: ${describePlan(plan)}`);
    for (const [name, perMinute] of Object.entries(plan.rate) as [RateName, number][]) {
      if (perMinute > 0) this.#nextOf(name, perMinute);
    }
    this.#table.begin();
    this.#operator.begin();
  }

  /** No more faults, and everything that people would put right is right. */
  end(): void {
    this.#at.plan = noFaults();
    this.#at.era++;
    this.#networks.putRight();
    this.#surroundings.putRight();
    this.#processes.putRight();
    this.#table.putRight();
    this.#operator.putRight();
    this.#at.note(() => "end: everything is whole again");
  }

  fateOf(process: Process, step: string): Fate {
    return this.aims.fateOf(process, step) ?? this.calls.fateOf(process, step);
  }

  /** No table is being restored. */
  get isTableAtRest(): boolean {
    return this.#table.isAtRest;
  }

  agentEnded(host: TestHost): void {
    this.#processes.agentEnded(host);
  }

  /** A migration has just gone from one stage to the next on this host: something may happen now, or a little later. */
  moment(hostId: string, entry: { event: string; [detail: string]: unknown }): void {
    const { simulation, calls } = this.#at;
    const migrationId = String(entry["migrationId"]);
    const migration = simulation.tableWatch.migrations.get(migrationId);
    if (!migration) return;
    const source = simulation.cluster.host(migration.source.hostId);
    const destination = simulation.cluster.host(migration.destination.hostId);
    const role = entry.event === "source-stage" ? "source" : "destination";
    const [from, to] = [String(entry["from"]), String(entry["to"])];
    this.aims.stage({ role, from, to, migrationId, source, destination });
    if (!this.#at.happens("atMoment")) return;
    const target = calls.chance(0.6) === (source.hostId === hostId) ? source : destination;
    const name = calls.pick(atMoments);
    const isBarred = name === "supervisorDies" || name === "tableGoesBack";
    const { operator } = this.#at.plan;
    if ((operator === "lying" || operator === "patient") && isBarred) return;
    const afterMs = calls.pick([0, 0, calls.between(0, 2), calls.between(0, 50), calls.between(0, 2000)]);
    this.#at.after(afterMs, () =>
      this.#at.aimedAt(target, target === source ? destination : source, this.#happenings[name]),
    );
  }

  #nextOf(name: RateName, perMinute: number): void {
    const waitMs = (-Math.log(1 - this.#at.random.next()) * minuteMs) / perMinute;
    this.#at.after(waitMs, () => {
      this.#at.count++;
      this.#happenings[name]();
      this.#nextOf(name, perMinute);
    });
  }
}
