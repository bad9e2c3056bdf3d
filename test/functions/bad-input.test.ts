// Everything a caller can get wrong has its own problem, with a code, the place and the way out, and leaves no trace.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ProblemDetails, problems } from "../../schemas/problems.ts";
import { facts } from "./support/fake-host.ts";
import { type Answer, answerOf, type Cluster, cluster, dump, makeCluster, runVm, spec } from "./support/world.ts";

async function refused(world: Cluster, code: keyof typeof problems, ask: () => Promise<Answer>): Promise<Answer> {
  const before = dump(world.table);
  const answer = await ask();
  assert.equal(answer.body.code, code, JSON.stringify(answer.body));
  assert.equal(answer.status, problems[code].status);
  assert.ok(answer.headers.get("content-type")?.startsWith("application/problem+json"));
  const details = ProblemDetails.parse(answer.body);
  assert.ok(details.detail.length > 10);
  assert.deepEqual(dump(world.table), before, `${code} left a trace in the table`);
  return answer;
}

const two = () => makeCluster(["host-a", "host-b"]);

test("unknown fields are refused by name, so that a typo never passes for a default", async () => {
  const world = await two();
  const body = { vm: "vm-1", destination: "host-b", limits: { downtimeLimit: 5 }, colour: "red" };
  const { body: problem } = await refused(world, "invalid-request", () => world.request("POST", "/migrations", body));
  assert.deepEqual(problem.errors.map((error: { pointer: string }) => error.pointer).sort(), [
    "/colour",
    "/limits/downtimeLimit",
  ]);
  await refused(world, "invalid-request", () => world.request("GET", "/migrations?limits=3"));
});

test("of many faults the first twenty are named, each in few words, and the others counted", async () => {
  const world = await two();
  const wrong = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`${index}${"x".repeat(500)}`, 1]));
  const body = { vm: "vm-1", destination: 5, ...wrong };
  const { body: problem } = await refused(world, "invalid-request", () => world.request("POST", "/migrations", body));
  assert.equal(problem.errors.length, 20);
  assert.match(problem.detail, /; and 281 more$/);
  assert.ok(JSON.stringify(problem).length < 12_000);
});

test("refusals name the place: a destination of another kind, a name that is taken, a key used before", async () => {
  const world = await two();
  const ask = (path: string, body: object, headers = {}) => world.request("POST", path, body, headers);
  const { body: bad } = await ask("/migrations", { vm: "vm-1", destination: 5 });
  assert.deepEqual([bad.errors[0].pointer, /"auto", or .*1 to/.test(bad.detail)], ["/destination", true]);
  assert.equal((await ask("/v1/clusters", { cluster })).body.errors[0].pointer, "/cluster");
  await ask("/vms", { vm: "vm-1", spec }, { "idempotency-key": "one" });
  assert.equal((await ask("/vms", { vm: "vm-1", spec })).body.errors[0].pointer, "/vm");
  const reused = await ask("/vms", { vm: "vm-2", spec }, { "idempotency-key": "one" });
  assert.equal(reused.body.errors[0].pointer, "");
});

test("a number out of range is refused with its place and its bounds", async () => {
  const world = await two();
  const body = { vm: "vm-1", destination: "host-b", limits: { downtimeLimitMs: 5, roundLimit: 5000 } };
  const { body: problem } = await refused(world, "invalid-request", () => world.request("POST", "/migrations", body));
  assert.deepEqual(problem.errors.map((error: { pointer: string }) => error.pointer).sort(), [
    "/limits/downtimeLimitMs",
    "/limits/roundLimit",
  ]);
  assert.match(problem.detail, /10/);
  assert.match(problem.detail, /1000/);
  for (const limit of ["1000", "0", "0x10", "1e1", "%207", "", "7.0"]) {
    const answer = await refused(world, "invalid-request", () => world.request("GET", `/migrations?limit=${limit}`));
    assert.equal(answer.body.detail, "/limit: a whole number from 1 to 100");
  }
  const vast = { vm: "vm-1", spec: { memoryMiB: 1e99 } };
  const { body: named } = await refused(world, "invalid-request", () => world.request("POST", "/vms", vast));
  assert.deepEqual([named.errors.length, /1024/.test(named.detail)], [1, true]);
  const tooBig = { vm: "vm-1", spec: { memoryMiB: 16, workingSetMiB: 16 } };
  const { body: refined } = await refused(world, "invalid-request", () => world.request("POST", "/vms", tooBig));
  assert.equal(refined.errors[0].pointer, "/spec/workingSetMiB");
});

