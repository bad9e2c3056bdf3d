import { AgentReport } from "../../schemas/agent.ts";
import { agentRoute } from "../http/agent-route.ts";
import { report } from "../operations/report.ts";

export const reportRoute = agentRoute({
  method: "post",
  path: "/v1/agent/report",
  input: AgentReport,
  run: (ports, call, input) => report(ports, call, input),
});
