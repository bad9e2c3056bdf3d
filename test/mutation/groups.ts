// What is mutated, and which tests are to notice. `rule`: verdict, lease, lock and token code: no mutant may survive but
// those that are listed. `core`: the rest of what decides.
// Each part is one run of the tool, with the tests that reach its files: the quick ones first, since the first that fails
// ends a mutant.
export type Part = { group: "rule" | "core"; files: string[]; tests: string[] };

const machineTests = [
  "test/agents/domain/role.test.ts",
  "test/agents/domain/source-cells.test.ts",
  "test/agents/domain/destination-cells.test.ts",
  "test/agents/domain/source.test.ts",
  "test/agents/domain/destination.test.ts",
  "test/agents/domain/convergence.test.ts",
];
const recordTests = [
  "test/functions/domain/tokens.test.ts",
  "test/functions/domain/verdict.test.ts",
  "test/functions/domain/session.test.ts",
  "test/functions/domain/motion.test.ts",
  "test/functions/domain/copies.test.ts",
  "test/functions/domain/force.test.ts",
  "test/functions/domain/standings.test.ts",
];
const restoreTests = [
  "test/functions/domain/last-run.test.ts",
  "test/functions/domain/recovery-cases.test.ts",
  "test/functions/domain/late-host-cases.test.ts",
  "test/functions/domain/late-host.test.ts",
  "test/functions/domain/recovery.test.ts",
];
const coreTests = [
  "test/functions/domain/vms.test.ts",
  "test/functions/domain/migrations.test.ts",
  "test/functions/domain/obstacles.test.ts",
  ...recordTests,
  ...restoreTests,
];

export const parts: Part[] = [
  {
    group: "rule",
    files: [
      "agents/domain/role.ts",
      "agents/domain/source-state.ts",
      "agents/domain/source.ts",
      "agents/domain/source-steps.ts",
      "agents/domain/destination-state.ts",
      "agents/domain/destination.ts",
      "agents/domain/destination-steps.ts",
    ],
    tests: machineTests,
  },
  {
    group: "rule",
    files: [
      "agents/adapters/lock-rule.ts",
      "agents/adapters/exclusive-file.ts",
      "agents/adapters/sqlite-lock-file.ts",
      "agents/adapters/file-gate.ts",
      "agents/supervisor/lock-hold.ts",
      "agents/supervisor/silence-watch.ts",
    ],
    tests: [
      "test/agents/adapters/lock-rule.test.ts",
      "test/agents/supervisor/silence-watch.test.ts",
      "test/agents/supervisor/lock-hold.test.ts",
      "test/agents/adapters/exclusive-file.test.ts",
      "test/agents/adapters/gate-faults.test.ts",
      "test/agents/adapters/lock-file-faults.test.ts",
      "test/agents/adapters/gate.test.ts",
      "test/agents/adapters/lock-file.test.ts",
    ],
  },
  {
    group: "rule",
    files: ["agents/supervisor/supervisor.ts"],
    tests: [
      "test/agents/supervisor/permits.test.ts",
      "test/agents/supervisor/gate.test.ts",
      "test/agents/supervisor/life.test.ts",
    ],
  },
  {
    group: "rule",
    files: [
      "functions/domain/verdict.ts",
      "functions/domain/motion.ts",
      "functions/domain/copies.ts",
      "functions/domain/session.ts",
      "functions/domain/tokens.ts",
      "functions/domain/force.ts",
      "functions/domain/lost-host.ts",
      "functions/domain/standings.ts",
    ],
    tests: recordTests,
  },
  {
    group: "rule",
    files: ["functions/domain/last-run.ts", "functions/domain/recovery.ts", "functions/domain/late-host.ts"],
    tests: restoreTests,
  },
  {
    group: "rule",
    files: ["agents/adapters/durable-file.ts", "agents/adapters/sealed-log.ts", "agents/adapters/file-journal.ts"],
    tests: [
      "test/agents/adapters/durable-file.test.ts",
      "test/agents/adapters/sealed-log.test.ts",
      "test/agents/adapters/journal.test.ts",
    ],
  },
  {
    group: "rule",
    files: ["schemas/signing.ts"],
    tests: ["test/schemas/signing.test.ts"],
  },
  {
    group: "core",
    files: ["agents/adapters/counter-file.ts", "agents/adapters/incarnation.ts"],
    tests: ["test/agents/adapters/counter-file.test.ts", "test/agents/adapters/incarnation.test.ts"],
  },
  {
    group: "core",
    files: ["agents/roles/part.ts", "agents/roles/source-role.ts", "agents/roles/destination-role.ts"],
    tests: [
      "test/agents/roles/source-role.test.ts",
      "test/agents/roles/destination-role.test.ts",
      "test/exploration/replay/replay.test.ts",
    ],
  },
  {
    group: "core",
    files: ["agents/duties.ts"],
    tests: [
      "test/agents/duties.test.ts",
      "test/agents/duties-carried-out.test.ts",
      "test/agents/duties-watched.test.ts",
    ],
  },
  {
    group: "core",
    files: ["agents/table-back.ts"],
    tests: ["test/agents/table-back.test.ts"],
  },
  {
    group: "core",
    files: ["agents/domain/guest-pages.ts", "agents/domain/guest-pulse.ts"],
    tests: ["test/agents/domain/guest-pages.test.ts", "test/agents/domain/guest-pulse.test.ts"],
  },
  {
    group: "core",
    files: ["agents/domain/convergence.ts"],
    tests: ["test/agents/domain/convergence.test.ts", "test/agents/domain/source.test.ts"],
  },
  {
    group: "core",
    files: [
      "functions/domain/migrations.ts",
      "functions/domain/obstacles.ts",
      "functions/domain/same.ts",
      "functions/domain/vms.ts",
      "functions/domain/admission.ts",
    ],
    tests: coreTests,
  },
];
