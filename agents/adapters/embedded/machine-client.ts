// A machine as its caller holds it: the guest's process, spoken to over its socket. Letting go of it leaves the guest
// alone; a process that is gone is told as the guest's end, with its last words where it left any.
import { closeSync, constants, openSync, readFileSync } from "node:fs";
import net from "node:net";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { StreamEndpoint } from "../../../schemas/peer.ts";
import type {
  IncomingStream,
  Machine,
  MachineEvent,
  MachineReference,
  MachineState,
  OutgoingStream,
  RunOutcome,
} from "../../ports/hypervisor.ts";
import { type Answer, type Call, keyText, LastWords, lastWordsName, readLines, type Told } from "./control-protocol.ts";
import { isAlive } from "./process-identity.ts";

type Ended = Extract<MachineEvent, { kind: "ended" }>;
type Waiting = { resolve: (result: unknown) => void; reject: (error: Error) => void; timer: NodeJS.Timeout };
/** A call without its number; distributes over the union. */
type Request = Call extends infer C ? (C extends { id: number } ? Omit<C, "id"> : never) : never;

const answerWithinMs = 10_000;
const goneWithinMs = 5000;
const lookEveryMs = 5;
/** Between tries to reach a process that lives and closed its socket. */
const retryMs = { first: 20, longest: 1000 };

export class MachineClient implements Machine {
  readonly reference: MachineReference;
  readonly #listeners = new Set<(event: MachineEvent) => void>();
  readonly #waiting = new Map<number, Waiting>();
  #socket: net.Socket | null = null;
  #lastId = 0;
  #ended: Ended | null = null;
  #detached = false;
  #destroyed = false;

  private constructor(reference: MachineReference) {
    this.reference = reference;
  }

  /** @throws when the process cannot be spoken to */
  static async connect(reference: MachineReference): Promise<MachineClient> {
    const client = new MachineClient(reference);
    await client.#connect();
    return client;
  }

  /** A machine whose process has ended and has left its last words; it says them to the first who listens. */
  static ended(reference: MachineReference, ended: Ended): MachineClient {
    const client = new MachineClient(reference);
    client.#ended = ended;
    return client;
  }

