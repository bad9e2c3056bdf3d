import { z } from "zod";
import { DoorbellAnswer } from "../../schemas/agent.ts";
import { agentRoute } from "../http/agent-route.ts";
import { wholeNumber } from "../http/whole-number.ts";
import { waitDoorbell } from "../operations/wait-doorbell.ts";

export const doorbellRoute = agentRoute({
  method: "get",
  path: "/v1/agent/doorbell",
  input: z.object({ waitMs: wholeNumber(0, 20_000).default(20_000) }),
  summary: "Waits until there is something to do.",
  answer: DoorbellAnswer,
  problems: ["doorbell-elsewhere"],
  run: (ports, call, input, signal) => waitDoorbell(ports, call, input, signal),
});
