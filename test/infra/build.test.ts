import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
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

  test("the command runs a whole cluster and moves a guest", {
    skip: existsSync("/proc/self/environ") ? false : "a local cluster needs /proc",
  }, () => {
    const document = DemoDocument.parse(JSON.parse(drover("demo", "--json", "--memory", "16", "--migrations", "1")));
    assert.equal(document.migrations[0]?.phase, "completed");
  });
});
