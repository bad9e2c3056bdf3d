// Values drawn from a JSON schema: such as it allows, and such as somebody hostile or careless would send.
import type { Random } from "../simulation/random.ts";
import type { JsonSchema } from "./operations.ts";

/** Names that exist, by the schema they are of, so that requests meet something. */
export type Known = { [schema: string]: readonly string[] };

export class Values {
  readonly #random: Random;
  readonly #schemas: { [name: string]: JsonSchema };
  readonly #known: Known;

  constructor(random: Random, schemas: { [name: string]: JsonSchema }, known: Known) {
    this.#random = random;
    this.#schemas = schemas;
    this.#known = known;
  }

  valid(schema: JsonSchema, depth = 0): unknown {
    const random = this.#random;
    const reference = schema["$ref"];
    if (typeof reference === "string") {
      const name = reference.slice(reference.lastIndexOf("/") + 1);
      const known = this.#known[name];
      if (known && known.length > 0 && random.chance(0.85)) return random.pick(known);
      return this.valid(this.#schemas[name] ?? {}, depth + 1);
    }
    if ("const" in schema) return schema["const"];
    if (Array.isArray(schema["enum"])) return random.pick(schema["enum"]);
    const either = (schema["anyOf"] ?? schema["oneOf"]) as JsonSchema[] | undefined;
    if (either) return this.valid(random.pick(either), depth);
    const examples = schema["examples"];
    if (Array.isArray(examples) && random.chance(0.5)) return random.pick(examples);
    switch (schema["type"]) {
      case "object":
        return this.#object(schema, depth);
      case "array": {
        const length = Math.min(random.whole(Number(schema["minItems"] ?? 0), 3), Number(schema["maxItems"] ?? 3));
        return Array.from({ length }, () => this.valid((schema["items"] ?? {}) as JsonSchema, depth + 1));
      }
      case "integer":
      case "number":
        return this.#number(schema);
      case "boolean":
        return random.chance(0.5);
      case "null":
        return null;
      case "string":
        return this.#text(schema);
      default:
        return {};
    }
  }

  #object(schema: JsonSchema, depth: number): object {
    const required = new Set((schema["required"] ?? []) as string[]);
    const properties = Object.entries((schema["properties"] ?? {}) as { [name: string]: JsonSchema });
    const made = properties.flatMap(([name, each]): [string, unknown][] =>
      required.has(name) || this.#random.chance(0.5) ? [[name, this.valid(each, depth + 1)]] : [],
    );
    return Object.fromEntries(made);
  }

  #number(schema: JsonSchema): number {
    const least = Number(schema["minimum"] ?? 0);
    const most = Math.min(Number(schema["maximum"] ?? least + 1000), Number.MAX_SAFE_INTEGER);
    if (this.#random.chance(0.3)) return this.#random.pick([least, most]);
    return schema["type"] === "integer" ? this.#random.whole(least, most) : this.#random.between(least, most);
  }

  #text(schema: JsonSchema): string {
    const least = Number(schema["minLength"] ?? 0);
    const most = Math.min(Number(schema["maxLength"] ?? 40), 64);
    const words = "a word of 3 letters é ☃ 漢";
    return words.repeat(3).slice(0, Math.max(least, this.#random.whole(least, most)));
  }

  /** Something that should be refused, or at least do no harm. */
  hostile(): unknown {
    const { pick, whole } = {
      pick: this.#random.pick.bind(this.#random),
      whole: this.#random.whole.bind(this.#random),
    };
    return pick<() => unknown>([
      () => null,
      () => pick([-1, 0, 1.5, 1e308, -0, Number.MAX_SAFE_INTEGER, 2 ** 53, 1e-7]),
      () =>
        pick([
          "",
          " ",
          "../../etc",
          "' OR 1=1 --",
          "\u0000",
          "\u202e",
          "\ud800",
          "__proto__",
          "x".repeat(whole(1, 5000)),
        ]),
      () => pick([true, false]),
      () => [],
      () => ({}),
      () => JSON.parse(`{"__proto__":{"admin":true},"constructor":{"prototype":{}}}`),
      () => nested(whole(10, 3000)),
      () => Array.from({ length: whole(1, 300) }, () => ({ a: [1, "2", null] })),
    ])();
  }

  /** What was valid, with one thing wrong with it. */
  spoilt(value: unknown): unknown {
    const random = this.#random;
    if (value === null || typeof value !== "object" || random.chance(0.15)) return this.hostile();
    if (Array.isArray(value)) return [...value, this.hostile()];
    const entries = Object.entries(value);
    if (entries.length === 0 || random.chance(0.25)) return { ...value, [random.pick(names)]: this.hostile() };
    const [name, each] = random.pick(entries);
    if (random.chance(0.25)) return Object.fromEntries(entries.filter(([other]) => other !== name));
    return { ...value, [name]: this.spoilt(each) };
  }
}

const names = ["force", "admin", "id", "vm", "__proto__", "constructor", "", "a b", "☃"];

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}
