// Runs the demo as its users do, and holds its document to its schema. Arguments are handed on to the demo.
import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { DemoDocument } from "../cli/demo/document.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const child = spawn(process.execPath, [join(root, "cli", "main.ts"), "demo", "--json", ...process.argv.slice(2)], {
  stdio: ["ignore", "pipe", "inherit"],
});
let text = "";
child.stdout.setEncoding("utf8").on("data", (part: string) => {
  text += part;
});
const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
if (code !== 0) {
  process.stderr.write(`the demo ended with exit code ${code}\n`);
  process.exit(1);
}
const { migrations, guests } = DemoDocument.parse(JSON.parse(text));
for (const { id, encrypted, downtimeMs, totalMs, guestGapMs, rounds } of migrations) {
  if (!encrypted) throw new Error(`${id} was not encrypted`);
  if (rounds.length === 0) throw new Error(`${id} has no rounds`);
  process.stderr.write(`${id}: total ${totalMs} ms, downtime ${downtimeMs} ms, guest's gap ${guestGapMs} ms\n`);
}
for (const { vm, bootIdUnchanged, memoryErrors } of guests) {
  if (!bootIdUnchanged || memoryErrors > 0)
    throw new Error(`${vm} did not come through: ${memoryErrors} memory errors`);
}
if (migrations.length === 0 || guests.length === 0) throw new Error("the document is empty");
