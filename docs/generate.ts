// Writes docs/migration.md: the states of a migration × its events, asked of the very table that decides
// (functions/domain/verdict.ts), so that the page cannot say anything else. `--check` only compares.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { phaseOf } from "../functions/domain/migrations.ts";
import {
  decideVerdict,
  ownerBy,
  type Verdict,
  type VerdictEvent,
  verdictEventKinds,
  verdictKinds,
} from "../functions/domain/verdict.ts";
import { type ProblemCode, problems } from "../schemas/problems.ts";

const ends = {
  source: { hostId: "source", copyId: "source" },
  destination: { hostId: "destination", copyId: "destination" },
  openedUnderToken: 1,
};
/** A copy that is started from the disk. */
const third = { hostId: "a new copy", copyId: "third" };
const cause = { reason: "stream-failed", detail: "" } as const;

/** Every verdict, and those that differ within one kind. */
const states: { [K in Verdict["kind"]]: { name: string; verdict: Verdict }[] } = {
  open: [{ name: "open", verdict: { kind: "open", token: 1 } }],
  committed: [
    { name: "committed", verdict: { kind: "committed", token: 2, confirmed: null } },
    {
      name: "committed, confirmed",
      verdict: { kind: "committed", token: 2, confirmed: { outcome: "running", detail: "" } },
    },
  ],
  aborted: (["source", "destination", "control-plane"] as const).map((by) => ({
    name: `aborted by the ${by.replace("-", " ")}`,
    verdict: { kind: "aborted", token: 2, by, ...cause },
  })),
  returned: [{ name: "returned", verdict: { kind: "returned", token: 3, ...cause } }],
  forced: [{ name: "forced", verdict: { kind: "forced", token: 2, owner: ends.source, statement: "" } }],
};

const events: { [K in VerdictEvent["kind"]]: { name: string; event: VerdictEvent }[] } = {
  "destination-commits": [
    { name: "`destination-commits`", event: { kind: "destination-commits", by: "destination", fencingToken: 1 } },
  ],
  "source-aborts": [
    { name: "`source-aborts`", event: { kind: "source-aborts", by: "source", fencingToken: 1, ...cause } },
  ],
  "destination-aborts": [
    {
      name: "`destination-aborts`",
      event: { kind: "destination-aborts", by: "destination", fencingToken: 1, ...cause },
    },
  ],
  "control-plane-aborts": [
    {
      name: "`control-plane-aborts`, source has not claimed",
      event: { kind: "control-plane-aborts", sourceHasClaimed: false, ...cause },
    },
    {
      name: "`control-plane-aborts`, source has claimed",
      event: { kind: "control-plane-aborts", sourceHasClaimed: true, ...cause },
    },
  ],
  "destination-returns": [
    {
      name: "`destination-returns`",
      event: { kind: "destination-returns", by: "destination", fencingToken: 1, ...cause },
    },
  ],
  "guest-confirmed": [
    {
      name: "`guest-confirmed`",
      event: { kind: "guest-confirmed", by: "destination", fencingToken: 1, outcome: "running", detail: "" },
    },
  ],
  "source-takes-back": (["asked for by an operator", "not asked for"] as const).map((how) => ({
    name: `\`source-takes-back\`, ${how}`,
    event: {
      kind: "source-takes-back",
      by: "source",
      fencingToken: 1,
      asked: how === "not asked for" ? null : { statement: "", refused: null },
    },
  })),
  "operator-forces": [
    { name: "nobody", source: false, destination: false },
    { name: "the source", source: true, destination: false },
    { name: "the destination", source: false, destination: true },
    { name: "both", source: true, destination: true },
  ].map(({ name, ...lost }) => ({
    name: `\`operator-forces\`, ${name} declared lost`,
    event: { kind: "operator-forces", owner: third, lost, statement: "" },
  })),
};

function cell(verdict: Verdict, event: VerdictEvent): string {
  const decision = decideVerdict(verdict, event, ends);
  switch (decision.kind) {
    case "unchanged":
      return "unchanged";
    case "refuse":
      return `[${decision.problem}](problems/${decision.problem}.md)`;
    case "move": {
      const next = decision.verdict;
      if (next.kind === verdict.kind) return "**confirmed**, same token";
      const growth = next.token - verdict.token;
      return `**${next.kind}**, token +${growth}, owner: ${ownerBy(next, ends).hostId}`;
    }
  }
}

