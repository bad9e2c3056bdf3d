// One host as its agent sees it: every port answers only when the trace says so, and remembers what it was asked.

import { type MemoryJournalDisk, openMemoryJournal } from "../../../agents/adapters/memory-journal.ts";
import { Agent } from "../../../agents/agent.ts";
import type { Clock } from "../../../agents/ports/clock.ts";
import type { Claim, ProvenRecord } from "../../../agents/ports/control-plane.ts";
import type { Copies, Copy, CopyEvent, CopyStatus } from "../../../agents/ports/copies.ts";
import type { Journal, MigrationJournal } from "../../../agents/ports/journal.ts";
import type { PeerLink, PeerLinks } from "../../../agents/ports/peer-link.ts";
import type { RoleContext } from "../../../agents/roles/context.ts";
import type { AgentReport } from "../../../schemas/agent.ts";
import type { HostFacts } from "../../../schemas/host.ts";
import type { MigrationRecord } from "../../../schemas/migration.ts";
import type { PeerMessage } from "../../../schemas/peer.ts";
import type { Sign } from "../../../schemas/signing.ts";
import { guestAt, hostIds, type World } from "../world/world.ts";
import type { Feed } from "./trace.ts";

/** Something a port was asked that it has not answered yet. */
export type Call = { role: string; token: string; answer(result?: unknown): void; fail(): void; stored?: unknown };
type Timer = { role: string; act: () => void };

export const roleKey = ({ m, side }: Pick<Feed, "m" | "side">): string => `M${m} ${side}`;

/** Turns of the event loop: all that was promised is kept by then. */
export const drain = async (): Promise<void> => {
  await new Promise((done) => setImmediate(done));
};

export function proven(record: MigrationRecord): ProvenRecord {
  const { verdictToken, cancelRequested, confirmed } = record;
  // In the exploration no record is dated; a later one is known by what it says.
  const dated = { ...record, issuedAt: verdictToken * 10 + (cancelRequested ? 1 : 0) + (confirmed ? 2 : 0) };
  return { record: dated, signed: { payload: JSON.stringify(dated), signature: "" } };
}

export function textOf(report: AgentReport): string {
  const parts: unknown[] = [report.kind, "fencingToken" in report ? report.fencingToken : ""];
  if (report.kind === "copy-seen") {
    // A guest that came back from its gate standing is paused by the runner's look, and running by the machine's word.
    parts.push(report.copyId, report.state === "paused" ? "running" : report.state, report.because);
  }
  if (report.kind === "guest-confirmed") parts.push(report.outcome);
  return parts.join(" ");
}

export class LinkDouble implements PeerLink {
  readonly streamKey = new Uint8Array(32);
  readonly version = 1;
  readonly peerIncarnation: string;
  readonly #send: (message: PeerMessage) => void;
  on: Parameters<PeerLink["listen"]>[0] | null = null;
  isClosed = false;

  constructor(peerIncarnation: string, send: (message: PeerMessage) => void) {
    this.peerIncarnation = peerIncarnation;
    this.#send = send;
  }
  send(message: PeerMessage): void {
    if (!this.isClosed) this.#send(message);
  }
  listen(on: Parameters<PeerLink["listen"]>[0]): void {
    this.on = on;
  }
  close(): void {
    this.isClosed = true;
  }
}

/** A bug sown into what stands around the machines, to see that it is found. */
export type Seed = {
  /** The runner goes on before its journal has written. */
  isJournalNotAwaited?: boolean;
  /** What was written to the journal is not in it. */
  losesFacts?: boolean;
};

export class HostDouble {
  readonly h: number;
  readonly incarnation: string;
  readonly calls: Call[] = [];
  readonly wakes = new Map<string, Timer>();
  readonly patience: { role: string; act: () => void }[] = [];
  readonly links = new Map<string, LinkDouble>();
  readonly expecting = new Map<string, (link: PeerLink) => void>();
  readonly stages = new Map<string, string>();
  sent: PeerMessage[] = [];
  /** Whose doing the next calls are. */
  current = "";
  reads: string[] = [];
  journals: string[] = [];
  /** A copy's status is answered at once, and not when the trace looks at it. */
  answersStatus = false;
  keepsTokensAtOnce = false;
  nowMs = 0;
  jumpMs = 0;
  world: World;
  isDead = false;
  /** Set: what the next claim brings. */
  claimed: Claim | "unknown" | null = null;
  readonly #listeners = new Map<string, Set<(event: CopyEvent) => void>>();
  readonly #copies = new Map<string, Copy>();
  readonly #disk: MemoryJournalDisk;
  readonly #seed: Seed;
  #ring: (() => void) | null = null;
  #heard: (() => void) | null = null;

