// Requests made from the API's document, each route, valid and hostile, and what every answer must be: documented.
import assert from "node:assert/strict";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { type Answer, answerOf, type Cluster, cluster, makeCluster, runVm } from "../functions/support/world.ts";
import { Random } from "../simulation/random.ts";
import { type Described, type Document, operationsOf } from "./operations.ts";
import { Values } from "./values.ts";

export type Tally = { requests: number; statuses: { [operation: string]: { [status: string]: number } } };

const hosts = ["host-a", "host-b", "host-c"];

/** A cluster with something in it, and the means to ask it everything there is. */
export class ApiPlayer {
  readonly #world: Cluster;
  readonly #key: string;
  readonly #operations: Described[];
  readonly #random: Random;
  readonly #values: Values;
  readonly #validators = new Map<string, ValidateFunction>();
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false });
  readonly tally: Tally = { requests: 0, statuses: {} };

  private constructor(world: Cluster, key: string, document: Document, migrations: string[], seed: number) {
    this.#world = world;
    this.#key = key;
    this.#operations = operationsOf(document);
    this.#random = new Random(seed);
    const known = {
      ClusterId: [cluster],
      HostId: hosts,
      VmId: ["vm-1", "vm-2", "vm-3"],
      MigrationId: migrations,
      Scope: ["read", "migrate"],
    };
    this.#values = new Values(this.#random, document.components.schemas, known);
    this.#ajv.addSchema(document, "api");
  }

  static async start(seed: number): Promise<ApiPlayer> {
    const world = await makeCluster(hosts);
    const document = (await (await world.raw("/openapi.json", {})).json()) as Document;
    await runVm(world, "vm-1", "host-a");
    await runVm(world, "vm-2", "host-b");
    const { body } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-c" });
    const key = await world.makeKey(["read", "migrate", "force", "administer"]);
    return new ApiPlayer(world, key, document, [body.id], seed);
  }

  /** Asks one thing. @throws where the answer is none that the document tells of */
  async step(): Promise<void> {
    const random = this.#random;
    const described = random.pick(this.#operations);
    const { method, operation } = described;
    const path = this.#path(described);
    const { text, type } = this.#body(described);
    const headers: { [name: string]: string } = this.#headers(described, type);
    const sent = method === "GET" || text === null ? {} : { body: text };
    const isSigned = operation.tags.includes("agent") && random.chance(0.9);
    const answer = isSigned
      ? await this.#world.host(random.pick(hosts)).send(method as "GET" | "POST", path, text ?? "")
      : await answerOf(await this.#world.raw(path, { method, headers, ...sent }));
    await this.#judge(described, answer, `${method} ${path} ${text?.slice(0, 300) ?? ""}`);
    if (random.chance(0.02)) this.#world.clock.nowMs += random.whole(1, 3000);
  }

  #path({ path, operation }: Described): string {
    const random = this.#random;
    const filled = path.replaceAll(/\{([a-z]+)\}/g, (_, name) => {
      const parameter = operation.parameters?.find((each) => each.in === "path" && each.name === name);
      const value = random.chance(0.92) ? this.#values.valid(parameter?.schema ?? {}) : this.#values.hostile();
      return encodeURIComponent(toText(value).toWellFormed().slice(0, 300)) || "-";
    });
    const query = new URLSearchParams();
    for (const { name, schema } of operation.parameters?.filter((each) => each.in === "query") ?? []) {
      if (name === "timeoutMs" || name === "waitMs") query.set(name, random.chance(0.9) ? "0" : "-1");
      else if (random.chance(0.5))
        query.set(name, toText(random.chance(0.7) ? this.#values.valid(schema) : this.#values.hostile()));
    }
    if (random.chance(0.03)) query.append(random.pick(["dryRun", "limit", "☃", "cursor"]), "x");
    const text = query.toString();
    return text === "" ? filled : `${filled}?${text}`;
  }

  #body({ operation }: Described): { text: string | null; type: string } {
    const random = this.#random;
    const type = random.chance(0.97) ? "application/json" : random.pick(["text/plain", "", "application/xml; a"]);
    const schema = operation.requestBody?.content["application/json"].schema;
    if (!schema) return { text: null, type };
    const valid = this.#values.valid(schema);
    if (random.chance(0.5)) return { text: JSON.stringify(valid), type };
    const spoilt = JSON.stringify(this.#values.spoilt(valid)) ?? "";
    if (random.chance(0.8)) return { text: spoilt, type };
    const broken = [
      spoilt.slice(0, random.whole(0, spoilt.length)),
      `${spoilt}}`,
      "{'a':1}",
      '{"a":1,"a":2}',
      "[",
      "\ufeff{}",
    ];
    return { text: random.chance(0.02) ? `{"a":"${"x".repeat(300_000)}"}` : random.pick(broken), type };
  }

  #headers({ method }: Described, type: string): { [name: string]: string } {
    const random = this.#random;
    const key = random.chance(0.95)
      ? `Bearer ${this.#key}`
      : random.pick(["Bearer x", "", `Bearer ${"x".repeat(600)}`, "Basic YTpi"]);
    const idempotency =
      method !== "GET" && random.chance(0.3) ? random.pick(["one", "two", "three", "☃", "x".repeat(300)]) : null;
    return {
      ...(key === "" ? {} : { authorization: key }),
      ...(type === "" ? {} : { "content-type": type }),
      ...(idempotency === null ? {} : { "idempotency-key": encodeHeader(idempotency) }),
    };
  }

  async #judge({ method, path, operation }: Described, answer: Answer, request: string): Promise<void> {
    const { status, body } = answer;
    const counts = this.tally.statuses[operation.operationId] ?? {};
    this.tally.statuses[operation.operationId] = { ...counts, [status]: (counts[status] ?? 0) + 1 };
    this.tally.requests++;
    const media = (answer.headers.get("content-type") ?? "").split(";")[0] ?? "";
    const told = () => `${request}\nwas answered ${status} ${media} ${JSON.stringify(body).slice(0, 1000)}`;
    assert.ok(status < 500, `a fault of the server's: ${told()}`);
    // An address that leads nowhere any more is no route of the document.
    if (["route-unknown", "method-not-allowed"].includes(body.code ?? "")) return;
    const content = operation.responses[status]?.content;
    assert.ok(content?.[media], `not in the document: ${told()}`);
    const pointer = ["paths", path, method.toLowerCase(), "responses", String(status), "content", media, "schema"];
    const validate = this.#validator(
      `api#/${pointer.map((each) => encodeURIComponent(each.replaceAll("~", "~0").replaceAll("/", "~1"))).join("/")}`,
    );
    assert.ok(validate(body), `not as the document says (${this.#ajv.errorsText(validate.errors)}): ${told()}`);
  }

  #validator(reference: string): ValidateFunction {
    const known = this.#validators.get(reference) ?? this.#ajv.compile({ $ref: reference });
    this.#validators.set(reference, known);
    return known;
  }
}

const toText = (value: unknown): string => (typeof value === "string" ? value : (JSON.stringify(value) ?? ""));
const encodeHeader = (text: string): string => [...text].map((each) => (each < "\u0100" ? each : "?")).join("");
