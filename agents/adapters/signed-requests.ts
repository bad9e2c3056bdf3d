// One host's signed requests to the control plane: numbered, stamped with the control plane's own clock, and bound to
// host and incarnation. Learns counter and clock from every answer.
import { agentHeaders, readCounter } from "../../schemas/agent.ts";
import { Instant } from "../../schemas/ids.ts";
import { contentDigest, type Sign, signRequest } from "../../schemas/signing.ts";
import type { Clock } from "../ports/clock.ts";

export type Fetch = (url: string, init: RequestInit) => Promise<Response> | Response;

/** The highest request number that an answer has confirmed. It must outlive the agent, or a table that went back would
 *  not be noticed (agents/adapters/counter-file.ts). */
export interface AcknowledgedCounter {
  readonly value: number;
  /** Outlives the agent's process when it returns. */
  raise(counter: number): void;
  /** Outlives the host's power when it resolves. */
  sync(): Promise<void>;
}

export type SignedRequestOptions = {
  /** Of the control plane, without a path. */
  url: string;
  cluster: string;
  host: string;
  incarnation: string;
  sign: Sign;
  fetch: Fetch;
  clock: Clock;
  acknowledged: AcknowledgedCounter;
  /** A first guess at the time, ms since the epoch, until the control plane has told its own. */
  wallNowMs: () => number;
};

export type HttpAnswer = { status: number; body: unknown };

export class SignedRequests {
  readonly #options: SignedRequestOptions;
  #counter: number;
  #answeredTime: { atMs: number; monotonicMs: number } | null = null;

  constructor(options: SignedRequestOptions) {
    this.#options = options;
    this.#counter = options.acknowledged.value;
  }

  get clock(): Clock {
    return this.#options.clock;
  }

  controlPlaneNowMs(): number | null {
    if (!this.#answeredTime) return null;
    return this.#answeredTime.atMs + this.#options.clock.monotonicMs() - this.#answeredTime.monotonicMs;
  }

  /** @param path with the query
   *  @throws when no answer came in time, or a broken one: it may or may not have happened */
  async exchange(
    method: "GET" | "POST",
    path: string,
    body: unknown,
    signal: AbortSignal,
    timeoutMs: number,
  ): Promise<HttpAnswer> {
    const either = new AbortController();
    const stopTimer = this.clock.after(timeoutMs, () => either.abort(new Error(`no answer within ${timeoutMs} ms`)));
    const onAbort = () => either.abort(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await Promise.race([this.#exchange(method, path, body, either.signal), aborted(either.signal)]);
    } finally {
      stopTimer();
      signal.removeEventListener("abort", onAbort);
    }
  }

  async #exchange(method: "GET" | "POST", path: string, body: unknown, signal: AbortSignal): Promise<HttpAnswer> {
    const text = method === "POST" ? JSON.stringify(body) : "";
    const { url, cluster, host, incarnation, sign, fetch, acknowledged } = this.#options;
    const parts = {
      method,
      path,
      contentDigest: await contentDigest(text),
      host: `${cluster}/${host}`,
      incarnation,
      counter: String(++this.#counter),
      acknowledged: String(acknowledged.value),
    };
    const nowMs = this.controlPlaneNowMs() ?? this.#options.wallNowMs();
    const signature = await signRequest(parts, Math.floor(nowMs / 1000), sign);
    const response = await fetch(new URL(path, url).href, {
      method,
      headers: {
        ...(method === "POST" ? { "content-type": "application/json" } : {}),
        "content-digest": parts.contentDigest,
        [agentHeaders.host]: parts.host,
        [agentHeaders.incarnation]: parts.incarnation,
        [agentHeaders.counter]: parts.counter,
        [agentHeaders.acknowledged]: parts.acknowledged,
        ...signature,
      },
      ...(method === "POST" ? { body: text } : {}),
      redirect: "error",
      signal,
    });
    const answer = await response.text();
    this.#learn(response.headers);
    return { status: response.status, body: JSON.parse(answer) };
  }

  #learn(headers: Headers): void {
    const counter = readCounter(headers.get(agentHeaders.counter) ?? "");
    if (counter !== null) {
      this.#counter = Math.max(this.#counter, counter);
      if (counter > this.#options.acknowledged.value) this.#options.acknowledged.raise(counter);
    }
    const atMs = Instant.safeParse(Number(headers.get(agentHeaders.time) ?? Number.NaN));
    if (atMs.success) this.#answeredTime = { atMs: atMs.data, monotonicMs: this.clock.monotonicMs() };
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
