import { HeartbeatRequest } from "../../schemas/agent.ts";
import { agentRoute } from "../http/agent-route.ts";
import { heartbeat } from "../operations/heartbeat.ts";

export const heartbeatRoute = agentRoute({
  method: "post",
  path: "/v1/agent/heartbeat",
  input: HeartbeatRequest,
  run: (ports, call, input) => heartbeat(ports, call, input),
});
