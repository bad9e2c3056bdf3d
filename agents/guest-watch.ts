// Watches the guests that are to execute here, and tells which are silent. It judges only; what to do about it is the
// operator's to say.
import type { CopyAlarm } from "../schemas/agent.ts";
import type { GuestReport } from "../schemas/vm.ts";
import { describeSilence, feel, type Pulse, rest, silenceOf } from "./domain/guest-pulse.ts";
import type { Clock } from "./ports/clock.ts";
import type { Copy } from "./ports/copies.ts";

/** How long a silent guest's process is given to answer; a heartbeat waits for it. */
const answerWithinMs = 1000;

export class GuestWatch {
  readonly #clock: Clock;
  readonly #pulses = new Map<string, Pulse>();
  readonly #asked = new Map<string, Promise<string | null>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  heard(copyId: string, report: GuestReport): void {
    this.#pulses.set(copyId, feel(this.#pulses.get(copyId) ?? null, report, this.#clock.monotonicMs()));
  }

  forget(copyId: string): void {
    this.#pulses.delete(copyId);
  }

  /** Its guest was just let stand, or let go on: it is given its time anew. */
  changed(copyId: string): void {
    const pulse = this.#pulses.get(copyId) ?? null;
    this.#pulses.set(copyId, rest(pulse, this.#clock.monotonicMs()));
  }

  /** @param copies every copy here
   *  @param isToExecute whether nothing but a fault keeps this one from executing
   *  @param isAsked whether the alarm of this one is wanted now */
  async alarms(
    copies: Iterable<Copy>,
    isToExecute: (copyId: string) => boolean,
    isAsked: (copyId: string) => boolean,
  ): Promise<CopyAlarm[]> {
    const nowMs = this.#clock.monotonicMs();
    const silent: Promise<CopyAlarm | null>[] = [];
    for (const copy of copies) {
      const pulse = this.#pulses.get(copy.copyId) ?? null;
      if (!pulse || !isToExecute(copy.copyId)) {
        this.#pulses.set(copy.copyId, rest(pulse, nowMs));
        continue;
      }
      const standsForMs = silenceOf(pulse, nowMs);
      if (standsForMs !== null && isAsked(copy.copyId))
        silent.push(this.#describe(copy, pulse, Math.round(standsForMs)));
    }
    return (await Promise.all(silent)).filter((alarm) => alarm !== null);
  }

  async #describe(copy: Copy, pulse: Pulse, standsForMs: number): Promise<CopyAlarm | null> {
    const { vmId: vm, copyId } = copy;
    const answered = new AbortController();
    const late = this.#clock.sleep(answerWithinMs, answered.signal).then(
      () => null,
      () => null,
    );
    const answer = await Promise.race([this.#ask(copy), late]);
    answered.abort();
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
