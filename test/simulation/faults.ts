// Carries out what a fault plan says, for as long as it is on; and afterwards puts everything right again, as people
// would: power on, cables in, disks with room. What died stays dead.
import type { Delivery } from "../../agents/adapters/memory-peer-link.ts";
import type { RingFault } from "../../functions/adapters/faulty-doorbell.ts";
import type { TableCall, TableFault } from "../../functions/adapters/faulty-table.ts";
import type { Key } from "../../functions/ports/table.ts";
import type { AgentRequest, TestHost } from "../support/cluster.ts";
import { describePlan, type FaultPlan, noFaults } from "./fault-plan.ts";
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
];

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const yearMs = 365 * 24 * hourMs;
/** As the real peer link's. */
const peerSilenceMs = 5500;

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

export class Faults {
  readonly #simulation: Simulation;
  readonly #random: Random;
  readonly #calls: Random;
  #plan: FaultPlan = noFaults();
  readonly #off = new Set<string>();
  /** Directions of the migration network in which nothing arrives. */
  readonly #deaf = new Set<string>();
  #controlPlaneOffsetMs = 0;
  readonly #hostOffsetMs = new Map<string, number>();
  readonly #lastDeliveryMs = new Map<string, number>();
  #era = 0;
  count = 0;

  constructor(simulation: Simulation, random: Random) {
    this.#simulation = simulation;
    this.#random = random.fork("when");
    this.#calls = random.fork("calls");
  }

