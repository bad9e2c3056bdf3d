// A copy as its agent holds it: a connection to the supervisor's process. When that process dies the copy finds the
// one that takes its place; what was asked meanwhile is refused, because nobody knows whether it happened.
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { StreamEndpoint } from "../../schemas/peer.ts";
import type { VmSpec } from "../../schemas/vm.ts";
import type { Copy, CopyAccount, CopyEvent, CopyStatus, PermitOutcome } from "../ports/copies.ts";
import type { GateDecision } from "../ports/gate.ts";
import { Greeting, type Question, type Said, withKeyText } from "../supervisor/protocol.ts";
import { lineSplitter } from "./line-socket.ts";

const signOfLifeMs = 250;
const answerWithinMs = 30_000;
const tryAgainMs = 2000;
const lineLimitBytes = 1024 * 1024;

/** Its supervisor died once the folder was given up, which it does last: nothing of the copy is left. */
const gone: CopyStatus = {
  machine: "ended",
  lock: "free",
  ended: { how: "killed", detail: "its folder is gone" },
  gate: null,
  atGate: null,
  resets: 0,
};

type Waiting = { resolve: (result: unknown) => void; reject: (error: Error) => void; timer: NodeJS.Timeout };

export type SupervisorFinder = {
  /** Connects to the copy's supervisor, started again first if it is dead. Tries until it succeeds or `signal` ends
   *  it. Null: the copy's folder is gone. */
  reach(copyId: string, signal: AbortSignal): Promise<Socket | null>;
  /** What the copy's folder says of it, while its supervisor says nothing. Null when the folder does not tell. */
  read(copyId: string): Greeting | null;
  /** The copy is gone for good. */
  gone(copyId: string): void;
};

export class ProcessCopy implements Copy {
  readonly copyId: string;
  readonly #finder: SupervisorFinder;
  readonly #listeners = new Set<(event: CopyEvent) => void>();
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended = new AbortController();
  #greeting: Greeting | null = null;
  #connection: Promise<Socket | null>;
  #lastId = 0;
  /** Why its supervisor cannot be asked; null once it has said what it is. */
  #fault: Error | null = null;
  #tryAgain: NodeJS.Timeout | undefined;
  /** What was heard before anybody listened, measurements apart. */
  readonly #unheard: CopyEvent[] = [];

  constructor(copyId: string, finder: SupervisorFinder) {
    this.copyId = copyId;
    this.#finder = finder;
    this.#connection = this.#keepConnecting();
  }

  /** Resolves once its supervisor has said what it is. Null: there is no such copy any more.
   *  @throws when its supervisor cannot be started */
  async greeted(): Promise<Greeting | null> {
    await this.#connection;
    return this.#greeting;
  }

  /** Resolves in any case, after `withinMs` at the latest: a supervisor that cannot be started, or does not answer, is
   *  tried on, and whatever is asked meanwhile is refused with the reason.
   *  @returns whether there is such a copy */
  async found(withinMs: number): Promise<boolean> {
    const deadline = new AbortController();
    const late = delay(withinMs, "late" as const, { signal: deadline.signal }).catch(() => "late" as const);
    const connected = this.#connection.catch(() => "faulty" as const);
    const first = await Promise.race([connected, late]);
    deadline.abort();
    if (first === "late" && !this.#greeting) {
      this.#fault = new Error(`the supervisor of ${this.copyId} has not answered for ${withinMs} ms`);
    }
    return first !== null;
  }

