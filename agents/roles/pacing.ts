// What keeps a role from asking for more than it can use.
import type { Clock } from "../ports/clock.ts";

/** One request of a kind at a time: the answer serves whoever asked again meanwhile. */
export class OneOfAKind {
  readonly #underWay = new Set<string>();

  /** @param ask answers with what to do with its answer, once the next of its kind may be asked */
  async ask(kind: string, ask: () => Promise<() => void>): Promise<void> {
    if (this.#underWay.has(kind)) return;
    this.#underWay.add(kind);
    let heard: () => void;
    try {
      heard = await ask();
    } finally {
      this.#underWay.delete(kind);
    }
    heard();
  }
}

/** One wake at a time: the next one takes the place of the one before. */
export class Wake {
  readonly #clock: Clock;
  readonly #act: () => void;
  #stop: () => void = () => {};

  constructor(clock: Clock, act: () => void) {
    this.#clock = clock;
    this.#act = act;
  }

  after(milliseconds: number): void {
    this.#stop();
    this.#stop = this.#clock.after(milliseconds, this.#act);
  }

  stop(): void {
    this.#stop();
  }
}