  get #clock() {
    return this.#simulation.scheduler.clock;
  }

  get #hosts(): TestHost[] {
    return this.#simulation.cluster.hosts;
  }

  controlPlaneOffsetMs(): number {
    return this.#controlPlaneOffsetMs;
  }

  hostOffsetMs(hostId: string): number {
    return this.#hostOffsetMs.get(hostId) ?? 0;
  }

  isOn(hostId: string): boolean {
    return !this.#off.has(hostId);
  }

  begin(plan: FaultPlan): void {
    this.#plan = plan;
    this.#era++;
    this.#note(() => `begin: ${describePlan(plan)}`);
    for (const [name, perMinute] of Object.entries(plan.rate) as [RateName, number][]) {
      if (perMinute > 0) this.#nextOf(name, perMinute, this.#era);
    }
  }

  /** No more faults, and everything that people would put right is right. */
  end(): void {
    this.#plan = noFaults();
    this.#era++;
    const { cluster, agents } = this.#simulation;
    cluster.isControlPlaneAway = false;
    for (const process of [...agents.values(), ...this.#simulation.livingSupervisors()]) process.goOn();
    cluster.locks.unreachable = false;
    for (const host of this.#hosts) {
      host.isCutOff = false;
      host.disk.failing = false;
      host.gate.failing = false;
      if (this.#off.has(host.hostId)) this.#powerOn(host);
      else if (!host.isAgentAlive) this.#openAgent(host);
    }
    this.#deaf.clear();
    this.#eachPair((one, other) => this.#mend(one, other));
    this.#note(() => "end: everything is whole again");
  }

  // What every call meets.

  fateOf(process: Process, step: string): Fate {
    const { chance } = this.#plan;
    const host = this.#simulation.hostOf(process);
    if (step === "hypervisor.run") {
      if (this.#happens("runRefused")) host.simulated.expectFault({ kind: "run-refused", detail: "injected" });
      else if (this.#happens("runUnknown")) {
        this.#simulation.counts.add("run outcome unknown");
        host.simulated.expectFault({ kind: "run-outcome-unknown", executes: this.#calls.chance(0.5) });
      }
    }
    if (step === "hypervisor.launch" && this.#happens("launchFails")) {
      host.simulated.expectFault({ kind: "launch-fails", detail: "injected" });
    }
    if (writes.has(step) && this.#happens("writeFails")) {
      this.#countWrite(step);
      return { kind: "fails", detail: "injected: the disk is full" };
    }
    if (this.#happens("endsBeforeStep")) return this.#said(process, `is ended before ${step}`, { kind: "ends-before" });
    if (this.#happens("endsAfterStep")) return this.#said(process, `is ended after ${step}`, { kind: "ends-after" });
    if (chance.stepTakesLong > 0 && this.#happens("stepTakesLong")) {
      return { kind: "takes", milliseconds: this.#calls.between(1, this.#calls.chance(0.1) ? 8000 : 200) };
    }
    return { kind: "passes" };
  }

  table(call: TableCall): TableFault {
    const isCommit = call.kind === "commit";
    const delay = () => this.#clock.sleep(this.#calls.between(1, this.#calls.chance(0.05) ? 2000 : 50));
    const slow = this.#happens("tableSlow") ? (this.#calls.chance(0.5) ? { before: delay } : { after: delay }) : {};
    if (this.#happens("tableThrottled")) return { ...slow, kind: "throttled" };
    if (isCommit && this.#happens("tableConflict")) return { ...slow, kind: "conflict" };
    if (call.kind === "get" && call.keys.length > 1 && this.#happens("tableTorn")) {
      // Its items are read one after the other: each is as before or as after a commit that is made meanwhile.
      const { tableWatch } = this.#simulation;
      const began = tableWatch.commits;
      const isOld = (key: Key) => tableWatch.changedBy(key) > began && this.#calls.chance(0.5);
      return { kind: "torn", before: () => this.#clock.sleep(this.#calls.between(1, 30)), isOld };
    }
    if (this.#happens("tableRequestLost")) return { ...slow, kind: "request-lost" };
    if (isCommit && this.#happens("tableRequestLate")) {
      return { ...slow, kind: "request-late", late: () => this.#clock.sleep(this.#calls.between(1, 5000)) };
    }
    if (this.#happens("tableAnswerLost")) {
      if (isCommit && commits(call)) this.#simulation.counts.add("commit's outcome unknown at the table");
      return { ...slow, kind: "answer-lost" };
    }
    return { ...slow, kind: "none" };
  }

  ring(): RingFault {
    if (this.#happens("ringLost")) return { kind: "lost" };
    if (this.#happens("ringRepeated")) return { kind: "repeated", times: 3 };
    if (this.#happens("ringLate")) {
      const lateMs = this.#calls.chance(0.1) ? 24 * hourMs : this.#calls.between(10, minuteMs);
      return { kind: "late", late: () => this.#clock.sleep(lateMs) };
    }
    return { kind: "none" };
  }

  /** An agent's request on its way to the control plane and back. */
  async request({ hostId, kind, pass }: AgentRequest): Promise<Response> {
    await this.#clock.sleep(this.#calls.between(0.5, 3));
    if (this.#happens("requestDelayed"))
      await this.#clock.sleep(this.#calls.between(1, this.#calls.chance(0.2) ? 20_000 : 500));
    if (this.#happens("requestLost")) return this.#lost(hostId, kind, "the request was lost");
    const isDoubled = this.#happens("requestDoubled");
    const first = await this.#passed(pass);
    if (isDoubled) {
      const again = this.#passed(pass);
      again.then(
        () => this.#simulation.counts.add("request repeated by the network refused"),
        () => {},
      );
      if (this.#calls.chance(0.3)) return again;
    }
    await this.#clock.sleep(this.#calls.between(0.5, 3));
    if (this.#happens("answerLost")) {
      if (kind === "destination-commits" && first.status < 300)
        this.#simulation.counts.add("answer lost after the commit");
      return this.#lost(hostId, kind, "the answer was lost");
    }
    return first;
  }

  async #passed(pass: () => Promise<Response>): Promise<Response> {
    try {
      return await pass();
    } catch (error) {
      if (error instanceof Error && error.message.includes("reset")) {
        this.#simulation.counts.add("control plane ended in mid-request");
      }
      throw error;
    }
  }

  /** Some losses are noticed at once, some by nobody. */
  async #lost(hostId: string, kind: string, detail: string): Promise<never> {
    this.#note(() => `${hostId} ${kind}: ${detail}`);
    if (this.#calls.chance(0.5)) await this.#clock.sleep(30_000);
    throw new Error(detail);
  }

  /** A peer link is ordered and loses nothing but its end: what is late makes the next one late. */
  carry(delivery: Delivery, deliver: () => void): void {
    const direction = `${delivery.from} ${delivery.to}`;
    if (this.#deaf.has(direction)) return;
    const delayMs = this.#happens("messageDelayed") ? this.#calls.between(1, 3000) : this.#calls.between(0.1, 0.4);
    const key = `${direction} ${delivery.migrationId}`;
    const atMs = Math.max(this.#simulation.nowMs + delayMs, this.#lastDeliveryMs.get(key) ?? 0);
    this.#lastDeliveryMs.set(key, atMs);
    const times = this.#happens("messageDoubled") ? 2 : 1;
    for (let time = 0; time < times; time++) {
      this.#clock.after(atMs - this.#simulation.nowMs, () => {
        if (this.#deaf.has(direction)) return;
        this.#simulation.observers.delivered(delivery);
        this.#simulation.history.note(delivery.from, () => `tells ${delivery.to}: ${JSON.stringify(delivery.message)}`);
        deliver();
      });
    }
  }

  /** An agent's process is gone: whoever keeps it running starts it again. */
  agentEnded(host: TestHost): void {
    const isCalm = this.#plan.rate.agentDies === 0 && this.#plan.chance.endsBeforeStep === 0;
    this.#clock.after(this.#random.between(50, isCalm ? 1000 : 10_000), () => {
      if (!this.#off.has(host.hostId)) this.#openAgent(host);
    });
  }

  #openAgent(host: TestHost): void {
    if (host.isAgentAlive) return;
    this.#note(() => `${host.hostId}: its agent is started`);
    host.openAgent().catch((error: unknown) => {
      this.#note(() => `${host.hostId}: its agent could not start: ${error}`);
      host.killAgent();
      this.agentEnded(host);
    });
  }

  /** A migration has just gone from one stage to the next on this host: something may happen now, or a little later. */
  moment(hostId: string, migrationId: string): void {
    if (!this.#happens("atMoment")) return;
    const migration = this.#simulation.tableWatch.migrations.get(migrationId);
    if (!migration) return;
    const [own, peer] = [migration.source.hostId, migration.destination.hostId].map((id) =>
      this.#simulation.cluster.host(id),
    );
    if (!own || !peer) return;
    const target = this.#calls.chance(0.6) === (own.hostId === hostId) ? own : peer;
    const name = this.#calls.pick(atMoments);
    const afterMs = this.#calls.pick([
      0,
      0,
      this.#calls.between(0, 2),
      this.#calls.between(0, 50),
      this.#calls.between(0, 2000),
    ]);
    const era = this.#era;
    this.#clock.after(afterMs, () => {
      if (this.#era !== era) return;
      this.#target = [target, target === own ? peer : own];
      this.#happenings[name]();
      this.#target = null;
    });
  }

  /** Whom the next happening is to meet, and its peer; null: anybody. */
  #target: [TestHost, TestHost] | null = null;

  // What happens to processes, hosts, networks and disks.

  #nextOf(name: RateName, perMinute: number, era: number): void {
    const waitMs = (-Math.log(1 - this.#random.next()) * minuteMs) / perMinute;
    this.#clock.after(waitMs, () => {
      if (this.#era !== era) return;
      this.count++;
      this.#happenings[name]();
      this.#nextOf(name, perMinute, era);
    });
  }

  readonly #happenings: { [R in RateName]: () => void } = {
    agentDies: () => this.#killAgent(this.#anyHost()),
    supervisorDies: () => {
      const process = this.#any(this.#supervisorsThere());
      if (!process) return;
      this.#note(() => `${process.name}: its supervisor is killed`);
      process.end();
    },
    guestDies: () => {
      const found = this.#anyGuest();
      if (!found) return;
      this.#note(() => `${found.copyId} of ${found.vmId}: its process is killed`);
      this.#simulation.willLose(found);
      found.vanish("killed", "killed");
    },
    guestEnds: () => {
      const found = this.#anyGuest();
      if (found?.state !== "running") return;
      this.#note(() => `${found.copyId} of ${found.vmId}: the guest ends by itself`);
      this.#simulation.endedByItself(found);
      found.endGuest(this.#random.chance(0.5) ? "powered-off" : "crashed", "injected");
    },
    hostDies: () => {
      const host = this.#anyHost();
      if (this.#off.has(host.hostId)) return;
      this.#note(() => `${host.hostId}: the power goes`);
      this.#simulation.hostLost(host);
      this.#off.add(host.hostId);
      host.losePower();
      this.#clock.after(this.#random.between(500, 40_000), () => this.#powerOn(host));
    },
    controlPlaneDies: () => {
      this.#note(() => "control plane: killed and started again");
      void this.#simulation.cluster.startControlPlane();
    },
    controlPlaneAway: () => {
      this.#note(() => "control plane: away for everyone");
      this.#simulation.cluster.isControlPlaneAway = true;
      this.#later(() => {
        this.#simulation.cluster.isControlPlaneAway = false;
      });
    },
    hostCutOff: () => {
      const host = this.#anyHost();
      this.#note(() => `${host.hostId}: cannot reach the control plane`);
      host.isCutOff = true;
      this.#later(() => {
        host.isCutOff = false;
      });
    },
    networkCut: () => {
      const [one, other] = this.#anyPair();
      const silent = this.#random.chance(0.5);
      this.#note(() => `${one.hostId} and ${other.hostId}: the migration network is cut${silent ? ", silently" : ""}`);
      this.#simulation.cluster.network.cut(one.address, other.address, { silent });
      if (silent) this.#goDeaf([one, other], [other, one]);
      else this.#simulation.cluster.peerNetwork.cut(one.address, other.address);
      this.#later(() => this.#mend(one, other));
    },
    networkOneWay: () => {
      const [one, other] = this.#anyPair();
      this.#note(() => `${one.hostId} to ${other.hostId}: nothing arrives`);
      this.#goDeaf([one, other]);
      this.#later(() => this.#mend(one, other));
    },
    networkSlow: () => {
      const [one, other] = this.#anyPair();
      const bandwidthBytesPerSecond = this.#random.between(100_000, 10_000_000);
      const latencyMs = this.#random.between(1, 500);
      this.#note(() => `${one.hostId} and ${other.hostId}: the migration network is slow`);
      this.#simulation.cluster.network.setConditions(one.address, other.address, {
        bandwidthBytesPerSecond,
        latencyMs,
      });
      this.#later(() => this.#mend(one, other));
    },
    agentStalls: () => {
      const host = this.#anyHost();
      const process = this.#simulation.agents.get(host.hostId);
      if (!process || process.isDead) return;
      const stallMs = this.#stallMs();
      this.#note(() => `${host.hostId}: its agent stands still for ${Math.round(stallMs)} ms`);
      if (this.#simulation.isPastGate(host)) this.#simulation.counts.add("agent stalled past the gate");
      process.stall(stallMs);
      // The peer hears nothing, and gives the link up.
      this.#clock.after(peerSilenceMs, () => {
        if (process.isStalled) this.#simulation.cluster.peerNetwork.endLinks(host.address);
      });
    },
    supervisorStalls: () => {
      const process = this.#any(this.#supervisorsThere());
      if (!process) return;
      const stallMs = this.#stallMs();
      this.#note(() => `${process.name}: its supervisor stands still for ${Math.round(stallMs)} ms`);
      process.stall(stallMs);
    },
    diskFull: () => {
      const host = this.#anyHost();
      this.#note(() => `${host.hostId}: the disk is full`);
      host.disk.failing = true;
      host.gate.failing = this.#random.chance(0.7);
      this.#later(() => {
        host.disk.failing = false;
        host.gate.failing = false;
      });
    },
    volumeGone: () => {
      this.#note(() => "the shared volume cannot be reached");
      this.#simulation.cluster.locks.unreachable = true;
      this.#later(() => {
        this.#simulation.cluster.locks.unreachable = false;
      });
    },
    wallJumps: () => {
      const jumpMs = this.#random.chance(0.3)
        ? this.#random.between(-10, 10) * yearMs
        : this.#random.between(-100, 100) * 1000;
      if (this.#random.chance(0.5)) {
        this.#note(() => `control plane: its clock jumps by ${Math.round(jumpMs / 1000)} s`);
        this.#controlPlaneOffsetMs += Math.round(jumpMs);
        if (this.#controlPlaneOffsetMs < -20 * yearMs) this.#controlPlaneOffsetMs = 0;
        return;
      }
      const { hostId } = this.#anyHost();
      this.#note(() => `${hostId}: its wall clock jumps by ${Math.round(jumpMs / 1000)} s`);
      this.#hostOffsetMs.set(hostId, this.hostOffsetMs(hostId) + Math.round(jumpMs));
    },
  };

  #killAgent(host: TestHost): void {
    const process = this.#simulation.agents.get(host.hostId);
    if (!process || process.isDead) return;
    this.#note(() => `${host.hostId}: its agent is killed`);
    process.end();
  }

  #powerOn(host: TestHost): void {
    if (!this.#off.delete(host.hostId)) return;
    this.#note(() => `${host.hostId}: boots`);
    host.reboot();
    this.#openAgent(host);
  }

  #goDeaf(...directions: [TestHost, TestHost][]): void {
    const { peerNetwork } = this.#simulation.cluster;
    for (const [from, to] of directions) {
      const direction = `${from.address} ${to.address}`;
      this.#deaf.add(direction);
      peerNetwork.bar(from.address, to.address);
      this.#clock.after(peerSilenceMs, () => {
        if (this.#deaf.has(direction)) peerNetwork.cut(from.address, to.address);
      });
    }
  }

  #mend(one: TestHost, other: TestHost): void {
    const { network, peerNetwork } = this.#simulation.cluster;
    network.heal(one.address, other.address);
    network.setConditions(one.address, other.address, { bandwidthBytesPerSecond: 500_000_000, latencyMs: 0.2 });
    // What was lost on an ordered link cannot be made up for: such a link does not live on.
    const wasDeaf = [`${one.address} ${other.address}`, `${other.address} ${one.address}`].filter((direction) =>
      this.#deaf.delete(direction),
    );
    if (wasDeaf.length > 0) peerNetwork.cut(one.address, other.address);
    peerNetwork.mend(one.address, other.address);
  }

  #eachPair(act: (one: TestHost, other: TestHost) => void): void {
    this.#hosts.forEach((one, index) => {
      for (const other of this.#hosts.slice(index + 1)) act(one, other);
    });
  }

  /** Most things last seconds, some minutes. */
  #later(act: () => void): void {
    const era = this.#era;
    const afterMs = this.#random.chance(0.15)
      ? this.#random.between(minuteMs, 3 * minuteMs)
      : this.#random.between(50, 15_000);
    this.#clock.after(afterMs, () => {
      if (this.#era !== era) return;
      this.#note(() => "what had been broken is mended");
      act();
    });
  }

  #stallMs(): number {
    return this.#random.chance(0.2) ? this.#random.between(10_000, 3 * minuteMs) : this.#random.between(50, 10_000);
  }

  #any<T>(from: readonly T[]): T | undefined {
    return from.length > 0 ? this.#random.pick(from) : undefined;
  }

  #anyHost(): TestHost {
    return this.#target?.[0] ?? this.#random.pick(this.#hosts);
  }

  #anyPair(): [TestHost, TestHost] {
    if (this.#target) return this.#target;
    const one = this.#anyHost();
    const other = this.#random.pick(this.#hosts.filter((host) => host !== one));
    return [one, other];
  }

  #supervisorsThere(): Process[] {
    const all = this.#simulation.livingSupervisors();
    return this.#target ? all.filter((process) => this.#simulation.hostOf(process) === this.#target?.[0]) : all;
  }

  #anyGuest() {
    const hosts = this.#target ? [this.#target[0]] : this.#hosts;
    return this.#any(hosts.flatMap((host) => host.simulated.processes()));
  }

  #happens(name: keyof FaultPlan["chance"]): boolean {
    const probability = this.#plan.chance[name];
    if (probability === 0 || !this.#calls.chance(probability)) return false;
    this.count++;
    return true;
  }

  #countWrite(step: string): void {
    if (step === "gate.decide") this.#simulation.counts.add("gate write failed");
    if (step === "memory.write") this.#simulation.counts.add("memo write failed");
    if (step.startsWith("journal")) this.#simulation.counts.add("journal write failed");
  }

  #said(process: Process, what: string, fate: Fate): Fate {
    this.#note(() => `${process.name} ${what}`);
    return fate;
  }

  #note(tell: () => string): void {
    this.#simulation.history.note("FAULT", tell);
  }
}

function commits(call: Extract<TableCall, { kind: "commit" }>): boolean {
  return call.changes.some((change) => {
    if (change.kind !== "put" || !change.key.partition.endsWith("/migrations")) return false;
    const { verdict } = change.data as { verdict?: { kind?: string; confirmed?: unknown } };
    return verdict?.kind === "committed" && verdict.confirmed === null;
  });
}
