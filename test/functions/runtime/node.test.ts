// The control plane as a process: it says where it listens, refuses a bad environment by name, ends when told to.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { readConfiguration } from "../../../functions/runtime/node-environment.ts";
import { makeKeyPair } from "../../../schemas/signing.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { FakeHost, type FakeHostWorld } from "../support/fake-host.ts";
import { answerOf } from "../support/world.ts";

const program = fileURLToPath(new URL("../../../functions/runtime/node.ts", import.meta.url));
const folder = await temporaryFolder();
after(() => folder.remove());
const apiKey = "drover_runtime_0123456789";
await writeFile(`${folder.path}/key`, `${apiKey}\n`);
await writeFile(`${folder.path}/signing`, (await makeKeyPair()).privateKey);
await writeFile(`${folder.path}/nonsense`, "x");

/** What a fake host needs of the world, at a process reached over HTTP. */
function worldAt(url: string, headers: { [name: string]: string }): FakeHostWorld {
  const raw = (path: string, init: RequestInit) => fetch(`${url}${path}`, init);
  return {
    clock: { nowMs: Date.now() },
    raw,
    request: async (method, path, body) => {
      const address = path.startsWith("/v1") ? path : `/v1/clusters/paris-1${path}`;
      return answerOf(await raw(address, { method, headers, body: JSON.stringify(body) }));
    },
  };
}

const environment = (changes: { [name: string]: string | undefined } = {}) => ({
  PATH: process.env["PATH"],
  DROVER_LISTEN: "127.0.0.1:0",
  DROVER_TABLE: `sqlite:${folder.path}/table.db`,
  DROVER_TABLE_ID: "t1",
  DROVER_SIGNING_KEY_FILE: `${folder.path}/signing`,
  DROVER_BOOTSTRAP_KEY_FILE: `${folder.path}/key`,
  ...changes,
});

async function run(changes: { [name: string]: string | undefined }): Promise<{ code: number | null; stderr: string }> {
  const child = spawn(process.execPath, [program], { env: environment(changes), stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const [code] = await once(child, "close");
  return { code, stderr };
}

async function start(stderr: "inherit" | number = "inherit"): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(process.execPath, [program], { env: environment(), stdio: ["ignore", "pipe", stderr] });
  if (!child.stdout) throw new Error("the process has no output");
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  return { child, url: JSON.parse(line).listening };
}

for (const [name, value] of [
  ["DROVER_LISTEN", "everywhere"],
  ["DROVER_LISTEN", "127.0.0.1:99999"],
  ["DROVER_TABLE", undefined],
  ["DROVER_TABLE", "postgres:x"],
  ["DROVER_TABLE", `sqlite:${folder.path}/no/such/folder/table.db`],
  ["DROVER_TABLE_ID", undefined],
  ["DROVER_TABLE_ID", "Not A Name"],
  ["DROVER_SIGNING_KEY_FILE", undefined],
  ["DROVER_SIGNING_KEY_FILE", `${folder.path}/missing`],
  ["DROVER_SIGNING_KEY_FILE", `${folder.path}/nonsense`],
  ["DROVER_BOOTSTRAP_KEY_FILE", `${folder.path}/nonsense`],
  ["DROVER_DOORBELL", "gong"],
  ["DROVER_HEARTBEAT_MS", "soon"],
  ["DROVER_LISTEN", "0.0.0.0:0"],
  ["DROVER_LISTEN", "[::]:0"],
  ["DROVER_LEASE_MS", "1"],
  ["DROVER_RESTORE_EPOCH", "-1"],
] as const) {
  test(`${name}=${value?.replace(folder.path, "<folder>") ?? ""} is refused in one line that names it`, async () => {
    const { code, stderr } = await run({ [name]: value });
    assert.equal(code, 2, stderr);
    assert.equal(stderr.trim().split("\n").length, 1, stderr);
    assert.ok(stderr.startsWith(name), stderr);
    assert.ok(!stderr.includes(apiKey));
  });
}

test("what cannot be served or signed is refused before there is a table", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as AddressInfo;
  const path = `${folder.path}/untouched.db`;
  const cases = [
    [{ DROVER_LISTEN: `127.0.0.1:${port}` }, /^DROVER_LISTEN: .*EADDRINUSE.*choose a free port/],
    [
      { DROVER_LISTEN: "192.0.2.1:0", DROVER_LISTEN_ANYWHERE: "behind-tls-proxy" },
      /^DROVER_LISTEN: .*EADDRNOTAVAIL.*name an address of this machine/,
    ],
    [{ DROVER_SIGNING_KEY_FILE: `${folder.path}/nonsense` }, /^DROVER_SIGNING_KEY_FILE/],
    [{ DROVER_BUSY_HEARTBEAT_MS: "16000" }, /^DROVER_BUSY_HEARTBEAT_MS is 16000 and DROVER_LEASE_MS 30000: .*15000/],
  ] as const;
  for (const [changes, says] of cases) {
    const { code, stderr } = await run({ DROVER_TABLE: `sqlite:${path}`, ...changes });
    assert.equal(code, 2, stderr);
    assert.match(stderr, says);
    assert.ok(!existsSync(path), "nothing was written");
  }
  taken.close();
});

