// Which problems a route may answer with: those of its kind, of the names in its address, and its own.
import type { ProblemCode } from "../../schemas/problems.ts";
import { paramRules } from "../http/params.ts";
import type { Route } from "../http/route.ts";

const always: ProblemCode[] = ["table-busy", "table-failing", "internal-error"];
const withBody: ProblemCode[] = ["malformed-json", "body-too-large", "unsupported-media-type"];
const ofDoor: { [D in Route["door"]]: ProblemCode[] } = {
  operator: ["key-missing", "key-unknown", "scope-missing"],
  agent: [
    "signature-invalid",
    "clock-skew",
    "incarnation-stale",
    "incarnation-ended",
    "counter-stale",
    "recovering",
    "table-went-back",
  ],
  open: [],
};
/** An operator's write to a cluster. */
const ofDecisions: ProblemCode[] = ["recovering", "table-went-back"];

export function problemsOf(route: Route): ProblemCode[] {
  const names = [...route.path.matchAll(/:([a-z]+)/g)].map(([, name = ""]) => name as keyof typeof paramRules);
  const isWrite = route.door === "operator" && route.method !== "get";
  const codes = new Set<ProblemCode>([
    "invalid-request",
    ...(route.body ? withBody : []),
    ...ofDoor[route.door],
    ...names.map((name) => paramRules[name].unknown),
    ...(names.includes("vm") ? (["vm-deleted"] as const) : []),
    ...(isWrite ? (["idempotency-key-reused"] as const) : []),
    ...(isWrite && names.includes("cluster") ? ofDecisions : []),
    ...(route.problems ?? []),
    ...always,
  ]);
  return [...codes];
}
