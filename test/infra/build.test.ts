import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync, rmSync } from "node:fs";
import { delimiter, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { DemoDocument } from "../../cli/demo/document.ts";
import { build } from "../../infra/build.ts";

// Inside of the tree, where the package's dependencies are found.
const root = join(import.meta.dirname, "..", "..");
const out = join(root, ".drover", `build-test-${process.pid}`);
const drover = (...args: string[]): string =>
  execFileSync(process.execPath, ["--no-strip-types", join(out, "cli", "main.js"), ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });

/** Without what a script of this project puts before it. */
function systemEnvironment(): NodeJS.ProcessEnv {
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => !folder.includes("node_modules"));
  return { ...process.env, PATH: folders.join(delimiter) };
}

describe("the package", () => {
  before(() => build(out));
  after(() => rmSync(out, { recursive: true, force: true }));

  test("it is plain JavaScript: no TypeScript in it, and none that it imports", () => {
    assert.deepEqual(globSync("**/*.ts", { cwd: out }), []);
    const files = globSync("**/*.js", { cwd: out });
    assert.ok(files.length > 100);
    for (const file of files) {
      const source = readFileSync(join(out, file), "utf8");
      for (const [, imported = ""] of source.matchAll(/(?:\bfrom|\bimport\(?)\s*["'](\.[^"']+)["']/g)) {
        assert.ok(existsSync(join(out, file, "..", imported)), `${file} imports ${imported}`);
      }
    }
  });

  test("the command tells its help", () => {
    assert.match(drover("--help"), /drover demo/);
  });

  test("an older Node is told which one is needed, in one line", () => {
    const command = join(out, "cli", "main.js");
    const pretended = `Object.defineProperty(process.versions, "node", { value: "20.20.2" })`;
    const older = [[process.execPath, "--import", `data:text/javascript,${pretended}`]];
    // A real one, where the machine has it.
    const system = spawnSync("/usr/bin/env", ["node", "--version"], { encoding: "utf8", env: systemEnvironment() });
    if (/^v(18|20|22)\./.test(system.stdout ?? "")) older.push(["/usr/bin/env", "node"]);
    for (const [program = "", ...words] of older) {
      const ended = spawnSync(program, [...words, command, "--help"], { encoding: "utf8", env: systemEnvironment() });
      assert.equal(ended.status, 2, ended.stderr);
      assert.equal(ended.stdout, "");
      assert.match(ended.stderr, /^drover: needs Node 24\.15 or newer, and .* is v.*; install one from nodejs\.org\n$/);
    }
  });

  test("the command runs a whole cluster and moves a guest", {
    skip: existsSync("/proc/self/environ") ? false : "a local cluster needs /proc",
  }, () => {
    const document = DemoDocument.parse(JSON.parse(drover("demo", "--json", "--memory", "16", "--migrations", "1")));
    assert.equal(document.migrations[0]?.phase, "completed");
  });
});
