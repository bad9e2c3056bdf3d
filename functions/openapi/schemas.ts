// JSON Schemas of the API's document, made from the zod schemas that check and shape everything.
import { z } from "zod";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type JsonObject = { [name: string]: Json };

/** Named schemas by their `id`; where one differs as input and as output, the input's name ends in "Input". */
export class Components {
  readonly #outputs = new Map<string, JsonObject>();
  readonly #inputs = new Map<string, JsonObject>();

  input(schema: z.ZodType): JsonObject {
    return this.#take(schema, "input", this.#inputs);
  }

  output(schema: z.ZodType): JsonObject {
    return this.#take(schema, "output", this.#outputs);
  }

  /** All that were taken. To be asked last: then `resolve` knows every name. */
  all(): JsonObject {
    const all = new Map<string, JsonObject>();
    for (const [id, schema] of this.#outputs) all.set(id, this.resolve(schema) as JsonObject);
    for (const [id, schema] of this.#inputs) all.set(this.#inputName(id), this.resolve(schema) as JsonObject);
    return Object.fromEntries([...all].sort(([one], [other]) => (one < other ? -1 : 1)));
  }

  /** Gives each reference its final name. */
  resolve(value: Json): Json {
    if (Array.isArray(value)) return value.map((each) => this.resolve(each));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, each]) => {
        if (name !== "$ref" || typeof each !== "string" || each.startsWith("#")) return [name, this.resolve(each)];
        const [way, id = ""] = each.split(":");
        return [name, `#/components/schemas/${way === "input" ? this.#inputName(id) : id}`];
      }),
    );
  }

  #inputName(id: string): string {
    const output = this.#outputs.get(id);
    const isSame = !output || plain(output) === plain(this.#inputs.get(id) ?? {});
    return isSame ? id : `${id}Input`;
  }

  #take(schema: z.ZodType, io: "input" | "output", known: Map<string, JsonObject>): JsonObject {
    const made = z.toJSONSchema(schema, { target: "draft-2020-12", io, unrepresentable: "any" }) as JsonObject;
    const { $defs, $schema: _draft, ...top } = marked(made, io) as JsonObject;
    for (const [id, each] of Object.entries(($defs ?? {}) as JsonObject)) known.set(id, each as JsonObject);
    return top;
  }
}

/** Keeps in a reference whether it is to the input's or the output's shape, until all are known. */
function marked(value: Json, io: string): Json {
  if (Array.isArray(value)) return value.map((each) => marked(each, io));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) =>
      name === "$ref" && typeof each === "string"
        ? [name, each.replace("#/$defs/", `${io}:`)]
        : [name, marked(each, io)],
    ),
  );
}

const plain = (schema: JsonObject): string => JSON.stringify(schema).replaceAll(/"(input|output):/g, '"');
