// Runs a TypeScript file under the Node that this project pins, whatever Node the machine has.
// Installs the dependencies first when they are missing or older than the lock file, so that every
// script of package.json works from a bare clone. Plain JavaScript, because an old Node runs it.
import { spawn, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, lstatSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const lockFile = join(root, "package-lock.json");
const installedLock = join(root, "node_modules", ".drover-installed-lock.json");
const pinnedNode = join(root, "node_modules", ".bin", "node");
const lowestNode = [24, 15];

function isInstalled() {
  return existsSync(installedLock) && readFileSync(installedLock, "utf8") === readFileSync(lockFile, "utf8");
}

function install() {
  process.stderr.write("Installing dependencies (npm ci) …\n");
  // npm's own report goes to stderr: stdout belongs to the command that runs afterwards.
  const npm = process.env.npm_execpath;
  const [command, before] = npm ? [process.execPath, [npm]] : ["npm", []];
  const result = spawnSync(command, [...before, "ci", "--ignore-scripts", "--loglevel=error"], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  if (result.status !== 0) {
    process.stderr.write(`drover: npm ci failed${result.error ? `: ${result.error.message}` : ""}\n`);
    process.exit(1);
  }
  copyFileSync(lockFile, installedLock);
}

function isRecentEnough(version) {
  const [major = 0, minor = 0] = version.replace(/^v/, "").split(".").map(Number);
  return major > lowestNode[0] || (major === lowestNode[0] && minor >= lowestNode[1]);
}

/** Null where the system does not tell. */
function parentOf(pid) {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[1]);
  } catch {
    return null;
  }
}

function nameOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "node";
  }
}

function chooseNode() {
  if (existsSync(pinnedNode)) return pinnedNode;
  if (isRecentEnough(process.version)) return process.execPath;
  process.stderr.write(
    `drover: needs Node ${lowestNode.join(".")} or newer; this is ${process.version}, and npm has no current Node for ` +
      `${process.platform}-${process.arch}. Install one from nodejs.org.\n`,
  );
  process.exit(1);
}

/** Such as a work tree's link to another's: npm would empty the folder that it leads to, under all who share it. */
function isLinked() {
  return lstatSync(join(root, "node_modules"), { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
}

const [first, ...rest] = process.argv.slice(2);
if (!isInstalled()) {
  if (!isLinked()) install();
  else process.stderr.write("node_modules is a link, and not of this lock file: nothing is installed through it.\n");
}
const node = chooseNode();
const script = first === "--bin" ? join(root, "node_modules", ".bin", rest.shift() ?? "") : join(root, first ?? "");
const child = spawn(node, [script, ...rest], {
  stdio: "inherit",
  env: { ...process.env, PATH: `${dirname(node)}:${process.env.PATH ?? ""}` },
});
// The child decides how to end; this process only waits for it, and passes on what it is told. When whoever started
// this one is gone (npm, killed), nobody would be told of anything any more, so the child is asked to end.
const launcher = process.ppid;
// npm runs its scripts in a shell, which lives on when npm is killed: then the shell's own parent is watched as well.
const isByShell = process.env.npm_lifecycle_event !== undefined && nameOf(launcher) !== "node";
const npm = isByShell ? parentOf(launcher) : null;
const isAlone = () => process.ppid !== launcher || (npm !== null && parentOf(launcher) !== npm);
setInterval(() => isAlone() && child.kill("SIGTERM"), 250).unref();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => process.exit(signal ? 128 + (signal === "SIGINT" ? 2 : 15) : (code ?? 1)));
