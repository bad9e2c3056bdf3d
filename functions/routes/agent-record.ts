import { RecordAnswer, RecordRequest } from "../../schemas/agent.ts";
import { agentRoute } from "../http/agent-route.ts";
import { readRecord } from "../operations/read-record.ts";

export const recordRoute = agentRoute({
  method: "post",
  path: "/v1/agent/record",
  input: RecordRequest,
  summary: "The record of a migration, signed.",
  answer: RecordAnswer,
  problems: ["migration-unknown", "not-yours"],
  run: (ports, call, input) => readRecord(ports, call, input),
});
