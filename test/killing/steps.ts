// The durable steps as they stand in the code: scanned, not listed, so that a new one cannot be forgotten.
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { stepName } from "../../functions/http/operator-route.ts";
import { AgentReport } from "../../schemas/agent.ts";

const root = join(import.meta.dirname, "..", "..");

export type Step = {
  name: string;
  /** Whose step it is. */
  side: "control-plane" | "agent" | "supervisor";
};

const agentStep = /"((?:journal|memo|gate|lock|guest|copy|counter|identity|incarnation):[a-z-]+)"/g;
const namedCommit = /(?:retryConflicts(?:<[^(]*>)?\(\s*ports,|commitStep\(\s*ports,)\s*"([a-z-]+)"/g;
const route = /operatorWrite\(\{\s*method: "(post|delete)",\s*path: "([^"]+)"/g;
const agentRoute = /method: "post",\s*path: "\/v1\/agent\/([a-z-]+)"/g;

let scanned: Step[] | null = null;

export function scanSteps(): Step[] {
  scanned ??= scan();
  return scanned;
}

function scan(): Step[] {
  const steps = new Map<string, Step["side"]>();
  for (const [path, source] of sources("agents")) {
    const side = path.includes("supervisor/") ? "supervisor" : "agent";
    for (const [, name = ""] of source.matchAll(agentStep)) steps.set(name, side);
  }
  for (const [, source] of sources("functions")) {
    for (const [, name = ""] of source.matchAll(namedCommit)) steps.set(`table:${name}`, "control-plane");
    for (const [, name = ""] of source.matchAll(/atStep\?\.\("([^"]+)"/g)) steps.set(name, "control-plane");
    for (const [, method = "", its = ""] of source.matchAll(route))
      steps.set(`table:${stepName(method, its)}`, "control-plane");
    for (const [, what = ""] of source.matchAll(agentRoute)) {
      const names = what === "report" ? reportNames().map((kind) => `report-${kind}`) : [what];
      for (const name of names) steps.set(`table:${name}`, "control-plane");
    }
  }
  return Array.from(steps, ([name, side]) => ({ name, side })).sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** As functions/operations/report.ts names them. */
function reportNames(): string[] {
  return AgentReport.options.flatMap((option) => {
    const kinds = [...option.shape.kind.values];
    if (!kinds.includes("copy-seen")) return kinds.map(String);
    const { state } = option.shape as unknown as { state: { options: string[] } };
    return state.options.map((name) => `copy-${name}`);
  });
}

export function sources(folder: "agents" | "functions"): [string, string][] {
  return globSync(`${folder}/**/*.ts`, { cwd: root }).map((path) => [path, readFileSync(join(root, path), "utf8")]);
}
