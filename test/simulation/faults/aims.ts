// Faults that wait for their moment: chance alone would hardly ever meet the short and rare ones. Whether an aim is on,
// how long it takes and what exactly it does is drawn from the seed all the same.
import { frozenAfterMs } from "../../../agents/domain/source-state.ts";
import type { TestHost } from "../../support/cluster.ts";
import type { Fate, Process } from "../process.ts";
import type { FaultContext } from "./context.ts";
import type { NetworkFaults } from "./networks.ts";
import type { ProcessFaults } from "./processes.ts";

/** A role's change of stage, by the host that it plays on. */
export type StageChange = {
  role: "source" | "destination";
  from: string;
  to: string;
  migrationId: string;
  source: TestHost;
  destination: TestHost;
};

type Aim = {
  /** @returns whether it was the moment */
  stage?(change: StageChange): boolean;
  /** What the call meets; null: it was not the moment. */
  step?(process: Process, step: string): Fate | null;
};

export const aimNames = [
  "source lost after loading",
  "cut off past the gate",
  "alone past the gate",
  "agent gone at the gate",
  "source agent dies as its guest resumes",
  "destination slow to commit",
  "destination refuses to run",
  "guest lost as it is let run",
  "gate cannot be written",
  "cancelled while it stands",
  "host dies with a request on its way",
  "destination lost once it has committed",
] as const;
/** Drawn apart from the others: it needs an operator who is wrong, and has patience. */
export const calledLost = "both called lost as the table goes back";
export type AimName = (typeof aimNames)[number] | typeof calledLost;

/** Slow enough that what is left at the gate is under way for many seconds. */
const crawl = { leastBytesPerSecond: 2000, mostBytesPerSecond: 40_000 };
/** Of the destination. */
const momentsOfCommit = ["intending", "committing", "starting", "confirming", "reporting"];
/** Times that one aim hits in a scenario. */
const mostHits = 3;

export class Aims {
  readonly #at: FaultContext;
  readonly #processes: ProcessFaults;
  readonly #networks: NetworkFaults;
  readonly #hits = new Map<AimName, number>();
  /** The migration that an aim has its eye on, until it is over. */
  #marked: { name: AimName; migrationId: string } | null = null;
  /** Lets an operator cancel a migration. */
  cancel: (migrationId: string) => void = () => {};
  /** @returns whether it did: there is a backup, and no other restore under way */
  tableGoesBack: () => boolean = () => false;

  constructor(context: FaultContext, processes: ProcessFaults, networks: NetworkFaults) {
    this.#at = context;
    this.#processes = processes;
    this.#networks = networks;
  }

  stage(change: StageChange): void {
    this.#each((aim) => aim.stage?.(change) ?? false);
  }

