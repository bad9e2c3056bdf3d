import { z } from "zod";
import { agentRoute } from "../http/agent-route.ts";
import { waitDoorbell } from "../operations/wait-doorbell.ts";

export const doorbellRoute = agentRoute({
  method: "get",
  path: "/v1/agent/doorbell",
  input: z.object({ waitMs: z.coerce.number().int().min(0).max(20_000).default(20_000) }),
  run: (ports, call, input, signal) => waitDoorbell(ports, call, input, signal),
});
