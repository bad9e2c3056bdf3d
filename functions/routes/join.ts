import { agentHeaders, JoinRequest } from "../../schemas/agent.ts";
import { checkQuery, noQuery, parseBody, readText } from "../http/body.ts";
import type { Route } from "../http/operator-route.ts";
import { problemResponse } from "../http/problems.ts";
import { join } from "../operations/join.ts";

/** Not signed: the one-time token says who may. */
export const joinRoute: Route = (app, ports) => {
  app.post("/v1/join", async (c) => {
    c.header(agentHeaders.time, String(ports.clock.nowMs()));
    const query = checkQuery(c, noQuery);
    if ("problem" in query) return problemResponse(c, query.problem);
    const text = await readText(c);
    if (typeof text !== "string") return problemResponse(c, text);
    const body = parseBody(c, text, JoinRequest);
    if ("problem" in body) return problemResponse(c, body.problem);
    const outcome = await join(ports, body.value);
    return outcome.kind === "refuse" ? problemResponse(c, outcome.problem) : c.json(outcome.answer);
  });
};
