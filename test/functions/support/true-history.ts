// A VM's true history, drawn at random: what the table held after every step, and what the hosts hold at the end. It
// knows which copy executed last and which copies still have that memory, independently of how recovery finds out.

import type { HostInventory, Part, VmInventory } from "../../../functions/domain/last-run.ts";
import { newMigration } from "../../../functions/domain/migrations.ts";
import type { MigrationState, VmRecord } from "../../../functions/domain/records.ts";
import { newVm } from "../../../functions/domain/vms.ts";
import type { Assignment } from "../../../schemas/agent.ts";
import { MigrationLimits } from "../../../schemas/migration.ts";

export const vmId = "vm-1";
export const spec = {
  hypervisor: "simulated",
  image: "selftest",
  memoryMiB: 16,
  dirtyMiBPerSecond: 1,
  workingSetMiB: 1,
} as const;

/** `lock`: its supervisor holds the lock file. */
type Copy = HostInventory["copies"][number] & { hostId: string; lock: boolean };
type Snapshot = { vm: VmRecord; migrations: MigrationState[] };
type Phase =
  | "asked"
  | "source-claimed"
  | "both-claimed"
  | "at-gate"
  | "past"
  | "loaded"
  | "commit-sent"
  | "committed"
  | "intended"
  | "ran"
  | "confirmed"
  | "left"
  | "refused"
  | "given-back"
  | "copyless";
type Moving = { state: MigrationState; phase: Phase; word: boolean; token: number };

export class TrueHistory {
  readonly hosts = ["host-a", "host-b", "host-c", "host-d"];
  readonly snapshots: Snapshot[] = [];
  readonly steps: string[] = [];
  readonly copies = new Map<string, Copy>();
  readonly parts: (Part & { hostId: string })[] = [];
  readonly tokens = new Map<string, number>();
  /** Copies whose memory nobody has executed beyond. */
  readonly current = new Set<string>();
  /** A destination of which its journal says that it may have run. */
  mayHaveRun: string | null = null;
  /** The record gave up what copies still have of it; it may be used, and need not be. */
  isGivenUp = false;
  vm: VmRecord = newVm({ vm: vmId, spec }, "test", 0, 0);
  moving: Moving | null = null;
  lock: { copyId: string; fencingToken: number } | null = null;
  readonly #random: () => number;
  #made = 0;

  constructor(random: () => number) {
    this.#random = random;
    this.#note("defined");
    const length = 1 + Math.floor(random() * 40);
    for (let step = 0; step < length; step++) this.#step();
  }

  inventory(lostHosts: readonly string[] = []): VmInventory {
    const tells = ({ hostId }: { hostId: string }) => !lostHosts.includes(hostId);
    const lockFile = [...this.copies.values()].filter(tells).some((copy) => copy.lock) ? "held" : this.lock;
    return {
      copies: [...this.copies.values()].filter(tells).map(({ lock: _lock, ...copy }) => ({ ...copy, lockFile })),
      parts: structuredClone(this.parts.filter(tells)),
      lostHosts: new Set(lostHosts),
    };
  }

  get highestToken(): number {
    return Math.max(0, ...this.tokens.values());
  }

  copyOf(copyId: string | null): Copy | null {
    return (copyId && this.copies.get(copyId)) || null;
  }

