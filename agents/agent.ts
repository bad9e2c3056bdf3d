// One host's agent: renews the lease, waits at the doorbell, claims what it is to do, and sees to it. It may be ended
// at any instant; guests, their supervisors and the journal are what it starts from again.
import { type GuestPage, type HostAlarm, onlyPage } from "../schemas/agent.ts";
import type { HostFacts } from "../schemas/host.ts";
import { fitHeartbeat, isOnPage, paceOf, turnPage } from "./domain/guest-pages.ts";
import { durable } from "./durable-step.ts";
import { Duties } from "./duties.ts";
import { messageOf } from "./message-of.ts";
import type { Claim, ClaimedAssignment, DoorbellWait, ProvenRecord } from "./ports/control-plane.ts";
import type { Copy } from "./ports/copies.ts";
import type { MigrationJournal } from "./ports/journal.ts";
import type { Role, RoleContext } from "./roles/context.ts";
import { DestinationRole } from "./roles/destination-role.ts";
import { missingCopy } from "./roles/missing-copy.ts";
import { SourceRole } from "./roles/source-role.ts";
import { TableBack, watchRefusals } from "./table-back.ts";
import { WatchedJournal } from "./watched-journal.ts";

export type AgentOptions = {
  context: RoleContext;
  doorbell: DoorbellWait;
  facts(): Promise<HostFacts>;
  /** The host was booted since the agent ran here last: what ran then is gone. */
  isFirstLife: boolean;
  /** Called once, when the first heartbeat was answered. */
  onJoined(): void;
  /** The control plane refuses this agent for good (a newer incarnation of the host has reported). */
  onRefused(detail: string): void;
  /** An operator declared this incarnation lost: the host is heard again under a new one only. */
  onDeclaredLost(detail: string): void;
};

const firstHeartbeatMs = 1000;
const doorbellMs = 20_000;
/** A sweep that left something undone is repeated after this. */
const sweepAgainMs = 1000;
/** After a migration: the other host's last report has come by then, mostly; otherwise it is asked for again. */
const forgetAfterMs = 2000;
const forgetAgainMs = 10_000;
/** How long the agent's start waits for one copy. */
const recoverWithinMs = 5000;
/** How often a postponed heartbeat looks whether the switchover is over, and how long it is postponed at most. */
const postponeMs = 50;
const postponeAtMostMs = 2000;

export class Agent {
  readonly #options: AgentOptions;
  readonly #context: RoleContext;
  readonly #journal: WatchedJournal;
  readonly #roles = new Map<string, Role>();
  readonly #duties: Duties;
  readonly #tableBack: TableBack;
  /** What the roles knew when the host froze. */
  #records = new Map<string, ProvenRecord>();
  readonly #ended = new AbortController();
  #heartbeatMs = firstHeartbeatMs;
  #busyHeartbeatMs = firstHeartbeatMs;
  #page: GuestPage = onlyPage;
  #claimedRevision = -1;
  #claiming: Promise<void> | null = null;
  #isClaimWanted = false;
  /** An answer to a claim was lost in this life: what it claimed may come again with no journal of it. */
  #hasLostClaim = false;
  #toldFacts = "";
  /** Parts without a role that are seen to all the same: being recovered, or being marked over. */
  readonly #seenTo = new Set<string>();
  #hasJoined = false;
  #sweepTimer: (() => void) | null = null;
  #forgetTimer: (() => void) | null = null;
  #loops: Promise<void>[] = [];

