// Copies whose supervisors live in this process: for simulation and for fast tests. The host's object outlives an agent
// and a supervisor as the real processes and folders would; either can be made to die at any instant.
import type { Clock } from "../ports/clock.ts";
import type { Copies, Copy, CopyEvent, CopyRequest } from "../ports/copies.ts";
import type { Gate } from "../ports/gate.ts";
import type { Hypervisor } from "../ports/hypervisor.ts";
import type { LockFiles } from "../ports/lock-file.ts";
import type { CopyMemo, CopyMemory } from "../supervisor/memo.ts";
import { launchCopy, recoverCopy } from "../supervisor/open-copy.ts";
import type { Supervisor, SupervisorPorts } from "../supervisor/supervisor.ts";
import { type Life, mortal } from "./mortal.ts";

/** Lock files as one process sees them, all of them freed when that process dies (MemoryLockVolume). */
export interface LockVolume {
  as(holder: object): LockFiles;
  holderDied(holder: object): void;
}

export type LocalHostPorts = {
  hypervisor: Hypervisor;
  locks: LockVolume;
  gate: Gate;
  clock: Clock;
  /** Where a copy's memo is kept besides; by default in this object alone. */
  memory?: (copyId: string) => CopyMemory;
  /** The ports as one life of a supervisor sees them, on top of dying with it. */
  enclose?: (copyId: string, life: Life, ports: SupervisorPorts) => SupervisorPorts;
};

const signOfLifeMs = 400;

/** One copy's supervisor process and its folder. */
type Entry = {
  readonly memo: CopyMemo;
  supervisor: Promise<Supervisor>;
  life: Life;
  /** Rejects what waits for an answer of this supervisor when it dies. */
  died: { promise: Promise<never>; reject: (error: Error) => void };
};

export class LocalCopyHost {
  readonly #ports: LocalHostPorts;
  readonly #entries = new Map<string, Entry>();
  #agent: LocalCopies | null = null;

  constructor(ports: LocalHostPorts) {
    this.#ports = ports;
  }

