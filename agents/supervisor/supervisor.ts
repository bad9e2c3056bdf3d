// One copy of a guest, watched over from its first instruction to its end. The supervisor outlives the agent: it holds
// the lock file, keeps the gate, and takes the guest back from the gate when the agent is silent there.
//   S1  The guest executes only while this supervisor holds its lock file under this copy (rule 10).
//   S2  At the gate the guest stands; `past` or `cancelled` is decided once, durably, before anything follows from it.
//   S3  Past the gate the lock file is given up before the hypervisor goes on, and retaken before the guest resumes.
//   S4  A guest that executes is never stopped for want of its lock file: an alarm stands, and taking it is tried again.
//   S5  One operation at a time; asking again after a lost answer changes nothing.

import type { StreamEndpoint } from "../../schemas/peer.ts";
import { Serial } from "../adapters/serial.ts";
import { type DurableStep, durable } from "../durable-step.ts";
import { messageOf } from "../message-of.ts";
import type { Clock } from "../ports/clock.ts";
import type { CopyAccount, CopyEvent, CopyStatus, PermitOutcome } from "../ports/copies.ts";
import type { Gate, GateDecision } from "../ports/gate.ts";
import type {
  Hypervisor,
  IncomingStream,
  Machine,
  MachineEvent,
  MachineState,
  OutgoingStream,
} from "../ports/hypervisor.ts";
import type { LockFiles, TakeManner } from "../ports/lock-file.ts";
import { LockHold, refused } from "./lock-hold.ts";
import type { CopyMemo, CopyMemory } from "./memo.ts";
import { SilenceWatch } from "./silence-watch.ts";

export type SupervisorPorts = {
  hypervisor: Hypervisor;
  lockFiles: LockFiles;
  gate: Gate;
  clock: Clock;
  memory: CopyMemory;
  /** The copy's own folder, for the hypervisor's sockets and logs. */
  directory: string;
};

const retryMs = 1000;
/** How long the end of a guest waits for the operation before it. */
const patienceMs = 1500;

export class Supervisor {
  #memo: CopyMemo;
  #machine: Machine | null;
  readonly #ports: SupervisorPorts;
  readonly #serial = new Serial();
  readonly #watch: SilenceWatch;
  readonly #lock: LockHold;
  readonly #listeners = new Set<(event: CopyEvent) => void>();
  /** What this supervisor itself last made of the guest's processors; null when it cannot know. */
  #processors: "run" | "stand" | null = null;
  /** What happened while nobody listened, measurements apart. */
  readonly #unheard: CopyEvent[] = [];
  #sendingFor: string | null = null;
  #finishingFor: string | null = null;
  #receiving: { migrationId: string; endpoint: StreamEndpoint } | null = null;
  #stopRetry: (() => void) | null = null;
  #dismissed = false;
  /** Called once the copy is gone: what is left of it may be removed. */
  onDestroyed: () => void = () => {};

  constructor(memo: CopyMemo, machine: Machine | null, ports: SupervisorPorts) {
    this.#memo = memo;
    this.#machine = machine;
    this.#ports = ports;
    this.#watch = new SilenceWatch(ports.clock);
    this.#lock = new LockHold(ports.lockFiles, memo.request, (standing, detail) =>
      this.#emit({ kind: "lock-alarm", standing, detail }),
    );
    machine?.listen((event) => this.#heard(event));
  }

  get memo(): CopyMemo {
    return this.#memo;
  }

  /** The agent gave a sign of life. */
  agentSeen(): void {
    this.#watch.seen();
  }