test("a ticket is text: what a terminal would obey, or no text at all, is refused", async () => {
  const world = await two();
  for (const ticket of ["CHG\u001b[31m", "CHG\u0000", "CHG\ud800", ""]) {
    const body = { vm: "vm-1", destination: "host-b", ticket };
    const { body: problem } = await refused(world, "invalid-request", () => world.request("POST", "/migrations", body));
    assert.equal(problem.errors[0].pointer, "/ticket");
  }
});

test("malformed JSON, another media type and a body over 256 KiB are each refused by their own code", async () => {
  const world = await two();
  await refused(world, "malformed-json", () => world.request("POST", "/vms", '{"vm":'));
  const twice = '{"vm":"vm-1","destination":"host-a","limits":{},"limits":{"roundLimit":5,"round\\u004cimit":6}}';
  for (const [json, pointer] of [
    [twice, "/limits"],
    [twice.replace('"limits":{},', ""), "/limits/roundLimit"],
  ] as const) {
    const { body } = await refused(world, "invalid-request", () => world.request("POST", "/migrations", json));
    assert.deepEqual(body.errors, [{ pointer, detail: "is given more than once in its object" }]);
  }
  await refused(world, "unsupported-media-type", () =>
    world.request("POST", "/vms", "vm=1", { "content-type": "text/plain" }),
  );
  const large = JSON.stringify({ vm: "x".repeat(256 * 1024) });
  await refused(world, "body-too-large", () => world.request("POST", "/vms", large));
  const streamed = new ReadableStream({
    pull: (controller) => controller.enqueue(new Uint8Array(64 * 1024)),
  });
  const unannounced = await world.raw("/v1/join", { method: "POST", body: streamed, duplex: "half" } as RequestInit);
  assert.equal(unannounced.status, 413);
});

test("what is not there is refused by name: cluster, host, VM, migration, route, method", async () => {
  const world = await two();
  await runVm(world, "vm-1", "host-a");
  const move = { vm: "vm-1", destination: "host-z" };
  await refused(world, "cluster-unknown", () => world.request("POST", "/v1/clusters/rome-1/migrations", move));
  await refused(world, "cluster-unknown", () => world.request("GET", "/v1/clusters/rome-1%2Fh%2Fx/vms"));
  await refused(world, "host-unknown", () => world.request("POST", "/migrations", move));
  await refused(world, "host-unknown", () => world.request("GET", "/hosts/host-z"));
  await refused(world, "vm-unknown", () => world.request("POST", "/migrations", { vm: "vm-9", destination: "host-b" }));
  await refused(world, "vm-unknown", () => world.request("POST", "/vms/vm-9/stop", {}));
  const ghost = "mig_01KB0000000000000000000000";
  await refused(world, "migration-unknown", () => world.request("POST", `/migrations/${ghost}/cancel`, {}));
  await refused(world, "migration-unknown", () => world.request("GET", `/migrations/${ghost}/wait?timeoutMs=0`));
  await refused(world, "migration-unknown", () =>
    world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b", retryOf: ghost }),
  );
  await refused(world, "route-unknown", () => world.request("GET", "/v1/nothing"));
  const { headers } = await refused(world, "method-not-allowed", () => world.request("PUT", "/vms/vm-1", {}));
  assert.equal(headers.get("allow"), "DELETE, GET");
});

test("an impossible move is refused with every obstacle named at once", async () => {
  const world = await two();
  await runVm(world, "vm-1", "host-a");
  const move = (changes: object) =>
    world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b", ...changes });
  await refused(world, "same-host", () => move({ destination: "host-a" }));
  await refused(world, "mode-not-offered", () => move({ mode: "quick" }));
  await refused(world, "placement-not-offered", () => move({ destination: "auto" }));
  await world.request("POST", "/vms", { vm: "vm-2", spec });
  await refused(world, "vm-not-running", () => move({ vm: "vm-2" }));
  world.clock.nowMs += 60_000;
  await refused(world, "host-not-alive", () => move({}));
  const { body } = await refused(world, "mode-not-offered", () => move({ vm: "vm-2", mode: "quick" }));
  const named = body.errors.map((error: { detail: string }) => error.detail.split(":")[0]);
  assert.deepEqual(named, ["mode-not-offered", "vm-not-running", "host-not-alive"]);
});

test("a retry names a migration of the same VM", async () => {
  const world = await two();
  await runVm(world, "vm-1", "host-a");
  await runVm(world, "vm-2", "host-a");
  const { body: first } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  await world.request("POST", `/migrations/${first.id}/cancel`, {});
  const retry = (vm: string) => world.request("POST", "/migrations", { vm, destination: "host-b", retryOf: first.id });
  const { body } = await refused(world, "invalid-request", () => retry("vm-2"));
  assert.equal(body.errors[0].pointer, "/retryOf");
  assert.equal((await retry("vm-1")).body.retryOf, first.id);
});

