// What is mutated, and which tests are to notice. `rule`: verdict, lease, lock and token code: no mutant may survive but
// those that are listed. `core`: the rest of what decides.
export type Group = { name: "rule" | "core"; files: string[]; tests: string[] };

const functionsTests = [
  "test/functions/domain/verdict.test.ts",
  "test/functions/domain/session.test.ts",
  "test/functions/domain/tokens.test.ts",
  "test/functions/domain/recovery.test.ts",
  "test/functions/migration.test.ts",
  "test/functions/agent-requests.test.ts",
  "test/functions/lost-hosts.test.ts",
  "test/functions/recovery.test.ts",
  "test/functions/run-states.test.ts",
  "test/functions/vms.test.ts",
  "test/functions/housekeeping.test.ts",
  "test/functions/bad-input.test.ts",
];
const agentsTests = [
  "test/agents/domain/source.test.ts",
  "test/agents/domain/destination.test.ts",
  "test/agents/domain/convergence.test.ts",
  "test/agents/adapters/lock-file.test.ts",
  "test/agents/adapters/gate.test.ts",
  "test/agents/adapters/local-copies.test.ts",
];

export const groups: Group[] = [
  {
    name: "rule",
    files: [
      "functions/domain/verdict.ts",
      "functions/domain/motion.ts",
      "functions/domain/copies.ts",
      "functions/domain/session.ts",
      "functions/domain/tokens.ts",
      "agents/domain/source.ts",
      "agents/domain/source-steps.ts",
      "agents/domain/destination.ts",
      "agents/domain/destination-steps.ts",
      "agents/domain/role.ts",
      "agents/adapters/lock-rule.ts",
      "agents/adapters/sqlite-lock-file.ts",
      "agents/adapters/file-gate.ts",
      "agents/supervisor/lock-hold.ts",
      "agents/supervisor/silence-watch.ts",
    ],
    tests: [...functionsTests, ...agentsTests],
  },
  {
    name: "core",
    files: [
      "functions/domain/last-run.ts",
      "functions/domain/late-host.ts",
      "functions/domain/migrations.ts",
      "functions/domain/obstacles.ts",
      "functions/domain/recovery.ts",
      "functions/domain/same.ts",
      "functions/domain/vms.ts",
      "functions/domain/admission.ts",
      "agents/domain/convergence.ts",
    ],
    tests: [...functionsTests, ...agentsTests],
  },
];