  constructor(h: number, incarnation: string, disk: MemoryJournalDisk, world: World, seed: Seed) {
    this.h = h;
    this.incarnation = incarnation;
    this.#disk = disk;
    this.world = world;
    this.#seed = seed;
  }

  begin(sign: Sign): Agent {
    const never = <T>(): Promise<T> => new Promise<T>(() => {});
    const context: RoleContext = {
      hostId: hostIds[this.h] as string,
      incarnation: this.incarnation,
      copies: this.#makeCopies(),
      controlPlane: {
        heartbeat: never,
        claim: () => this.#answerClaim(),
        readRecord: () => this.#ask(this.reads.shift() ?? "read-record"),
        report: (report) => this.#report(report),
        tellInventory: never,
        async prove(signed, migrationId) {
          const record = JSON.parse(signed.payload) as MigrationRecord;
          return record.migrationId === migrationId ? { record, signed } : null;
        },
        controlPlaneNowMs: () => null,
      },
      peerLinks: this.#makePeerLinks(),
      journal: this.#makeJournal(),
      clock: this.#makeClock(),
      randomBytes: (length) => new Uint8Array(length).fill(7),
      sign: async (bytes) => {
        await this.#askOnce("give-word");
        return sign(bytes);
      },
      log: (entry) => {
        const side = /^(source|destination)-stage$/.exec(entry.event)?.[1];
        const { migrationId, to } = entry as { migrationId?: string; to?: string };
        if (side) this.stages.set(`M${migrationId?.slice(4)} ${side}`, to ?? "");
      },
      commitMs: () => 0,
      agentSilenceMs: 1000,
    };
    return new Agent({
      context,
      doorbell: {
        wait: () =>
          new Promise((rung) => {
            this.#ring = () => rung(true);
          }),
      },
      facts: async () => ({ volumes: [] }) as unknown as HostFacts,
      isFirstLife: false,
      onJoined() {},
      onRefused() {},
      onDeclaredLost() {},
    });
  }

