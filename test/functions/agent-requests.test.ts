// What an agent's request costs, and which of them are heard: signatures, counters, incarnations, a table that went back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createFaultyTable } from "../../functions/adapters/faulty-table.ts";
import { createMemoryTable } from "../../functions/adapters/memory-table.ts";
import { makeKeyPair, signerFrom } from "../../schemas/signing.ts";
import { createCountingTable } from "./support/counting-table.ts";
import { facts } from "./support/fake-host.ts";
import { about, ok } from "./support/play.ts";
import { cluster, dump, makeCluster, runVm, spec, startMs } from "./support/world.ts";

test("every agent request costs one read and one commit at most", async () => {
  const counting = createCountingTable(createMemoryTable());
  const world = await makeCluster(["host-a", "host-b"], { table: counting.table });
  await runVm(world, "vm-1", "host-a");
  const [a, b] = [world.host("host-a"), world.host("host-b")];
  const { body: migration } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  counting.take();
  const costs = async (reads: number, commits: number, request: Promise<{ status: number; body: unknown }>) => {
    const { status, body } = await request;
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(counting.take(), { reads, commits });
  };
  const guest = { bootId: "b", heartbeats: 1, memoryErrors: 0, longestGapMs: 1, uptimeMs: 1, dirtyMiBPerSecond: 1 };
  const copyId = (await world.request("GET", "/vms/vm-1")).body.owner.copyId;
  counting.take();
  await costs(1, 1, a.heartbeat());
  await costs(1, 1, a.heartbeat({ facts: facts("host-a"), guests: [{ vm: "vm-1", copyId, report: guest }] }));
  const claimedA = (await a.claimed()).assignment;
  const claimedB = (await b.claimed()).assignment;
  assert.ok(claimedA && claimedB);
  assert.deepEqual(counting.take(), { reads: 2, commits: 2 });
  await costs(1, 0, a.claim());
  await costs(1, 0, a.record(migration.id));
  await costs(1, 0, a.send("GET", "/v1/agent/doorbell?waitMs=0"));
  const rounds = [
    {
      round: 0,
      bytes: 1,
      durationMs: 1,
      remainingBytes: 1,
      dirtyBytesPerSecond: 1,
      bandwidthBytesPerSecond: 1,
      throttlePercent: 0,
    },
  ];
  const progress = { kind: "migration-progressed", ...about(claimedA), phase: "precopy", rounds, encrypted: true };
  await costs(1, 1, a.report(progress));
  await costs(1, 1, b.report({ kind: "destination-commits", ...about(claimedB) }));
  await costs(1, 0, b.report({ kind: "destination-commits", ...about(claimedB) }));
  await costs(1, 1, b.report({ kind: "guest-confirmed", ...about(claimedB), outcome: "running" }));
  await costs(1, 1, b.report({ kind: "gap-measured", migrationId: migration.id, guestGapMs: 3 }));
  const onCopy = { vmId: "vm-1", fencingToken: 2, migrationId: migration.id };
  // Freeing a slot looks for who waits, and for what the host has still to end of this guest: two reads more.
  await costs(3, 1, b.seen({ ...onCopy, copyId: claimedB.assignment.destination.copyId, state: "running" }));
  await costs(
    3,
    1,
    a.seen({ ...onCopy, copyId: claimedA.assignment.source.copyId, state: "gone", because: "migration-over" }),
  );

  const { body: second } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-a" });
  const again = (await b.claimed()).assignment;
  const back = (await a.claimed()).assignment;
  assert.ok(again && back);
  counting.take();
  await costs(1, 1, b.report({ kind: "source-aborts", ...about(again), reason: "stream-failed", detail: "" }));
  assert.equal(
    (await a.report({ kind: "destination-aborts", ...about(back), reason: "stream-failed", detail: "" })).body.code,
    "already-aborted",
  );
  assert.deepEqual(counting.take(), { reads: 1, commits: 0 });
  assert.equal(second.phase, "setup");
});

test("nothing but its own read and write stands between a commit and its answer: no ring, no housekeeping", async () => {
  const table = createMemoryTable();
  const asked: string[] = [];
  const faulty = createFaultyTable(table, (call) => {
    asked.push(call.kind);
    return { kind: "none" };
  });
  const world = await makeCluster(["host-a", "host-b"], { table: faulty });
  await runVm(world, "vm-1", "host-a");
  await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  await world.host("host-a").claim();
  const claimed = (await world.host("host-b").claimed()).assignment;
  assert.ok(claimed);
  const rings = world.rings.length;
  asked.length = 0;
  ok(await world.host("host-b").report({ kind: "destination-commits", ...about(claimed) }));
  assert.deepEqual([asked, world.rings.length], [["get", "commit"], rings]);
});

