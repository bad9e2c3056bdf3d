import { z } from "zod";
import { agentRoute } from "../http/agent-route.ts";
import { isProblem } from "../http/problems.ts";
import { claim } from "../operations/claim.ts";

export const claimRoute = agentRoute({
  method: "post",
  path: "/v1/agent/claim",
  input: z.object({}),
  run: (ports, call, input) => claim(ports, call, isProblem(input) ? input : null),
});
