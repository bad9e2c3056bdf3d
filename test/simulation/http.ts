// Requests and answers that are handed over in one process, light as those that the product's Node server puts in the
// platform's place: a text, a status and headers, where the platform makes streams and follows signals that nobody asks
// for. On the product's own adapters, all of it is the platform's (real-adapters.ts).

/** From now on the platform's headers and answers are these. @returns how to put the platform's own back */
export function installHttp(): () => void {
  const light = { Headers: LightHeaders, Response: LightResponse };
  const names = Object.keys(light) as (keyof typeof light)[];
  const own = names.map((name) => Object.getOwnPropertyDescriptor(globalThis, name));
  for (const name of names) {
    Object.defineProperty(globalThis, name, { value: light[name], configurable: true, writable: true });
  }
  return () => {
    names.forEach((name, index) => {
      Object.defineProperty(globalThis, name, own[index] ?? {});
    });
  };
}

/** While installed: carries a request to whoever handles it, and the answer back. */
export function exchangeLight(
  handle: (request: Request) => Promise<Response>,
  path: string,
  init: RequestInit,
): Promise<Response> {
  return handle(new LightRequest(`http://localhost${path}`, init) as unknown as Request);
}

type HeadersInput = Iterable<readonly [string, string]> | { [name: string]: string | undefined };

class LightHeaders {
  readonly #values: Map<string, string> = new Map();

  constructor(input?: HeadersInput | null) {
    if (!input) return;
    if (input instanceof LightHeaders) {
      this.#values = new Map(input.#values);
      return;
    }
    const pairs = isIterable(input) ? input : Object.entries(input);
    for (const [name, value] of pairs) this.append(name, String(value));
  }

  get(name: string): string | null {
    return this.#values.get(name.toLowerCase()) ?? null;
  }
  has(name: string): boolean {
    return this.#values.has(name.toLowerCase());
  }
  set(name: string, value: string): void {
    this.#values.set(checkName(name), checkValue(value));
  }
  append(name: string, value: string): void {
    const before = this.get(name);
    this.set(name, before === null ? value : `${before}, ${value}`);
  }
  delete(name: string): void {
    this.#values.delete(name.toLowerCase());
  }
  getSetCookie(): string[] {
    return [...this.#values].flatMap(([name, value]) => (name === "set-cookie" ? [value] : []));
  }
  forEach(act: (value: string, name: string) => void): void {
    for (const [name, value] of this) act(value, name);
  }
  keys(): string[] {
    return [...this.#values.keys()].sort();
  }
  entries(): [string, string][] {
    return [...this.#values].sort(([one], [other]) => (one < other ? -1 : 1));
  }
  [Symbol.iterator](): Iterator<[string, string]> {
    return this.entries()[Symbol.iterator]();
  }
}

const isIterable = (input: HeadersInput): input is Iterable<readonly [string, string]> => Symbol.iterator in input;

function checkName(name: string): string {
  if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) throw new TypeError(`no name of a header: ${JSON.stringify(name)}`);
  return name.toLowerCase();
}

function checkValue(value: string): string {
  if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) throw new TypeError(`no value of a header: ${JSON.stringify(value)}`);
  return value.trim();
}

const encoder = new TextEncoder();

/** Read once, whole: as much of a stream as anybody here asks of one. */
class LightBody {
  readonly text: string;
  isUsed = false;

  constructor(text: string) {
    this.text = text;
  }

  take(): string {
    if (this.isUsed) throw new TypeError("the body was read before");
    this.isUsed = true;
    return this.text;
  }

  getReader(): { read(): Promise<{ done: boolean; value?: Uint8Array }>; cancel(): Promise<void> } {
    let left: string | null = this.take() || null;
    return {
      read: async () => {
        if (left === null) return { done: true };
        const value = encoder.encode(left);
        left = null;
        return { done: false, value };
      },
      cancel: async () => {
        left = null;
      },
    };
  }
}

class LightMessage {
  readonly headers: LightHeaders;
  readonly body: LightBody | null;

  constructor(body: unknown, headers: HeadersInput | null) {
    this.headers = new LightHeaders(headers);
    if (body instanceof LightBody) this.body = new LightBody(body.take());
    else if (typeof body === "string") this.body = new LightBody(body);
    else if (body === null || body === undefined) this.body = null;
    else throw new TypeError("only texts are carried in a simulation");
  }

  get bodyUsed(): boolean {
    return this.body?.isUsed ?? false;
  }
  async text(): Promise<string> {
    return this.body?.take() ?? "";
  }
  async json(): Promise<unknown> {
    return JSON.parse(await this.text());
  }
}

class LightRequest extends LightMessage {
  readonly method: string;
  readonly url: string;
  #signal: AbortSignal | null;

  constructor(url: string, { method = "GET", headers, body, signal }: RequestInit) {
    super(body, (headers as HeadersInput | undefined) ?? null);
    this.method = method;
    this.url = url;
    this.#signal = signal ?? null;
  }

  get signal(): AbortSignal {
    this.#signal ??= new AbortController().signal;
    return this.#signal;
  }
}

type ResponseOptions = { status?: number | undefined; headers?: HeadersInput | undefined };

class LightResponse extends LightMessage {
  readonly status: number;

  constructor(body?: unknown, { status = 200, headers }: ResponseOptions = {}) {
    super(body, headers ?? null);
    if (!(status >= 200 && status <= 599)) throw new RangeError(`no status of an answer: ${status}`);
    this.status = status;
    if (typeof body === "string" && !this.headers.has("content-type")) {
      this.headers.set("content-type", "text/plain;charset=UTF-8");
    }
  }

  get ok(): boolean {
    return this.status <= 299;
  }
  clone(): LightResponse {
    if (this.bodyUsed) throw new TypeError("the body was read before");
    return new LightResponse(this.body?.text ?? null, { status: this.status, headers: this.headers });
  }
}
