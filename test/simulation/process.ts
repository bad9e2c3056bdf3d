// One life of one simulated process, and what stands between it and its surroundings. Whatever it calls or hears passes
// here: it may be stalled (as by SIGSTOP: it does nothing, and hears it all afterwards), it may be ended before or after
// any call it makes, and once it is dead nothing of it goes on.
import type { Life } from "../../agents/adapters/mortal.ts";
import type { Clock } from "../../agents/ports/clock.ts";

/** What a call meets. `fails`: it throws, not having happened. */
export type Fate =
  | { kind: "passes" }
  | { kind: "ends-before" }
  | { kind: "ends-after" }
  | { kind: "fails"; detail: string }
  | { kind: "takes"; milliseconds: number };

export type ProcessOptions = {
  name: string;
  life: Life;
  /** Of the world. */
  clock: Clock;
  /** How much faster its own clock goes: 0.0005 is half a second in a thousand. */
  drift: number;
  /** What becomes of a call, by port and method. */
  fateOf: (process: Process, step: string) => Fate;
  /** The process ends here and now. */
  end: () => void;
};

type Method = (...parameters: never[]) => unknown;

const passes: Fate = { kind: "passes" };
const never = (): Promise<never> => new Promise(() => {});

/** Answered at once, from what the process itself remembers. */
const local = new Set([
  "highestToken",
  "tokens",
  "tableStanding",
  "migration",
  "migrations",
  "stamp",
  "isInPlace",
  "monotonicMs",
]);

export class Process {
  readonly name: string;
  readonly clock: Clock;
  readonly #options: ProcessOptions;
  readonly #enclosed = new WeakMap<object, object>();
  #stalledUntilMs = 0;
  #held: (() => void)[] = [];

  constructor(options: ProcessOptions) {
    this.name = options.name;
    this.#options = options;
    this.clock = this.#ownClock();
  }

  get isDead(): boolean {
    return this.#options.life.dead;
  }

  get isStalled(): boolean {
    return this.#stalledUntilMs > 0;
  }

  end(): void {
    if (!this.isDead) this.#options.end();
  }

