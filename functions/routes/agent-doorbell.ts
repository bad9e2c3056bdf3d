import { z } from "zod";
import { agentRoute } from "../http/agent-route.ts";
import { wholeNumber } from "../http/whole-number.ts";
import { waitDoorbell } from "../operations/wait-doorbell.ts";

export const doorbellRoute = agentRoute({
  method: "get",
  path: "/v1/agent/doorbell",
  input: z.object({ waitMs: wholeNumber(0, 20_000).default(20_000) }),
  run: (ports, call, input, signal) => waitDoorbell(ports, call, input, signal),
});
