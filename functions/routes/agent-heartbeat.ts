import { HeartbeatAnswer, HeartbeatRequest } from "../../schemas/agent.ts";
import { agentRoute } from "../http/agent-route.ts";
import { heartbeat } from "../operations/heartbeat.ts";

export const heartbeatRoute = agentRoute({
  method: "post",
  path: "/v1/agent/heartbeat",
  input: HeartbeatRequest,
  summary: "Renews the lease of a host.",
  answer: HeartbeatAnswer,
  problems: ["migration-address-invalid", "migration-address-taken"],
  run: (ports, call, input) => heartbeat(ports, call, input),
});