test("a report about another VM or another peer than was assigned is not the host's to make", async () => {
  const world = await makeCluster(["host-a", "host-b", "host-c"]);
  await runVm(world, "vm-1", "host-a");
  await runVm(world, "vm-2", "host-a");
  await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const [a, b] = [world.host("host-a"), world.host("host-b")];
  const asSource = (await a.claimed()).assignment;
  const asDestination = (await b.claimed()).assignment;
  assert.ok(asSource && asDestination);
  const progress = { kind: "migration-progressed", phase: "precopy", rounds: [], encrypted: true };
  const before = dump(world.table);
  for (const wrong of [{ vmId: "vm-2" }, { vmId: "vm-9" }, { peerHostId: "host-c" }]) {
    const commit = await b.report({ kind: "destination-commits", ...about(asDestination), ...wrong });
    assert.equal(commit.body.code, "not-yours");
    assert.equal((await a.report({ ...progress, ...about(asSource), ...wrong })).body.code, "not-yours");
  }
  const unnamed = { ...about(asDestination), vmId: undefined };
  assert.equal((await b.report({ kind: "destination-commits", ...unnamed })).body.code, "invalid-request");
  assert.deepEqual(dump(world.table), before);
  ok(await b.report({ kind: "destination-commits", ...about(asDestination) }));
});

test("a request that its host did not sign, or not so, is refused without a trace", async () => {
  const world = await makeCluster(["host-a", "host-b"]);
  const a = world.host("host-a");
  const before = dump(world.table);
  const stranger = await signerFrom((await makeKeyPair()).privateKey);
  const code = async (answer: Promise<{ body: { code: string } }>) => (await answer).body.code;
  assert.equal(await code(a.heartbeat({}, { sign: stranger })), "signature-invalid");
  assert.equal(await code(a.heartbeat({}, { host: `${cluster}/host-b` })), "signature-invalid");
  assert.equal(await code(a.heartbeat({}, { host: `${cluster}/host-z` })), "signature-invalid");
  assert.equal(await code(a.heartbeat({}, { host: "no/such/thing" })), "signature-invalid");
  assert.equal(await code(a.heartbeat({}, { incarnation: "x" })), "signature-invalid");
  assert.equal(await code(world.request("POST", "/v1/agent/claim", {})), "signature-invalid");
  assert.equal(await code(a.heartbeat({}, { createdMs: startMs - 61_000 })), "clock-skew");
  assert.equal(await code(a.heartbeat({}, { createdMs: startMs + 61_000 })), "clock-skew");
  assert.deepEqual(dump(world.table), before);
});

test("every answer to an agent tells the host's counter and the control plane's time, problems too", async () => {
  const world = await makeCluster(["host-a"]);
  const a = world.host("host-a");
  const answers = [
    await a.heartbeat(),
    await a.claim(),
    await a.record("mig_01KB0000000000000000000000"),
    await a.report({ kind: "no" }),
  ];
  assert.deepEqual(
    answers.map((answer) => answer.status),
    [200, 200, 404, 400],
  );
  for (const answer of answers) {
    assert.equal(answer.headers.get("drover-counter"), "2");
    assert.equal(answer.headers.get("drover-time"), String(world.clock.nowMs));
  }
});

test("a request that comes twice, or after a later one, is heard once", async () => {
  const world = await makeCluster(["host-a"]);
  const a = world.host("host-a");
  ok(await a.heartbeat({}, { counter: 10 }));
  for (const counter of [1, 9, 10]) {
    const late = await a.heartbeat({}, { counter });
    assert.equal(late.body.code, "counter-stale");
    assert.equal(late.headers.get("drover-counter"), "10");
  }
  ok(await a.heartbeat({}, { counter: 11 }));
});

test("a table that knows less than its host was told is noticed before anything is written", async () => {
  const table = createMemoryTable();
  const world = await makeCluster(["host-a", "host-b"], { table });
  await runVm(world, "vm-1", "host-a");
  const { body: migration } = await world.request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
  const b = world.host("host-b");
  await b.claim();
  const backup = table.snapshot();
  await b.heartbeat();
  table.restore(backup);
  // But for the alarm that stands from then on.
  const decided = () =>
    dump(table).filter(({ sort }) => !["session", "recovery"].includes(sort) && !/^cluster/.test(sort));
  const before = decided();
  const requests = [
    () =>
      b.report({
        kind: "destination-commits",
        migrationId: migration.id,
        fencingToken: 1,
        vmId: "vm-1",
        peerHostId: "host-a",
      }),
    () => b.heartbeat(),
    () => b.claim(),
    () => b.record(migration.id),
  ];
  for (const request of requests) assert.equal((await request()).body.code, "table-went-back");
  assert.deepEqual(decided(), before);
});

