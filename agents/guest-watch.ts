// Watches the guests that are to execute here, and tells which are silent. It judges only; what to do about it is the
// operator's to say.
import type { CopyAlarm } from "../schemas/agent.ts";
import type { GuestReport } from "../schemas/vm.ts";
import { answerWithin } from "./answer-within.ts";
import { describeSilence, feel, type Pulse, rest, silenceOf } from "./domain/guest-pulse.ts";
import type { Clock } from "./ports/clock.ts";
import type { Copy } from "./ports/copies.ts";

/** How long a silent guest's process is given to answer; a heartbeat waits for it. */
const answerWithinMs = 1000;

/** What is to be seen of a guest; either: a migration lets it stand or execute. */
export type Expected = "executes" | "stands" | "either";

export class GuestWatch {
  readonly #clock: Clock;
  readonly #pulses = new Map<string, Pulse>();
  readonly #asked = new Map<string, Promise<string | null>>();
  /** Copies that were silent when they were last to execute, and have not been heard since. */
  readonly #silent = new Set<string>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  heard(copyId: string, report: GuestReport): void {
    this.#pulses.set(copyId, feel(this.#pulses.get(copyId) ?? null, report, this.#clock.monotonicMs()));
  }

  forget(copyId: string): void {
    this.#pulses.delete(copyId);
    this.#silent.delete(copyId);
  }

  /** Its guest was just let stand, or let go on: it is given its time anew. */
  changed(copyId: string): void {
    const pulse = this.#pulses.get(copyId) ?? null;
    this.#pulses.set(copyId, rest(pulse, this.#clock.monotonicMs()));
  }

  /** @param copies every copy here
   *  @param isAsked whether the alarm of this one is wanted now */
  async alarms(
    copies: Iterable<Copy>,
    expectedOf: (copyId: string) => Expected,
    isAsked: (copyId: string) => boolean,
  ): Promise<CopyAlarm[]> {
    const nowMs = this.#clock.monotonicMs();
    const alarms: Promise<CopyAlarm | null>[] = [];
    for (const copy of copies) {
      const { copyId } = copy;
      const pulse = this.#pulses.get(copyId) ?? rest(null, nowMs);
      const standsForMs = this.#judge(copyId, pulse, expectedOf(copyId), nowMs);
      if (standsForMs !== null && isAsked(copyId)) alarms.push(this.#describe(copy, pulse, Math.round(standsForMs)));
    }
    return (await Promise.all(alarms)).filter((alarm) => alarm !== null);
  }

  /** A migration that begins does not take an alarm back: the guest is silent until it is heard. */
  #judge(copyId: string, pulse: Pulse, expected: Expected, nowMs: number): number | null {
    const isMissed = expected === "executes" || (expected === "either" && this.#silent.has(copyId));
    const standsForMs = isMissed ? silenceOf(pulse, nowMs) : null;
    if (standsForMs === null) this.#silent.delete(copyId);
    else this.#silent.add(copyId);
    const isCounted = standsForMs !== null || expected === "executes";
    this.#pulses.set(copyId, isCounted ? pulse : rest(pulse, nowMs));
    return standsForMs;
  }

  async #describe(copy: Copy, pulse: Pulse, standsForMs: number): Promise<CopyAlarm | null> {
    const { vmId: vm, copyId } = copy;
    const answer = await answerWithin(this.#clock, answerWithinMs, this.#ask(copy));
    const detail = describeSilence(pulse, answer);
    return detail === null ? null : { vm, copyId, code: "guest-silent", detail, standsForMs };
  }

  /** One question at a time: it waits where the guest's process stands. */
  #ask(copy: Copy): Promise<string | null> {
    const asked =
      this.#asked.get(copy.copyId) ??
      copy
        .status()
        .then(
          ({ machine }) => machine,
          () => null,
        )
        .finally(() => this.#asked.delete(copy.copyId));
    this.#asked.set(copy.copyId, asked);
    return asked;
  }
}
