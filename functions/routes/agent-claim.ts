import { z } from "zod";
import { ClaimAnswer } from "../../schemas/agent.ts";
import { agentRoute } from "../http/agent-route.ts";
import { isProblem } from "../http/problems.ts";
import { claim } from "../operations/claim.ts";

export const claimRoute = agentRoute({
  method: "post",
  path: "/v1/agent/claim",
  input: z.object({}),
  summary: "What this host is to do.",
  answer: ClaimAnswer,
  problems: ["duties-outdated"],
  run: (ports, call, input) => claim(ports, call, isProblem(input) ? input : null),
});
