// Carries out the source's part in one migration: the pure machine of agents/domain/source.ts decides, this acts and
// feeds back what came of it.

import type { AgentReport, CopyState } from "../../schemas/agent.ts";
import { type PeerMessage, RelinquishedWord } from "../../schemas/peer.ts";
import { openDocument, toBase64Url, verifierFrom } from "../../schemas/signing.ts";
import { answerWithin } from "../answer-within.ts";
import {
  advanceSource,
  beginSource,
  progress,
  recoverSource,
  type SourceCommand,
  type SourceEvent,
  type SourceState,
  type SourceStep,
} from "../domain/source.ts";
import { messageOf } from "../message-of.ts";
import type { Copy, CopyEvent, CopyStatus } from "../ports/copies.ts";
import type { MachineState } from "../ports/hypervisor.ts";
import type { MigrationJournal } from "../ports/journal.ts";
import { PeerRefused } from "../ports/peer-link.ts";
import { identityOf, isExpired, note, type RoleContext, tell } from "./context.ts";
import { Measurements } from "./measurements.ts";
import { Wake } from "./pacing.ts";
import { Part } from "./part.ts";

/** More than a heartbeat: the destination may have missed every ring. */
const connectMs = 30_000;
const progressMs = 500;
const tellAgainMs = 1000;
const copyAnswersWithinMs = 5000;
const noAnswer =
  `the guest's process, or its supervisor's, has not answered for ${copyAnswersWithinMs / 1000} s: is it stopped or ` +
  `starved? If it stays so, the VM has the alarm guest-silent`;
const frozenStages: ReadonlySet<SourceState["stage"]> = new Set(["in-doubt", "resuming"]);
const standingStates: ReadonlySet<MachineState> = new Set(["held", "loaded", "stopped"]);

export class SourceRole extends Part<SourceState, SourceEvent, SourceCommand> {
  readonly #copy: Copy;
  readonly #measured = new Measurements();
  readonly #alarmWake: Wake;

  constructor(context: RoleContext, entry: MigrationJournal, copy: Copy) {
    const { migrationId, vmId, fencingToken, source, destination, limits } = entry.claimed.assignment;
    const begun = beginSource({
      migrationId,
      vmId,
      openToken: fencingToken,
      own: { hostId: source.hostId, copyId: source.copyId },
      peer: { hostId: destination.hostId, copyId: destination.copyId },
      limits,
      commitMs: context.commitMs(),
    });
    super("source", context, entry, begun);
    this.#copy = copy;
    this.#alarmWake = new Wake(context.clock, () => this.#tellFrozenAgain());
  }

  async start(): Promise<void> {
    this.#measured.mark("claimed", this.#now());
    this.undo.push(this.#copy.listen((event) => this.#onCopyEvent(event)));
    // A guest that had ended before anybody listened says so no more.
    const status = await this.#answerOfCopy();
    if (status?.ended) this.feed({ kind: "guest-ended", ...status.ended });
    else if (!status) this.feed({ kind: "permit-failed", detail: noAnswer });
    else this.feed({ kind: "started", isExpired: isExpired(this.context, this.entry.claimed.assignment) });
  }

  /** @param found what the copy, its gate and its supervisor say now */
  recover(found: Parameters<typeof recoverSource>[1]): void {
    this.undo.push(this.#copy.listen((event) => this.#onCopyEvent(event)));
    this.enact(recoverSource(this.state, found, this.#now()));
  }

  superseded(fencingToken: number): void {
    this.feed({ kind: "superseded", fencingToken });
  }

  hasLeft(): boolean {
    return this.state.hasLeft || this.state.ended !== null;
  }

  isBeforeGate(): boolean {
    return this.state.stage === "linking" || this.state.stage === "copying";
  }

  isCritical(): boolean {
    return ["holding", "deciding", "in-doubt"].includes(this.state.stage);
  }

  override abandon(): void {
    super.abandon();
    this.#alarmWake.stop();
  }

  protected override advance(event: SourceEvent): SourceStep {
    return advanceSource(this.state, event, this.#now());
  }

  protected override hasRemains(): boolean {
    return this.state.ended !== null && !this.state.hasLeft;
  }

  protected override async destroyCopy(): Promise<void> {
    await this.copyLane.do(() => this.#copy.destroy());
  }

  #now(): number {
    return this.context.clock.monotonicMs();
  }

  protected override carryOut(command: SourceCommand): void {
    switch (command.kind) {
      case "permit-next": {
        const next = command.copyId === null ? null : { copyId: command.copyId };
        this.#onCopy(
          () => this.#copy.permitNext(next),
          () => ({ kind: "permitted" }),
          (detail) => ({ kind: "permit-failed", detail }),
        );
        return;
      }
      case "connect-peer":
        void this.#connect();
        return;
      case "start-stream":
        void this.#startStream(command.endpoint);
        return;
      case "throttle":
        this.#onCopy(() => this.#copy.throttle(command.percent));
        return;
      case "read-gate":
        this.#measured.mark("gate-asked", this.#now());
        this.carryOutShared(command);
        return;
      case "send-peer":
        this.link?.send(command.message);
        return;
      case "ask-word":
        void this.requests.ask("ask-word", () => this.#askWord());
        return;
      case "hold-at-gate":
        this.#onCopy(
          () => this.#copy.holdAtGate(this.context.agentSilenceMs),
          ({ standsForMs, resets }) => {
            this.#measured.mark("stopping", this.#now() - standsForMs);
            return { kind: "held", resets };
          },
          (detail) => ({ kind: "hold-failed", detail }),
        );
        return;
      case "pass-gate":
        this.#onCopy(
          () => this.#copy.passGate(),
          (decision) => ({ kind: "gate-stands", decision }),
          (detail) => ({ kind: "gate-unknown", detail }),
        );
        return;
      case "cancel-at-gate":
        this.#onCopy(
          () => this.#copy.cancelAtGate(),
          (decision) => ({ kind: "gate-stands", decision }),
          (detail) => ({ kind: "gate-unknown", detail }),
        );
        return;
      case "cancel-stream":
        this.#onCopy(() => this.#copy.cancelStream());
        return;
      case "run-copy":
        this.#onCopy(
          () => this.#copy.run(command.fencingToken),
          (permit) => ({
            kind: "run-answered",
            isGranted: permit.kind === "granted",
            detail: permit.kind === "refused" ? permit.detail : "",
          }),
          (detail) => ({ kind: "run-answered", isGranted: false, detail }),
        );
        return;
      case "take-back-lock":
        this.#onCopy(
          () => this.#copy.takeBackLock(command.fencingToken),
          (permit) => ({ kind: "lock-taken-back", refusal: permit.kind === "refused" ? permit : null }),
        );
        return;
      case "destroy-copy":
        void this.#destroy();
        return;
      default:
        this.carryOutShared(command);
    }
  }

