// The command `drover`. stdout has the data, stderr everything else.
import { readFileSync } from "node:fs";
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
import { watchOutput } from "./unread.ts";

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
    "drover <command> --help tells more, drover --version which one this is.",
    "Commands that talk to a control plane read DROVER_API, DROVER_KEY_FILE and DROVER_CLUSTER.",
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
        ["141", "nobody reads the output any more"],
      ].map(([code, meaning]) => [`  ${(code ?? "").padEnd(3)}  ${meaning}`]),
    ),
  ].join("\n");
}

/** Those that begin with the word, such as "vm". */
const group = (noun: string | undefined): Command[] => commands.filter(({ name }) => name.startsWith(`${noun} `));

function groupHelp(noun: string): string {
  const rows = group(noun).map(({ name, summary }) => `  drover ${name}`.padEnd(28) + summary);
  return [`drover ${noun}:`, "", ...rows, "", `drover ${noun} <verb> --help tells more.`].join("\n");
}

function version(): string {
  const { name, version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  return `${name} ${version}`;
}

/** @throws UsageError */
function choose(args: string[]): { command: Command; rest: string[] } {
  for (const words of [2, 1]) {
    const name = args.slice(0, words).join(" ");
    const command = commands.find((one) => one.name === name);
    if (command) return { command, rest: args.slice(words) };
  }
  const verbs = group(args[0]).map(({ name }) => name);
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

/** What help is asked for, in any of the ways that people try: `help vm start`, `vm start --help`, `vm help`. Null: none.
 *  @throws UsageError */
function helpOn(args: string[]): string | null {
  const words = args.filter((word) => word !== "--help" && word !== "-h");
  const isAsked = words.length < args.length;
  if (words[0] === "help") return helpOn([...words.slice(1), "--help"]);
  if (words[1] === "help" && group(words[0]).length > 0) return helpOn([words[0] ?? "", ...words.slice(2), "--help"]);
  if (words.length === 0 || (isAsked && words[0]?.startsWith("-"))) return help();
  if (!isAsked) return null;
  if (words.length === 1 && group(words[0]).length > 0) return groupHelp(words[0] ?? "");
  return choose(words).command.help;
}

async function main(args: string[]): Promise<void> {
  const told = ["--version", "-V", "version"].includes(args[0] ?? "") ? version() : helpOn(args);
  if (told !== null) {
    process.stdout.write(`${told}\n`);
    return;
  }
  const { command, rest } = choose(args);
  await command.run(rest);
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

watchOutput();
try {
  await main(process.argv.slice(2));
  await new Promise((resolve) => setImmediate(resolve)); // An output that could not be written is told only then.
  process.exit(exitCodes.ok);
} catch (error) {
  const { message, exitCode } = explain(error);
  if (exitCode !== exitCodes.interrupted || message) process.stderr.write(`drover: ${message}\n`);
  process.exit(exitCode);
}
