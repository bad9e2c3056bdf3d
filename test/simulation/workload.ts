// What operators ask of the cluster, drawn from the seed. Whatever was lost on the way is asked again under the same
// idempotency key, until it is answered: so each wish has one effect, or the simulation says which had not.
import type { Migration } from "../../schemas/migration.ts";
import type { Vm } from "../../schemas/vm.ts";
import type { Random } from "./random.ts";
import type { Simulation } from "./simulation.ts";

type Answer = { status: number; body: unknown };
type Wish = { method: "POST" | "DELETE"; path: string; body?: object };

export type WorkloadPlan = {
  vms: number;
  /** Between two wishes, on average. */
  everyMs: number;
  /** How often each is chosen, against the others. */
  weights: { [W in keyof Workload["wishes"]]: number };
  /** Of one request of an operator. */
  lost: number;
};

const specs = { memoryMiB: 16, dirtyMiBPerSecond: 4, workingSetMiB: 4 };

export function drawWorkload(random: Random, hosts: number): WorkloadPlan {
  const weight = (usual: number) => (random.chance(0.2) ? 0 : usual * random.between(0.5, 2));
  return {
    vms: random.whole(1, Math.max(2, hosts)),
    everyMs: random.between(1500, 12_000),
    weights: {
      migrate: usually(random, 10),
      thereAndBack: weight(2),
      cancel: weight(4),
      stop: weight(1),
      start: usually(random, 3),
      remove: weight(0.4),
      define: weight(0.5),
      repeat: weight(1),
    },
    lost: random.chance(0.3) ? random.between(0.05, 0.4) : 0,
  };
}

const usually = (random: Random, value: number): number => value * random.between(0.5, 2);

export class Workload {
  readonly #simulation: Simulation;
  readonly #random: Random;
  readonly #plan: WorkloadPlan;
  readonly accepted = new Set<string>();
  readonly vms: string[] = [];
  readonly #answered: { wish: Wish; key: string; answer: Answer; tablesBefore: number }[] = [];
  #isOver = false;
  #open = 0;
  #keys = 0;
  asked = 0;

  constructor(simulation: Simulation, random: Random, plan: WorkloadPlan) {
    this.#simulation = simulation;
    this.#random = random;
    this.#plan = plan;
    simulation.faults.aims.cancel = (id) => void this.#doing(() => this.#cancel(id));
  }

  /** Defines the first VMs and lets each run somewhere, before anything goes wrong. */
  async prepare(): Promise<void> {
    const { cluster } = this.#simulation;
    for (let index = 0; index < this.#plan.vms; index++) await this.wishes.define();
    for (const vm of this.vms)
      await this.#ask({ method: "POST", path: cluster.path(`vms/${vm}/start`), body: { host: this.#anyHost() } });
    await cluster.until(() => this.vms.every((vm) => cluster.executing(vm).length === 1), 60_000);
  }

  begin(): void {
    const next = () => {
      if (this.#isOver) return;
      const waitMs = -Math.log(1 - this.#random.next()) * this.#plan.everyMs;
      this.#simulation.scheduler.clock.after(waitMs, () => {
        if (!this.#isOver && this.#open < 20) void this.#doing(this.#drawWish());
        next();
      });
    };
    next();
  }

  end(): void {
    this.#isOver = true;
  }

  get isIdle(): boolean {
    return this.#open === 0;
  }

  async #doing(act: () => Promise<void>): Promise<void> {
    this.#open++;
    try {
      await act();
    } finally {
      this.#open--;
    }
  }

  #drawWish(): () => Promise<void> {
    const weights = Object.entries(this.#plan.weights) as [keyof Workload["wishes"], number][];
    let drawn = this.#random.next() * weights.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of weights) {
      drawn -= weight;
      if (drawn < 0) return this.wishes[name];
    }
    return this.wishes.migrate;
  }

