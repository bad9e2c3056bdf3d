// The processes of a local cluster. One that ends unasked breaks the cluster, or, where it is kept up, is started again,
// as a service manager does on a real host.
import { setTimeout as delay } from "node:timers/promises";
import { type Child, type ChildProgram, startChild } from "./child.ts";

/** A process that ends so often within so long is not started again. */
const ends = { atMost: 4, withinMs: 60_000 } as const;
const pauseMs = 500;

export class Children {
  readonly #children = new Map<string, Child>();
  readonly #programs = new Map<string, ChildProgram>();
  readonly #endedAtMs = new Map<string, number[]>();
  readonly #stopping = new AbortController();
  #tell: ((line: string) => void) | null = null;
  readonly #broken = Promise.withResolvers<never>();
  readonly #vital: string;

  /** @param vital the one without which the others are of no use; any other that cannot be kept up is left alone */
  constructor(vital: string) {
    this.#vital = vital;
    this.broken.catch(() => {}); // Whoever does not look has no use for it.
  }

  /** Rejects when one of them ends unasked and is not kept up, or is vital and ends again and again. */
  get broken(): Promise<never> {
    return this.#broken.promise;
  }

  /** @param again how to start it when it has ended, where that is another way
   *  @throws when it does not become ready */
  async start(program: ChildProgram, again: (child: Child) => ChildProgram = () => program): Promise<Child> {
    const child = await startChild(program);
    this.#programs.set(child.name, again(child));
    this.#watch(child);
    return child;
  }

  get(name: string): Child {
    const child = this.#children.get(name);
    if (!child) throw new Error(`no process ${name}`);
    return child;
  }

  /** From now on those that end are started again, and told of. */
  keepUp(tell: (line: string) => void): void {
    this.#tell = tell;
  }

  break(why: string): void {
    if (!this.#stopping.signal.aborted) this.#broken.reject(new Error(why));
  }

  /** From then on none is started again, of the others neither. */
  async stop(names: string[]): Promise<void> {
    this.#stopping.abort();
    await Promise.all(names.map((name) => this.#children.get(name)?.stop()));
  }

  #watch(child: Child): void {
    this.#children.set(child.name, child);
    void child.ended.then((how) => this.#onEnd(child.name, how));
  }

  async #onEnd(name: string, how: string): Promise<void> {
    const program = this.#programs.get(name);
    if (this.#stopping.signal.aborted || !program) return;
    const nowMs = performance.now();
    const recent = (this.#endedAtMs.get(name) ?? []).filter((atMs) => nowMs - atMs < ends.withinMs);
    this.#endedAtMs.set(name, [...recent, nowMs]);
    if (!this.#tell) return this.break(`${name} ${how}`);
    if (recent.length >= ends.atMost) {
      const often = `${name} ${how}, ${recent.length + 1} times within ${ends.withinMs / 1000} s`;
      if (name === this.#vital) return this.break(often);
      this.#tell(`${often}: it is left alone; its guests run on. Its log: ${program.logFile}`);
      return;
    }
    this.#tell(`${name} ${how}: it is started again`);
    try {
      await delay(recent.length * pauseMs, undefined, { signal: this.#stopping.signal });
      const child = await startChild(program);
      if (this.#stopping.signal.aborted) return await child.stop();
      this.#watch(child);
      this.#tell(`${name} is up again`);
    } catch (error) {
      await this.#onEnd(name, `did not start again: ${(error as Error).message}`);
    }
  }
}
