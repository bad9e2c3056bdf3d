// The API's own document (OpenAPI 3.1), made from the routes: what is not served is not in it, and nothing is served
// that is not.
import type { z } from "zod";
import { type ProblemCode, ProblemDetails, problemCodes, problems } from "../../schemas/problems.ts";
import { paramRules } from "../http/params.ts";
import type { Route } from "../http/route.ts";
import { problemsOf } from "./problems-of.ts";
import { Components, type Json, type JsonObject } from "./schemas.ts";

const apiVersion = "1";

export function makeDocument(routes: readonly Route[]): JsonObject {
  const components = new Components();
  const paths: { [path: string]: JsonObject } = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:([a-z]+)/g, "{$1}");
    paths[path] = { ...paths[path], [route.method]: operationOf(route, components) };
  }
  const described = components.resolve(Object.fromEntries(Object.entries(paths).sort())) as JsonObject;
  return {
    openapi: "3.1.0",
    info: {
      title: "Drover",
      version: apiVersion,
      summary: "Moves running virtual machines from host to host without stopping them.",
      description:
        "Every refusal is a problem document (RFC 9457) with a stable `code`. A write may carry an `Idempotency-Key`: the same key and body have one effect and one answer.",
      license: { name: "UNLICENSED", identifier: "LicenseRef-UNLICENSED" },
    },
    servers: [{ url: "/" }],
    tags: [
      { name: "operator", description: "For people and scripts, with an API key." },
      { name: "agent", description: "For the agents of hosts, signed with the host's key." },
      { name: "open", description: "Open to everyone." },
    ],
    paths: described,
    components: {
      schemas: components.all(),
      examples: problemExamples(),
      securitySchemes: {
        apiKey: { type: "http", scheme: "bearer", description: "An API key; each operation names the scope it needs." },
        hostSignature: {
          type: "apiKey",
          in: "header",
          name: "signature",
          description:
            "RFC 9421 over method, path, Content-Digest and the drover-* headers, with the host's Ed25519 key.",
        },
      },
    },
  };
}

function operationOf(route: Route, components: Components): JsonObject {
  const names = [...route.path.matchAll(/:([a-z]+)/g)].map(([, name = ""]) => name);
  const parameters = [
    ...names.map((name) => pathParameter(name, components)),
    ...queryParameters(route, components),
    ...(route.door === "operator" && route.method !== "get" ? [idempotencyKey] : []),
  ];
  const body = route.body ? bodyOf(route, components) : null;
  return {
    operationId: operationId(route),
    summary: route.summary,
    tags: [route.door],
    security: securityOf(route),
    ...(route.scope ? { "x-scope": route.scope } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(body ? { requestBody: body } : {}),
    responses: responsesOf(route, components),
  };
}

/** "postVmsStart" of POST /v1/clusters/:cluster/vms/:vm/start. */
export function operationId({ method, path }: Pick<Route, "method" | "path">): string {
  const isOne = path.includes(":") && path.slice(path.lastIndexOf("/") + 1).startsWith(":");
  const words = path
    .replace("/v1/", "/")
    .replace(/^\/clusters\/:cluster\//, "/")
    .split(/[/.-]/)
    .filter((word) => word !== "" && !word.startsWith(":"));
  const name = [method, ...words].map((word, index) => (index === 0 ? word : word[0]?.toUpperCase() + word.slice(1)));
  return `${name.join("")}${isOne ? "One" : ""}`;
}

function securityOf({ door, scope }: Route): Json {
  if (door === "operator") return [{ apiKey: scope ? [scope] : [] }];
  return door === "agent" ? [{ hostSignature: [] }] : [];
}

function pathParameter(name: string, components: Components): JsonObject {
  const rule = paramRules[name as keyof typeof paramRules];
  return { name, in: "path", required: true, schema: components.input(rule.schema) };
}

function queryParameters({ query }: Route, components: Components): JsonObject[] {
  if (!query) return [];
  const { shape } = query as z.ZodObject<{ [name: string]: z.ZodType }>;
  return Object.entries(shape).map(([name, field]) => {
    // What the text of the address is read as.
    const schema = components.output(field);
    const { description, ...rest } = schema;
    const required = !field.safeParse(undefined).success;
    return { name, in: "query", required, ...(description ? { description } : {}), schema: rest };
  });
}

const idempotencyKey: JsonObject = {
  name: "Idempotency-Key",
  in: "header",
  required: false,
  description: "The same key and body have one effect and one answer, also after days.",
  schema: { type: "string", minLength: 1, maxLength: 200, pattern: "^[\\x20-\\x7e]{1,200}$" },
};

function bodyOf({ body, example }: Route, components: Components): JsonObject {
  const schema = components.input(body as z.ZodType);
  const isEmptyTaken = (body as z.ZodType).safeParse({}).success;
  return {
    required: !isEmptyTaken,
    content: { "application/json": { schema, ...(example ? { example: example as JsonObject } : {}) } },
  };
}

function responsesOf(route: Route, components: Components): JsonObject {
  const { status, schema } = route.answer;
  const headers = { "x-request-id": { description: "To be found in the log.", schema: { type: "string" } } };
  const answer = {
    description: route.summary,
    headers,
    content: { "application/json": { schema: components.output(schema) } },
  };
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of problemsOf(route)) {
    const { status: refused } = problems[code];
    byStatus.set(refused, [...(byStatus.get(refused) ?? []), code]);
  }
  const refusals = [...byStatus].map(([refused, codes]) => [String(refused), refusalOf(codes, components)]);
  return Object.fromEntries([[String(status), answer], ...refusals]);
}

function refusalOf(codes: ProblemCode[], components: Components): JsonObject {
  const details = components.output(ProblemDetails);
  const schema = { allOf: [details, { type: "object", properties: { code: { enum: codes } } }] };
  const examples = Object.fromEntries(codes.map((code) => [code, { $ref: `#/components/examples/${code}` }]));
  return {
    description: codes.map((code) => `\`${code}\`: ${problems[code].title}`).join("\n\n"),
    content: { "application/problem+json": { schema, examples } },
  };
}

function problemExamples(): JsonObject {
  const requestId = "req_01KB0000000000000000000000";
  return Object.fromEntries(
    problemCodes.map((code) => {
      const { status, title, retry } = problems[code];
      const type = `urn:drover:problem:${code}`;
      return [code, { summary: title, value: { type, title, status, code, detail: title, requestId, retry } }];
    }),
  );
}
