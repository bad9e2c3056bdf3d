// Carries out the destination's part in one migration: the pure machine of agents/domain/destination.ts decides, this
// acts and feeds back what came of it.
import type { AgentReport } from "../../schemas/agent.ts";
import type { PeerMessage, RelinquishedWord } from "../../schemas/peer.ts";
import { signDocument } from "../../schemas/signing.ts";
import {
  advanceDestination,
  beginDestination,
  type DestinationCommand,
  type DestinationEvent,
  type DestinationState,
  type DestinationStep,
  recoverDestination,
} from "../domain/destination.ts";
import { messageOf } from "../message-of.ts";
import type { Copy, CopyEvent } from "../ports/copies.ts";
import type { MachineState } from "../ports/hypervisor.ts";
import type { MigrationJournal } from "../ports/journal.ts";
import type { PeerLink } from "../ports/peer-link.ts";
import { identityOf, isExpired, note, type RoleContext, tell } from "./context.ts";
import { Part } from "./part.ts";

export class DestinationRole extends Part<DestinationState, DestinationEvent, DestinationCommand> {
  #copy: Copy | null;
  readonly #onLaunched: (copy: Copy) => void;
  #stopExpecting: (() => Promise<void>) | null = null;
  #isReceiving = false;
  #isDestroyed = false;
  #launching: Promise<void> = Promise.resolve();
  #commitBeganAtMs = 0;
  #commitMs = 0;

  /** @param copy what an earlier life of the agent launched for this migration, if it did */
  constructor(context: RoleContext, entry: MigrationJournal, copy: Copy | null, onLaunched: (copy: Copy) => void) {
    const { migrationId, vmId, fencingToken, source, destination } = entry.claimed.assignment;
    const parties = {
      migrationId,
      vmId,
      openToken: fencingToken,
      own: { hostId: destination.hostId, copyId: destination.copyId },
      peer: { hostId: source.hostId, copyId: source.copyId },
    };
    super("destination", context, entry, beginDestination(parties, context.clock.monotonicMs()));
    this.#onLaunched = onLaunched;
    this.#copy = copy;
  }

  async start(): Promise<void> {
    this.feed({ kind: "started", isExpired: isExpired(this.context, this.entry.claimed.assignment) });
  }

