// The API as one Hono application: translate here, decide in the operations.
import { Hono } from "hono";
import type { ProblemCode } from "../../schemas/problems.ts";
import { documentRoutes } from "../openapi/routes.ts";
import { tableProblem } from "../operations/retry.ts";
import type { Ports } from "../ports/ports.ts";
import { TableThrottled } from "../ports/table.ts";
import { routes } from "../routes/routes.ts";
import { problemResponse } from "./problems.ts";
import { watchTable } from "./watch-table.ts";

export type Env = { Variables: { requestId: string; closing: AbortSignal | null; problem?: ProblemCode } };
export type App = Hono<Env>;

/** One line for every request that failed; it carries no header, no body and no key. */
export type FailureLine = {
  at: string;
  requestId: string;
  method: string;
  path: string;
  status: number;
  problem: ProblemCode | null;
  ms: number;
  error?: string;
};
/** `closing` ends waits early, so that open requests are answered before the process ends. */
export type AppOptions = { log?: (line: FailureLine) => void; closing?: AbortSignal };

export function createApp(outside: Ports, options: AppOptions = {}): App {
  const ports: Ports = { ...outside, table: watchTable(outside.table) };
  const log = options.log ?? ((line) => console.error(JSON.stringify(line)));
  const app: App = new Hono<Env>();
  app.use(async (c, next) => {
    const begun = ports.clock.nowMs();
    const requestId = `req_${ports.newId()}`;
    c.set("requestId", requestId);
    c.set("closing", options.closing ?? null);
    // Before the answer is made: one that is there would have to be made anew for it, with its body as a stream.
    c.header("x-request-id", requestId);
    await next();
    if (c.res.status < 400) return;
    const ended = ports.clock.nowMs();
    log({
      at: new Date(ended).toISOString(),
      requestId,
      method: c.req.method,
      path: new URL(c.req.url).pathname,
      status: c.res.status,
      problem: c.var.problem ?? null,
      ms: ended - begun,
      ...(c.error ? { error: describe(c.error) } : {}),
    });
  });
  for (const route of [...routes, ...documentRoutes(routes)]) route.mount(app, ports);
  app.notFound((c) => {
    const path = new URL(c.req.url).pathname;
    const methods = app.routes.filter((route) => route.method !== "ALL" && patternOf(route.path).test(path));
    if (methods.length === 0) {
      return problemResponse(c, { code: "route-unknown", detail: `There is nothing at ${path}.` });
    }
    const allowed = [...new Set(methods.map((route) => route.method))].sort().join(", ");
    c.header("allow", allowed);
    return problemResponse(c, { code: "method-not-allowed", detail: `This address takes ${allowed}.` });
  });
  app.onError((error, c) =>
    error instanceof TableThrottled
      ? problemResponse(c, tableProblem(error))
      : problemResponse(c, {
          code: "internal-error",
          detail: `A fault in Drover; its log tells more under ${c.var.requestId}. Read what stands before trying again.`,
        }),
  );
  return app;
}

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(/:[a-z]+/g, "[^/]+")}$`);
}

function describe(error: Error): string {
  const cause = error.cause instanceof Error ? ` (${describe(error.cause)})` : "";
  return `${error.name}: ${error.message}${cause} ${error.stack?.split("\n")[1]?.trim() ?? ""}`;
}