  /** It stands still for so long; what it is told meanwhile it hears afterwards, in order. */
  stall(milliseconds: number): void {
    const { clock } = this.#options;
    const untilMs = clock.monotonicMs() + milliseconds;
    if (untilMs <= this.#stalledUntilMs) return;
    this.#stalledUntilMs = untilMs;
    clock.after(milliseconds, () => {
      if (this.#stalledUntilMs === untilMs) this.goOn();
    });
  }

  /** As by SIGCONT. */
  goOn(): void {
    this.#stalledUntilMs = 0;
    for (const hear of this.#held.splice(0)) this.deliver(hear);
  }

  /** Lets the process hear of something: now, after its stall, or never. */
  deliver(hear: () => void): void {
    if (this.isDead) return;
    if (this.isStalled) this.#held.push(hear);
    else hear();
  }

  /** The port as this process sees it. */
  enclose<T extends object>(port: string, target: T): T {
    const known = this.#enclosed.get(target);
    if (known) return known as T;
    const methods = new Map<string, { of: unknown; enclosed: unknown }>();
    const enclosed = new Proxy(target, {
      get: (object, name) => {
        const value: unknown = Reflect.get(object, name, object);
        if (typeof value !== "function" || typeof name !== "string") return value;
        const made = methods.get(name);
        if (made?.of === value) return made.enclosed;
        const method = local.has(name) ? value.bind(object) : this.#method(`${port}.${name}`, object, value as Method);
        methods.set(name, { of: value, enclosed: method });
        return method;
      },
    });
    this.#enclosed.set(target, enclosed);
    return enclosed;
  }

  /** A call that leaves the process. */
  async ask<T>(step: string, act: () => Promise<T> | T): Promise<T> {
    if (this.isStalled) await this.#awake();
    if (this.isDead) return never();
    const fate = this.#options.fateOf(this, step);
    switch (fate.kind) {
      case "ends-before":
        this.end();
        return never();
      case "ends-after":
        // The call is made; its answer finds nobody.
        void Promise.resolve(act()).then(
          () => this.end(),
          () => this.end(),
        );
        return never();
      case "fails":
        throw new Error(fate.detail);
      case "takes":
        await this.#options.clock.sleep(fate.milliseconds);
        break;
      case "passes":
        break;
    }
    try {
      const answer = await act();
      if (this.isStalled) await this.#awake();
      return this.isDead ? never() : answer;
    } catch (error) {
      if (this.isStalled) await this.#awake();
      if (this.isDead) return never();
      throw error;
    }
  }

  #method(step: string, object: object, method: Method): (...parameters: unknown[]) => unknown {
    const isOnlyTold = isTold(step);
    return (...parameters) => {
      const given = parameters.map((parameter) => this.#givenOut(step, parameter));
      if (isOnlyTold) return this.isDead ? undefined : method.apply(object, given as never[]);
      return this.ask(step, async () => this.#takenIn(step, await method.apply(object, given as never[])));
    };
  }

  /** What the process hands out to be called by: it hears only what it can. */
  #givenOut(step: string, value: unknown): unknown {
    const hearing =
      (listener: (...heard: unknown[]) => unknown) =>
      (...heard: unknown[]): void =>
        this.deliver(() => void listener(...heard.map((one) => this.#takenIn(step, one))));
    if (typeof value === "function") return hearing(value as (...heard: unknown[]) => unknown);
    if (!isPlain(value)) return value;
    const members = Object.entries(value);
    if (!members.some(([, member]) => typeof member === "function")) return value;
    return Object.fromEntries(
      members.map(([name, member]) => [name, typeof member === "function" ? hearing(member as () => unknown) : member]),
    );
  }

  /** What a port hands in (a copy, a machine, a held lock, a link) belongs to this process. */
  #takenIn(step: string, value: unknown): unknown {
    if (Array.isArray(value)) return value.map((one) => this.#takenIn(step, one));
    if (typeof value === "function") {
      return (...parameters: unknown[]) => (this.isDead ? undefined : value(...parameters));
    }
    if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || value instanceof Response)
      return value;
    if (isPort(value)) return this.enclose(step.slice(0, step.indexOf(".")), value);
    if ("lock" in value && typeof value.lock === "object" && value.lock !== null) {
      return { ...value, lock: this.enclose("lock", value.lock) };
    }
    return value;
  }

  #awake(): Promise<void> {
    return this.isStalled ? new Promise((resolve) => void this.#held.push(resolve)) : Promise.resolve();
  }

  #ownClock(): Clock {
    const { clock, drift } = this.#options;
    const speed = 1 + drift;
    const after = (milliseconds: number, action: () => void): (() => void) => {
      let isStopped = false;
      const stop = clock.after(milliseconds / speed, () => {
        this.deliver(() => {
          if (!isStopped) action();
        });
      });
      return () => {
        isStopped = true;
        stop();
      };
    };
    return {
      monotonicMs: () => clock.monotonicMs() * speed,
      after,
      sleep: (milliseconds, signal) =>
        new Promise((resolve, reject) => {
          if (signal?.aborted) return reject(signal.reason);
          const onAbort = () => {
            stop();
            reject(signal?.reason);
          };
          const stop = after(milliseconds, () => {
            signal?.removeEventListener("abort", onAbort);
            resolve();
          });
          signal?.addEventListener("abort", onAbort, { once: true });
        }),
    };
  }
}

/** Calls that say something and wait for no answer. */
const told = new Set(["listen", "detach", "send-now", "raise", "keepSpare"]);
const isTold = (step: string): boolean =>
  told.has(step.slice(step.indexOf(".") + 1)) || step === "peer.send" || step === "peer.close";

const isPlain = (value: unknown): value is object =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;

/** An object that acts, rather than one that tells. */
const isPort = (value: object): boolean =>
  !isPlain(value) || Object.values(value).some((member) => typeof member === "function");

export const unharmed = (): Fate => passes;
