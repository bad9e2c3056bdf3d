// What this host owes the guests it owns, outside of migrations: each copy is brought to its wanted run state and
// what was seen is reported. Driven by levels, not by messages: a sweep looks at all of it and may run at any time.
import type { AgentReport, CopyAlarm, CopyDuty } from "../schemas/agent.ts";
import type { GuestReport } from "../schemas/vm.ts";
import { durable } from "./durable-step.ts";
import { type Expected, GuestWatch } from "./guest-watch.ts";
import { messageOf } from "./message-of.ts";
import type { Copy, CopyEvent, CopyStatus, PermitOutcome } from "./ports/copies.ts";
import { Lane, type RoleContext, tell } from "./roles/context.ts";

type Refusal = Extract<PermitOutcome, { kind: "refused" }>;
type Seen = Extract<AgentReport, { kind: "copy-seen" }>;

/** What a migration under way leaves to be done about its copy here: everything, only what its user wishes of the
 *  guest, or nothing. */
export type Binding = "free" | "before-gate" | "bound";

export class Duties {
  readonly #context: RoleContext;
  readonly #lane = new Lane();
  readonly #copies = new Map<string, Copy>();
  readonly #guests = new Map<string, { vm: string; report: GuestReport }>();
  /** What the control plane was last told of a copy, so that it is told once. */
  readonly #told = new Map<string, string>();
  /** Copies that were ended as ordered, or reported gone: a copy begins once, and never again. */
  readonly #done = new Set<string>();
  readonly #watch: GuestWatch;
  readonly #alarms = new Map<string, CopyAlarm>();
  /** Gaps that the control plane has yet to hear of, by migration. */
  readonly #gaps = new Map<string, number>();
  readonly #bindingOf: (copyId: string) => Binding;
  readonly #supersede: (duty: CopyDuty) => void;
  readonly #wantSweep: () => void;
  readonly #isFrozen: () => boolean;
  readonly #isFirstLife: boolean;
  /** Copies that were here when the agent began: a boot may have ended those, and no other. */
  readonly #fromBefore = new Set<string>();
  #duties: CopyDuty[] = [];
  #isAssigned = false;

  /** @param isFirstLife the host was booted since the agent ran here last */
  constructor(
    context: RoleContext,
    isFirstLife: boolean,
    hooks: {
      bindingOf(copyId: string): Binding;
      /** A copy that a migration has to do with is to go: whether that is so by now, its part in the migration knows. */
      supersede(duty: CopyDuty): void;
      wantSweep(): void;
      /** Nothing is started, resumed or destroyed. */
      isFrozen(): boolean;
    },
  ) {
    this.#context = context;
    this.#watch = new GuestWatch(context.clock);
    this.#isFirstLife = isFirstLife;
    this.#bindingOf = hooks.bindingOf;
    this.#supersede = hooks.supersede;
    this.#wantSweep = hooks.wantSweep;
    this.#isFrozen = hooks.isFrozen;
  }