  /** The copies as one life of the agent sees them. One at a time. */
  openAgent(clock: Clock = this.#ports.clock): LocalCopies {
    if (this.#agent) throw new Error("the agent of this host lives already");
    this.#agent = new LocalCopies(this, clock);
    return this.#agent;
  }

  /** The agent is gone, as by kill -9: its calls never answer, its sign of life stops. Guests and supervisors live on. */
  agentDied(): void {
    this.#agent?.end();
    this.#agent = null;
  }

  /** A supervisor is gone, as by kill -9: the lock file is free, the guest as it was. A living agent starts it again. */
  supervisorDied(copyId: string): void {
    const entry = this.#entries.get(copyId);
    if (!entry || entry.life.dead) return;
    this.#kill(entry);
    if (!this.#agent || entry.memo.machine === null) return; // Whoever waits for the launch is told.
    const revived = this.#revive(entry);
    this.#agent.supervisorLost(copyId, revived);
  }

  /** Agent and supervisors are gone; the folders stay. What became of the guests is the hypervisor's to know. */
  hostDied(): void {
    this.agentDied();
    for (const entry of this.#entries.values()) this.#kill(entry);
  }

  /** @throws when the guest could not be built */
  async launch(request: CopyRequest): Promise<void> {
    const existing = this.#entries.get(request.copyId);
    // One whose guest was never built, and whose supervisor is dead, never was: nothing is lost by beginning again.
    if (existing && !(existing.life.dead && existing.memo.machine === null)) {
      const entry = this.living(existing);
      await Promise.race([entry.died.promise, entry.supervisor]);
      return;
    }
    const memo: CopyMemo = { request, machine: null, lockToken: null, leaving: null, ended: null };
    const entry = this.#begin(memo, (ports) => launchCopy(request, ports));
    entry.supervisor.catch(() => this.removed(request.copyId));
    await Promise.race([entry.died.promise, entry.supervisor]);
  }

  forgetGate(migrationId: string): Promise<void> {
    return this.#ports.gate.forget(migrationId);
  }

  copyIds(): string[] {
    return [...this.#entries.keys()];
  }

  entry(copyId: string): Entry | null {
    const entry = this.#entries.get(copyId);
    return entry ? this.living(entry) : null;
  }

  /** The same entry, its supervisor started again if it was dead. */
  living(entry: Entry): Entry {
    return entry.life.dead ? this.#revive(entry) : entry;
  }

  removed(copyId: string): void {
    this.#entries.delete(copyId);
  }

  #kill(entry: Entry): void {
    if (entry.life.dead) return;
    entry.supervisor.then(
      (supervisor) => supervisor.dismiss(),
      () => {},
    );
    entry.life.dead = true;
    this.#ports.locks.holderDied(entry.life);
    entry.died.reject(new Error("the supervisor is gone; what was asked may or may not have happened"));
  }

  #revive(dead: Entry): Entry {
    const entry = this.#begin(dead.memo, (ports) => recoverCopy(dead.memo, ports));
    // As a process that could not begin ends: the next who asks starts another.
    entry.supervisor.catch(() => this.#kill(entry));
    return entry;
  }

  #begin(memo: CopyMemo, start: (ports: SupervisorPorts) => Promise<Supervisor>): Entry {
    const { hypervisor, locks, gate, clock, enclose } = this.#ports;
    const { copyId } = memo.request;
    const life: Life = { dead: false };
    const kept = { memo };
    const durable = this.#ports.memory?.(copyId);
    const memory = {
      write: async (written: CopyMemo) => {
        await durable?.write(written);
        kept.memo = JSON.parse(JSON.stringify(written)); // As from a file.
      },
    };
    const ports: SupervisorPorts = {
      hypervisor: mortal(hypervisor, life),
      lockFiles: mortal(locks.as(life), life),
      gate: mortal(gate, life),
      memory: mortal(memory, life),
      clock,
      directory: `/copies/${copyId}`,
    };
    // Not before it has its place here: it may die at its first step.
    const supervisor = Promise.resolve().then(() => start(enclose?.(copyId, life, ports) ?? ports));
    const died = Promise.withResolvers<never>();
    for (const promise of [died.promise, supervisor]) promise.catch(() => {});
    const entry: Entry = {
      get memo() {
        return kept.memo;
      },
      supervisor,
      life,
      died,
    };
    this.#entries.set(memo.request.copyId, entry);
    return entry;
  }
}

/** One life of the agent. */
export class LocalCopies implements Copies {
  readonly #host: LocalCopyHost;
  readonly #clock: Clock;
  readonly #life: Life = { dead: false };
  readonly #copies = new Map<string, { copy: LocalCopy; lent: Copy }>();
  #stopSignOfLife: () => void = () => {};

  constructor(host: LocalCopyHost, clock: Clock) {
    this.#host = host;
    this.#clock = clock;
    this.#signOfLife();
  }

  async launch(request: CopyRequest): Promise<Copy> {
    await this.#host.launch(request);
    return this.#copy(request.copyId);
  }

  async list(): Promise<Copy[]> {
    const copies = this.#host.copyIds().map((copyId) => this.#copy(copyId));
    await Promise.all(copies.map((copy) => copy.status().catch(() => {})));
    return copies;
  }

  forgetGate(migrationId: string): Promise<void> {
    return this.#host.forgetGate(migrationId);
  }

  keepSpare(): void {}

  async close(): Promise<void> {
    this.#stopSignOfLife();
  }

  end(): void {
    this.#life.dead = true;
    this.#stopSignOfLife();
    for (const { copy } of this.#copies.values()) copy.detach();
  }

  supervisorLost(copyId: string, revived: Entry): void {
    this.#copies.get(copyId)?.copy.lost(revived);
  }

  #copy(copyId: string): Copy {
    const known = this.#copies.get(copyId);
    if (known) return known.lent;
    const entry = this.#host.entry(copyId);
    if (!entry) throw new Error(`there is no copy ${copyId}`);
    const copy = new LocalCopy(this.#host, entry, () => this.#copies.delete(copyId));
    const lent = mortal<Copy>(copy, this.#life);
    this.#copies.set(copyId, { copy, lent });
    return lent;
  }

  #signOfLife(): void {
    for (const { copy } of this.#copies.values()) copy.agentSeen();
    this.#stopSignOfLife = this.#clock.after(signOfLifeMs, () => this.#signOfLife());
  }
}

class LocalCopy implements Copy {
  readonly #host: LocalCopyHost;
  readonly #onRemoved: () => void;
  readonly #listeners = new Set<(event: CopyEvent) => void>();
  #entry: Entry;
  #unlisten: () => void = () => {};

  constructor(host: LocalCopyHost, entry: Entry, onRemoved: () => void) {
    this.#host = host;
    this.#entry = entry;
    this.#onRemoved = onRemoved;
    this.#attach(entry);
  }

  get vmId(): string {
    return this.#entry.memo.request.vmId;
  }
  get copyId(): string {
    return this.#entry.memo.request.copyId;
  }
  get spec() {
    return this.#entry.memo.request.spec;
  }
  get migrationId(): string | null {
    return this.#entry.memo.leaving?.migrationId ?? this.#entry.memo.request.migrationId;
  }

  status = () => this.#ask((supervisor) => supervisor.status());
  account = () => this.#ask((supervisor) => supervisor.account());
  run: Copy["run"] = (fencingToken, replaceLockFile) =>
    this.#ask((supervisor) => supervisor.run(fencingToken, replaceLockFile));
  takeBackLock = (fencingToken: number) => this.#ask((supervisor) => supervisor.takeBackLock(fencingToken));
  arrivePaused = (fencingToken: number) => this.#ask((supervisor) => supervisor.arrivePaused(fencingToken));
  pause = () => this.#ask((supervisor) => supervisor.pause());
  resume = (fencingToken: number) => this.#ask((supervisor) => supervisor.resume(fencingToken));
  reset = (number: number) => this.#ask((supervisor) => supervisor.reset(number));
  permitNext: Copy["permitNext"] = (next) => this.#ask((supervisor) => supervisor.permitNext(next));
  receive: Copy["receive"] = (stream) => this.#ask((supervisor) => supervisor.receive(stream));
  send: Copy["send"] = (stream) => this.#ask((supervisor) => supervisor.send(stream));
  throttle = (percent: number) => this.#ask((supervisor) => supervisor.throttle(percent));
  cancelStream = () => this.#ask((supervisor) => supervisor.cancelStream());
  holdAtGate = (agentSilenceMs: number) => this.#ask((supervisor) => supervisor.holdAtGate(agentSilenceMs));
  passGate = () => this.#ask((supervisor) => supervisor.passGate());
  cancelAtGate = () => this.#ask((supervisor) => supervisor.cancelAtGate());

  async destroy(): Promise<void> {
    await this.#ask((supervisor) => supervisor.destroy());
    this.#host.removed(this.copyId);
    this.#onRemoved();
    this.detach();
  }

  listen(listener: (event: CopyEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  agentSeen(): void {
    void this.#entry.supervisor.then(
      (supervisor) => supervisor.agentSeen(),
      () => {},
    );
  }

  lost(revived: Entry): void {
    this.#emit({ kind: "supervisor-lost" });
    this.#attach(revived);
  }

  detach(): void {
    this.#unlisten();
    this.#listeners.clear();
  }

  #attach(entry: Entry): void {
    this.#unlisten();
    this.#entry = entry;
    let wanted = true;
    let stop = () => {};
    this.#unlisten = () => {
      wanted = false;
      stop();
    };
    entry.supervisor.then(
      (supervisor) => {
        if (wanted) stop = supervisor.listen((event) => this.#emit(event));
      },
      () => {},
    );
  }

  async #ask<T>(act: (supervisor: Supervisor) => Promise<T>): Promise<T> {
    if (this.#entry.life.dead) {
      const entry = this.#host.entry(this.copyId);
      if (entry) this.#attach(entry);
    }
    const { supervisor, died } = this.#entry;
    return Promise.race([died.promise, supervisor.then(act)]);
  }

  #emit(event: CopyEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