test("a VM that is moving already is refused, naming the migration that holds it", async () => {
  const world = await makeCluster(["host-a", "host-b", "host-c"]);
  await runVm(world, "vm-1", "host-a");
  const { body: first } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const { body } = await refused(world, "vm-already-migrating", () =>
    world.request("POST", "/migrations", { vm: "vm-1", destination: "host-c" }),
  );
  assert.equal(body.holder, first.id);
  await refused(world, "vm-already-migrating", () => world.request("POST", "/vms/vm-1/start", { host: "host-a" }));
});

test("a destination without room is refused, counting its own guests, those arriving and those in the queue", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  const small = await world.addHost("host-c", { memoryMiB: 40 });
  world.hosts["host-c"] = small;
  await runVm(world, "vm-1", "host-a");
  await runVm(world, "vm-2", "host-a");
  await runVm(world, "vm-3", "host-b");
  await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-c" });
  assert.equal(
    (await world.request("POST", "/migrations", { vm: "vm-2", destination: "host-c" })).body.phase,
    "queued",
  );
  const { body } = await refused(world, "destination-full", () =>
    world.request("POST", "/migrations", { vm: "vm-3", destination: "host-c" }),
  );
  assert.match(body.detail, /8 MiB free of 40/);
});

test("a guest of another hypervisor is refused", async () => {
  const world = await makeCluster(["host-a"]);
  world.hosts["host-q"] = await world.addHost("host-q", { hypervisor: { kind: "qemu", version: "7" } });
  await runVm(world, "vm-1", "host-a");
  await refused(world, "hypervisor-mismatch", () =>
    world.request("POST", "/migrations", { vm: "vm-1", destination: "host-q" }),
  );
});

