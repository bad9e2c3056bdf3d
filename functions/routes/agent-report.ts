import { AgentReport, ReportAnswer } from "../../schemas/agent.ts";
import { agentRoute } from "../http/agent-route.ts";
import { report } from "../operations/report.ts";

export const reportRoute = agentRoute({
  method: "post",
  path: "/v1/agent/report",
  input: AgentReport,
  summary: "What a host has done or seen.",
  answer: ReportAnswer,
  problems: [
    "migration-unknown",
    "vm-unknown",
    "not-yours",
    "stale-fencing-token",
    "already-aborted",
    "already-committed",
    "already-returned",
    "already-confirmed",
    "already-forced",
    "take-back-not-asked",
    "not-committed",
    "host-may-decide",
    "destination-may-have-run",
    "source-has-claimed",
    "too-late-committed",
    "migration-over",
    "too-many-guests",
  ],
  run: (ports, call, input) => report(ports, call, input),
});
