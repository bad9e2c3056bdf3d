// Routes for operators: the key is checked first, then the address, then the body; only then the operation is called.
import type { z } from "zod";
import type { Scope } from "../../schemas/api-key.ts";
import type { Problem } from "../../schemas/problems.ts";
import { authoriseKey } from "../operations/api-keys.ts";
import type { Operator, Outcome } from "../operations/operate.ts";
import type { Ports } from "../ports/ports.ts";
import type { App } from "./app.ts";
import { checkQuery, noQuery, parseBody, readText } from "./body.ts";
import { checkParams, type Params } from "./params.ts";
import { isProblem, problemResponse } from "./problems.ts";
import type { Route, Told } from "./route.ts";

export function operatorWrite<B>(
  route: Told & {
    method: "post" | "delete";
    path: string;
    scope: Scope;
    body: z.ZodType<B>;
    run: (ports: Ports, operator: Operator, params: Params, body: B) => Promise<Outcome>;
  },
): Route {
  const step = stepName(route.method, route.path);
  const mount = (app: App, ports: Ports) => {
    app.on(route.method.toUpperCase(), route.path, async (c) => {
      const key = await authoriseKey(ports, c.req.header("authorization"), route.scope);
      if (key.kind === "refuse") return problemResponse(c, key.problem);
      const params = checkParams(c.req.param());
      if (isProblem(params)) return problemResponse(c, params);
      const query = checkQuery(c, noQuery);
      if ("problem" in query) return problemResponse(c, query.problem);
      const text = await readText(c);
      if (typeof text !== "string") return problemResponse(c, text);
      const body = parseBody(c, text, route.body);
      if ("problem" in body) return problemResponse(c, body.problem);
      const idempotencyKey = c.req.header("idempotency-key") ?? null;
      if (idempotencyKey !== null && !/^[\x20-\x7e]{1,200}$/.test(idempotencyKey)) {
        const detail = "Idempotency-Key: 1 to 200 printable ASCII characters.";
        return problemResponse(c, { code: "invalid-request", detail, errors: [{ pointer: "", detail }] });
      }
      const fingerprint = `${c.req.method} ${new URL(c.req.url).pathname} ${JSON.stringify(body.value)}`;
      const operator: Operator = { keyId: key.keyId, idempotencyKey, fingerprint, step };
      const outcome = await route.run(ports, operator, params, body.value);
      if (outcome.kind === "refuse") return problemResponse(c, outcome.problem);
      if (outcome.answer.location) c.header("location", outcome.answer.location);
      return c.json(outcome.answer.body, outcome.answer.status);
    });
  };
  return { ...route, door: "operator", query: null, mount };
}

/** "post-vms-start" of POST /v1/clusters/:cluster/vms/:vm/start. */
export function stepName(method: string, path: string): string {
  const words = path
    .replace("/v1/", "")
    .replace(/^clusters\/:cluster\//, "")
    .split("/");
  return [method, ...words.filter((word) => !word.startsWith(":"))].join("-");
}

export function operatorRead<Q = object>(
  route: Omit<Told, "answer"> & {
    path: string;
    scope?: Scope;
    query?: z.ZodType<Q>;
    answer: z.ZodType;
    run: (ports: Ports, params: Params, query: Q, signal: AbortSignal) => Promise<object | Problem>;
  },
): Route {
  const { path, scope = "read", answer } = route;
  const schema = route.query ?? (noQuery as unknown as z.ZodType<Q>);
  const mount = (app: App, ports: Ports) => {
    app.get(path, async (c) => {
      const key = await authoriseKey(ports, c.req.header("authorization"), scope);
      if (key.kind === "refuse") return problemResponse(c, key.problem);
      const params = checkParams(c.req.param());
      if (isProblem(params)) return problemResponse(c, params);
      const { closing } = c.var;
      const signal = closing ? AbortSignal.any([c.req.raw.signal, closing]) : c.req.raw.signal;
      const query = checkQuery(c, schema);
      if ("problem" in query) return problemResponse(c, query.problem);
      const answer = await route.run(ports, params, query.value, signal);
      return isProblem(answer) ? problemResponse(c, answer) : c.json(answer);
    });
  };
  return {
    ...route,
    door: "operator",
    method: "get",
    scope,
    query: route.query ?? null,
    body: null,
    answer: { status: 200, schema: answer },
    mount,
  };
}