  get vmId(): string {
    return this.#known().vmId;
  }
  get spec(): VmSpec {
    return this.#known().spec;
  }
  /** Null also where its supervisor and its folder do not tell: nobody can act on it then. */
  get migrationId(): string | null {
    return this.#greeting || !this.#fault
      ? this.#known().migrationId
      : (this.#finder.read(this.copyId)?.migrationId ?? null);
  }

  status = async (): Promise<CopyStatus> => {
    if (!this.#fault && (await this.#connection) === null) return gone;
    return this.#ask<CopyStatus>({ method: "status" });
  };
  account = () => this.#ask<CopyAccount>({ method: "account" });
  run = (fencingToken: number, replaceLockFile = false) =>
    this.#ask<PermitOutcome>({ method: "run", fencingToken, ...(replaceLockFile ? { replaceLockFile } : {}) });
  takeBackLock = (fencingToken: number) => this.#ask<PermitOutcome>({ method: "takeBackLock", fencingToken });
  arrivePaused = (fencingToken: number) => this.#ask<PermitOutcome>({ method: "arrivePaused", fencingToken });
  pause = () => this.#ask<void>({ method: "pause" });
  resume = (fencingToken: number) => this.#ask<PermitOutcome>({ method: "resume", fencingToken });
  reset = (number: number) => this.#ask<void>({ method: "reset", number });
  permitNext: Copy["permitNext"] = (next) => this.#ask<void>({ method: "permitNext", next });
  receive: Copy["receive"] = (stream) => this.#ask<StreamEndpoint>({ method: "receive", stream: withKeyText(stream) });
  throttle = (percent: number) => this.#ask<void>({ method: "throttle", percent });
  cancelStream = () => this.#ask<void>({ method: "cancelStream" });
  holdAtGate: Copy["holdAtGate"] = (agentSilenceMs) => this.#ask({ method: "holdAtGate", agentSilenceMs });
  passGate = () => this.#ask<GateDecision>({ method: "passGate" });
  cancelAtGate = () => this.#ask<GateDecision>({ method: "cancelAtGate" });

  send: Copy["send"] = async (stream) => {
    this.#greeting = { ...this.#known(), migrationId: stream.migrationId };
    await this.#ask<void>({ method: "send", stream: withKeyText(stream) });
  };

  async destroy(): Promise<void> {
    if (this.#fault) throw this.#fault;
    // A supervisor that dies meanwhile is started again, and asked again by whoever called.
    if (await this.#connection) await this.#ask<void>({ method: "destroy" });
    this.detach();
    this.#finder.gone(this.copyId);
  }

  listen(listener: (event: CopyEvent) => void): () => void {
    this.#listeners.add(listener);
    for (const event of this.#unheard.splice(0)) listener(event);
    return () => this.#listeners.delete(listener);
  }

  /** Lets go of the supervisor, which then waits for the next agent. */
  detach(): void {
    this.#ended.abort(new Error("the agent has let go of this copy"));
    this.#listeners.clear();
    clearTimeout(this.#tryAgain);
    void this.#connection.then(
      (socket) => socket?.destroy(),
      () => {},
    );
  }

  #known(): Greeting {
    const known = this.#greeting ?? this.#finder.read(this.copyId);
    if (known) return known;
    if (this.#fault) throw this.#fault;
    throw new Error(`${this.copyId} has not been reached yet`);
  }

  /** Until a supervisor has said what it is, or the copy's folder is gone. */
  async #connect(): Promise<Socket | null> {
    while (true) {
      const socket = await this.#finder.reach(this.copyId, this.#ended.signal);
      if (!socket) return null;
      this.#attach(socket);
      try {
        this.#greeting = Greeting.parse(await this.#askOn(socket, { method: "hello" }));
        this.#fault = null;
        socket.once("close", () => this.#lost());
        return socket;
      } catch {
        socket.destroy(); // It died as it was greeted.
      }
    }
  }

  #attach(socket: Socket): void {
    const split = lineSplitter(lineLimitBytes, (line) => this.#heard(JSON.parse(line) as Said));
    socket.on("data", (chunk: Buffer) => {
      if (!split(chunk)) socket.destroy();
    });
    socket.on("error", () => socket.destroy());
    const signsOfLife = setInterval(() => socket.write("\n"), signOfLifeMs);
    socket.once("close", () => {
      clearInterval(signsOfLife);
      for (const { reject, timer } of this.#waiting.values()) {
        clearTimeout(timer);
        reject(new Error("the supervisor is gone; what was asked may or may not have happened"));
      }
      this.#waiting.clear();
    });
  }

  #lost(): void {
    if (this.#ended.signal.aborted) return;
    this.#emit({ kind: "supervisor-lost" });
    this.#connection = this.#keepConnecting();
  }

  /** What is asked while no supervisor can be started is refused with the reason; it is tried again all the same. */
  #keepConnecting(): Promise<Socket | null> {
    const connection = this.#connect();
    connection.catch((error: Error) => {
      if (this.#ended.signal.aborted) return;
      this.#fault = error;
      this.#tryAgain = setTimeout(() => {
        this.#connection = this.#keepConnecting();
      }, tryAgainMs);
    });
    return connection;
  }

  async #ask<T>(question: Question): Promise<T> {
    if (this.#ended.signal.aborted) throw this.#ended.signal.reason;
    if (this.#fault) throw this.#fault;
    const socket = await this.#connection;
    if (!socket) throw new Error(`${this.copyId} is gone`);
    return (await this.#askOn(socket, question)) as T;
  }

  #askOn(socket: Socket, question: Question): Promise<unknown> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      if (socket.destroyed) return reject(new Error("the supervisor is gone; nothing was asked"));
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`the supervisor did not answer ${question.method}; it may or may not have happened`));
      }, answerWithinMs);
      this.#waiting.set(id, { resolve, reject, timer });
      socket.write(`${JSON.stringify({ id, ...question })}\n`);
    });
  }

  #heard(said: Said): void {
    if ("event" in said) {
      this.#emit(said.event);
      return;
    }
    const waiting = this.#waiting.get(said.id);
    if (!waiting) return;
    this.#waiting.delete(said.id);
    clearTimeout(waiting.timer);
    if ("error" in said) waiting.reject(new Error(said.error));
    else waiting.resolve(said.result);
  }

  #emit(event: CopyEvent): void {
    const isMeasurement = event.kind === "sampled" || event.kind === "guest-reported";
    if (this.#listeners.size === 0 && !isMeasurement) this.#unheard.push(event);
    for (const listener of [...this.#listeners]) listener(event);
  }
}