  constructor(options: AgentOptions) {
    this.#options = options;
    const controlPlane = watchRefusals(options.context.controlPlane, (code) => this.#tableBack.hear(code));
    this.#journal = new WatchedJournal(options.context.journal);
    this.#context = { ...options.context, controlPlane, journal: this.#journal };
    this.#tableBack = new TableBack(this.#context, {
      halt: () => this.#halt(),
      goOn: () => this.#goOn(),
      records: () => this.#records,
    });
    this.#duties = new Duties(this.#context, options.isFirstLife, {
      isFrozen: () => this.#tableBack.isFrozen,
      bindingOf: (copyId) => {
        const role = this.#roleOf(copyId);
        if (!role) return "free";
        return role.isBeforeGate() ? "before-gate" : "bound";
      },
      supersede: ({ copyId, fencingToken }) => {
        const role = this.#roleOf(copyId);
        if (role instanceof SourceRole) role.superseded(fencingToken);
      },
      wantSweep: () => this.#sweepAfter(0),
    });
  }

  async start(): Promise<void> {
    for (const copy of await this.#context.copies.list()) this.#duties.watch(copy, "as the agent began");
    await this.#recoverUnfinished();
    this.#context.copies.keepSpare();
    this.#forgetAfter(forgetAfterMs);
    this.#loops = [this.#heartbeats(), this.#listenToDoorbell()];
  }

  /** Parts that were journalled and that nobody sees to: their records say what is left to do.
   *  @param claimedId what is claimed begins by its claim */
  async #recoverUnfinished(claimedId: string | null = null): Promise<void> {
    const unfinished = this.#context.journal
      .migrations()
      .filter(
        ({ migrationId: id, over }) => !over && id !== claimedId && !this.#roles.has(id) && !this.#seenTo.has(id),
      );
    await Promise.all(unfinished.map((entry) => this.#recoverOrRetry(entry)));
  }

  /** Every role is left as if the agent had died: journal, gate and copies are what it is taken up from again. */
  async #halt(): Promise<void> {
    this.#toldFacts = ""; // The table may have forgotten them.
    const roles = [...this.#roles.values()];
    for (const role of roles) {
      const record = role.latestRecord();
      if (record) this.#records.set(role.migrationId, record);
      role.abandon();
    }
    this.#roles.clear();
    this.#seenTo.clear();
    await Promise.all([this.#claiming, this.#duties.settled(), ...roles.map((role) => role.settled())]);
  }

  async #goOn(): Promise<void> {
    this.#records.clear();
    for (const copy of await this.#context.copies.list()) this.#duties.watch(copy);
    await this.#recoverUnfinished();
    this.#claimedRevision = -1;
    this.#claim();
    this.#forgetAfter(forgetAfterMs);
  }

  /** Stops without touching a guest. */
  async stop(): Promise<void> {
    this.#ended.abort();
    this.#tableBack.end();
    this.#sweepTimer?.();
    this.#forgetTimer?.();
    for (const role of this.#roles.values()) role.abandon();
    await Promise.allSettled(this.#loops);
    await this.#claiming;
    await this.#context.copies.close();
  }

  async #heartbeats(): Promise<void> {
    const { clock } = this.#context;
    while (!this.#ended.signal.aborted) {
      await this.#heartbeat();
      const wait = this.#roles.size > 0 ? this.#busyHeartbeatMs : this.#heartbeatMs;
      await clock.sleep(paceOf(this.#page, wait, this.#heartbeatMs), this.#ended.signal);
      await this.#untilUncritical();
    }
  }

  async #heartbeat(): Promise<void> {
    const facts = await this.#options.facts();
    // Nothing else may come to be written, and the host would be thought unable for ever.
    if (this.#journal.trouble) await this.#journal.prove().catch(() => {});
    const factsNow = withoutNoise(facts);
    const isNews = factsNow !== this.#toldFacts;
    this.#page = turnPage(this.#page, this.#duties.copyCount);
    const page = this.#page;
    const isAsked = (copyId: string): boolean => isOnPage(copyId, page);
    const request = fitHeartbeat({
      ...(isNews ? { facts } : {}),
      page,
      guests: this.#duties.guestReports().filter(({ copyId }) => isAsked(copyId)),
      alarms: await this.#duties.alarms(isAsked),
      hostAlarms: this.#hostAlarms(),
    });
    const answer = await this.#context.controlPlane.heartbeat(request);
    if (answer.kind === "unknown") {
      this.#context.log({ event: "heartbeat-unanswered", detail: answer.detail });
      return;
    }
    if (answer.kind === "refused") {
      this.#context.log({ event: "heartbeat-refused", problem: answer.problem.code, detail: answer.problem.detail });
      if (answer.problem.code === "incarnation-stale") this.#options.onRefused(answer.problem.detail);
      if (answer.problem.code === "incarnation-ended") this.#options.onDeclaredLost(answer.problem.detail);
      return;
    }
    this.#toldFacts = factsNow;
    this.#heartbeatMs = answer.answer.heartbeatMs;
    this.#busyHeartbeatMs = answer.answer.busyHeartbeatMs;
    if (!this.#hasJoined) {
      this.#hasJoined = true;
      this.#options.onJoined();
    }
    this.#tableBack.heartbeatAnswered(answer.answer);
    if (answer.answer.assignmentsRevision !== this.#claimedRevision) this.#claim();
  }

  #hostAlarms(): HostAlarm[] {
    const { trouble } = this.#journal;
    return trouble ? [{ code: "cannot-journal", detail: `cannot journal: ${trouble}`.slice(0, 1000) }] : [];
  }

  async #listenToDoorbell(): Promise<void> {
    while (!this.#ended.signal.aborted) {
      if (!(await this.#options.doorbell.wait(doorbellMs, this.#ended.signal))) continue;
      if (this.#tableBack.isFrozen)
        await this.#heartbeat(); // Whether it may go on is what a heartbeat tells.
      else this.#claim();
    }
  }

  /** One claim at a time; a ring that comes meanwhile claims once more afterwards. */
  #claim(): void {
    this.#isClaimWanted = true;
    if (this.#claiming || this.#isAtRest()) return;
    const run = async (): Promise<void> => {
      while (this.#isClaimWanted && !this.#isAtRest()) {
        await this.#untilUncritical();
        this.#isClaimWanted = false;
        const answer = await this.#context.controlPlane.claim();
        this.#hasLostClaim ||= answer.kind === "unknown";
        if (answer.kind === "answered") await this.#take(answer.claim);
        else
          this.#context.log({
            event: "claim-failed",
            detail: answer.kind === "unknown" ? answer.detail : answer.problem.code,
          });
      }
    };
    this.#claiming = run()
      .catch((error: unknown) => this.#context.log({ event: "claim-failed", detail: messageOf(error) }))
      .finally(() => {
        this.#claiming = null;
      });
  }

  #isAtRest(): boolean {
    return this.#ended.signal.aborted || this.#tableBack.isFrozen;
  }

  async #take(claim: Claim): Promise<void> {
    if (this.#isAtRest()) return;
    const { assignment } = claim;
    // A migration that cannot begin must not keep the host from its other guests.
    try {
      if (assignment) await this.#begin(assignment, claim.claimedBefore && !this.#hasLostClaim);
      this.#claimedRevision = claim.assignmentsRevision; // Else the next heartbeat claims again.
    } catch (error) {
      this.#context.log({
        event: "not-begun",
        migrationId: assignment?.assignment.migrationId,
        error: messageOf(error),
      });
    }
    void this.#recoverUnfinished(assignment?.assignment.migrationId);
    this.#duties.assign(claim.copies);
    this.#sweepAfter(0);
  }

  /** @param mustBeKnown this host has begun it before, so a missing journal is a lost one */
  async #begin(claimed: ClaimedAssignment, mustBeKnown: boolean): Promise<void> {
    const { journal } = this.#context;
    const { migrationId, vmId, fencingToken } = claimed.assignment;
    const running = this.#roles.get(migrationId);
    if (running) {
      if (claimed.record) running.noteRecord(claimed.record);
      return;
    }
    const known = journal.migration(migrationId);
    if (known?.over) return;
    const isOpen = claimed.record?.record.verdict === "open";
    if (isOpen && fencingToken < journal.highestToken(vmId)) {
      return this.#context.log({
        event: "stale-assignment",
        migrationId,
        fencingToken,
        highest: journal.highestToken(vmId),
      });
    }
    // A verdict stands already: this host has had a part in it, whatever it still knows.
    const isLost = !known && (mustBeKnown || !isOpen);
    const entry: MigrationJournal = known ?? { migrationId, claimed, ...(isLost ? worstCase : {}) };
    // A host has one slot: whatever it had a part in before is over, also where that could not be written then. Taken
    // up again after a restart, it would meddle with the gate of this one.
    for (const before of journal.migrations()) {
      if (before.over || before.migrationId === migrationId) continue;
      await durable("journal:over", () => journal.write({ ...before, over: true }));
    }
    await durable("journal:begun", () => journal.write(entry));
    await durable("journal:token", () => journal.raiseToken(vmId, fencingToken));
    if (known || isLost) {
      this.#context.log({ event: isLost ? "journal-lost" : "role-taken-up", migrationId });
      await this.#recover(entry);
      return;
    }
    if (this.#isAtRest()) return; // It is taken up from its journal.
    const role = this.#roleFor(entry, this.#copyOf(claimed));
    if (claimed.record) role.noteRecord(claimed.record);
    await role.start();
  }

  /** One copy whose supervisor does not answer must not keep the host from its heartbeat and its other guests. */
  async #recoverOrRetry(entry: MigrationJournal): Promise<void> {
    const { clock, log } = this.#context;
    const { migrationId } = entry;
    this.#seenTo.add(migrationId);
    const recovering = this.#recover(entry).then(
      () => void this.#seenTo.delete(migrationId),
      (error: unknown) => {
        log({ event: "recovery-failed", migrationId, error: messageOf(error) });
        if (!this.#isAtRest()) clock.after(sweepAgainMs, () => void this.#recoverOrRetry(entry));
      },
    );
    // Stopped meanwhile: whoever waits for it goes on all the same.
    await Promise.race([recovering, clock.sleep(recoverWithinMs, this.#ended.signal).catch(() => {})]);
  }

  async #recover(entry: MigrationJournal): Promise<void> {
    if (this.#roles.has(entry.migrationId) || this.#isAtRest()) return;
    const copy = this.#copyOf(entry.claimed);
    const status = copy ? await copy.status() : null;
    const machine = status?.machine ?? "ended";
    // Of an earlier migration's gate nothing follows for this one; a guest that never came to this one may be paused.
    const isAtGate = status?.atGate?.migrationId === entry.migrationId;
    const gate = isAtGate || copy?.migrationId === entry.migrationId ? (status?.gate ?? null) : null;
    const stands = machine !== "ended" && machine !== "running" && isAtGate;
    const found = machine === "ended" ? machine : stands ? "standing" : "running";
    if (this.#roles.has(entry.migrationId) || this.#isAtRest()) return; // A claim was quicker.
    const role = this.#roleFor(entry, copy);
    this.#context.log({
      event: "role-recovered",
      migrationId: entry.migrationId,
      role: entry.claimed.role,
      machine,
      gate,
    });
    if (role instanceof SourceRole) {
      role.recover({
        machine: found,
        // Without a journal only a guest that was not stopped there proves that its gate was never passed.
        gate: gate ?? (entry.gateUnknown && found !== "running" ? "past" : null),
        ended: status?.ended ?? (machine === "ended" ? { how: "killed", detail: "its process is gone" } : null),
      });
    } else role.recover(machine);
  }

  #roleOf(copyId: string): Role | null {
    return [...this.#roles.values()].find((role) => role.copyId === copyId) ?? null;
  }

  #copyOf(claimed: ClaimedAssignment): Copy | null {
    const { role, assignment } = claimed;
    return this.#duties.find(role === "source" ? assignment.source.copyId : assignment.destination.copyId);
  }

  #roleFor(entry: MigrationJournal, copy: Copy | null): SourceRole | DestinationRole {
    const { assignment } = entry.claimed;
    const role =
      entry.claimed.role === "source"
        ? new SourceRole(
            this.#context,
            entry,
            copy ?? missingCopy(assignment.vmId, assignment.source.copyId, assignment.spec),
          )
        : new DestinationRole(this.#context, entry, copy, (launched) => this.#duties.watch(launched));
    this.#roles.set(entry.migrationId, role);
    void role.over.then(() => {
      if (this.#isAtRest()) return;
      this.#seenTo.add(entry.migrationId);
      this.#roles.delete(entry.migrationId);
      void this.#markOver(entry);
      if (role.hasLeft()) this.#duties.forget(role.copyId);
      // What waited behind the migration (a stop, say) is claimed now.
      this.#claim();
      this.#forgetAfter(forgetAfterMs);
    });
    return role;
  }

  /** A switchover under way is not made to wait behind a heartbeat or a claim. */
  async #untilUncritical(): Promise<void> {
    const { clock } = this.#context;
    const sinceMs = clock.monotonicMs();
    while (this.#isCritical() && clock.monotonicMs() - sinceMs < postponeAtMostMs && !this.#ended.signal.aborted) {
      await clock.sleep(postponeMs, this.#ended.signal);
    }
  }

  /** A disk that takes nothing keeps the journal of what is over until it does again. */
  async #markOver(entry: MigrationJournal): Promise<void> {
    const { journal, clock } = this.#context;
    const standing = journal.migration(entry.migrationId);
    if (!standing || standing.over || this.#isAtRest()) return;
    try {
      await durable("journal:over", () => journal.write({ ...entry, over: true }));
      this.#seenTo.delete(entry.migrationId);
      this.#forgetAfter(forgetAfterMs);
    } catch {
      clock.after(sweepAgainMs, () => void this.#markOver(entry));
    }
  }

  #forgetAfter(milliseconds: number): void {
    if (this.#ended.signal.aborted) return;
    this.#forgetTimer?.();
    this.#forgetTimer = this.#context.clock.after(milliseconds, () => {
      void this.#forgetWhatIsOver().then(() => {
        if (this.#context.journal.migrations().some((entry) => entry.over)) this.#forgetAfter(forgetAgainMs);
      });
    });
  }

  /** Journals and gates of migrations that both hosts are done with; until then they may be asked for. */
  async #forgetWhatIsOver(): Promise<void> {
    const { journal, copies, controlPlane, log } = this.#context;
    for (const { migrationId } of journal.migrations().filter((entry) => entry.over)) {
      if (this.#isAtRest() || this.#isCritical()) return;
      const answer = await controlPlane.readRecord(migrationId);
      const isForgotten = answer.kind === "refused" && answer.problem.code === "migration-unknown";
      if (!isForgotten && !(answer.kind === "answered" && answer.record.record.isOver)) continue;
      try {
        await durable("gate:forgotten", () => copies.forgetGate(migrationId));
        await durable("journal:forgotten", () => journal.forget(migrationId));
      } catch (error) {
        log({ event: "forget-failed", migrationId, error: messageOf(error) });
      }
    }
  }

  #isCritical(): boolean {
    return [...this.#roles.values()].some((role) => role.isCritical());
  }

  #sweepAfter(milliseconds: number): void {
    if (this.#ended.signal.aborted) return;
    this.#sweepTimer?.();
    this.#sweepTimer = this.#context.clock.after(milliseconds, () => {
      void this.#duties.sweep().then((isSettled) => {
        if (!isSettled) this.#sweepAfter(sweepAgainMs);
      });
    });
  }
}

/** A missing journal counts as: a commit may have been sent, the guest may have run, the gate may be past. */
const worstCase = { commitSent: true, runIntent: 1, gateUnknown: true } as const;

/** Free space changes all the time; only when it changes much is it news. */
function withoutNoise(facts: HostFacts): string {
  const volumes = facts.volumes.map((volume) => ({
    ...volume,
    freeMiB: Math.round(Math.log2(volume.freeMiB + 1) * 4),
  }));
  return JSON.stringify({ ...facts, volumes });
}
