// The command's first file, which an old Node must be able to run: it says which Node is needed before anything that an
// old one does not know is loaded.
import { readFileSync } from "node:fs";

const { engines } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
const needed: string = engines.node.replace(">=", "");

function isOlder(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [neededMajor = 0, neededMinor = 0] = needed.split(".").map(Number);
  return major < neededMajor || (major === neededMajor && minor < neededMinor);
}

if (isOlder(process.versions.node)) {
  process.stderr.write(
    `drover: needs Node ${needed} or newer, and ${process.execPath} is ${process.version}; install one from nodejs.org\n`,
  );
  process.exitCode = 2;
} else await import("./drover.ts");