  /** @param machine what became of the copy, by its supervisor's word */
  recover(machine: MachineState): void {
    if (this.#copy) this.undo.push(this.#copy.listen((event) => this.#onCopyEvent(event)));
    const { commitSent, runIntent, runRefused, relinquished } = this.entry;
    const journalled = {
      commitSent: commitSent ?? false,
      runIntent: runIntent ?? 0,
      runRefused: runRefused ?? 0,
      relinquished: relinquished ?? false,
    };
    this.enact(recoverDestination(this.state, journalled, seen(machine)));
  }

  hasLeft(): boolean {
    return this.state.isGone;
  }

  isBeforeGate(): boolean {
    return false; // Its copy is not the owner's before the commit.
  }

  isCritical(): boolean {
    return ["intending", "committing", "starting"].includes(this.state.stage);
  }

  override async settled(): Promise<void> {
    await this.#launching.catch(() => {});
    await super.settled();
  }

  override abandon(): void {
    super.abandon();
    void this.#stopExpecting?.();
  }

  protected override advance(event: DestinationEvent): DestinationStep {
    return advanceDestination(this.state, event, this.context.clock.monotonicMs());
  }

  protected override hasRemains(): boolean {
    return this.state.isGone && !this.#isDestroyed;
  }

  protected override async destroyCopy(): Promise<void> {
    const copy = this.#copy;
    if (copy) await this.copyLane.do(() => copy.destroy());
    this.#isDestroyed = true;
  }

  protected override carryOut(command: DestinationCommand): void {
    switch (command.kind) {
      case "launch-copy":
        this.#launching = this.#launch();
        return;
      case "expect-peer":
        void this.#expectPeer();
        return;
      case "open-stream":
        void this.#openStream();
        return;
      case "send-peer": {
        const { message } = command;
        this.link?.send(message.kind === "arrived" ? { ...message, commitMs: this.#commitMs } : message);
        return;
      }
      case "journal":
        void this.#journal(command);
        return;
      case "run-copy":
        void this.#run(command.fencingToken, command.paused);
        return;
      case "look-at-machine":
        void this.#look();
        return;
      case "settle-stream":
        void this.#settle();
        return;
      case "destroy-copy":
        void this.#destroy();
        return;
      case "give-word":
        void this.#giveWord(command.nonce);
        return;
      default:
        this.carryOutShared(command);
    }
  }

  async #launch(): Promise<void> {
    const { assignment } = this.entry.claimed;
    try {
      const copy = await this.context.copies.launch({
        vmId: this.vmId,
        copyId: this.copyId,
        spec: assignment.spec,
        arriving: true,
        migrationId: this.migrationId,
      });
      if (this.isAbandoned) return;
      this.#copy = copy;
      this.#onLaunched(copy);
      this.undo.push(copy.listen((event) => this.#onCopyEvent(event)));
      this.feed({ kind: "launched" });
    } catch (error) {
      // What was begun may be there all the same; it is ended with the attempt.
      const begun = await this.context.copies.list().catch(() => []);
      this.#copy = begun.find((copy) => copy.copyId === this.copyId) ?? null;
      this.feed({ kind: "launch-failed", detail: messageOf(error) });
    }
  }

  async #expectPeer(pauseMs = 100): Promise<void> {
    if (this.#stopExpecting || this.isAbandoned) return;
    try {
      const stop = await this.context.peerLinks.expect(identityOf(this.entry.claimed), (link) => this.#onLink(link));
      if (this.isAbandoned) {
        await stop();
        return;
      }
      this.#stopExpecting = stop;
      this.feed({ kind: "listening" });
    } catch (error) {
      if (this.isAbandoned) return;
      this.context.log({ event: "listen-failed", migrationId: this.migrationId, error: messageOf(error) });
      // Also a guest that has arrived is better off with a link to its source, so it is tried as long as there is a part.
      const again = () => void this.#expectPeer(Math.min(1000, 2 * pauseMs));
      this.undo.push(this.context.clock.after(pauseMs, again));
      this.feed({ kind: "listen-failed", detail: messageOf(error) });
    }
  }

  #onLink(link: PeerLink): void {
    if (this.isAbandoned) {
      link.close();
      return;
    }
    this.link?.close();
    this.link = link;
    link.listen({
      message: (message) => void this.#onPeerMessage(message),
      closed: () => {
        if (this.link !== link) return;
        this.link = null;
        this.feed({ kind: "peer-lost" });
      },
    });
    this.feed({ kind: "peer-linked" });
    void this.#openStream();
  }

  async #onPeerMessage(message: PeerMessage): Promise<void> {
    if (message.kind === "record") {
      const proven = await this.context.controlPlane.prove(message.record, this.migrationId);
      if (proven) this.noteRecord(proven);
      return;
    }
    this.feed({ kind: "peer-said", message });
  }

  /** Once both the copy and the link are there: the stream's key comes from the link. */
  async #openStream(): Promise<void> {
    const [copy, link] = [this.#copy, this.link];
    if (!copy || !link || this.#isReceiving || this.state.stage !== "preparing") return;
    this.#isReceiving = true;
    const { assignment } = this.entry.claimed;
    try {
      const endpoint = await this.copyLane.do(() =>
        copy.receive({
          address: assignment.destination.address,
          peerAddress: assignment.source.address,
          key: link.streamKey,
          migrationId: this.migrationId,
        }),
      );
      this.feed({ kind: "receiving", endpoint });
    } catch (error) {
      this.feed({ kind: "launch-failed", detail: messageOf(error) });
    }
  }

  #onCopyEvent(event: CopyEvent): void {
    switch (event.kind) {
      case "loaded":
        this.feed({ kind: "loaded" });
        return;
      case "stream-failed":
        this.feed({ kind: "stream-failed", detail: event.detail });
        return;
      case "ended":
        this.feed({ kind: "guest-ended", how: event.how, detail: event.detail });
        return;
      case "supervisor-lost":
        this.context.log({ event: "supervisor-lost", copyId: this.copyId });
        return;
      default:
        return;
    }
  }

  async #journal(command: Extract<DestinationCommand, { kind: "journal" }>): Promise<void> {
    // The source's copy may be gone when this is asked for, and the record with a table that went back.
    const arrival = this.state.record?.arrivesPaused ? ({ arrivesPaused: true } as const) : {};
    const facts = {
      "commit-sent": { step: "journal:commit-sent", of: () => ({ commitSent: true as const }) },
      relinquished: { step: "journal:relinquished", of: () => ({ relinquished: true as const }) },
      "run-intent": { step: "journal:run-intent", of: (number: number) => ({ runIntent: number, ...arrival }) },
      "run-refused": { step: "journal:run-refused", of: (number: number) => ({ runRefused: number }) },
    } as const;
    const number = "number" in command ? command.number : 0;
    try {
      if (command.what === "commit-sent") this.#commitBeganAtMs = this.context.clock.monotonicMs();
      const { step, of } = facts[command.what];
      await note(this.context, this.entry, of(number), step);
      this.feed({ kind: "journalled", what: command.what });
    } catch (error) {
      this.context.log({
        event: "journal-failed",
        migrationId: this.migrationId,
        what: command.what,
        error: messageOf(error),
      });
      this.feed({ kind: "journal-failed", detail: messageOf(error) });
    }
  }

  async #run(fencingToken: number, paused: boolean): Promise<void> {
    const copy = this.#copy;
    if (!copy) return this.feed({ kind: "machine-seen", machine: "ended" });
    try {
      const permit = await this.copyLane.do(() => (paused ? copy.arrivePaused(fencingToken) : copy.run(fencingToken)));
      const isGranted = permit.kind === "granted";
      this.feed({
        kind: "run-answered",
        answer: isGranted ? "granted" : "refused",
        detail: isGranted ? "" : `${permit.by}: ${permit.detail}`,
      });
    } catch (error) {
      this.feed({ kind: "run-answered", answer: "unknown", detail: messageOf(error) });
    }
  }

  async #look(): Promise<void> {
    try {
      await this.#see((copy) => copy.status());
    } catch {
      this.undo.push(this.context.clock.after(200, () => this.feed({ kind: "woke" })));
    }
  }