test("names that are taken are refused: cluster, VM, also of a deleted VM", async () => {
  const world = await two();
  await refused(world, "cluster-exists", () => world.request("POST", "/v1/clusters", { cluster }));
  await world.request("POST", "/vms", { vm: "vm-1", spec });
  await refused(world, "vm-exists", () => world.request("POST", "/vms", { vm: "vm-1", spec }));
  await world.request("DELETE", "/vms/vm-1");
  await refused(world, "vm-exists", () => world.request("POST", "/vms", { vm: "vm-1", spec }));
  await refused(world, "vm-deleted", () => world.request("GET", "/vms/vm-1"));
  await refused(world, "vm-deleted", () => world.request("POST", "/vms/vm-1/start", { host: "host-a" }));
  await refused(world, "vm-deleted", () => world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" }));
});

test("a wrong, missing or too narrow key is refused before anything else is looked at", async () => {
  const world = await two();
  const ask = (authorization: string) => world.request("POST", "/vms", "{", { authorization });
  await refused(world, "key-unknown", () => ask("Bearer drover_wrong_0123456789"));
  await refused(world, "key-unknown", () => ask("Basic b3BzOm9wcw=="));
  await refused(world, "key-missing", () => ask(""));
  const reader = await world.makeKey(["read"]);
  await refused(world, "scope-missing", () => ask(`Bearer ${reader}`));
  assert.equal((await world.request("GET", "/vms", undefined, { authorization: `Bearer ${reader}` })).status, 200);
});

test("a report under an old token is refused and moves nothing", async () => {
  const world = await two();
  await runVm(world, "vm-1", "host-a");
  const { body: migration } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const claimed = await world.host("host-b").claimed();
  await world.host("host-a").claim();
  const onMigration = { migrationId: migration.id, fencingToken: 0, vmId: "vm-1" };
  const { body } = await refused(world, "stale-fencing-token", () =>
    world.host("host-b").report({ kind: "destination-commits", ...onMigration, peerHostId: "host-a" }),
  );
  assert.ok(body.record, "the refusal brings the record to act by");
  await refused(world, "stale-fencing-token", () =>
    world.host("host-a").report({
      kind: "migration-progressed",
      ...onMigration,
      phase: "precopy",
      rounds: [],
      encrypted: null,
      peerHostId: "host-b",
    }),
  );
  const source = claimed.assignment?.assignment.source.copyId ?? "";
  await refused(world, "stale-fencing-token", () =>
    world.host("host-a").seen({ vmId: "vm-1", copyId: source, fencingToken: 0, state: "gone", because: "crashed" }),
  );
});

test("a host can report and commit only what is its own", async () => {
  const world = await makeCluster(["host-a", "host-b", "host-c"]);
  await runVm(world, "vm-1", "host-a");
  const { body: migration } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  await world.host("host-a").claim();
  const claimed = (await world.host("host-b").claimed()).assignment?.assignment;
  const onMigration = { migrationId: migration.id, fencingToken: 1, vmId: "vm-1", peerHostId: "host-a" };
  const end = { reason: "stream-failed", detail: "" };
  for (const hostId of ["host-a", "host-c"]) {
    const host = world.host(hostId);
    await refused(world, "not-yours", () => host.report({ kind: "destination-commits", ...onMigration }));
    await refused(world, "not-yours", () => host.report({ kind: "destination-aborts", ...onMigration, ...end }));
    await refused(world, "not-yours", () =>
      host.report({ kind: "gap-measured", migrationId: migration.id, guestGapMs: 1 }),
    );
  }
  const progress = { kind: "migration-progressed", ...onMigration, phase: "precopy", rounds: [], encrypted: null };
  for (const hostId of ["host-b", "host-c"]) {
    const host = world.host(hostId);
    await refused(world, "not-yours", () => host.report({ kind: "source-aborts", ...onMigration, ...end }));
    await refused(world, "not-yours", () => host.report(progress));
  }
  await refused(world, "not-yours", () => world.host("host-c").record(migration.id));
  const copyId = claimed?.source.copyId ?? "";
  const foreign = { vmId: "vm-1", copyId, fencingToken: 1, state: "gone", because: "crashed" } as const;
  await refused(world, "not-yours", () => world.host("host-c").seen({ ...foreign, migrationId: migration.id }));
  await refused(world, "not-yours", () => world.host("host-c").seen({ ...foreign, state: "running" }));
  for (const fencingToken of [0, 1, 99]) {
    await refused(world, "not-yours", () => world.host("host-c").seen({ ...foreign, fencingToken }));
  }
});

test("a query that a write does not take is refused like an unknown field, and so is one given twice", async () => {
  const world = await two();
  await runVm(world, "vm-1", "host-a");
  const writes: [string, string, object][] = [
    ["POST", "/migrations?dryRun=true", { vm: "vm-1", destination: "host-b" }],
    ["DELETE", "/vms/vm-1?force=1", {}],
    ["POST", "/v1/join?host=host-c", {}],
  ];
  for (const [method, path, body] of writes) {
    const { body: problem } = await refused(world, "invalid-request", () => world.request(method, path, body));
    const name = /\?(\w+)=/.exec(path)?.[1];
    assert.deepEqual(problem.errors, [{ pointer: `/${name}`, detail: "there is no such field" }]);
  }
  const twice = await refused(world, "invalid-request", () => world.request("GET", "/migrations?limit=1&limit=2"));
  assert.deepEqual(twice.body.errors, [{ pointer: "/limit", detail: "is given more than once in the query" }]);
});

test("agents' reports may say more than we know; what they must say is checked", async () => {
  const world = await two();
  assert.equal((await world.host("host-a").heartbeat({ colour: "red", guests: [] })).status, 200);
  await refused(world, "invalid-request", () => world.host("host-a").report({ kind: "copy-seen", vmId: "vm-1" }));
  await refused(world, "malformed-json", () => world.host("host-a").send("POST", "/v1/agent/report", "{"));
});

test("no secret is in a failure's log line", async () => {
  const world = await two();
  await world.request("POST", "/vms", "{", { authorization: "Bearer drover_wrong_0123456789" });
  assert.equal(world.failures.at(-1)?.problem, "key-unknown");
  assert.ok(!JSON.stringify(world.failures).includes("drover_"));
});

test("facts at their largest are stored; bytes that are no UTF-8 and control characters are refused", async () => {
  const world = await two();
  const host = world.host("host-a");
  const wide = (length: number) => "\u20ac".repeat(length);
  const own = facts("host-a");
  const largest = {
    ...own,
    cpu: { ...own.cpu, features: Array.from({ length: 512 }, () => wide(32)) },
    networks: Array.from({ length: 64 }, () => {
      return { name: wide(64), address: wide(64), prefixLength: 64, linkSpeedMbps: Number.MAX_SAFE_INTEGER };
    }),
    volumes: Array.from({ length: 64 }, () => {
      return { id: wide(64), path: wide(512), shared: true, freeMiB: Number.MAX_SAFE_INTEGER };
    }),
  };
  assert.equal((await host.heartbeat({ facts: largest })).status, 200);
  for (const text of ["\u0001", "\ud800"]) {
    const hostile = { facts: { ...own, migrationAddress: text.repeat(64) } };
    await refused(world, "invalid-request", () => host.heartbeat(hostile));
  }
  const bytes = new TextEncoder().encode('{"token":"xxxxxxxxxxxxxxxxxxxxxxxx"}').fill(0xff, 12, 20);
  await refused(world, "malformed-json", async () =>
    answerOf(
      await world.raw("/v1/join", { method: "POST", headers: { "content-type": "application/json" }, body: bytes }),
    ),
  );
});