  /** A claim is answered with this; the bell rings where none is under way. */
  claim(claimed: Claim | "unknown"): void {
    this.claimed = claimed;
    if (this.#heard) this.#heard();
    else this.#ring?.();
  }

  find(role: string, kind: string): Call | null {
    const isOfKind = ({ token }: Call): boolean => token === kind || token.startsWith(`${kind}:`);
    return this.calls.find((call) => call.role === role && isOfKind(call)) ?? null;
  }

  take(call: Call): Call {
    this.calls.splice(this.calls.indexOf(call), 1);
    return call;
  }

  say(copyId: string, event: CopyEvent): void {
    for (const listener of [...(this.#listeners.get(copyId) ?? [])]) listener(event);
  }

  #ask<T>(token: string): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.calls.push({
        role: this.current,
        token,
        answer: (result) => resolve(result as T),
        fail: () => reject(new Error("as the trace says")),
      });
    });
  }

  /** The answer of the one under way serves both. */
  #askOnce(token: string): Promise<unknown> {
    const known = this.find(this.current, token);
    if (!known) return this.#ask(token);
    return new Promise((resolve) => {
      const { answer } = known;
      known.answer = (result) => {
        answer(result);
        resolve(result);
      };
    });
  }

  async #answerClaim(): ReturnType<RoleContext["controlPlane"]["claim"]> {
    if (!this.claimed) {
      await new Promise<void>((heard) => {
        this.#heard = heard;
      });
      this.#heard = null;
    }
    const claimed = this.claimed;
    this.claimed = null;
    this.jumpMs = 0;
    if (claimed === "unknown" || !claimed) return { kind: "unknown", detail: "" };
    return { kind: "answered", claim: claimed };
  }

  #report(report: AgentReport): ReturnType<RoleContext["controlPlane"]["report"]> {
    // For those who watch; no machine waits for it.
    if (report.kind === "migration-progressed") {
      return Promise.resolve({ kind: "applied", assignmentsRevision: 0, record: null });
    }
    return this.#ask(`report:${textOf(report)}`);
  }

  #makeClock(): Clock {
    return {
      monotonicMs: () => this.nowMs + this.jumpMs,
      after: (milliseconds, act) => {
        // A record's token is kept half a second later; an agent's own timers are longer, or at once.
        if (milliseconds === 500 && this.keepsTokensAtOnce) setImmediate(act);
        if (![50, 300, 1000].includes(milliseconds)) return () => {};
        const timer = { role: this.current, act };
        this.wakes.set(timer.role, timer);
        return () => {
          if (this.wakes.get(timer.role) === timer) this.wakes.delete(timer.role);
        };
      },
      sleep: (milliseconds, signal) =>
        new Promise((resolve, reject) => {
          if (milliseconds === 50) {
            this.jumpMs = 2000; // What postpones a claim is over.
            resolve();
          }
          if (milliseconds !== 5000 || !this.current || this.answersStatus) return;
          const one = { role: this.current, act: resolve };
          this.patience.push(one);
          signal?.addEventListener("abort", () => {
            this.patience.splice(this.patience.indexOf(one), 1);
            reject(signal.reason);
          });
        }),
    };
  }

  #makeJournal(): Journal {
    const journal = openMemoryJournal(this.#disk);
    const write = async (entry: MigrationJournal): Promise<void> => {
      if (this.isDead) await new Promise(() => {});
      const known = journal.migration(entry.migrationId);
      const what = known && !entry.over ? this.journals.shift() : undefined;
      const isAsking = known !== null && entry.askedNonce !== known.askedNonce;
      if (!what && !isAsking) return journal.write(entry);
      const copied = structuredClone(entry);
      const written = this.#ask<void>(what ? `journal:${what}` : "ask-word").then(() => {
        if (!this.#seed.losesFacts) return journal.write(copied);
      });
      if (!this.#seed.isJournalNotAwaited) await written;
    };
    return {
      ...journal,
      write,
      raiseToken: async (vmId, token) => {
        if (!this.isDead) await journal.raiseToken(vmId, token);
      },
    };
  }

  #makePeerLinks(): PeerLinks {
    return {
      connect: () => this.#ask("connect-peer"),
      expect: async (_identity, onLink) => {
        const role = this.current;
        await this.#ask("expect-peer");
        this.expecting.set(role, onLink);
        return async () => void this.expecting.delete(role);
      },
    };
  }

  #makeCopies(): Copies {
    return {
      launch: async ({ copyId }) => {
        await this.#ask("launch-copy");
        return this.#copy(copyId);
      },
      list: async () => {
        const here = this.world.guests.flatMap(({ copies }) => copies).filter(({ host }) => host === this.h);
        return here.map(({ id }) => this.#copy(id));
      },
      async forgetGate() {},
      keepSpare() {},
      async close() {},
    };
  }

  #copy(copyId: string): Copy {
    const known = this.#copies.get(copyId);
    if (known) return known;
    const v = this.world.guests.findIndex(({ copies }) => copies.some(({ id }) => id === copyId));
    const unasked = (): Promise<never> => Promise.reject(new Error("no part of a migration asks this"));
    const ask =
      <T>(token: string) =>
      (): Promise<T> =>
        this.#ask<T>(token);
    const isSource = (): boolean => this.current.endsWith("source");
    const listeners = new Set<(event: CopyEvent) => void>();
    this.#listeners.set(copyId, listeners);
    const vmId = `vm-${v < 0 ? 1 : v + 1}`;
    const copy: Copy = {
      vmId,
      copyId,
      spec: {} as Copy["spec"],
      migrationId: this.world.moves.find(({ record }) => record.destination.copyId === copyId)?.record.id ?? null,
      status: async () => {
        if (!isSource() && !this.answersStatus) await this.#ask("look-at-machine");
        return this.#statusOf(copyId);
      },
      account: unasked,
      run: (token) => this.#ask(`run-copy:${token}`),
      arrivePaused: unasked,
      takeBackLock: (token) => this.#ask(`take-back-lock:${token}`),
      pause: unasked,
      resume: unasked,
      reset: unasked,
      permitNext: (next) => this.#ask(`permit-next:${next?.copyId ?? null}`),
      receive: ask("open-stream"),
      send: ask("start-stream"),
      throttle: ask("throttle"),
      cancelStream: () => this.#ask(isSource() ? "cancel-stream" : "settle-stream"),
      holdAtGate: ask("hold-at-gate"),
      passGate: ask("pass-gate"),
      cancelAtGate: ask("cancel-at-gate"),
      destroy: ask("destroy-copy"),
      listen(listener) {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    };
    this.#copies.set(copyId, copy);
    return copy;
  }

  #statusOf(copyId: string): CopyStatus {
    const v = this.world.guests.findIndex(({ copies }) => copies.some(({ id }) => id === copyId));
    const copy = v < 0 ? null : guestAt(this.world, v).copies.find(({ id }) => id === copyId);
    const machine = copy?.machine ?? "ended";
    const leaving = this.world.moves.findLast(({ record }) => record.source.copyId === copyId);
    const gate = leaving?.wire.gate ?? null;
    const isAtGate = leaving !== undefined && (machine === "stopped" || gate !== null);
    return {
      machine,
      lock: "free",
      ended: machine === "ended" ? { how: "killed", detail: "" } : null,
      gate,
      atGate: isAtGate ? { migrationId: leaving.record.id, isOver: gate !== null } : null,
      resets: 0,
    };
  }
}