  #chance(share: number): boolean {
    return this.#random() < share;
  }

  #pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.#random() * items.length)] as T;
  }

  #id(prefix: string): string {
    this.#made += 1;
    return `${prefix}_${String(this.#made).padStart(26, "0")}`;
  }

  #note(step: string): void {
    this.steps.push(step);
    this.snapshots.push(structuredClone({ vm: this.vm, migrations: this.moving ? [this.moving.state] : [] }));
  }

  #saw(hostId: string, token: number): void {
    this.tokens.set(hostId, Math.max(token, this.tokens.get(hostId) ?? 0));
  }

  #put(copyId: string, change: Partial<Copy>): void {
    const copy = this.copies.get(copyId);
    if (copy) this.copies.set(copyId, { ...copy, ...change });
  }

  #launch(hostId: string, copyId: string, machine: Copy["machine"], migrationId: string | null): void {
    this.copies.set(copyId, {
      hostId,
      vmId,
      copyId,
      spec,
      migrationId,
      machine,
      lockToken: null,
      lockFile: null,
      gate: null,
      isAtGate: false,
      wasPaused: false,
      ended: null,
      lock: false,
    });
  }

  #run(copyId: string, token: number): void {
    this.#put(copyId, { machine: "running", lockToken: token, isAtGate: false, lock: true });
    this.lock = { copyId, fencingToken: token };
    this.isGivenUp = false;
    this.current.clear();
    this.current.add(copyId);
    this.mayHaveRun = null;
  }

  #part(role: Part["role"]): (Part & { hostId: string }) | null {
    const id = this.moving?.state.id;
    return this.parts.find((part) => part.role === role && part.assignment.migrationId === id) ?? null;
  }

  #claim(role: Part["role"]): void {
    const { state } = this.#mustMove();
    this.parts.push({
      hostId: state[role].hostId,
      role,
      assignment: assignmentOf(state),
      recordToken: state.openedUnderToken,
      commitSent: false,
      runIntent: 0,
      arrivesPaused: false,
      runRefused: 0,
      relinquished: false,
      over: false,
    });
    this.#saw(state[role].hostId, state.openedUnderToken);
  }

  #mustMove(): Moving {
    if (!this.moving) throw new Error("nothing moves");
    return this.moving;
  }

  #verdict(verdict: MigrationState["verdict"]): void {
    const moving = this.#mustMove();
    moving.state = { ...moving.state, verdict };
    moving.token = verdict.token;
    const owner = verdict.kind === "committed" ? moving.state.destination : moving.state.source;
    this.vm = { ...this.vm, fencingToken: verdict.token, owner };
  }

  #step() {
    if (this.#chance(0.03)) return this.#crash();
    if (this.moving) return this.#move(this.moving);
    const owner = this.copyOf(this.vm.owner?.copyId ?? null);
    if (this.vm.deleted) return;
    if (owner?.machine === "held") {
      this.#run(owner.copyId, this.vm.fencingToken);
      this.vm = { ...this.vm, runState: "running" };
      return this.#note("runs");
    }
    if (owner?.machine === "ended") {
      this.copies.delete(owner.copyId);
      this.vm = { ...this.vm, wantedRunState: "stopped", runState: "guest-lost", stoppedBecause: "killed" };
      return this.#note("told that it ended");
    }
    if (owner?.machine === "stopped" && this.#chance(0.5)) {
      this.#run(owner.copyId, this.vm.fencingToken);
      return this.#note("resumed by its user");
    }
    if (!owner && (this.vm.runState === "starting" || this.vm.runState === "running")) {
      if (this.vm.runState === "running") return;
      this.#launch(this.vm.owner?.hostId ?? "", this.vm.owner?.copyId ?? "", "held", null);
      this.#saw(this.vm.owner?.hostId ?? "", this.vm.fencingToken);
      return this.#note("launched");
    }
    if (owner?.machine === "running" || owner?.machine === "stopped") {
      if (this.#chance(0.1)) {
        this.copies.delete(owner.copyId);
        this.current.clear();
        this.vm = { ...this.vm, wantedRunState: "stopped", runState: "stopped", stoppedBecause: "ordered" };
        return this.#note("stopped");
      }
      if (owner.machine === "running" && this.#chance(0.1)) {
        this.#put(owner.copyId, { machine: "stopped" });
        return this.#note("paused by its user");
      }
      if (owner.machine === "running") return this.#ask(owner);
      return;
    }
    if (this.#chance(0.15)) {
      this.vm = {
        ...this.vm,
        deleted: true,
        deleteRequested: true,
        owner: null,
        fencingToken: this.vm.fencingToken + 1,
      };
      return this.#note("deleted");
    }
    const hostId = this.#pick(this.hosts);
    const owned = { hostId, copyId: this.#id("copy") };
    const fencingToken = this.vm.fencingToken + 1;
    this.vm = {
      ...this.vm,
      owner: owned,
      fencingToken,
      wantedRunState: "running",
      runState: "starting",
      stoppedBecause: null,
    };
    this.#note("start asked for");
  }

  #ask(owner: Copy) {
    const isBusy = (host: string) => this.parts.some((part) => part.hostId === host && !part.over);
    const free = this.hosts.filter((host) => host !== owner.hostId && !isBusy(host));
    if (free.length === 0 || isBusy(owner.hostId)) return this.#note("no host is free");
    const destination = this.#pick(free);
    const id = this.#id("mig");
    const request = { vm: vmId, destination, mode: "live" as const, limits: MigrationLimits.parse({}) };
    const made = newMigration({
      id,
      copyId: this.#id("copy"),
      request,
      destination,
      vm: this.vm,
      owner: { hostId: owner.hostId, copyId: owner.copyId },
      by: "test",
      at: this.#made,
    });
    const state: MigrationState = { ...made, stage: "admitted", holds: { source: true, destination: true } };
    this.moving = { state, phase: "asked", word: false, token: state.openedUnderToken };
    this.vm = { ...this.vm, migrationId: id };
    this.#note("migration asked for");
  }

  /** A guest's process dies; its folder tells how. */
  #crash() {
    const alive = [...this.copies.values()].filter(({ machine }) => machine !== "ended");
    if (alive.length === 0) return;
    const copy = this.#pick(alive);
    this.current.delete(copy.copyId);
    this.#put(copy.copyId, { machine: "ended", ended: "crashed", lock: false });
    this.#note(`crash of ${copy.copyId} on ${copy.hostId}`);
  }

  /** The VM's next migration may begin while the end that lost has yet to hear of it; that host's slot is not free. */
  #end(loser: Part["role"]): void {
    const { state } = this.#mustMove();
    const lingers = this.#chance(0.3);
    const isDone = ({ role, assignment }: Part) =>
      assignment.migrationId === state.id && !(lingers && role === loser && this.copyOf(state[role].copyId));
    for (const part of this.parts) if (isDone(part)) part.over = true;
    if (!lingers) {
      this.copies.delete(state[loser].copyId);
      this.current.delete(state[loser].copyId);
      const isForgotten = this.#chance(0.7);
      for (let index = this.parts.length - 1; isForgotten && index >= 0; index--) {
        if (this.parts[index]?.assignment.migrationId === state.id) this.parts.splice(index, 1);
      }
    }
    this.vm = { ...this.vm, migrationId: null };
    this.moving = null;
  }

  #move(moving: Moving) {
    const { state } = moving;
    const source = this.copyOf(state.source.copyId);
    const destination = this.copyOf(state.destination.copyId);
    const go = (phase: Phase) => {
      moving.phase = phase;
      this.#note(phase);
    };
    const cause = { reason: "stream-failed", detail: "" } as const;
    const abort = () => {
      this.#verdict({ kind: "aborted", token: moving.token + 1, by: "source", ...cause });
      go("given-back");
    };
    switch (moving.phase) {
      case "asked":
        this.#claim("source");
        this.#put(state.source.copyId, { migrationId: state.id });
        return go("source-claimed");
      case "source-claimed":
        this.#claim("destination");
        this.#launch(state.destination.hostId, state.destination.copyId, "incoming", state.id);
        return go("both-claimed");
      case "both-claimed":
        if (source?.machine !== "running" || destination?.machine !== "incoming" || this.#chance(0.2)) return abort();
        this.#put(state.source.copyId, { machine: "stopped", isAtGate: true });
        return go("at-gate");
      case "at-gate":
        if (source?.machine !== "stopped" || this.#chance(0.2)) {
          if (source?.machine === "stopped") {
            this.#put(state.source.copyId, { machine: "running", isAtGate: false, gate: "cancelled" });
          }
          return abort();
        }
        this.#put(state.source.copyId, { gate: "past", lock: false });
        return go("past");
      case "past":
        if (source?.machine === "ended" || destination?.machine !== "incoming") return abort();
        if (this.#chance(0.2)) {
          const part = this.#part("destination");
          if (part) part.relinquished = true;
          this.copies.delete(state.destination.copyId);
          moving.word = true;
          return go("given-back");
        }
        if (this.#chance(0.2)) return abort();
        this.#put(state.destination.copyId, { machine: "loaded" });
        if (this.current.has(state.source.copyId)) this.current.add(state.destination.copyId);
        return go("loaded");
      case "loaded": {
        if (destination?.machine !== "loaded" || this.#chance(0.15)) return abort();
        const part = this.#part("destination");
        if (part) part.commitSent = true;
        return go("commit-sent");
      }
      case "commit-sent":
        if (destination?.machine !== "loaded" || this.#chance(0.15)) return abort();
        this.#verdict({ kind: "committed", token: moving.token + 1, confirmed: null });
        return go("committed");
      case "committed": {
        this.#saw(state.destination.hostId, moving.token);
        const part = this.#part("destination");
        if (destination?.machine !== "loaded") {
          this.#verdict({ kind: "returned", token: moving.token + 1, ...cause });
          return go("given-back");
        }
        if (part) part.runIntent += 1;
        this.mayHaveRun = state.destination.copyId;
        return go("intended");
      }
      case "intended": {
        const part = this.#part("destination");
        if (destination?.machine === "loaded" && this.#chance(0.25)) {
          if (part) part.runRefused = part.runIntent;
          this.mayHaveRun = null;
          return go("refused");
        }
        if (destination?.machine === "loaded") this.#run(state.destination.copyId, moving.token);
        else this.current.clear(); // It may have run: whatever the source has is left behind.
        return go("ran");
      }
      case "refused":
        if (destination?.machine === "loaded" && this.#chance(0.5)) return go("committed");
        this.copies.delete(state.destination.copyId);
        this.current.delete(state.destination.copyId);
        this.#verdict({ kind: "returned", token: moving.token + 1, ...cause });
        return go("given-back");
      case "ran": {
        const outcome = destination?.machine === "running" ? "running" : "guest-lost";
        this.#verdict({ kind: "committed", token: moving.token, confirmed: { outcome, detail: "" } });
        if (outcome === "running") this.vm = { ...this.vm, runState: "running" };
        return go("confirmed");
      }
      case "confirmed":
        if (destination?.machine === "ended") {
          this.copies.delete(state.destination.copyId);
          this.vm = { ...this.vm, wantedRunState: "stopped", runState: "guest-lost", stoppedBecause: "guest-lost" };
        }
        this.mayHaveRun = null;
        this.#end("source");
        return this.#note("over");
      case "given-back": {
        const token = moving.word ? moving.token : state.verdict.token;
        this.#saw(state.source.hostId, token);
        if (source?.machine === "stopped") this.#run(state.source.copyId, token);
        if (this.#chance(0.5)) return this.#note("resumed; the destination has yet to hear of it");
        if (moving.word) this.#verdict({ kind: "aborted", token: moving.token + 1, by: "source", ...cause });
        if (source?.machine === "ended") {
          this.copies.delete(state.source.copyId);
          this.isGivenUp = true;
          this.vm = { ...this.vm, wantedRunState: "stopped", runState: "guest-lost", stoppedBecause: "crashed" };
        }
        this.#end("destination");
        return this.#note("over");
      }
      default:
        throw new Error(`no step from ${moving.phase}`);
    }
  }
}

function assignmentOf(state: MigrationState): Assignment {
  const at = { address: "127.0.0.1", publicKey: "key" };
  return {
    type: "drover-assignment-1",
    clusterId: "test",
    migrationId: state.id,
    vmId: state.vmId,
    fencingToken: state.openedUnderToken,
    mode: state.mode,
    spec,
    limits: state.limits,
    source: { ...state.source, ...at },
    destination: { ...state.destination, ...at },
    issuedAt: 1,
    expiresAt: 2,
  };
}
