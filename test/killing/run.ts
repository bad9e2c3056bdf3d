// npm run kill-matrix: real processes are ended before and after every durable step (docs/kill-matrix.md).
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { readArguments, readChoice, readInteger } from "../../cli/arguments.ts";
import { UsageError } from "../../cli/exit.ts";
import { allCells } from "./matrix.ts";
import { report } from "./report.ts";
import type { Outcome, Task } from "./worker.ts";

const help = `npm run kill-matrix -- [options]

  --cells PATTERN      only the cells whose name has this regular expression in it
  --every N            only each Nth of them
  --jobs N             how many clusters at once, 1 to 8 (2)
  --hypervisor KIND    embedded (embedded)
  --headline N         instead: N times, the source host dies after the destination has loaded
  --list               only print the names of the cells`;

type Options = { tasks: Task[]; jobs: number; hypervisor: string; isList: boolean };

function readOptions(args: string[]): Options {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  const { values } = readArguments(args, {
    cells: text,
    every: text,
    jobs: text,
    hypervisor: text,
    headline: text,
    list: flag,
  });
  const times = readInteger("headline", values.headline, { min: 1, max: 10_000, usual: 0 });
  const every = readInteger("every", values.every, { min: 1, max: 1000, usual: 1 });
  const pattern = new RegExp(values.cells ?? "");
  const cells = allCells().filter(({ id }) => pattern.test(id));
  if (cells.length === 0) throw new UsageError(`--cells: no cell has ${pattern} in its name; see --list`);
  const chosen = cells.filter((_, index) => index % every === 0);
  return {
    tasks: times
      ? Array.from({ length: times }, (_, index) => ({ kind: "headline", number: index + 1 }))
      : chosen.map((cell) => ({ kind: "cell", cell })),
    jobs: readInteger("jobs", values.jobs, { min: 1, max: 8, usual: 2 }),
    hypervisor: readChoice("hypervisor", values.hypervisor, ["embedded"], "embedded"),
    isList: values.list,
  };
}

function tell(outcome: Outcome, done: number, all: number): void {
  const at = `[${done}/${all}]`;
  if (outcome.kind === "passed") {
    const { id, ms, ended, verdict } = outcome.result;
    process.stdout.write(`${at} ✔ ${id}: ${ended}, ${verdict} (${(ms / 1000).toFixed(1)} s)\n`);
    return;
  }
  const again = outcome.id.startsWith("headline")
    ? "npm run kill-matrix -- --headline 10"
    : `npm run kill-matrix -- --cells '^${outcome.id}$'`;
  process.stdout.write(`${at} ✖ ${outcome.id}\n    ${outcome.why}\n    again: ${again}\n${indent(outcome.logs)}\n`);
}

const indent = (text: string): string => text.replace(/^/gm, "    | ");

/** Each worker is a process of its own, with a reaper of its own. */
async function runAll({ tasks, jobs, hypervisor }: Options): Promise<Outcome[]> {
  const waiting = [...tasks];
  const outcomes: Outcome[] = [];
  const work = async () => {
    const child = fork(join(import.meta.dirname, "worker.ts"), [hypervisor], {
      execArgv: ["--disable-warning=ExperimentalWarning"],
    });
    for (let task = waiting.shift(); task; task = waiting.shift()) {
      const outcome = await ask(child, task);
      outcomes.push(outcome);
      tell(outcome, outcomes.length, tasks.length);
    }
    child.send("end");
    await new Promise<void>((resolve) => child.once("exit", () => resolve()));
  };
  await Promise.all(Array.from({ length: Math.min(jobs, tasks.length) }, work));
  return outcomes;
}

function ask(child: ChildProcess, task: Task): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const onExit = () => reject(new Error("a worker ended"));
    child.once("exit", onExit);
    child.once("message", (outcome) => {
      child.off("exit", onExit);
      resolve(outcome as Outcome);
    });
    child.send(task);
  });
}

try {
  const args = process.argv.slice(2);
  if (args.includes("--help")) {
    process.stdout.write(`${help}\n`);
  } else {
    const options = readOptions(args);
    if (options.isList) {
      for (const task of options.tasks) if (task.kind === "cell") process.stdout.write(`${task.cell.id}\n`);
    } else {
      const beganAt = performance.now();
      const outcomes = await runAll(options);
      process.stdout.write(`\n${report(outcomes, performance.now() - beganAt)}\n`);
      process.exitCode = outcomes.every(({ kind }) => kind === "passed") ? 0 : 1;
    }
  }
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 2;
}