  /** Watches a copy for what its guest says and for its end. Repeating it changes nothing. */
  watch(copy: Copy, found: "as the agent began" | "since" = "since"): void {
    if (this.#copies.has(copy.copyId)) return;
    if (found === "as the agent began") this.#fromBefore.add(copy.copyId);
    this.#copies.set(copy.copyId, copy);
    copy.listen((event) => this.#onEvent(copy, event));
  }

  forget(copyId: string): void {
    this.#copies.delete(copyId);
    this.#guests.delete(copyId);
    this.#told.delete(copyId);
    this.#alarms.delete(copyId);
    this.#watch.forget(copyId);
    this.#fromBefore.delete(copyId);
  }

  find(copyId: string): Copy | null {
    return this.#copies.get(copyId) ?? null;
  }

  /** What stands wrong with copies of this host. */
  async alarms(isAsked: (copyId: string) => boolean): Promise<CopyAlarm[]> {
    const duties = new Map(this.#duties.map((duty) => [duty.copyId, duty]));
    const silent = await this.#watch.alarms(
      this.#copies.values(),
      (copyId) => this.#expected(duties.get(copyId)),
      isAsked,
    );
    return [...[...this.#alarms.values()].filter(({ copyId }) => isAsked(copyId)), ...silent];
  }

  /** It is to execute where neither its user nor its lock file keeps it from it; what its migration does meanwhile is
   *  not known here. */
  #expected(duty: CopyDuty | undefined): Expected {
    if (!duty) return "stands";
    const { copyId, wantedRunState, hasRun } = duty;
    const isBegun = hasRun || (this.#told.get(copyId)?.startsWith("running ") ?? false);
    const isBarred = this.#alarms.get(copyId)?.code === "run-refused";
    if (wantedRunState !== "running" || !isBegun || isBarred) return "stands";
    return this.#bindingOf(copyId) === "bound" ? "either" : "executes";
  }

  get copyCount(): number {
    return this.#copies.size;
  }

  guestReports(): { vm: string; copyId: string; report: GuestReport }[] {
    return [...this.#guests].map(([copyId, { vm, report }]) => ({ vm, copyId, report }));
  }

  assign(duties: CopyDuty[]): void {
    this.#duties = duties;
    this.#isAssigned = true;
  }

  /** Resolves when a sweep under way has come to its end. */
  settled(): Promise<void> {
    return this.#lane.do(async () => {});
  }

  /** True when everything is as wanted and told. */
  sweep(): Promise<boolean> {
    return this.#lane.do(async () => {
      let isSettled = true;
      for (const duty of this.#duties) {
        if (this.#isFrozen()) return true;
        const binding = this.#bindingOf(duty.copyId);
        if (binding === "bound") {
          if (duty.wantedRunState !== "stopped") continue;
          this.#supersede(duty);
          isSettled = false;
          continue;
        }
        try {
          const isDone = binding === "free" ? await this.#carryOut(duty) : await this.#wishOnTheMove(duty);
          isSettled = isDone && isSettled;
        } catch (error) {
          this.#context.log({ event: "duty-failed", vmId: duty.vmId, copyId: duty.copyId, error: messageOf(error) });
          isSettled = false;
        }
      }
      const areGapsTold = await this.#tellGaps();
      return (await this.#removeOrphans()) && areGapsTold && isSettled;
    });
  }

  async #tellGaps(): Promise<boolean> {
    for (const [migrationId, guestGapMs] of this.#gaps) {
      if (this.#isFrozen()) return true;
      const { outcome } = await tell(this.#context, { kind: "gap-measured", migrationId, guestGapMs });
      if (outcome === "unknown" || outcome === "later") return false;
      this.#gaps.delete(migrationId);
    }
    return true;
  }

  async #carryOut(duty: CopyDuty): Promise<boolean> {
    const { copyId, vmId, fencingToken, wantedRunState } = duty;
    if (this.#hasPartBefore(duty)) return false;
    if (fencingToken < this.#context.journal.highestToken(vmId)) {
      this.#context.log({ event: "stale-duty", vmId, copyId, fencingToken });
      return true;
    }
    await durable("journal:token-of-duty", () => this.#context.journal.raiseToken(vmId, fencingToken));
    const copy = this.#copies.get(copyId) ?? null;
    const status = copy ? await copy.status() : null;
    if (status?.machine === "ended" && copy) return this.#clearEnded(duty, copy, status);
    switch (wantedRunState) {
      case "stopped":
        if (this.#isFrozen()) return false;
        if (copy) {
          await copy.destroy();
          this.#done.add(copyId);
        }
        this.forget(copyId);
        // Ended under this order or under the one before: what was said of it may not have been heard.
        return this.#tell(duty, {
          state: "gone",
          because: copy || this.#done.has(copyId) ? "ordered" : "never-started",
        });
      case "running":
      case "paused":
        if (copy && status && status.machine !== "held") return this.#bringAbout(duty, copy, status);
        return this.#begin(duty, copy);
    }
  }

  /** Under a newer token this host would take no word any more of what became of its copy before. */
  #hasPartBefore({ copyId, vmId }: CopyDuty): boolean {
    return this.#context.journal.migrations().some(({ over, claimed: { role, assignment } }) => {
      return !over && assignment.vmId === vmId && assignment[role].copyId !== copyId;
    });
  }

  /** Before the gate the guest is still to be had here; its end is its migration's to see to. */
  async #wishOnTheMove(duty: CopyDuty): Promise<boolean> {
    const copy = this.#copies.get(duty.copyId);
    if (!copy || duty.wantedRunState === "stopped") return true;
    if (duty.fencingToken < this.#context.journal.highestToken(duty.vmId)) return true;
    const status = await copy.status();
    const isThere = status.machine !== "ended" && status.machine !== "held";
    return isThere ? this.#bringAbout(duty, copy, status) : true;
  }

  /** A guest that is there is made what its user wants: reset so many times, executing or paused. */
  async #bringAbout(duty: CopyDuty, copy: Copy, status: CopyStatus): Promise<boolean> {
    if (this.#isFrozen()) return false;
    const { resets = 0 } = duty;
    if (resets > status.resets) await copy.reset(resets);
    const made = Math.max(resets, status.resets);
    if (duty.wantedRunState === "paused") {
      if (status.machine === "running") await copy.pause();
      this.#watch.changed(duty.copyId);
      this.#alarms.delete(duty.copyId);
      return this.#tell(duty, { state: "paused", resets: made });
    }
    if (status.machine !== "running") {
      const permit = await copy.resume(duty.fencingToken);
      if (permit.kind === "refused") return this.#tellRefusal(duty, copy, permit);
      this.#watch.changed(duty.copyId);
    } else if (status.lock === "free") {
      this.#alarm(copy, "lock-file-not-held", "its supervisor could not take it");
      return this.#tell(duty, { state: "running", resets: made });
    }
    this.#alarms.delete(duty.copyId);
    return this.#tell(duty, { state: "running", resets: made });
  }

  /** Its first instruction; a guest that is wanted paused by then is paused after it. */
  async #begin(duty: CopyDuty, found: Copy | null): Promise<boolean> {
    const { vmId, copyId, spec, fencingToken } = duty;
    if (!found && this.#done.has(copyId)) return true;
    if (!found && duty.hasRun) {
      const because = this.#isFirstLife ? "host-rebooted" : "killed";
      return this.#tell(duty, { state: "gone", because, detail: "its process and its folder are gone" });
    }
    const copy =
      found ?? (await this.#context.copies.launch({ vmId, copyId, spec, arriving: false, migrationId: null }));
    this.watch(copy);
    if (this.#isFrozen()) return false;
    const permit = await copy.run(fencingToken, duty.replaceLockFile);
    if (permit.kind === "refused") return this.#tellRefusal(duty, copy, permit);
    return this.#bringAbout(duty, copy, await copy.status());
  }

  async #tellRefusal(duty: CopyDuty, copy: Copy, { by, detail }: Refusal): Promise<false> {
    this.#alarm(copy, "run-refused", `${by}: ${detail}`);
    await this.#tell(duty, { state: "held", detail: `${by}: ${detail}`.slice(0, 1000) });
    return false;
  }

  /** The guest is no more: told first, then cleared away, so that a crash in between tells it again. */
  async #clearEnded(duty: CopyDuty, copy: Copy, status: CopyStatus): Promise<boolean> {
    const how = status.ended?.how ?? "killed";
    // The order's first try died halfway.
    const isOrdered = how === "killed" && duty.wantedRunState === "stopped";
    const isOfReboot = how === "killed" && this.#isFirstLife && this.#fromBefore.has(copy.copyId);
    const because = isOrdered ? "ordered" : isOfReboot ? "host-rebooted" : how;
    const isTold = await this.#tell(duty, {
      state: "gone",
      because,
      detail: (status.ended?.detail ?? "").slice(0, 1000),
    });
    if (!isTold) return false;
    await copy.destroy();
    this.forget(copy.copyId);
    return true;
  }

  async #tell(duty: CopyDuty, seen: Partial<Seen> & Pick<Seen, "state">): Promise<boolean> {
    const key = `${seen.state} ${seen.because ?? ""} ${duty.fencingToken} ${seen.resets ?? 0}`;
    if (this.#told.get(duty.copyId) === key) return true;
    const { vmId, copyId, fencingToken } = duty;
    const report: Seen = {
      kind: "copy-seen",
      because: "ordered",
      detail: "",
      migrationId: null,
      summary: null,
      ...seen,
      vmId,
      copyId,
      fencingToken,
    };
    const { outcome } = await tell(this.#context, report);
    if (outcome === "unknown" || outcome === "later") return false;
    if (seen.state === "gone") this.#done.add(copyId);
    // What was refused for good is not repeated; the next claim brings what holds now.
    this.#told.set(copyId, key);
    return true;
  }

  /** Copies that are nobody's duty. */
  async #removeOrphans(): Promise<boolean> {
    const owed = new Set(this.#duties.map((duty) => duty.copyId));
    let isSettled = true;
    for (const [copyId, copy] of this.#copies) {
      if (this.#isFrozen()) return true;
      if (owed.has(copyId) || this.#bindingOf(copyId) !== "free") continue;
      try {
        isSettled = (await this.#removeOrphan(copy)) && isSettled;
      } catch (error) {
        this.#context.log({ event: "orphan-not-removed", vmId: copy.vmId, copyId, error: messageOf(error) });
        isSettled = false;
      }
    }
    return isSettled;
  }

  /** Ended only on the word of the record of the migration that made it (rule 8), or where no guest is left of it: its
   *  end was told before, and the agent died before it had cleared it away. */
  async #removeOrphan(copy: Copy): Promise<boolean> {
    const { copyId, vmId, migrationId } = copy;
    if (this.#isAssigned && (await copy.status()).machine === "ended") {
      this.#context.log({ event: "remains-removed", copyId, vmId });
      await copy.destroy();
      this.forget(copyId);
      return true;
    }
    if (!migrationId) return true;
    const answer = await this.#context.controlPlane.readRecord(migrationId);
    if (answer.kind !== "answered") return false;
    const { record } = answer.record;
    const isOther = record.owner.copyId !== copyId;
    const isDecided = record.verdictToken > record.openedUnderToken;
    const isSafe = record.destination.copyId === copyId || record.confirmed || record.verdict === "forced";
    if (!isOther || !isDecided || !isSafe) return true;
    this.#context.log({ event: "orphan-removed", copyId, vmId, verdict: record.verdict });
    await copy.destroy();
    this.forget(copyId);
    return true;
  }

  #alarm({ vmId, copyId }: Copy, code: CopyAlarm["code"], detail: string): void {
    this.#context.log({ event: code, vmId, copyId, detail });
    this.#alarms.set(copyId, { vm: vmId, copyId, code, detail: detail.slice(0, 1000) });
  }

  #onEvent(copy: Copy, event: CopyEvent): void {
    switch (event.kind) {
      case "guest-reported":
        this.#guests.set(copy.copyId, { vm: copy.vmId, report: event.report });
        this.#watch.heard(copy.copyId, event.report);
        return;
      case "gap-measured":
        if (!copy.migrationId) return;
        this.#gaps.set(copy.migrationId, event.guestGapMs);
        this.#wantSweep();
        return;
      case "lock-alarm":
        if (event.standing) this.#alarm(copy, "lock-file-not-held", event.detail);
        else this.#alarms.delete(copy.copyId);
        return;
      case "ended":
        this.#alarms.delete(copy.copyId);
        this.#guests.delete(copy.copyId);
        this.#watch.forget(copy.copyId);
        this.#wantSweep();
        return;
      case "supervisor-lost":
      case "resumed-by-supervisor":
        this.#wantSweep();
        return;
      default:
        return;
    }
  }
}
