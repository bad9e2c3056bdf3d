// Does a guest that is to execute still do so? Its own heartbeat tells: it advances about once a second while the guest
// executes, and stands when the guest, its process or its supervisor does. Who is to stand has no pulse to be missed.
import type { GuestReport } from "../../schemas/vm.ts";

/** A guest on a busy machine, throttled as a last remedy, still reports well within this. */
export const silentAfterMs = 10_000;

/** `heartbeats` as last told; null: the guest was not heard here yet. */
export type Pulse = { sinceMs: number; heartbeats: number | null; bootId: string | null };

/** Expected to execute from now on, or standing by right until now. */
export const rest = (pulse: Pulse | null, nowMs: number): Pulse => ({
  heartbeats: pulse?.heartbeats ?? null,
  bootId: pulse?.bootId ?? null,
  sinceMs: nowMs,
});

/** A report whose heartbeat stands is no sign of life. A reset begins to count anew. */
export function feel(pulse: Pulse | null, { heartbeats, bootId }: GuestReport, nowMs: number): Pulse {
  const isSame = pulse !== null && pulse.bootId === bootId && pulse.heartbeats === heartbeats;
  return isSame ? pulse : { sinceMs: nowMs, heartbeats, bootId };
}

/** For how long it has been silent, once that is worth an alarm. */
export function silenceOf(pulse: Pulse, nowMs: number): number | null {
  const silentMs = nowMs - pulse.sinceMs;
  return silentMs >= silentAfterMs ? silentMs : null;
}

/** What a human is told; null where it is no cause for alarm: a guest that never says anything may well be silent while
 *  its process answers.
 *  @param answer what its process said when it was asked just now; null: nothing */
export function describeSilence(pulse: Pulse, answer: string | null): string | null {
  if (pulse.heartbeats === null && answer !== null) return null;
  const heart = pulse.heartbeats === null ? "was not heard yet" : `stands at ${pulse.heartbeats}`;
  const process = answer === null ? "its process does not answer" : `its process answers that it is ${answer}`;
  return `the guest's own heartbeat ${heart}, and ${process}`;
}