  async #see(look: (copy: Copy) => Promise<{ machine: MachineState }>): Promise<void> {
    const copy = this.#copy;
    const machine = copy ? (await this.copyLane.do(() => look(copy))).machine : "ended";
    this.feed({ kind: "machine-seen", machine: seen(machine) });
  }

  async #settle(): Promise<void> {
    try {
      // In one: what is ordered meanwhile comes after the look.
      await this.#see(async (copy) => {
        await copy.cancelStream();
        return copy.status();
      });
    } catch (error) {
      this.context.log({ event: "settle-failed", migrationId: this.migrationId, error: messageOf(error) });
      this.undo.push(this.context.clock.after(200, () => this.feed({ kind: "woke" })));
    }
  }

  async #destroy(): Promise<void> {
    if (this.isAbandoned) return;
    await this.#launching; // What is just being built would be left behind.
    if (await this.tryDestroy(() => void this.#destroy())) this.feed({ kind: "destroyed" });
  }

  protected override async report(report: AgentReport): Promise<() => void> {
    const told = await tell(this.context, report);
    const record = told.proven ? this.known.accept(told.proven) : null;
    if (report.kind === "destination-commits" && record?.verdict === "committed") {
      this.#commitMs = this.context.clock.monotonicMs() - this.#commitBeganAtMs;
    }
    return () => this.feed({ kind: "report-answered", report: report.kind, outcome: told.outcome, record });
  }

  /** Rule 7, signed with this host's key. */
  async #giveWord(nonce: string): Promise<void> {
    const { assignment } = this.entry.claimed;
    const link = this.link;
    if (!link) return;
    const word: RelinquishedWord = {
      type: "drover-relinquished-1",
      migrationId: this.migrationId,
      fencingToken: assignment.fencingToken,
      sourceCopyId: assignment.source.copyId,
      destinationCopyId: assignment.destination.copyId,
      sourceIncarnation: link.peerIncarnation,
      destinationIncarnation: this.context.incarnation,
      nonce,
    };
    link.send({ kind: "relinquished", word: await signDocument(word, this.context.sign) });
  }
}

function seen(machine: MachineState): "running" | "complete" | "incomplete" | "ended" {
  switch (machine) {
    case "running":
    case "stopped": // it executed here
      return "running";
    case "loaded":
      return "complete";
    case "held": // never received anything
    case "incoming":
      return "incomplete";
    case "ended":
      return "ended";
  }
}
