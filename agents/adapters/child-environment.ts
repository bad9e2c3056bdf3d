// What the processes of supervisors and guests take over of their parent's environment, and nothing else of it.
const kept = [
  // The mark by which a local cluster's processes are found and ended (infra/reaper.ts).
  "DROVER_REAP",
  // Where Node keeps compiled sources: half of a cold start.
  "NODE_COMPILE_CACHE",
  // For tests alone (halt-steps.ts).
  "DROVER_HALT_STEPS",
];

export function childEnvironment(): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const name of kept) {
    const value = process.env[name];
    if (value !== undefined) environment[name] = value;
  }
  return environment;
}
