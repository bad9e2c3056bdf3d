// A host's report: dispatched by its kind. Each kind names in advance all that its decision reads.
import type { AgentReport, ReportAnswer } from "../../schemas/agent.ts";
import type { Problem } from "../../schemas/problems.ts";
import type { Ports } from "../ports/ports.ts";
import { type AgentCall, type AgentOutcome, answerAgent } from "./agent-call.ts";
import { reportCopy } from "./report-copy.ts";
import { reportGap, reportProgress } from "./report-progress.ts";
import { reportTakeBackRefused } from "./report-take-back.ts";
import { reportVerdict } from "./report-verdict.ts";

export async function report(
  ports: Ports,
  call: AgentCall,
  request: AgentReport | Problem,
): Promise<AgentOutcome<ReportAnswer>> {
  if ("code" in request) {
    return answerAgent<ReportAnswer>(ports, call, {
      manner: "write",
      invalid: request,
      read: { keys: [] },
      decide: () => ({ kind: "refuse", problem: request }),
    });
  }
  const named = { ...call, reports: request.kind === "copy-seen" ? `copy-${request.state}` : request.kind };
  switch (request.kind) {
    case "migration-progressed":
      return answerAgent(ports, named, reportProgress(ports, call, request));
    case "gap-measured":
      return answerAgent(ports, named, reportGap(ports, call, request));
    case "copy-seen":
      return answerAgent(ports, named, reportCopy(ports, call, request));
    case "take-back-refused":
      return answerAgent(ports, named, reportTakeBackRefused(ports, call, request));
    default:
      return answerAgent(ports, named, reportVerdict(ports, call, request));
  }
}