  async state(): Promise<MachineState> {
    if (this.#isGone()) return "ended";
    try {
      return (await this.#call({ method: "state" })) as MachineState;
    } catch (error) {
      if (this.#isGone()) return "ended";
      throw error;
    }
  }

  async run(): Promise<RunOutcome> {
    if (this.#isGone()) return { kind: "refused", detail: "the guest has ended" };
    return (await this.#call({ method: "run" })) as RunOutcome;
  }

  async stop(): Promise<void> {
    if (this.#isGone()) return;
    await this.#call({ method: "stop" });
  }

  async reset(): Promise<void> {
    await this.#call({ method: "reset" });
  }

  async settings(): Promise<{ [name: string]: string | number | boolean }> {
    return (await this.#call({ method: "settings" })) as { [name: string]: string | number | boolean };
  }

  async receive(stream: IncomingStream): Promise<StreamEndpoint> {
    return (await this.#call({ method: "receive", stream: { ...stream, key: keyText(stream.key) } })) as StreamEndpoint;
  }

  async send(stream: OutgoingStream): Promise<void> {
    await this.#call({ method: "send", stream: { ...stream, key: keyText(stream.key) } });
  }

  async finish(): Promise<void> {
    await this.#call({ method: "finish" });
  }

  async cancel(): Promise<void> {
    if (this.#isGone()) return;
    await this.#call({ method: "cancel" });
  }

  async throttle(percent: number): Promise<void> {
    await this.#call({ method: "throttle", percent });
  }

  async destroy(): Promise<void> {
    this.#destroyed = true;
    const { pid, startedAt } = this.reference;
    if (!this.#isGone() && this.#socket !== null) {
      // Its own way out first; whatever it answers, it is seen to be gone below.
      await Promise.race([this.#call({ method: "destroy" }).catch(() => undefined), sleep(500)]);
      await this.#awaitGone(500);
    }
    if (isAlive(pid, startedAt)) process.kill(pid, "SIGKILL");
    if (!(await this.#awaitGone(goneWithinMs))) throw new Error(`the process ${pid} of a guest does not end`);
    this.#ended ??= { kind: "ended", how: "killed", detail: "destroyed" };
    this.#socket?.destroy();
  }

  listen(listener: (event: MachineEvent) => void): () => void {
    this.#listeners.add(listener);
    // Nobody was there to hear how a guest ended that is found ended.
    const ended = this.#ended;
    if (ended !== null && !this.#destroyed) queueMicrotask(() => this.#listeners.has(listener) && listener(ended));
    return () => this.#listeners.delete(listener);
  }

  detach(): void {
    this.#detached = true;
    this.#listeners.clear();
    this.#socket?.destroy();
    this.#socket = null;
  }

  /** For trials: types on the guest's console. The selftest guest takes R<MiB/s>, P and X. */
  async type(text: string): Promise<void> {
    await this.#call({ method: "type", text });
  }

  /** For trials: SHA-256 of the guest's memory. */
  async memoryDigest(): Promise<string> {
    return (await this.#call({ method: "digest" })) as string;
  }

  #isGone(): boolean {
    return this.#ended !== null || !isAlive(this.reference.pid, this.reference.startedAt);
  }

  async #awaitGone(milliseconds: number): Promise<boolean> {
    const { pid, startedAt } = this.reference;
    for (const until = performance.now() + milliseconds; isAlive(pid, startedAt); await sleep(lookEveryMs))
      if (performance.now() > until) return false;
    return true;
  }

  #call(call: Request): Promise<unknown> {
    const socket = this.#socket;
    if (socket === null || !socket.writable) return Promise.reject(new Error("the guest's process is not connected"));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`the guest's process did not answer ${call.method}; it may or may not have happened`));
      }, answerWithinMs);
      this.#waiting.set(id, { resolve, reject, timer });
      socket.write(`${JSON.stringify({ id, ...call })}\n`);
    });
  }

  async #connect(): Promise<void> {
    const folder = dirname(this.reference.socket);
    // Through an open folder: its path may be longer than a socket's name can be.
    const handle = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      const socket = net.connect(`/proc/self/fd/${handle}/${basename(this.reference.socket)}`);
      await new Promise<void>((resolve, reject) => {
        socket.once("connect", resolve);
        socket.once("error", reject);
      });
      this.#socket = socket;
    } finally {
      closeSync(handle);
    }
    if (this.#detached || this.#destroyed) this.#socket.destroy();
    this.#socket.on("error", () => undefined);
    readLines(this.#socket, (line) => this.#heard(line));
    this.#socket.on("close", () => void this.#lost());
  }

  #heard(line: string): void {
    const said = JSON.parse(line) as Answer | Told;
    if ("event" in said) {
      this.#tell(said.event);
      return;
    }
    const waiting = this.#waiting.get(said.id);
    this.#waiting.delete(said.id);
    clearTimeout(waiting?.timer);
    if ("error" in said) waiting?.reject(new Error(said.error));
    else waiting?.resolve(said.result);
  }

  #tell(event: MachineEvent): void {
    if (event.kind === "ended") {
      if (this.#ended !== null) return;
      this.#ended = event;
    }
    if (this.#destroyed) return;
    for (const listener of [...this.#listeners]) listener(event);
  }

  async #lost(): Promise<void> {
    this.#socket = null;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new Error("the guest's process closed its socket"));
    }
    this.#waiting.clear();
    if (this.#detached || this.#destroyed || this.#ended !== null) return;
    await this.#findAgain();
  }

  /** A process that lives is never told as ended, however long it answers nobody: its guest may execute. */
  async #findAgain(): Promise<void> {
    const { pid, startedAt } = this.reference;
    for (let pauseMs = retryMs.first; ; pauseMs = Math.min(retryMs.longest, pauseMs * 2)) {
      const isGone = !isAlive(pid, startedAt);
      const words = lastWords(this.reference);
      if (this.#detached || this.#destroyed) return;
      if (isGone || words !== null) return this.#tell(words ?? killed);
      try {
        return await this.#connect();
      } catch {
        await sleep(pauseMs, undefined, { ref: false });
      }
    }
  }
}

const killed: Ended = { kind: "ended", how: "killed", detail: "its process ended without a word" };

/** How the guest of this process ended, as the process itself wrote it; null when it wrote nothing. */
export function lastWords(reference: MachineReference): Ended | null {
  const path = join(dirname(reference.socket), lastWordsName);
  try {
    return { kind: "ended", ...LastWords.parse(JSON.parse(readFileSync(path, "utf8"))) };
  } catch {
    return null; // None, or not written to their end.
  }
}
