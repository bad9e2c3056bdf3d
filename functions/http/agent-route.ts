// Routes for agents: headers in, a call out. Who speaks is proved in the operation, on what its one read finds.
import type { Context } from "hono";
import type { z } from "zod";
import { agentHeaders, counterRule, readCounter } from "../../schemas/agent.ts";
import { ClusterId, HostId, Incarnation } from "../../schemas/ids.ts";
import type { Problem } from "../../schemas/problems.ts";
import { contentDigest } from "../../schemas/signing.ts";
import type { AgentCall, AgentOutcome } from "../operations/agent-call.ts";
import type { Ports } from "../ports/ports.ts";
import type { App, Env } from "./app.ts";
import { check, parseBody, readText } from "./body.ts";
import { problemResponse } from "./problems.ts";
import type { Route, Told } from "./route.ts";

/** `input` is the body, or the query of a GET; a problem where it is not of the schema. */
export function agentRoute<B extends object, A extends object>(
  route: Omit<Told, "answer"> & {
    method: "post" | "get";
    path: string;
    input: z.ZodType<B>;
    answer: z.ZodType<A>;
    run: (ports: Ports, call: AgentCall, input: B | Problem, signal: AbortSignal) => Promise<AgentOutcome<A>>;
  },
): Route {
  const mount = (app: App, ports: Ports) => {
    app.on(route.method.toUpperCase(), route.path, async (c) => {
      const stamp = (counter: number | null) => {
        c.header(agentHeaders.time, String(ports.clock.nowMs()));
        if (counter !== null) c.header(agentHeaders.counter, String(counter));
      };
      const text = await readText(c);
      if (typeof text !== "string") {
        stamp(null);
        return problemResponse(c, text);
      }
      const call = await callOf(c, text);
      if ("code" in call) {
        stamp(null);
        return problemResponse(c, call);
      }
      const parsed = route.method === "get" ? check(c.req.query(), route.input) : parseBody(c, text, route.input);
      const input = "problem" in parsed ? parsed.problem : parsed.value;
      const outcome = await route.run(ports, call, input, c.req.raw.signal);
      stamp(outcome.counter);
      if (outcome.kind === "answer") return c.json(outcome.answer);
      return problemResponse(c, outcome.problem, outcome.record ? { record: outcome.record } : {});
    });
  };
  const isRead = route.method === "get";
  return {
    ...route,
    door: "agent",
    scope: null,
    query: isRead ? route.input : null,
    body: isRead ? null : route.input,
    answer: { status: 200, schema: route.answer },
    mount,
  };
}

async function callOf(c: Context<Env>, body: string): Promise<AgentCall | Problem> {
  const header = (name: string) => c.req.header(name) ?? "";
  const host = header(agentHeaders.host);
  const [clusterId = "", hostId = "", ...rest] = host.split("/");
  const incarnation = header(agentHeaders.incarnation);
  const counter = readCounter(header(agentHeaders.counter));
  const acknowledged = readCounter(header(agentHeaders.acknowledged));
  const faults = [
    ClusterId.safeParse(clusterId).success && HostId.safeParse(hostId).success && rest.length === 0
      ? ""
      : `${agentHeaders.host} must be <cluster>/<host>`,
    Incarnation.safeParse(incarnation).success ? "" : `${agentHeaders.incarnation} must be 32 hexadecimal digits`,
    counter !== null ? "" : `${agentHeaders.counter} must be ${counterRule}`,
    acknowledged !== null ? "" : `${agentHeaders.acknowledged} must be ${counterRule}`,
  ].filter((fault) => fault !== "");
  if (faults.length > 0 || counter === null || acknowledged === null)
    return { code: "signature-invalid", detail: `${faults.join("; ")}.` };
  const url = new URL(c.req.url);
  return {
    method: c.req.method,
    path: url.pathname + url.search,
    body,
    clusterId,
    hostId,
    incarnation,
    counter,
    acknowledged,
    headers: {
      host,
      contentDigest: header("content-digest") || (body === "" ? await contentDigest("") : ""),
      signatureInput: header("signature-input"),
      signature: header("signature"),
    },
  };
}