  listen(listener: (event: CopyEvent) => void): () => void {
    this.#listeners.add(listener);
    for (const event of this.#unheard.splice(0)) listener(event);
    return () => this.#listeners.delete(listener);
  }

  /** Lets go of guest and lock file as they are: the process is about to end, or is dead. */
  dismiss(): void {
    this.#dismissed = true;
    this.#watch.end();
    this.#stopRetry?.();
    this.#machine?.detach();
  }

  status(): Promise<CopyStatus> {
    return this.#serial.run(() => this.#status());
  }

  account(): Promise<CopyAccount> {
    return this.#serial.run(async () => {
      const { lockToken, leaving, request } = this.#memo;
      const seen = this.#lock.isHeld ? "held" : await this.#ports.lockFiles.read(request.vmId).catch(() => null);
      const lockFile =
        seen === null || seen === "held" ? seen : { copyId: seen.copyId, fencingToken: seen.fencingToken };
      const wasPaused = leaving?.gate?.ranBefore === false && !leaving.gate.over;
      return { ...(await this.#status()), lockToken, lockFile, wasPaused };
    });
  }

  async #status(): Promise<CopyStatus> {
    const machine = await this.#state();
    const gate = this.#memo.leaving ? await this.#ports.gate.read(this.#memo.leaving.migrationId) : null;
    const unknownEnd = { how: "killed" as const, detail: "" };
    const ended = machine === "ended" ? (this.#memo.ended ?? unknownEnd) : null;
    const { leaving, resets = 0 } = this.#memo;
    const atGate = leaving?.gate ? { migrationId: leaving.migrationId, isOver: leaving.gate.over } : null;
    return { machine, lock: this.#lock.isHeld ? "held" : "free", ended, gate, atGate, resets };
  }

  run(fencingToken: number, replaceLockFile = false): Promise<PermitOutcome> {
    return this.#serial.run(() =>
      this.#permit(
        fencingToken,
        async (machine) => {
          if (this.#processors === "run" || this.#memo.leaving?.gate?.ranBefore === false) return { kind: "granted" };
          return this.#letRunIfItMay(machine);
        },
        replaceLockFile ? "replace" : "usual",
      ),
    );
  }

  /** Past the gate, on an operator's word that the destination is lost: holding it bars the destination for good. */
  takeBackLock(fencingToken: number): Promise<PermitOutcome> {
    return this.#serial.run(async () => {
      const { migrationId } = this.#mustBeLeaving();
      this.#mustHaveMachine();
      if ((await this.#ports.gate.read(migrationId)) !== "past") throw new Error("the guest is not past its gate");
      return (await this.#lock.take(fencingToken, "own-only")) ?? { kind: "granted" };
    });
  }

  resume(fencingToken: number): Promise<PermitOutcome> {
    return this.#serial.run(async () => {
      this.#mustBeFree();
      return this.#permit(fencingToken, async (machine) => {
        await this.#rememberWish(true);
        return this.#processors === "run" ? { kind: "granted" } : this.#letRunIfItMay(machine);
      });
    });
  }

  arrivePaused(fencingToken: number): Promise<PermitOutcome> {
    return this.#serial.run(() => this.#permit(fencingToken, async () => ({ kind: "granted" })));
  }

  pause(): Promise<void> {
    return this.#serial.run(async () => {
      this.#mustBeFree();
      const machine = this.#mustHaveMachine();
      await this.#rememberWish(false);
      await this.#stop(machine);
    });
  }

  reset(number: number): Promise<void> {
    return this.#serial.run(async () => {
      this.#mustBeFree();
      const machine = this.#mustHaveMachine();
      if ((this.#memo.resets ?? 0) >= number) return;
      // Counted first: one that was begun and not seen through is not made again.
      await this.#remember("memo:reset", { resets: number });
      await durable("guest:reset", () => machine.reset());
    });
  }

  permitNext(next: { copyId: string } | null): Promise<void> {
    return this.#serial.run(() => this.#lock.permitNext(next));
  }

  receive(stream: IncomingStream): Promise<StreamEndpoint> {
    return this.#serial.run(async () => {
      if (this.#receiving?.migrationId === stream.migrationId) return this.#receiving.endpoint;
      const endpoint = await this.#mustHaveMachine().receive(stream);
      this.#receiving = { migrationId: stream.migrationId, endpoint };
      return endpoint;
    });
  }

  send(stream: OutgoingStream): Promise<void> {
    return this.#serial.run(async () => {
      const { migrationId } = stream;
      if (this.#sendingFor === migrationId) return;
      const machine = this.#mustHaveMachine();
      const decided = await this.#ports.gate.read(migrationId);
      if (decided) throw new Error(`the gate of ${migrationId} says ${decided}: one migration is one stream`);
      if (this.#memo.leaving?.migrationId !== migrationId) {
        this.#mustBeFree();
        await this.#remember("memo:leaving", { leaving: { migrationId, gate: null } });
      }
      await machine.send(stream);
      this.#sendingFor = migrationId;
    });
  }

  throttle(percent: number): Promise<void> {
    return this.#serial.run(() => this.#mustHaveMachine().throttle(percent));
  }

  cancelStream(): Promise<void> {
    return this.#serial.run(() => this.#endStream());
  }

  holdAtGate(agentSilenceMs: number): Promise<{ standsForMs: number; resets: number }> {
    return this.#serial.run(async () => {
      const machine = this.#mustHaveMachine();
      const leaving = this.#mustBeLeaving();
      const { resets = 0 } = this.#memo;
      if (leaving.gate?.over) return { standsForMs: 0, resets };
      const decided = await this.#ports.gate.read(leaving.migrationId);
      if (decided === "cancelled") await this.#takeBack();
      if (decided) return { standsForMs: 0, resets };
      if (!leaving.gate) {
        const ranBefore = (await machine.state()) === "running";
        const gate = { ranBefore, agentSilenceMs, over: false };
        await this.#remember("memo:at-gate", { leaving: { ...leaving, gate } });
      }
      this.#watchAgent(agentSilenceMs);
      const stoppedAtMs = this.#ports.clock.monotonicMs();
      await this.#stop(machine);
      return { standsForMs: this.#ports.clock.monotonicMs() - stoppedAtMs, resets };
    });
  }

  passGate(): Promise<GateDecision> {
    return this.#serial.run(async () => {
      const leaving = this.#mustBeLeaving();
      const { migrationId, gate } = leaving;
      if (!gate || gate.over) {
        const standing = await this.#ports.gate.read(migrationId);
        if (!standing) throw new Error(`the guest is not at the gate of ${migrationId}`);
        return standing;
      }
      // Nothing to hand over once the guest has ended.
      if (!this.#machine || this.#memo.ended) return this.#cancelGate(migrationId);
      if (this.#processors !== "stand") await this.#stop(this.#machine);
      const decision = await durable("gate:past", () => this.#ports.gate.decide(migrationId, "past"));
      this.#watch.end();
      if (decision === "cancelled") {
        await this.#takeBack();
        return decision;
      }
      await this.#lock.release();
      if (this.#finishingFor === migrationId) return decision;
      this.#finishingFor = migrationId;
      try {
        const machine = this.#machine;
        await durable("guest:handed-over", () => machine.finish());
      } catch (error) {
        // Past stands whatever became of the stream: from here only the record speaks.
        this.#emit({ kind: "stream-failed", detail: messageOf(error) });
      }
      return decision;
    });
  }

  cancelAtGate(): Promise<GateDecision> {
    return this.#serial.run(async () => {
      const { migrationId } = this.#mustBeLeaving();
      const decision = await this.#cancelGate(migrationId);
      if (decision === "cancelled") {
        this.#watch.end();
        await this.#takeBack();
      }
      return decision;
    });
  }

  /** Ends the guest, frees the lock file, and lets the copy's folder be removed. An operation that hangs on the guest's
   *  process is ended with it. */
  async destroy(): Promise<void> {
    const machine = this.#machine;
    const stopTimer = this.#ports.clock.after(patienceMs, () => void machine?.destroy().catch(() => {}));
    try {
      await this.#serial.run(() => this.#destroy());
    } finally {
      stopTimer();
    }
  }

  async #destroy(): Promise<void> {
    this.#watch.end();
    this.#stopRetry?.();
    this.#dismissed = true;
    try {
      const machine = this.#machine;
      if (machine) await durable("guest:destroyed", () => machine.destroy());
    } catch (error) {
      this.#dismissed = false;
      throw error;
    }
    this.#machine = null;
    await this.#lock.release();
    this.onDestroyed();
  }

  /** Makes true what should be by now: the lock file held, a cancelled gate left behind, an open gate watched. */
  settle(): Promise<void> {
    return this.#serial.run(async () => {
      try {
        await this.#settleOnce();
      } catch {
        this.#tryAgain();
      }
    });
  }

  async #settleOnce(): Promise<void> {
    if (this.#dismissed || !this.#machine || this.#memo.ended) return;
    const state = await this.#machine.state();
    if (state === "ended") return;
    const { leaving, lockToken } = this.#memo;
    const gate = leaving?.gate && !leaving.gate.over ? leaving.gate : null;
    const decision = leaving && gate ? await this.#ports.gate.read(leaving.migrationId) : null;

    const gaveItUp = decision === "past" && state !== "running"; // S3
    if (lockToken !== null && !this.#lock.isHeld && !gaveItUp) {
      const refusal = await this.#lock.take(lockToken);
      if (refusal && state === "running") this.#lock.alarm(true, refusal.detail); // S4
      if (refusal) this.#tryAgain();
    }
    if (gate && decision === null) this.#watchAgent(gate.agentSilenceMs);
    if (gate && decision === "cancelled") {
      await this.#takeBack();
      this.#emit({ kind: "resumed-by-supervisor" });
    }
  }

  /** Takes the lock file, then does what needs it. What was not held before is given back on a refusal. */
  async #permit(
    fencingToken: number,
    act: (machine: Machine) => Promise<PermitOutcome>,
    manner: TakeManner = "usual",
  ): Promise<PermitOutcome> {
    const machine = this.#machine;
    if (!machine || this.#memo.ended) return { kind: "refused", by: "hypervisor", detail: "the guest has ended" };
    const before = this.#memo;
    const { leaving } = before;
    if (leaving?.gate && !leaving.gate.over) {
      // Nobody may pass the gate behind a guest that runs again, and no stream may go on.
      // Its agent is watched on: whoever is refused here leaves a guest that is to come back.
      await this.#cancelGate(leaving.migrationId);
      await this.#endStream();
    }
    const heldToken = this.#lock.fencingToken;
    if (fencingToken < (heldToken ?? 0)) {
      return refused("lock-superseded", `the lock file bears token ${heldToken}, which is above ${fencingToken}`);
    }
    const gate = leaving?.gate ? { ...leaving.gate, over: true } : null;
    const lockToken = heldToken ?? fencingToken;
    // Both are durable before the guest executes; either alone does no harm.
    const [memoRefusal, lockRefusal] = await Promise.all([
      this.#remember("memo:permitted", { lockToken, leaving: leaving && { ...leaving, gate } }).then(
        () => null,
        (error) => refused("hypervisor", messageOf(error)),
      ),
      this.#lock.take(fencingToken, manner),
    ]);
    const outcome = lockRefusal ?? memoRefusal ?? (await act(machine));
    if (outcome.kind === "refused") {
      if (heldToken === null) await this.#lock.release();
      // A memo that could not be put back claims a lock file that the record gave this copy anyway.
      await this.#remember("memo:refused", before).catch(() => {});
    }
    return outcome;
  }

  /** After `cancelled`: ends the stream and lets the guest run again if it ran. Tries again by itself if it cannot. */
  async #takeBack(): Promise<void> {
    const { lockToken } = this.#memo;
    const leaving = this.#mustBeLeaving();
    if (leaving.gate?.over) return;
    try {
      await this.#endStream();
      if (!leaving.gate || !this.#machine || this.#memo.ended) return;
      if (leaving.gate.ranBefore && (await this.#machine.state()) === "stopped") {
        const lockRefusal = await this.#lock.take(lockToken ?? 0);
        const refusal = lockRefusal?.detail ?? (await this.#letRun(this.#machine));
        if (refusal) throw new Error(`the guest cannot be resumed: ${refusal}`);
      }
      await this.#remember("memo:taken-back", { leaving: { ...leaving, gate: { ...leaving.gate, over: true } } });
    } catch (error) {
      this.#tryAgain();
      throw error;
    }
  }

  #watchAgent(silenceMs: number): void {
    this.#watch.begin(silenceMs, () => {
      void this.#serial.run(async () => {
        const leaving = this.#mustBeLeaving();
        if (this.#dismissed || !leaving.gate || leaving.gate.over) return;
        if (!this.#watch.isSilentFor(silenceMs)) return this.#watchAgent(silenceMs);
        try {
          const decision = await this.#cancelGate(leaving.migrationId);
          if (decision === "past") return;
          await this.#takeBack();
          this.#emit({ kind: "resumed-by-supervisor" });
        } catch {
          this.#tryAgain();
        }
      });
    });
  }

  #heard(event: MachineEvent): void {
    if (this.#dismissed) return;
    if (event.kind === "stream-failed") this.#sendingFor = null;
    if (event.kind === "ended") {
      const { how, detail } = event;
      void this.#serial
        .run(async () => {
          this.#watch.end();
          this.#lock.alarm(false, "the guest has ended");
          await this.#lock.release();
          await this.#remember("memo:ended", { ended: { how, detail } });
        })
        .catch(() => {}); // Not durable: the next life finds its process gone, and says so.
    }
    this.#emit(event);
  }

  async #endStream(): Promise<void> {
    this.#sendingFor = null;
    this.#receiving = null;
    if (this.#machine && !this.#memo.ended) await this.#machine.cancel();
  }

  #cancelGate(migrationId: string): Promise<GateDecision> {
    return durable("gate:cancelled", () => this.#ports.gate.decide(migrationId, "cancelled"));
  }

  async #remember(step: DurableStep, change: Partial<CopyMemo>): Promise<void> {
    const memo = { ...this.#memo, ...change };
    await durable(step, () => this.#ports.memory.write(memo));
    this.#memo = memo;
  }

  #tryAgain(): void {
    if (this.#dismissed) return;
    this.#stopRetry?.();
    this.#stopRetry = this.#ports.clock.after(retryMs, () => void this.settle());
  }

  /** @returns why the hypervisor refused, or null when the guest executes */
  async #letRun(machine: Machine): Promise<string | null> {
    this.#processors = null; // Until it answers, it may or may not.
    const outcome = await durable("guest:run", () => machine.run());
    if (outcome.kind === "refused") return outcome.detail;
    this.#processors = "run";
    return null;
  }

  async #letRunIfItMay(machine: Machine): Promise<PermitOutcome> {
    const refusal = await this.#letRun(machine);
    return refusal ? { kind: "refused", by: "hypervisor", detail: refusal } : { kind: "granted" };
  }

  /** Whoever lets it run again after a gate that is behind it must not undo what its user wished since. */
  async #rememberWish(ranBefore: boolean): Promise<void> {
    const { leaving } = this.#memo;
    if (leaving?.gate && leaving.gate.ranBefore !== ranBefore) {
      await this.#remember("memo:wish", { leaving: { ...leaving, gate: { ...leaving.gate, ranBefore } } });
    }
  }

  async #stop(machine: Machine): Promise<void> {
    this.#processors = null;
    await durable("guest:stopped", () => machine.stop());
    this.#processors = "stand";
  }

  async #state(): Promise<MachineState> {
    return !this.#machine || this.#memo.ended ? "ended" : this.#machine.state();
  }

  #mustHaveMachine(): Machine {
    if (!this.#machine || this.#memo.ended) throw new Error("the guest has ended");
    return this.#machine;
  }

  #mustBeLeaving(): NonNullable<CopyMemo["leaving"]> {
    if (!this.#memo.leaving) throw new Error("this copy is not being sent by any migration");
    return this.#memo.leaving;
  }

  /** Pause, resume and reset wait while the guest is at or past the gate. */
  #mustBeFree(): void {
    const leaving = this.#memo.leaving;
    if (leaving?.gate && !leaving.gate.over) throw new Error(`the guest is at the gate of ${leaving.migrationId}`);
  }

  #emit(event: CopyEvent): void {
    if (this.#dismissed) return;
    const isMeasurement = event.kind === "sampled" || event.kind === "guest-reported";
    if (this.#listeners.size === 0 && !isMeasurement) this.#unheard.push(event);
    for (const listener of this.#listeners) listener(event);
  }
}