test("a lease that two heartbeats would outlast is refused, naming both", async () => {
  const { code, stderr } = await run({ DROVER_LEASE_MS: "19999" });
  assert.equal(code, 2);
  assert.match(stderr, /^DROVER_LEASE_MS is 19999 and DROVER_HEARTBEAT_MS 10000: .*20000/);
});

test("off loopback it listens only where a proxy is said to speak TLS before it", () => {
  const read = (changes: { [name: string]: string }) => readConfiguration(environment(changes)).listen;
  const anywhere = { DROVER_LISTEN: "0.0.0.0:80" };
  assert.throws(() => read(anywhere), /DROVER_LISTEN_ANYWHERE=behind-tls-proxy/);
  assert.deepEqual(read({ ...anywhere, DROVER_LISTEN_ANYWHERE: "behind-tls-proxy" }), { host: "0.0.0.0", port: 80 });
});

test("AWS adapters without a region, and local ones without credentials, are refused by name", async () => {
  const local = { AWS_REGION: "eu-west-1", AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b" };
  const table = { DROVER_TABLE: "dynamodb:drover", DROVER_DYNAMODB_ENDPOINT: "http://127.0.0.1:9" };
  for (const missing of Object.keys(local)) {
    const { code, stderr } = await run({ ...table, ...local, [missing]: undefined });
    assert.equal(code, 2);
    assert.ok(stderr.startsWith(missing), stderr);
  }
});

test("at AWS itself the credentials are the SDK's to find; what it fails on is told", async () => {
  const nowhere = { AWS_EC2_METADATA_DISABLED: "true", AWS_CONFIG_FILE: "none", AWS_SHARED_CREDENTIALS_FILE: "none" };
  const { code, stderr } = await run({ DROVER_TABLE: "dynamodb:drover", AWS_REGION: "eu-west-1", ...nowhere });
  assert.equal(code, 2, stderr);
  assert.match(stderr, /^DROVER_TABLE names .*"drover".*Could not load credentials/);
});

test("it serves, keeps what it was told over kill -9, and ends with 0 on SIGTERM while hosts wait", async () => {
  const first = await start();
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };
  const made = await fetch(`${first.url}/v1/clusters`, { method: "POST", headers, body: '{"cluster":"paris-1"}' });
  assert.equal(made.status, 201);
  first.child.kill("SIGKILL");
  await once(first.child, "exit");

  const second = await start();
  const found = await fetch(`${second.url}/v1/clusters/paris-1`, { headers });
  assert.deepEqual((await found.json()) as object, (await made.json()) as object);
  const host = await FakeHost.join(worldAt(second.url, headers), "host-a");
  assert.equal((await host.heartbeat()).status, 200);
  const waiting = host.send("GET", "/v1/agent/doorbell?waitMs=20000");
  assert.equal((await host.record("mig_01KB0000000000000000000000")).status, 404);
  second.child.kill("SIGTERM");
  assert.deepEqual((await waiting).body, { rang: false }, "what is open is answered");
  const [code] = await once(second.child, "exit");
  assert.equal(code, 0);
});

test("a log that takes nothing does not end it: requests that fail are answered, again and again", async () => {
  const full = openSync("/dev/full", "w");
  const { child, url } = await start(full);
  try {
    for (let request = 0; request < 5; request += 1) {
      assert.equal((await fetch(`${url}/v1/clusters/paris-1/vms`)).status, 401);
    }
    assert.equal(child.exitCode, null);
  } finally {
    closeSync(full);
    child.kill("SIGTERM");
    await once(child, "close");
  }
});