  #onCopy<T>(
    action: () => Promise<T>,
    done?: (result: T) => SourceEvent,
    failed?: (detail: string) => SourceEvent,
  ): void {
    this.copyLane.do(action).then(
      (result) => done && this.feed(done(result)),
      (error: unknown) => {
        this.context.log({ event: "copy-command-failed", migrationId: this.migrationId, error: messageOf(error) });
        if (failed) this.feed(failed(messageOf(error)));
      },
    );
  }

  async #connect(): Promise<void> {
    try {
      const link = await this.context.peerLinks.connect(identityOf(this.entry.claimed), connectMs);
      if (this.isAbandoned) {
        link.close();
        return;
      }
      this.link = link;
      link.listen({
        message: (message) => void this.#onPeerMessage(message),
        closed: () => {
          if (this.link === link) this.link = null;
          this.feed({ kind: "peer-lost" });
        },
      });
      this.feed({ kind: "peer-linked" });
    } catch (error) {
      const kind = error instanceof PeerRefused ? "peer-refused" : "peer-unreachable";
      this.feed({ kind, detail: messageOf(error) });
    }
  }

  async #onPeerMessage(message: PeerMessage): Promise<void> {
    const { controlPlane } = this.context;
    switch (message.kind) {
      case "record": {
        const proven = await controlPlane.prove(message.record, this.migrationId);
        if (proven) this.noteRecord(proven);
        return;
      }
      case "relinquished":
        if (await this.#isGoodWord(message.word)) this.feed({ kind: "word-verified" });
        return;
      case "loaded":
        this.#measured.mark("loaded", this.#now());
        break;
      case "arrived":
        this.#measured.mark("arrived", this.#now());
        if (this.known.latest?.record.arrivesPaused) this.#measured.guestIsPaused();
        this.#measured.commitTook(message.commitMs);
        break;
      default:
        break;
    }
    this.feed({ kind: "peer-said", message });
  }

  async #startStream(endpoint: { address: string; port: number }): Promise<void> {
    const link = this.link;
    const { assignment } = this.entry.claimed;
    if (!link) return;
    if (endpoint.address !== assignment.destination.address) {
      this.feed({
        kind: "stream-failed",
        detail: `the destination named ${endpoint.address}, which is not its migration address`,
      });
      return;
    }
    try {
      const { bandwidthLimitBytesPerSecond } = assignment.limits;
      await this.copyLane.do(() =>
        this.#copy.send({
          endpoint,
          localAddress: assignment.source.address,
          key: link.streamKey,
          migrationId: this.migrationId,
          limits: { bandwidthLimitBytesPerSecond },
        }),
      );
      this.#measured.mark("streaming", this.#now());
      this.feed({ kind: "streaming" });
      void this.#reportProgress();
    } catch (error) {
      this.feed({ kind: "stream-failed", detail: messageOf(error) });
    }
  }

  /** Told now and then, for those who watch; never in the way of the switchover. */
  async #reportProgress(): Promise<void> {
    while (!this.isAbandoned && this.state.stage === "copying") {
      if (!this.state.ask) await this.#tellProgress();
      await this.context.clock.sleep(progressMs);
    }
  }

  async #tellProgress(): Promise<void> {
    const report = progress(this.state, "precopy", false);
    const rounds = this.#measured.untold();
    const { currentRound, encrypted } = this.#measured;
    const told = await tell(this.context, { ...report, rounds, currentRound, encrypted });
    if (told.outcome === "applied") this.#measured.told(rounds);
    if (told.proven) this.noteRecord(told.proven);
  }

  #onCopyEvent(event: CopyEvent): void {
    switch (event.kind) {
      case "sampled": {
        const round = this.#measured.sample(event.sample);
        this.feed({ kind: "sampled", round, roundDone: event.sample.roundDone });
        return;
      }
      case "sent":
        this.feed({ kind: "stream-sent" });
        return;
      case "stream-failed":
        this.feed({ kind: "stream-failed", detail: event.detail });
        return;
      case "ended":
        this.feed({ kind: "guest-ended", how: event.how, detail: event.detail });
        return;
      case "resumed-by-supervisor":
        this.feed({ kind: "resumed-by-supervisor" });
        return;
      case "supervisor-lost":
        this.context.log({ event: "supervisor-lost", copyId: this.copyId });
        return;
      default:
        return;
    }
  }

  protected override async report(report: AgentReport): Promise<() => void> {
    const full =
      report.kind === "copy-seen"
        ? { ...report, state: await this.#stateOf(report.state), summary: this.#measured.summary() }
        : report;
    const told = await tell(this.context, full);
    if (report.kind === "migration-progressed") {
      return () => {
        if (told.proven) this.noteRecord(told.proven);
        if (told.outcome === "unknown" || told.outcome === "later") this.#alarmWake.after(tellAgainMs);
      };
    }
    const record = told.proven ? this.known.accept(told.proven) : null;
    return () => this.feed({ kind: "report-answered", report: report.kind, outcome: told.outcome, record });
  }

  /** An alarm counts once it was heard, while it is true. */
  #tellFrozenAgain(): void {
    if (!frozenStages.has(this.state.stage)) return;
    const report = progress(this.state, "switchover", true);
    void this.requests.ask(report.kind, () => this.report(report));
  }

  /** A guest that came back, or never left, may be paused. */
  async #stateOf(state: CopyState): Promise<CopyState> {
    if (state !== "running") return state;
    const status = await this.#answerOfCopy();
    return status && standingStates.has(status.machine) ? "paused" : "running";
  }

  /** After the commands under way; null where it does not answer. */
  #answerOfCopy(): Promise<CopyStatus | null> {
    const asked = this.copyLane.do(() => this.#copy.status());
    return answerWithin(this.context.clock, copyAnswersWithinMs, asked);
  }

  /** One at a time: a word answers the one nonce that the journal has. */
  async #askWord(): Promise<() => void> {
    try {
      const nonce = this.entry.askedNonce ?? toBase64Url(this.context.randomBytes(24));
      if (!this.entry.askedNonce) await note(this.context, this.entry, { askedNonce: nonce }, "journal:word-asked");
      return () => this.link?.send({ kind: "ask-relinquish", nonce });
    } catch (error) {
      this.context.log({ event: "journal-failed", migrationId: this.migrationId, error: messageOf(error) });
      return () => {};
    }
  }

  /** Rule 7: signed with the destination's host key, for this migration, token, copies, lives and nonce. */
  async #isGoodWord(signed: Parameters<typeof openDocument>[0]): Promise<boolean> {
    const { assignment } = this.entry.claimed;
    const verify = await verifierFrom(assignment.destination.publicKey);
    const word = await openDocument(signed, RelinquishedWord, verify);
    return (
      word !== null &&
      word.migrationId === this.migrationId &&
      word.fencingToken === assignment.fencingToken &&
      word.sourceCopyId === assignment.source.copyId &&
      word.destinationCopyId === assignment.destination.copyId &&
      word.sourceIncarnation === this.context.incarnation &&
      word.destinationIncarnation === this.link?.peerIncarnation &&
      word.nonce === this.entry.askedNonce
    );
  }

  async #destroy(): Promise<void> {
    if (this.isAbandoned) return;
    if (await this.tryDestroy(() => void this.#destroy())) this.feed({ kind: "destroyed" });
  }
}
