// A process that is started again when it ends, as an init system does it; it can be held down.
import { setTimeout as delay } from "node:timers/promises";
import { type Child, type ChildProgram, startChild } from "../../cli/cluster/child.ts";

const restartMs = 200;
/** Before whoever waits for its first start is told. */
const failuresAtMost = 10;

export class Service {
  readonly #program: () => ChildProgram;
  #child: Promise<Child> | null = null;
  #isHeld = false;
  #isOver = false;
  #loop: Promise<void>;
  #wake: () => void = () => {};
  /** What it printed when it was first ready. */
  readonly first: Promise<Child>;

  constructor(program: () => ChildProgram) {
    this.#program = program;
    const { promise, resolve, reject } = Promise.withResolvers<Child>();
    promise.catch(() => {});
    this.first = promise;
    this.#loop = this.#keep(resolve, reject);
  }

  /** Not started again until `letUp`. */
  holdDown(): void {
    this.#isHeld = true;
  }

  letUp(): void {
    this.#isHeld = false;
    this.#wake();
  }

  /** Ends it for good. */
  async stop(): Promise<void> {
    this.#isOver = true;
    this.#wake();
    const child = await this.#child?.catch(() => null);
    await child?.stop();
    await this.#loop;
  }

  async #keep(onFirst: (child: Child) => void, onNever: (error: unknown) => void): Promise<void> {
    let failures = 0;
    while (!this.#isOver) {
      try {
        this.#child = startChild(this.#program());
        const child = await this.#child;
        onFirst(child);
        await child.ended;
      } catch (error) {
        // Ended before it was ready: killed, or the one before it still lived.
        if (++failures === failuresAtMost) onNever(error);
      }
      if (!this.#isOver) await delay(restartMs);
      while (this.#isHeld && !this.#isOver) await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
