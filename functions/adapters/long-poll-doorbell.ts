// The doorbell of a control plane that is one process: agents wait at its own door by a long poll, so they need nothing
// else. A ring is kept in this process only; it is a hint, and the next heartbeat makes up for a lost one.
import type { DoorbellAddress } from "../../schemas/agent.ts";
import type { Doorbell, HostAddress } from "../ports/doorbell.ts";
import { secondRingMs } from "../ports/doorbell.ts";

/** Runs the action later. @returns how to stop it */
export type After = (milliseconds: number, action: () => void) => () => void;

type Bell = { isKept: boolean; waiters: Set<() => void> };

export function createLongPollDoorbell(
  options: { after?: After } = {},
): Doorbell & { wait: NonNullable<Doorbell["wait"]> } {
  const after = options.after ?? afterOnThisClock;
  const bells = new Map<string, Bell>();
  const secondRings = new Set<() => void>();
  const openWaits = new Set<() => void>();
  let isClosed = false;

  function bellOf(host: HostAddress): Bell {
    const name = `${host.clusterId}/${host.hostId}`;
    const bell = bells.get(name) ?? { isKept: false, waiters: new Set() };
    bells.set(name, bell);
    return bell;
  }

  /** Everyone who waits is woken: one of them may be a connection that died unnoticed. */
  function ringNow(bell: Bell): void {
    if (bell.waiters.size === 0) bell.isKept = true;
    for (const wake of [...bell.waiters]) wake();
  }

  function untilRung(bell: Bell, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const wake = () => end(true);
      const giveUp = () => end(false);
      const stopTimer = after(timeoutMs, giveUp);
      function end(hasRung: boolean): void {
        stopTimer();
        signal.removeEventListener("abort", giveUp);
        bell.waiters.delete(wake);
        openWaits.delete(giveUp);
        resolve(hasRung);
      }
      signal.addEventListener("abort", giveUp, { once: true });
      bell.waiters.add(wake);
      openWaits.add(giveUp);
    });
  }

  return {
    async ring(host: HostAddress): Promise<void> {
      if (isClosed) return;
      const bell = bellOf(host);
      ringNow(bell);
      const stop = after(secondRingMs, () => {
        secondRings.delete(stop);
        ringNow(bell);
      });
      secondRings.add(stop);
    },

    async install(): Promise<DoorbellAddress> {
      return { kind: "long-poll" };
    },

    async wait(host: HostAddress, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
      if (isClosed || signal.aborted) return false;
      const bell = bellOf(host);
      if (bell.isKept) {
        bell.isKept = false;
        return true;
      }
      const hasRung = await untilRung(bell, timeoutMs, signal);
      if (!hasRung || !signal.aborted) return hasRung;
      // Rung for somebody who left in the same moment: kept for who comes next.
      bell.isKept = true;
      return false;
    },

    async close(): Promise<void> {
      isClosed = true;
      for (const stop of secondRings) stop();
      for (const giveUp of [...openWaits]) giveUp();
      secondRings.clear();
      bells.clear();
    },
  };
}

function afterOnThisClock(milliseconds: number, action: () => void): () => void {
  const timer = setTimeout(action, milliseconds);
  return () => clearTimeout(timer);
}
