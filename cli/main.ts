// The command `drover`. stdout has the data, stderr everything else.
import { ApiProblem } from "./api.ts";
import { nearest } from "./arguments.ts";
import type { Command } from "./command.ts";
import { hostCommands } from "./commands/hosts.ts";
import { agentCommand, demoCommand, upCommand } from "./commands/local.ts";
import { migrationCommands } from "./commands/migrations.ts";
import { restoreCommand } from "./commands/restore.ts";
import { vmCommands } from "./commands/vms.ts";
import { CommandFailure, type ExitCode, exitCodes, UsageError } from "./exit.ts";
import { showTable } from "./units.ts";

const commands: Command[] = [
  demoCommand,
  upCommand,
  agentCommand,
  ...hostCommands,
  ...vmCommands,
  ...migrationCommands,
  restoreCommand,
];

function help(): string {
  const rows = commands.map(({ name, summary }) => `  drover ${name}`.padEnd(28) + summary);
  return [
    "Drover moves running virtual machines from host to host without stopping them.",
    "",
    "  drover demo                                        see it happen",
    "  drover up                                          a whole Drover on this machine, until Ctrl-C",
    "  drover migration start --vm vm-1 --to host-b --wait",
    "",
    ...rows,
    "",
    "drover <command> --help tells more. Commands that talk to a control plane read DROVER_API, DROVER_KEY_FILE",
    "and DROVER_CLUSTER.",
    "",
    "Exit codes:",
    showTable(
      [
        ["0", "done"],
        ["1", "failed, or the migration did not complete"],
        ["2", "wrong usage or environment"],
        ["4", "the key is missing, unknown or may not do this"],
        ["5", "a conflict: something else holds it"],
        ["7", "refused"],
        ["124", "waited long enough"],
        ["130", "interrupted"],
      ].map(([code, meaning]) => [`  ${(code ?? "").padEnd(3)}  ${meaning}`]),
    ),
  ].join("\n");
}

/** @throws UsageError */
function choose(args: string[]): { command: Command; rest: string[] } {
  for (const words of [2, 1]) {
    const name = args.slice(0, words).join(" ");
    const command = commands.find((one) => one.name === name);
    if (command) return { command, rest: args.slice(words) };
  }
  const verbs = commands.filter(({ name }) => name.startsWith(`${args[0]} `)).map(({ name }) => name);
  if (verbs.length > 0)
    throw new UsageError(`drover ${args[0]} what? ${verbs.map((name) => `drover ${name}`).join(", ")}`);
  const given = args
    .filter((word) => !word.startsWith("-"))
    .slice(0, 2)
    .join(" ");
  const near = nearest(
    given,
    commands.map(({ name }) => name),
  );
  throw new UsageError(
    `there is no command "${given || args[0]}"${near ? `; did you mean drover ${near}?` : "; see drover --help"}`,
  );
}

async function main(args: string[]): Promise<void> {
  const wantsHelp = args.includes("--help") || args.includes("-h");
  if (args.length === 0 || args[0] === "help" || (wantsHelp && args[0]?.startsWith("-"))) {
    process.stdout.write(`${help()}\n`);
    return;
  }
  const { command, rest } = choose(args);
  if (wantsHelp) process.stdout.write(`${command.help}\n`);
  else await command.run(rest);
}

function explain(error: unknown): { message: string; exitCode: ExitCode } {
  if (error instanceof ApiProblem) {
    const { status, code, detail, title, retry, errors = [], holder, requestId } = error.problem;
    const wayOut = {
      never: "Asking again changes nothing.",
      later: "Try again later.",
      changed: "Change the request.",
    }[retry];
    const message = [
      `${code}: ${title}`,
      `  ${detail}`,
      ...errors.map(({ pointer, detail }) => `  ${pointer}: ${detail}`),
      ...(holder ? [`  held by ${holder}`] : []),
      `  ${wayOut} docs/problems/${code}.md tells more. (request ${requestId})`,
    ].join("\n");
    if (status === 401 || status === 403) return { message, exitCode: exitCodes.unauthorised };
    if (status === 409) return { message, exitCode: exitCodes.conflict };
    return { message, exitCode: status < 500 ? exitCodes.refused : exitCodes.failed };
  }
  if (error instanceof CommandFailure) return { message: error.message, exitCode: error.exitCode };
  const lines: string[] = [];
  for (let one: unknown = error; one instanceof Error; one = one.cause) lines.push(one.message);
  return { message: lines.join(": ") || String(error), exitCode: exitCodes.failed };
}

try {
  await main(process.argv.slice(2));
  process.exit(exitCodes.ok);
} catch (error) {
  const { message, exitCode } = explain(error);
  if (exitCode !== exitCodes.interrupted || message) process.stderr.write(`drover: ${message}\n`);
  process.exit(exitCode);
}
