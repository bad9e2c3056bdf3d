// Everything that must hold before a change is handed in, cheapest first; stops at the first that does not.
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { styleText } from "node:util";
import { findBreaches, readSources } from "./boundaries.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tool = (name: string): string => join(root, "node_modules", ".bin", name);

function run(command: string, args: string[], stdout: "inherit" | "ignore" = "inherit"): boolean {
  const result = spawnSync(command, args, { cwd: root, stdio: ["ignore", stdout, "inherit"] });
  if (result.error) process.stderr.write(`${result.error.message}\n`);
  return result.status === 0;
}

const steps: { name: string; holds: () => boolean }[] = [
  { name: "types (tsc)", holds: () => run(tool("tsc"), ["--noEmit"]) },
  { name: "lint and format (biome)", holds: () => run(tool("biome"), ["ci"]) },
  {
    name: "boundaries between the folders",
    holds: () => {
      const breaches = findBreaches(readSources());
      for (const breach of breaches) process.stdout.write(`${breach}\n`);
      return breaches.length === 0;
    },
  },
  {
    name: "tests, which also hold the generated pages to their sources",
    holds: () => run(process.execPath, ["test/run.ts"]),
  },
  { name: "package (build)", holds: () => run(process.execPath, ["infra/build.ts"]) },
  { name: "demo (demo --json)", holds: () => run(process.execPath, ["infra/check-demo.ts"]) },
];

for (const { name, holds } of steps) {
  process.stdout.write(`\n${styleText("bold", `── ${name}`)}\n`);
  const startedMs = performance.now();
  const isHeld = holds();
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  process.stdout.write(`${isHeld ? styleText("green", "holds") : styleText("red", "does not hold")} (${seconds} s)\n`);
  if (!isHeld) process.exit(1);
}
process.stdout.write(`\n${styleText(["bold", "green"], "Everything holds.")}\n`);