  fateOf(process: Process, step: string): Fate | null {
    let fate: Fate | null = null;
    this.#each((aim) => {
      fate ??= aim.step?.(process, step) ?? null;
      return fate !== null;
    });
    return fate;
  }

  #each(hits: (aim: Aim) => boolean): void {
    for (const name of this.#at.plan.aims) {
      const before = this.#hits.get(name) ?? 0;
      if (before >= mostHits || !hits(this.#aims[name])) continue;
      this.#hits.set(name, before + 1);
      this.#at.count++;
      this.#at.note(() => `aimed: ${name}`);
    }
  }

  /** At once, or within a few milliseconds. */
  #soon(act: () => void): true {
    const { random } = this.#at;
    this.#at.after(random.pick([0, random.between(0, 1), random.between(0, 4), random.between(0, 20)]), act);
    return true;
  }

  readonly #aims: { [A in AimName]: Aim } = {
    "source lost after loading": {
      stage: ({ role, to, source }) =>
        role === "destination" &&
        to === "intending" &&
        this.#soon(() => this.#processes.powerOff(source, this.#long())),
    },

    // The word (rule 7): no record to be had on either side, the link alive, the memory not all there.
    "cut off past the gate": {
      stage: ({ role, to, migrationId, source, destination }) => {
        if (role === "source" && to === "holding") {
          this.#crawl(source, destination);
          return this.#mark("cut off past the gate", migrationId);
        }
        if (this.#isMarked("cut off past the gate", migrationId)) {
          if (role === "source" && to === "in-doubt") this.#cutOffBoth(source, destination);
          // What becomes of a word whose giver dies over it.
          const isGiving = role === "destination" && (to === "relinquishing" || to === "relinquished");
          if (isGiving && this.#at.random.chance(0.3)) this.#soon(() => this.#processes.killAgent(destination));
        }
        return false;
      },
    },

    // No record and no word: the guest stands until one of them is back (I2).
    "alone past the gate": {
      stage: (change) => {
        const { role, to, migrationId, source, destination } = change;
        if (role === "source" && to === "holding") {
          if (this.#at.random.chance(0.5)) this.#crawl(source, destination);
          return this.#mark("alone past the gate", migrationId);
        }
        if (role === "source" && to === "in-doubt" && this.#isMarked("alone past the gate", migrationId)) {
          this.#networks.cut(source, destination, this.#at.random.chance(0.5));
          this.#cutOffBoth(source, destination);
          this.#at.after(this.#long(), () => this.#networks.mend(source, destination));
          this.#at.after(frozenAfterMs + 500, () => this.#countFrozen(change));
        }
        return false;
      },
    },

    "agent gone at the gate": {
      step: (process, step) => {
        if (step !== "copies.passGate") return null;
        const host = this.#at.simulation.hostOf(process);
        const way = this.#at.random.next();
        if (way < 0.4) {
          // For longer than its supervisor waits.
          this.#processes.keepAway(host, this.#at.random.between(1500, 8000));
          return { kind: "ends-before" };
        }
        if (way < 0.7) {
          this.#processes.keepAway(host, this.#at.random.between(20, 500));
          return { kind: "ends-before" };
        }
        this.#processes.stallAgent(host, this.#at.random.between(500, 8000));
        return { kind: "passes" };
      },
    },

    "source agent dies as its guest resumes": {
      stage: ({ role, from, to, migrationId, source, destination }) => {
        if (role === "source" && to === "holding") {
          this.#crawl(source, destination);
          return this.#mark("source agent dies as its guest resumes", migrationId);
        }
        if (role === "source" && this.#isMarked("source agent dies as its guest resumes", migrationId)) {
          // The record that lets it resume is the one that its own abort leaves.
          if (to === "in-doubt") this.#networks.cut(source, destination, false);
          if (from === "in-doubt" && to === "resuming") this.#soon(() => this.#processes.killAgent(source));
          if (from === "resuming") this.#processes.killAgent(source);
        }
        return false;
      },
    },

    "destination slow to commit": {
      stage: ({ role, to, destination }) => {
        if (role !== "destination" || to !== "intending") return false;
        // The source's patience is five seconds; the guest's destination comes back around then.
        this.#processes.stallAgent(destination, this.#at.random.between(4000, 8000));
        return true;
      },
    },

    "destination refuses to run": {
      stage: ({ role, to, destination }) => {
        if (role !== "destination" || to !== "committing") return false;
        const times = this.#at.random.whole(1, 12);
        for (let time = 0; time < times; time++) {
          destination.simulated.expectFault({ kind: "run-refused", detail: "injected" });
        }
        return true;
      },
    },

    "guest lost as it is let run": {
      stage: (change) => {
        const isMoment = change.role === "destination" && (change.to === "starting" || change.to === "confirming");
        return isMoment && this.#soon(() => this.#killArrived(change));
      },
    },

    "gate cannot be written": {
      step: (_, step) => {
        if (step !== "gate.decide") return null;
        this.#at.simulation.counts.add("gate write failed");
        return { kind: "fails", detail: "injected: the disk is full" };
      },
    },

    // It stands still for so long that all can see it; the cancel may come too late for the commit, or in time.
    "cancelled while it stands": {
      stage: ({ role, to, migrationId, source, destination }) => {
        if (role === "source" && to === "holding") {
          this.#crawl(source, destination);
          return this.#mark("cancelled while it stands", migrationId);
        }
        if (role === "source" && to === "in-doubt" && this.#isMarked("cancelled while it stands", migrationId)) {
          this.#at.after(this.#at.random.between(2000, 6000), () => this.cancel(migrationId));
        }
        return false;
      },
    },

    "host dies with a request on its way": {
      stage: ({ role, to, source }) => {
        if (role !== "source" || to !== "copying") return false;
        this.#at.strays.add(source.hostId);
        this.#at.after(this.#at.random.between(0, 2000), () =>
          this.#processes.powerOff(source, this.#at.random.between(200, 2000)),
        );
        return true;
      },
    },

    [calledLost]: {
      stage: ({ role, to, source, destination }) => {
        const isMoment = role === "source" ? to === "in-doubt" : momentsOfCommit.includes(to);
        return isMoment && this.#at.random.chance(0.3) && this.#soon(() => this.#callBothLost(source, destination));
      },
    },

    // Off, or out of reach for so long that an operator believes it to be.
    "destination lost once it has committed": {
      stage: ({ role, to, destination }) => {
        if (role !== "destination" || (to !== "starting" && to !== "committing")) return false;
        const awayMs = this.#at.random.between(10_000, 40_000);
        if (this.#at.random.chance(0.6)) return this.#soon(() => this.#processes.powerOff(destination, awayMs));
        return this.#soon(() => {
          this.#networks.cutOff(destination);
          this.#processes.stallAgent(destination, this.#at.random.between(4000, 20_000));
          this.#at.after(awayMs, () => {
            destination.isCutOff = false;
          });
        });
      },
    },
  };

  /** Both out of reach while the table is restored, and back one after the other; one may have lost its memory by then. */
  #callBothLost(source: TestHost, destination: TestHost): void {
    const { random } = this.#at;
    if (!this.tableGoesBack()) return;
    if (random.chance(0.5)) {
      this.#networks.cut(source, destination, random.chance(0.5));
      this.#at.after(this.#long(), () => this.#networks.mend(source, destination));
    }
    const dies = random.chance(0.4) ? random.pick([source, destination]) : null;
    for (const host of [source, destination]) {
      if (random.chance(0.1)) continue;
      this.#networks.cutOff(host);
      if (host === dies) {
        this.#at.after(random.between(0, 6000), () => this.#processes.powerOff(host, random.between(500, 10_000)));
      }
      this.#at.after(random.between(5000, 20_000), () => {
        host.isCutOff = false;
      });
    }
  }

  #mark(name: AimName, migrationId: string): boolean {
    if (this.#marked) return false;
    this.#marked = { name, migrationId };
    this.#at.after(this.#long(), () => {
      this.#marked = null;
    });
    return true;
  }

  #isMarked(name: AimName, migrationId: string): boolean {
    return this.#marked?.name === name && this.#marked.migrationId === migrationId;
  }

  #crawl(source: TestHost, destination: TestHost): void {
    const { leastBytesPerSecond, mostBytesPerSecond } = crawl;
    this.#networks.slow(source, destination, this.#at.random.between(leastBytesPerSecond, mostBytesPerSecond), 1);
    this.#at.after(this.#long(), () => this.#networks.mend(source, destination));
  }

  #cutOffBoth(source: TestHost, destination: TestHost): void {
    for (const host of [source, destination]) {
      this.#networks.cutOff(host);
      this.#at.after(this.#long(), () => {
        host.isCutOff = false;
      });
    }
  }

  #countFrozen({ migrationId, source, destination }: StageChange): void {
    const { observers, tableWatch, cluster, counts } = this.#at.simulation;
    const vmId = tableWatch.migrations.get(migrationId)?.vmId ?? "";
    const isAlone = source.isCutOff && destination.isCutOff && observers.inDoubt.has(migrationId);
    if (isAlone && cluster.executing(vmId).length === 0) counts.add("frozen past the gate");
  }

  #killArrived({ migrationId, destination }: StageChange): void {
    const { tableWatch } = this.#at.simulation;
    const guest = destination.simulated.processOf(tableWatch.migrations.get(migrationId)?.destination.copyId ?? "");
    if (!guest) return;
    this.#at.simulation.willLose(guest);
    guest.vanish("killed", "killed");
  }

  #long(): number {
    return this.#at.random.between(5000, 30_000);
  }
}
