// The table goes back: an older backup takes its place, and `restore` is run on it, at once or after hosts have met the
// table that knows less than they were told. That the cluster then opens by itself is what peace must show.
import { restoreTable } from "../../../functions/operations/restore-table.ts";
import { calledLost } from "./aims.ts";
import type { FaultContext } from "./context.ts";

/** How many backups there are to choose from. */
const mostBackups = 12;
/** How long a run of `restore` may take before it is run again. */
const patienceMs = 5000;

export class TableFaults {
  readonly #at: FaultContext;
  readonly #backups: unknown[] = [];
  #epoch = 0;
  /** Gone back, and not restored yet. */
  #isBack = false;
  #restoring: Promise<void> | null = null;

  constructor(context: FaultContext) {
    this.#at = context;
  }

  readonly happenings = {
    tableGoesBack: () => void this.goBack(),
  };

  get isAtRest(): boolean {
    return !this.#isBack && this.#restoring === null;
  }

  /** Takes backups for as long as the table may go back. */
  begin(): void {
    const { rate, chance, aims } = this.#at.plan;
    if (rate.tableGoesBack === 0 && chance.atMoment === 0 && !aims.includes(calledLost)) return;
    const next = () => {
      const { simulation, random } = this.#at;
      if (this.isAtRest) this.#backups.push(simulation.store.backUp());
      if (this.#backups.length > mostBackups) this.#backups.shift();
      this.#at.after(random.between(200, 8000), next);
    };
    next();
  }

  putRight(): void {
    if (this.#isBack) this.#restore();
  }

  /** @returns whether it did */
  goBack(isRestoredAtOnce = false): boolean {
    const { simulation, random } = this.#at;
    const backup = this.#at.any(this.#backups);
    if (!this.isAtRest || backup === undefined) return false;
    this.#at.note(() => "the table goes back");
    simulation.counts.add("table went back");
    this.#isBack = true;
    simulation.tableGoesBack(backup);
    if (isRestoredAtOnce || random.chance(0.5)) {
      this.#restore();
      return true;
    }
    // Served as it is, until somebody sees it: hosts stand still, and decide nothing.
    void simulation.cluster.startControlPlane();
    this.#at.after(random.between(100, 20_000), () => this.putRight());
    return true;
  }

  #restore(): void {
    this.#isBack = false;
    this.#restoring = this.#runRestore().finally(() => {
      this.#restoring = null;
    });
  }

  /** As `drover restore` does it, again and again where the table does not answer. */
  async #runRestore(): Promise<void> {
    const { simulation, clock } = this.#at;
    const { cluster } = simulation;
    this.#epoch++;
    const becomes = { tableId: `restored-${this.#epoch}`, restoreEpoch: this.#epoch };
    cluster.options.settings = { ...cluster.options.settings, ...becomes };
    this.#at.note(() => `restore: the table becomes ${becomes.tableId}`);
    for (;;) {
      try {
        const restoring = restoreTable(await cluster.startControlPlane(), becomes, { dryRun: false });
        // The process that it runs in may be ended meanwhile, and answers no more.
        const outcome = await Promise.race([restoring, clock.sleep(patienceMs).then(() => null)]);
        if (!outcome) continue;
        if (outcome.kind === "refuse") simulation.violation(`restore was refused: ${outcome.detail}`);
        return;
      } catch (error) {
        this.#at.note(() => `restore: ${error}`);
        await clock.sleep(500);
      }
    }
  }
}