  readonly wishes = {
    migrate: async () => {
      await this.#migrate(this.#anyVm(), this.#anyHost());
      if (this.#random.chance(0.2)) await this.#migrate(this.#anyVm(), this.#anyHost());
    },
    /** The second as soon as the first is over, with every late message of the first still on its way. */
    thereAndBack: async () => {
      const vm = this.#anyVm();
      const first = await this.#migrate(vm, this.#anyHost());
      if (!first) return;
      for (let look = 0; look < 300; look++) {
        await this.#simulation.scheduler.clock.sleep(100);
        const now = this.#simulation.tableWatch.vms.get(vm);
        if (!now || now.migrationId) continue;
        const back = await this.#migrate(vm, first.source);
        if (back) this.#simulation.counts.add("there and back");
        return;
      }
    },
    cancel: async () => {
      const open = [...this.accepted].filter((id) => this.#simulation.tableWatch.migrations.get(id)?.stage !== "ended");
      if (open.length === 0) return;
      await this.#cancel(this.#random.pick(open));
    },
    stop: async () => this.#end(this.#anyVm(), "stop"),
    start: async () => {
      const { cluster, tableWatch } = this.#simulation;
      const ended = this.vms.filter((vm) => ["stopped", "guest-lost"].includes(tableWatch.vms.get(vm)?.runState ?? ""));
      if (ended.length === 0) return;
      const path = cluster.path(`vms/${this.#random.pick(ended)}/start`);
      await this.#ask({ method: "POST", path, body: { host: this.#anyHost() } });
    },
    remove: async () => {
      if (this.vms.length > 1) await this.#end(this.#anyVm(), "delete");
    },
    define: async () => {
      if (this.vms.length >= 2 * this.#plan.vms) return;
      const vm = `vm-${this.vms.length + 1}`;
      this.vms.push(vm);
      const dirtyMiBPerSecond = this.#random.pick([0, 1, 4, 16]);
      const spec = { hypervisor: "simulated", ...specs, dirtyMiBPerSecond };
      await this.#ask({ method: "POST", path: this.#simulation.cluster.path("vms"), body: { vm, spec } });
    },
    /** I8: what was asked before is asked again, later, and answered as it was then. */
    repeat: async () => {
      if (this.#answered.length === 0) return;
      const { wish, key, answer, tablesBefore } = this.#random.pick(this.#answered);
      const again = await this.#send(wish, key);
      if (this.#simulation.tablesBefore !== tablesBefore) return; // Another table has never heard of it.
      if (again.status !== answer.status || JSON.stringify(again.body) !== JSON.stringify(answer.body)) {
        this.#simulation.violation(
          `I8: ${wish.method} ${wish.path} repeated: ${JSON.stringify(again)}, not ${JSON.stringify(answer)}`,
        );
      }
      this.#simulation.counts.add("repeated request answered as the first");
    },
  };

  async #cancel(id: string): Promise<void> {
    const { cluster, counts, tableWatch } = this.#simulation;
    const isQueued = tableWatch.migrations.get(id)?.stage === "queued";
    const { status, body } = await this.#ask({ method: "POST", path: cluster.path(`migrations/${id}/cancel`) });
    const { code } = body as { code?: string };
    if (code === "too-late-committed") counts.add("cancel too late");
    if (status >= 300) return;
    if (isQueued) counts.add("cancel while queued");
    const { phase } = body as Migration;
    if (phase === "setup" || phase === "precopy" || phase === "switchover") counts.add(`cancel in ${phase}`);
  }

  async #migrate(vm: string, destination: string): Promise<Migration | null> {
    const { cluster, counts, tableWatch } = this.#simulation;
    const bandwidth = this.#random.chance(0.5) ? this.#random.whole(2_000_000, 20_000_000) : null;
    const limits = { bandwidthLimitBytesPerSecond: bandwidth };
    const { status, body } = await this.#ask({
      method: "POST",
      path: cluster.path("migrations"),
      body: { vm, destination, limits },
    });
    if (status !== 202) return null;
    const migration = body as Migration;
    this.accepted.add(migration.id);
    const underWay = [...tableWatch.migrations.values()].filter(({ stage }) => stage === "admitted");
    if (underWay.length > 1) counts.add("two migrations at once");
    return migration;
  }

  async #end(vm: string, how: "stop" | "delete"): Promise<void> {
    const { cluster, counts, tableWatch } = this.#simulation;
    const isMoving = Boolean(tableWatch.vms.get(vm)?.migrationId);
    const wish: Wish =
      how === "stop"
        ? { method: "POST", path: cluster.path(`vms/${vm}/stop`) }
        : { method: "DELETE", path: cluster.path(`vms/${vm}`) };
    const { status } = await this.#ask(wish);
    if (status < 300 && isMoving) counts.add(`${how} during a migration`);
  }

  async #ask(wish: Wish): Promise<Answer> {
    const key = `wish-${++this.#keys}`;
    const { tablesBefore } = this.#simulation;
    const answer = await this.#send(wish, key);
    if (answer.status < 300) this.#answered.push({ wish, key, answer, tablesBefore });
    return answer;
  }

  /** Until it is answered, one way or the other. */
  async #send({ method, path, body }: Wish, key: string): Promise<Answer> {
    const { cluster, scheduler, history } = this.#simulation;
    this.asked++;
    for (;;) {
      await scheduler.clock.sleep(this.#random.between(0.5, 5));
      const isLost = this.#isLost();
      if (!isLost || this.#random.chance(0.5)) {
        const answer = await cluster.tryCall(method, path, body, { "idempotency-key": key }).catch(() => null);
        history.note(
          "operator",
          () =>
            `${method} ${path} ${JSON.stringify(body ?? null)}: ${answer ? `${answer.status} ${told(answer.body)}` : "no answer"}`,
        );
        if (answer && !isLost && answer.status < 500) return answer;
      }
      await scheduler.clock.sleep(this.#random.between(200, 2000));
    }
  }

  #isLost(): boolean {
    return this.#simulation.cluster.isControlPlaneAway || (!this.#isOver && this.#random.chance(this.#plan.lost));
  }

  #anyVm(): string {
    const there = this.vms.filter((vm) => !this.#simulation.tableWatch.vms.get(vm)?.deleted);
    return this.#random.pick(there.length > 0 ? there : this.vms);
  }

  #anyHost(): string {
    return this.#random.pick(this.#simulation.cluster.hosts).hostId;
  }
}

function told(body: unknown): string {
  const { id, code, vm } = body as { id?: string; code?: string } & Partial<Vm>;
  return code ?? id ?? vm ?? "";
}