test("a new incarnation begins with a heartbeat and gets the next number; an older one is never heard again", async () => {
  const world = await makeCluster(["host-a"]);
  const a = world.host("host-a");
  const older = a.incarnation;
  a.reboot();
  assert.equal((await a.claim()).body.code, "incarnation-stale");
  assert.equal(ok(await a.heartbeat()).body.incarnationNumber, 2);
  assert.equal(ok(await a.heartbeat()).body.incarnationNumber, 2);
  for (const ask of [a.heartbeat({}, { incarnation: older }), a.claim({ incarnation: older })]) {
    assert.equal((await ask).body.code, "incarnation-stale");
  }
  const { body: host } = await world.request("GET", "/hosts/host-a");
  assert.deepEqual([host.incarnation, host.incarnationNumber], [a.incarnation, 2]);
});

test("a join token serves once: of a hundred who come with it at once, one gets in", async () => {
  const world = await makeCluster([]);
  const { body } = await world.request("POST", "/join-tokens", { host: "host-a" });
  const keys = await Promise.all(Array.from({ length: 100 }, makeKeyPair));
  const join = (publicKey: string) =>
    world.request("POST", "/v1/join", { token: body.token, host: "host-a", publicKey, facts: facts("host-a") });
  const answers = await Promise.all(keys.map(({ publicKey }) => join(publicKey)));
  const winners = answers.filter((answer) => answer.status === 200);
  assert.equal(winners.length, 1);
  assert.ok(answers.every((answer) => answer.status === 200 || answer.body.code === "join-token-invalid"));
  const winner = keys[answers.findIndex((answer) => answer.status === 200)];
  assert.equal(
    (await join(winner?.publicKey ?? "")).status,
    200,
    "the winner may ask again, the answer may have been lost",
  );
  assert.deepEqual((await world.request("GET", "/v1/clusters/paris-1")).body.hosts, ["host-a"]);
  world.clock.nowMs += 3_600_000;
  assert.equal((await join(winner?.publicKey ?? "")).body.code, "join-token-invalid", "but not once it has expired");
});

test("one key joins one host, whatever its name and cluster", async () => {
  const world = await makeCluster([]);
  await world.request("POST", "/v1/clusters", { cluster: "rome-1" });
  const { publicKey } = await makeKeyPair();
  const join = async (host: string, where: string) => {
    const { body } = await world.request("POST", `${where}/join-tokens`, { host });
    return world.request("POST", "/v1/join", { token: body.token, host, publicKey, facts: facts(host) });
  };
  assert.equal((await join("host-a", "")).status, 200);
  assert.equal((await join("host-a", "")).status, 200);
  assert.equal((await join("host-b", "")).body.code, "host-key-reused");
  assert.equal((await join("host-a", "/v1/clusters/rome-1")).body.code, "host-key-reused");
});

test("a join token is bound to its host's name and expires; the table has neither it nor any key", async () => {
  const world = await makeCluster([]);
  const { publicKey } = await makeKeyPair();
  const token = async () =>
    (await world.request("POST", "/join-tokens", { host: "host-a", validForMs: 1000 })).body.token;
  const join = (host: string, with_: string, key = publicKey) =>
    world.request("POST", "/v1/join", { token: with_, host, publicKey: key, facts: facts(host) });
  const first = await token();
  assert.equal((await join("host-b", first)).body.code, "join-token-invalid");
  world.clock.nowMs += 1000;
  assert.equal((await join("host-a", first)).body.code, "join-token-invalid");
  const second = await token();
  assert.equal((await join("host-a", second)).status, 200);
  assert.equal((await join("host-a", await token(), (await makeKeyPair()).publicKey)).body.code, "host-exists");
  assert.equal((await join("host-a", await token())).status, 200, "the same host with the same key may join again");
  const text = JSON.stringify(dump(world.table));
  for (const secret of [first, second, "drover_operator"]) assert.ok(!text.includes(secret));
});

test("a cluster has sixteen hosts at most", async () => {
  const world = await makeCluster(Array.from({ length: 16 }, (_, index) => `host-${String.fromCharCode(97 + index)}`));
  const { body } = await world.request("POST", "/join-tokens", { host: "host-z" });
  assert.equal(body.code, "cluster-full");
});

test("the long poll answers when the host is rung", async () => {
  const world = await makeCluster(["host-a"]);
  const rung = world.host("host-a").send("GET", "/v1/agent/doorbell?waitMs=20000");
  await world.request("POST", "/vms", { vm: "vm-1", spec });
  await world.request("POST", "/vms/vm-1/start", { host: "host-a" });
  assert.deepEqual((await rung).body, { rang: true });
});