function verdictTable(): string {
  const columns = verdictKinds.flatMap((kind) => states[kind]);
  const rows = verdictEventKinds.flatMap((kind) => events[kind]);
  const head = `| Event | ${columns.map(({ name }) => name).join(" | ")} |`;
  const line = `|---|${columns.map(() => "---").join("|")}|`;
  const body = rows.map(
    ({ name, event }) => `| ${name} | ${columns.map(({ verdict }) => cell(verdict, event)).join(" | ")} |`,
  );
  return [head, line, ...body].join("\n");
}

function guardTable(): string {
  const stale = decideVerdict(
    { kind: "open", token: 1 },
    { kind: "destination-commits", by: "destination", fencingToken: 0 },
    ends,
  );
  const foreign = decideVerdict(
    { kind: "open", token: 1 },
    { kind: "destination-commits", by: "source", fencingToken: 1 },
    ends,
  );
  const codeOf = (decision: { kind: string; problem?: ProblemCode }) => decision.problem ?? "";
  return [codeOf(foreign), codeOf(stale)]
    .map((code) => (code === "" ? "" : `| [${code}](problems/${code}.md) | ${problems[code as ProblemCode].title} |`))
    .join("\n");
}

function endTable(): string {
  const migration = { stage: "ended" } as Parameters<typeof phaseOf>[0];
  const rows: [string, Verdict][] = [
    [
      "committed, confirmed; the guest runs, is paused, or has since ended",
      { kind: "committed", token: 2, confirmed: { outcome: "running", detail: "" } },
    ],
    [
      "committed, confirmed as `guest-lost`",
      { kind: "committed", token: 2, confirmed: { outcome: "guest-lost", detail: "" } },
    ],
    [
      "aborted because `cancelled-by-user`",
      { kind: "aborted", token: 2, by: "source", reason: "cancelled-by-user", detail: "" },
    ],
    ["aborted because `vm-stopped`", { kind: "aborted", token: 2, by: "source", reason: "vm-stopped", detail: "" }],
    ["aborted for any other reason", { kind: "aborted", token: 2, by: "source", ...cause }],
    ["returned", { kind: "returned", token: 3, ...cause }],
    ["forced", { kind: "forced", token: 2, owner: ends.source, statement: "" }],
  ];
  return rows.map(([name, verdict]) => `| ${name} | \`${phaseOf({ ...migration, verdict }, null)}\` |`).join("\n");
}

export function migrationPage(): string {
  return `# A migration, state by state

<!-- Written by docs/generate.ts from functions/domain/verdict.ts; do not edit. -->

A migration has two fields that are never one: its **phase** says what it is doing, or how it ended; its **verdict** says
who owns the guest. A verdict is one conditional write: on the verdict before it, the owner copy, the token and the
migration. It raises the fencing token by one, names the owner, and stays on the migration for good.

## Verdicts × events

Every cell is answered. The columns are what stands, the rows what is reported.

${verdictTable()}

Before any cell is looked at, a report is refused when it comes from a host that does not play that part, or under any
other token than the one the migration opened under:

| Problem | |
|---|---|
${guardTable()}


## Phases

| Phase | Meaning |
|---|---|
| \`queued\` | accepted; waits for both hosts' slots, in the order of asking |
| \`awaiting-approval\` | reserved |
| \`setup\` | both slots are taken; the hosts claim, prepare and connect |
| \`precopy\` | memory is sent, round by round, while the guest runs |
| \`switchover\` | the guest stands still; the remainder is sent, the destination commits |
| \`cleanup\` | the verdict stands; each host carries it out and frees its slot by its own report |

It ends when both slots are free:

| How the verdict stands | Phase |
|---|---|
${endTable()}

## Slots and the VM

A host's slot frees on that host's own report: the source's when its guest runs again under \`aborted\` or \`returned\`, or
its copy is gone; the destination's when the confirmed guest runs there, or its copy is gone. Where a host never claimed,
an abort frees its slot. The VM takes its next migration when its owner was seen in the wanted run state, or as ended.
`;
}

export const pagePath = fileURLToPath(new URL("./migration.md", import.meta.url));

if (import.meta.main) {
  if (process.argv.includes("--check")) {
    if (readFileSync(pagePath, "utf8") !== migrationPage()) {
      process.stderr.write("docs/migration.md is not what docs/generate.ts writes: run it and commit the page.\n");
      process.exitCode = 1;
    }
  } else {
    writeFileSync(pagePath, migrationPage());
  }
}
