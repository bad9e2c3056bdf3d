import { agentHeaders, JoinAnswer, JoinRequest } from "../../schemas/agent.ts";
import { checkQuery, noQuery, parseBody, readText } from "../http/body.ts";
import { problemResponse } from "../http/problems.ts";
import type { Route } from "../http/route.ts";
import { join } from "../operations/join.ts";

/** Not signed: the one-time token says who may. */
export const joinRoute: Route = {
  door: "open",
  method: "post",
  path: "/v1/join",
  scope: null,
  query: null,
  body: JoinRequest,
  summary: "A host joins its cluster with a one-time token.",
  answer: { status: 200, schema: JoinAnswer },
  problems: [
    "join-token-invalid",
    "host-exists",
    "host-key-reused",
    "cluster-full",
    "migration-address-invalid",
    "migration-address-taken",
    "recovering",
    "table-went-back",
  ],
  mount: (app, ports) => {
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
  },
};
