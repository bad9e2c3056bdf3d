// What wrangler makes of wrangler.toml, without an account and without the network.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { bundle, bundlePath } from "../../infra/bundle.ts";
import { compatibilityDate } from "../../infra/local/worker.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const execute = promisify(execFile);
const root = join(import.meta.dirname, "..", "..");
const folder = await temporaryFolder();
after(() => folder.remove());

test("wrangler takes the Worker as it was built, with the variables that are no secrets", async () => {
  const { source } = await bundle("worker");
  const file = bundlePath("worker", join(folder.path, "dist"));
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, source);
  await copyFile(join(root, "wrangler.toml"), join(folder.path, "wrangler.toml"));
  const wrangler = join(root, "node_modules", "wrangler", "bin", "wrangler.js");
  const { stdout } = await execute(process.execPath, [wrangler, "deploy", "--dry-run", "--outdir", "out"], {
    cwd: folder.path,
    env: { ...process.env, CI: "1", HOME: folder.path, XDG_CONFIG_HOME: folder.path, WRANGLER_SEND_METRICS: "false" },
    timeout: 120_000,
  });
  assert.match(stdout, /dry-run: exiting now/);
  assert.match(stdout, /DROVER_TABLE \("dynamodb:/);
  assert.equal(await readFile(join(folder.path, "out", "worker.mjs"), "utf8"), source);
});

test("the Worker is tested on the runtime of the day that it is deployed for", async () => {
  const [, date] = /^compatibility_date = "(.*)"$/m.exec(await readFile(join(root, "wrangler.toml"), "utf8")) ?? [];
  assert.equal(date, compatibilityDate);
});
