// What both sides do alike in a migration: the machine of a side decides, this feeds it with what came of its commands,
// and carries out those that are the same on either side.
import type { AgentReport } from "../../schemas/agent.ts";
import type { SourceCommand, SourceEvent } from "../domain/source.ts";
import { messageOf } from "../message-of.ts";
import type { ProvenRecord } from "../ports/control-plane.ts";
import type { MigrationJournal } from "../ports/journal.ts";
import type { PeerLink } from "../ports/peer-link.ts";
import { KnownRecord, Lane, note, type Role, type RoleContext, readRecord } from "./context.ts";
import { OneOfAKind, Wake } from "./pacing.ts";

type SharedEvent = Extract<
  SourceEvent,
  { kind: "gate-read" | "record-known" | "record-unknown" | "record-refused" | "report-answered" | "woke" }
>;
type SharedCommand = Extract<
  SourceCommand,
  { kind: "read-gate" | "relay-record" | "read-record" | "report" | "wake" | "finish" }
>;
type AnyState = { stage: string; withdrawal: { detail: string } | null };

const destroyAgainMs = 1000;

export abstract class Part<State extends AnyState, Event, Command> implements Role {
  readonly migrationId: string;
  readonly vmId: string;
  readonly copyId: string;
  readonly over: Promise<void>;
  protected state: State;
  protected readonly context: RoleContext;
  protected readonly entry: MigrationJournal;
  protected readonly known: KnownRecord;
  /** Copy commands go one after the other: a stream is cancelled before the guest is let run again. */
  protected readonly copyLane = new Lane();
  protected readonly requests = new OneOfAKind();
  /** Done once the part is over or abandoned. */
  protected readonly undo: (() => void)[] = [];
  protected link: PeerLink | null = null;
  protected isAbandoned = false;
  readonly #side: "source" | "destination";
  readonly #wake: Wake;
  readonly #finish: () => void;

  /** @param begun what its machine begins with */
  constructor(side: "source" | "destination", context: RoleContext, entry: MigrationJournal, begun: State) {
    const { assignment } = entry.claimed;
    this.#side = side;
    this.context = context;
    this.entry = entry;
    this.state = begun;
    this.migrationId = assignment.migrationId;
    this.vmId = assignment.vmId;
    this.copyId = assignment[side].copyId;
    this.known = new KnownRecord(context, this.migrationId, this.copyId);
    this.#wake = new Wake(context.clock, () => this.feed({ kind: "woke" }));
    const { promise, resolve } = Promise.withResolvers<void>();
    this.over = promise;
    this.#finish = resolve;
  }

  abstract start(): Promise<void>;
  abstract hasLeft(): boolean;
  abstract isBeforeGate(): boolean;
  abstract isCritical(): boolean;
  protected abstract advance(event: Event | SharedEvent): { state: State; commands: Command[] };
  protected abstract carryOut(command: Command): void;
  /** Sends it. @returns what to do with the answer */
  protected abstract report(report: AgentReport): Promise<() => void>;
  protected abstract destroyCopy(): Promise<void>;
  /** A guest that ended by itself has left a process and a folder here. */
  protected abstract hasRemains(): boolean;

  noteRecord(proven: ProvenRecord): void {
    const record = this.known.accept(proven);
    if (record) this.feed({ kind: "record-known", record });
  }

  latestRecord(): ProvenRecord | null {
    return this.known.latest;
  }

  async settled(): Promise<void> {
    await this.copyLane.do(async () => {});
  }

  abandon(): void {
    this.isAbandoned = true;
    this.#wake.stop();
    for (const undo of this.undo.splice(0)) undo();
    this.link?.close();
    this.#finish();
  }

  protected feed(event: Event | SharedEvent): void {
    if (this.isAbandoned) return;
    this.enact(this.advance(event));
  }

  protected enact({ state, commands }: { state: State; commands: Command[] }): void {
    if (state.stage !== this.state.stage) {
      this.context.log({
        event: `${this.#side}-stage`,
        migrationId: this.migrationId,
        from: this.state.stage,
        to: state.stage,
        why: state.withdrawal?.detail,
      });
      this.#wake.stop(); // A wake belongs to the stage that asked for it.
    }
    this.state = state;
    for (const command of commands) this.carryOut(command);
  }

  protected carryOutShared(command: SharedCommand): void {
    switch (command.kind) {
      case "read-gate":
        void readRecord(this.context, this.migrationId).then(({ proven }) => {
          const record = proven ? this.known.accept(proven) : null;
          this.feed({ kind: "gate-read", ask: command.ask, record });
        });
        return;
      case "relay-record":
        if (this.known.latest) this.link?.send({ kind: "record", record: this.known.latest.signed });
        return;
      case "read-record":
        void this.requests.ask("read-record", async () => {
          const read = await readRecord(this.context, this.migrationId);
          return () => (read.proven ? this.noteRecord(read.proven) : this.feed({ kind: read.why }));
        });
        return;
      case "report":
        void this.requests.ask(command.report.kind, () => this.report(command.report));
        return;
      case "wake":
        this.#wake.after(command.afterMs);
        return;
      case "finish":
        void this.#conclude();
        return;
    }
  }

  async #conclude(): Promise<void> {
    if (this.hasRemains() && !(await this.tryDestroy(() => void this.#conclude()))) return;
    try {
      await note(this.context, this.entry, { over: true }, "journal:over");
    } catch (error) {
      this.context.log({ event: "journal-failed", migrationId: this.migrationId, error: messageOf(error) });
    }
    this.abandon();
  }

  /** @param again what to do later where it failed */
  protected async tryDestroy(again: () => void): Promise<boolean> {
    try {
      await this.destroyCopy();
      return true;
    } catch (error) {
      this.context.log({ event: "destroy-failed", copyId: this.copyId, error: messageOf(error) });
      this.undo.push(this.context.clock.after(destroyAgainMs, again));
      return false;
    }
  }
}
