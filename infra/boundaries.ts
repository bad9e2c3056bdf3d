// What may import what. The folders' independence is what lets the control plane run on any web platform, the agents on
// their own, and the pure parts under a simulation.
import { globSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

/** `path` from the root; `source` the file's text. */
export type SourceFile = { path: string; source: string };

type Rule = {
  name: string;
  applies: (path: string) => boolean;
  /** Why this import is refused; null when it is allowed. `imported` is a path from the root, or a package's name. */
  refuses: (imported: string, path: string) => string | null;
};

const within =
  (...folders: string[]) =>
  (path: string) =>
    folders.some((folder) => path.startsWith(`${folder}/`));
const nodeOnly = [
  "functions/runtime/node.ts",
  "functions/runtime/lambda.ts",
  "functions/runtime/halt-steps.ts",
  "functions/adapters/sqlite-table.ts",
];
const isBuiltin = (imported: string): boolean => imported.startsWith("node:") || builtinModules.includes(imported);

/** The control plane's doors, each with what belongs to its platform alone. */
const doors: { [path: string]: RegExp } = {
  "functions/runtime/lambda.ts": /^hono\/(aws-lambda|lambda-edge)\b/,
  "functions/runtime/node.ts": /^@hono\/node-server\b/,
  "functions/runtime/worker.ts": /^(cloudflare:|hono\/cloudflare-)/,
};

const rules: Rule[] = [
  {
    name: "functions and agents share schemas alone",
    applies: within("functions", "agents"),
    refuses: (imported, path) => {
      const other = path.startsWith("functions/") ? "agents" : "functions";
      return within(other)(imported) ? `${other}/ is the other side: what both speak belongs in schemas/` : null;
    },
  },
  {
    name: "schemas import zod alone",
    applies: within("schemas"),
    refuses: (imported) =>
      imported === "zod" || within("schemas")(imported) ? null : "schemas/ imports zod and itself",
  },
  {
    name: "domains are pure",
    applies: within("functions/domain", "agents/domain"),
    refuses: (imported, path) => {
      const own = path.startsWith("functions/") ? "functions/domain" : "agents/domain";
      return within("schemas", own)(imported) ? null : "a domain imports schemas/ and itself";
    },
  },
  {
    name: "the control plane's source runs on every web platform",
    applies: (path) => within("functions", "schemas")(path) && !nodeOnly.includes(path),
    refuses: (imported) => (isBuiltin(imported) ? `only ${nodeOnly.join(" and ")} may use Node` : null),
  },
  {
    name: "three doors, one house",
    applies: within("functions", "schemas"),
    refuses: (imported, path) => {
      if (imported in doors) return "a door leads in, and nothing inside leads to a door";
      const owner = Object.keys(doors).find((door) => doors[door]?.test(imported));
      if (owner && owner !== path) return `only ${owner} knows its platform`;
      const isInside = within("functions/runtime")(imported) && !within("functions/runtime")(path);
      return isInside ? "what a runtime brings comes in by ports" : null;
    },
  },
  {
    name: "the product stands on its own",
    applies: within("functions", "agents", "schemas"),
    refuses: (imported) =>
      within("cli", "infra", "bench", "test", "web")(imported)
        ? "tools import the product, not the other way round"
        : null,
  },
];

/** Node's own globals, which no import shows. */
const nodeGlobal = /(?<![.\w"'`])(?:(Buffer|process)\s*[.[]|(setImmediate|require)\s*\(|(__dirname|__filename)\b)/;

/** @returns one sentence per breach */
export function findBreaches(files: readonly SourceFile[]): string[] {
  const breaches: string[] = [];
  for (const { path, source } of files) {
    for (const imported of importsOf(path, source)) {
      for (const rule of rules) {
        const reason = rule.applies(path) ? rule.refuses(imported, path) : null;
        if (reason) breaches.push(`${path} imports ${imported}: ${reason} (${rule.name})`);
      }
    }
    if (!within("functions", "schemas")(path) || nodeOnly.includes(path)) continue;
    const found = nodeGlobal.exec(withoutComments(source));
    if (found)
      breaches.push(`${path} uses ${found[1] ?? found[2] ?? found[3]}: web-platform globals only (${rules[3]?.name})`);
  }
  return breaches;
}

const withoutComments = (source: string): string =>
  source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");

function importsOf(path: string, source: string): string[] {
  const imports = /(?:\bfrom\s*|\bimport\s*\(\s*|^\s*import\s+)["']([^"']+)["']/gm;
  return [...withoutComments(source).matchAll(imports)].map(([, specifier = ""]) =>
    specifier.startsWith(".") ? normalize(join(dirname(path), specifier)) : specifier,
  );
}

export function readSources(root = dirname(dirname(fileURLToPath(import.meta.url)))): SourceFile[] {
  const paths = globSync("{functions,schemas,agents}/**/*.ts", { cwd: root }).sort();
  return paths.map((path) => ({ path, source: readFileSync(join(root, path), "utf8") }));
}
