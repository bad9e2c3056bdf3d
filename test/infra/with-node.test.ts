// npm runs a script in a shell that outlives npm: what the script started must end all the same when npm is killed.
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

test("when npm is killed by kill -9, what its script runs is told to end", async () => {
  const folder = mkdtempSync(join(tmpdir(), "drover-npm-"));
  let npm: ChildProcess | null = null;
  try {
    const [pidFile, endFile] = [join(folder, "pid"), join(folder, "ended")];
    const script = join(folder, "long.mjs");
    const written = (path: string) =>
      `(await import("node:fs")).writeFileSync(${JSON.stringify(path)}, String(process.pid))`;
    writeFileSync(
      script,
      `${written(pidFile)}; process.on("SIGTERM", async () => { ${written(endFile)}; process.exit(0); }); setTimeout(() => process.exit(1), 60_000);\n`,
    );
    // What stands between is what npm puts there: a process that is killed, a shell, the launcher.
    const shell = `node ${JSON.stringify(join(root, "infra", "with-node.mjs"))} ${JSON.stringify(relative(root, script))}; true`;
    npm = spawn(
      process.execPath,
      ["-e", `require("child_process").spawnSync("sh", ["-c", ${JSON.stringify(shell)}], { stdio: "ignore" })`],
      {
        cwd: root,
        env: { ...process.env, npm_lifecycle_event: "demo" },
        stdio: "ignore",
      },
    );
    for (let waited = 0; !existsSync(pidFile) && waited < 20_000; waited += 50) await delay(50);
    assert.ok(Number(readFileSync(pidFile, "utf8")) > 0, "it runs");
    npm.kill("SIGKILL");
    for (let waited = 0; !existsSync(endFile) && waited < 20_000; waited += 50) await delay(50);
    assert.ok(existsSync(endFile), "it was told to end");
  } finally {
    npm?.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
});

test("nothing is installed through a link: what others share is left as it is", () => {
  const folder = mkdtempSync(join(tmpdir(), "drover-linked-"));
  try {
    const [tree, shared] = [join(folder, "tree"), join(folder, "shared")];
    for (const path of [join(tree, "infra"), shared]) mkdirSync(path, { recursive: true });
    copyFileSync(join(root, "infra", "with-node.mjs"), join(tree, "infra", "with-node.mjs"));
    writeFileSync(join(tree, "package.json"), '{ "name": "tree", "version": "1.0.0" }');
    const lock = { name: "tree", version: "1.0.0", lockfileVersion: 3, packages: { "": { name: "tree" } } };
    writeFileSync(join(tree, "package-lock.json"), JSON.stringify(lock));
    writeFileSync(join(tree, "hello.mjs"), 'console.log("hello");');
    writeFileSync(join(shared, "kept"), "");
    symlinkSync(shared, join(tree, "node_modules"));
    const ended = spawnSync(process.execPath, [join(tree, "infra", "with-node.mjs"), "hello.mjs"], {
      encoding: "utf8",
    });
    assert.equal(ended.stdout, "hello\n", ended.stderr);
    assert.match(ended.stderr, /^node_modules is a link, .*\n$/);
    assert.ok(existsSync(join(shared, "kept")));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
