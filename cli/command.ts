// One command of `drover`, and what all those that talk to the API share.
import { readFileSync } from "node:fs";
import type { ParseArgsConfig } from "node:util";
import { bearsNoCredentials, isSecure } from "../schemas/secure-url.ts";
import { type Api, createApi } from "./api.ts";
import { readArguments, readChoice } from "./arguments.ts";
import { UsageError } from "./exit.ts";
import { showFields, showTable } from "./units.ts";

export type Command = {
  /** Noun and verb, such as "vm start". */
  name: string;
  summary: string;
  help: string;
  run(args: string[]): Promise<void>;
};

type Values = { [option: string]: string | boolean | undefined };

export type ApiCall = { api: Api; cluster: string; values: Values; output: Output };

export type Output = {
  /** As JSON when asked for, otherwise as a table: one row per item. */
  show<T>(items: T | T[], columns: { [title: string]: (item: T) => string }): void;
  /** One item in full: as JSON, otherwise a line per field, without those that have nothing to say. */
  showWhole<T>(item: T, fields: { [title: string]: (item: T) => string | string[] | null }): void;
};

const text = { type: "string" } as const;

/** A command that calls the API. `needs` are options it cannot do without; all options are strings unless in `flags`. */
export function apiCommand(definition: {
  name: string;
  summary: string;
  example: string;
  needs?: string[];
  takes?: { [option: string]: string };
  /** What is meant by an option of `needs`, where it is no name. */
  meant?: { [option: string]: string };
  /** Before what is shown of the options: what to know before it is run. */
  notes?: string[];
  flags?: { [option: string]: string };
  /** Without a cluster of its own. */
  withoutCluster?: boolean;
  run(call: ApiCall): Promise<void>;
}): Command {
  const {
    name,
    summary,
    example,
    needs = [],
    takes = {},
    flags = {},
    meant = {},
    notes = [],
    withoutCluster = false,
  } = definition;
  const optionLines = [
    ...needs.map((option) => `  --${option} ${meant[option] ?? "NAME"}`),
    ...Object.entries({ ...takes, ...flags }).map(([option, what]) => `  --${option}  ${what}`),
    ...(withoutCluster ? [] : ["  --cluster NAME  (or DROVER_CLUSTER)"]),
    "  -o, --output json|table  (table)",
  ];
  const environment = "The control plane is at DROVER_API, the API key in the file DROVER_KEY_FILE.";
  return {
    name,
    summary,
    help: [
      `drover ${name}: ${summary}`,
      "",
      `  ${example}`,
      "",
      ...notes,
      ...(notes.length > 0 ? [""] : []),
      ...optionLines,
      "",
      environment,
    ].join("\n"),
    run: async (args) => {
      const options: NonNullable<ParseArgsConfig["options"]> = {
        output: { type: "string", short: "o" },
        cluster: text,
      };
      for (const option of [...needs, ...Object.keys(takes)]) options[option] = text;
      for (const option of Object.keys(flags)) options[option] = { type: "boolean" };
      const values = readArguments(args, options).values as Values;
      for (const option of needs) if (!values[option]) throw new UsageError(`--${option} is missing: ${example}`);
      const format = readChoice("output", values["output"] as string | undefined, ["table", "json"], "table");
      const cluster = withoutCluster ? "" : readCluster(values["cluster"]);
      await definition.run({ api: apiFromEnvironment(), cluster, values, output: createOutput(format) });
    },
  };
}

function readCluster(given: string | boolean | undefined): string {
  const cluster = typeof given === "string" ? given : process.env["DROVER_CLUSTER"];
  if (!cluster) throw new UsageError("which cluster? Give --cluster or set DROVER_CLUSTER");
  return cluster;
}

/** @throws UsageError naming the variable that is missing or wrong */
export function apiFromEnvironment(): Api {
  const url = process.env["DROVER_API"];
  if (!url)
    throw new UsageError("DROVER_API is not set: the address of the control plane, such as http://127.0.0.1:8080");
  if (!URL.canParse(url) || !/^https?:/.test(url)) throw new UsageError(`DROVER_API is not an http address: "${url}"`);
  if (!bearsNoCredentials(url))
    throw new UsageError("DROVER_API must bear no name and no password: the key is in DROVER_KEY_FILE");
  if (!isSecure(url)) {
    throw new UsageError(
      `DROVER_API is ${url}: over plain http off this machine anybody on the way reads the key; use https`,
    );
  }
  const keyFile = process.env["DROVER_KEY_FILE"];
  if (!keyFile) throw new UsageError("DROVER_KEY_FILE is not set: a file that holds an API key");
  let key: string;
  try {
    key = readFileSync(keyFile, "utf8").trim();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new UsageError(`DROVER_KEY_FILE: ${keyFile} cannot be read (${code})`);
  }
  if (!/^[\x21-\x7e]{8,512}$/.test(key)) {
    throw new UsageError(`DROVER_KEY_FILE: ${keyFile} is to hold one API key and nothing else, 8 to 512 characters`);
  }
  return createApi({ url, key });
}

export function createOutput(format: "json" | "table"): Output {
  const asJson = (what: unknown) => void process.stdout.write(`${JSON.stringify(what, null, 2)}\n`);
  return {
    showWhole: (item, fields) => {
      if (format === "json") return asJson(item);
      const rows = Object.entries(fields).flatMap(([title, cellOf]) => {
        const cells = [cellOf(item) ?? []].flat();
        return cells.map((cell, index) => [index === 0 ? title : "", cell]);
      });
      process.stdout.write(`${showFields(rows)}\n`);
    },
    show: (items, columns) => {
      if (format === "json") return asJson(items);
      const list = Array.isArray(items) ? items : [items];
      const titles = Object.keys(columns);
      const rows = list.map((item) => Object.values(columns).map((cell) => cell(item)));
      process.stdout.write(`${showTable([titles, ...rows])}\n`);
    },
  };
}
