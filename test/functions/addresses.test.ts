// A migration address has one host of a cluster, or a guest's memory would go to the wrong one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { lostStatement } from "../../schemas/host.ts";
import { problems } from "../../schemas/problems.ts";
import { type FakeHost, facts } from "./support/fake-host.ts";
import { type Answer, type Cluster, dump, makeCluster } from "./support/world.ts";

const shared = { migrationAddress: "10.9.0.1" };
const reports = (host: FakeHost, migrationAddress: string): Promise<Answer> =>
  host.heartbeat({ facts: facts(host.hostId, { migrationAddress }) });

async function refused(world: Cluster, code: keyof typeof problems, ask: () => Promise<Answer>): Promise<Answer> {
  const before = dump(world.table);
  const answer = await ask();
  assert.deepEqual([answer.status, answer.body.code], [problems[code].status, code], JSON.stringify(answer.body));
  assert.equal(answer.body.errors[0].pointer, "/facts/migrationAddress");
  assert.deepEqual(dump(world.table), before, `${code} left a trace in the table`);
  return answer;
}

async function joins(world: Cluster, hostId: string, migrationAddress: string): Promise<() => Promise<Answer>> {
  const { body } = await world.request("POST", "/join-tokens", { host: hostId });
  const request = { token: body.token, host: hostId, facts: facts(hostId, { migrationAddress }) };
  const publicKey = hostId.padEnd(43, "A").replaceAll("-", "_");
  return () => world.request("POST", "/v1/join", { ...request, publicKey });
}

test("an address that no single host can have is refused at the join and in a heartbeat, before anything is written", async () => {
  const world = await makeCluster(["host-a"]);
  for (const address of ["0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.5", "ff02::1", "255.255.255.255", "host-a", ""]) {
    await refused(world, "migration-address-invalid", await joins(world, "host-b", address));
    await refused(world, "migration-address-invalid", () => reports(world.host("host-a"), address));
  }
  for (const address of ["127.0.0.1", "::1", "fd00::1"]) {
    assert.equal((await reports(world.host("host-a"), address)).status, 200, address);
  }
});

test("another host's address is refused, naming its holder, however it is written", async () => {
  const world = await makeCluster(["host-b"]);
  world.hosts["host-a"] = await world.addHost("host-a", shared);
  for (const address of ["10.9.0.1", "::ffff:10.9.0.1", "::FFFF:0a09:0001"]) {
    const joining = await refused(world, "migration-address-taken", await joins(world, "host-c", address));
    assert.equal(joining.body.holder, "host-a");
    await refused(world, "migration-address-taken", () => reports(world.host("host-b"), address));
  }
  assert.equal((await reports(world.host("host-a"), "10.9.0.1")).status, 200, "its own it may report again");
  assert.equal((await (await joins(world, "host-c", "10.9.0.2"))()).status, 200, "with the token that was refused");
});

test("an address is free once its host has reported another one, and only then", async () => {
  const world = await makeCluster(["host-b"]);
  world.hosts["host-a"] = await world.addHost("host-a", shared);
  await refused(world, "migration-address-taken", () => reports(world.host("host-b"), shared.migrationAddress));
  assert.equal((await reports(world.host("host-a"), "10.9.0.2")).status, 200);
  assert.equal((await reports(world.host("host-b"), shared.migrationAddress)).status, 200);
  await refused(world, "migration-address-taken", () => reports(world.host("host-a"), shared.migrationAddress));
  const other = await world.request("GET", "/hosts/host-a");
  assert.equal(other.body.facts.migrationAddress, "10.9.0.2");
});

test("of many hosts that come with one address at the same time one gets it", async () => {
  const world = await makeCluster(["host-y", "host-z"]);
  const names = Array.from({ length: 12 }, (_, index) => `host-${index}`);
  const asked = await Promise.all(names.map((name) => joins(world, name, shared.migrationAddress)));
  const beating = ["host-y", "host-z"].map((name) => () => reports(world.host(name), shared.migrationAddress));
  const answers = await Promise.all([...asked, ...beating].map((ask) => ask()));
  const codes = answers.map(({ status, body }) => (status === 200 ? "taken" : body.code));
  assert.equal(codes.filter((code) => code === "taken").length, 1, codes.join(" "));
  assert.equal(codes.filter((code) => code === "migration-address-taken").length, 13, codes.join(" "));
});

test("the address of a host that was declared lost may be given to another; the lost one returns under a new one", async () => {
  const world = await makeCluster(["host-b"]);
  const lost = await world.addHost("host-a", shared);
  await refused(world, "migration-address-taken", () => reports(world.host("host-b"), shared.migrationAddress));
  world.clock.nowMs += 60_000;
  const loss = { incarnation: lost.incarnation, reason: "power cut", statement: lostStatement };
  const key = await world.makeKey(["read", "force"]);
  const declared = await world.request("POST", "/hosts/host-a/declare-lost", loss, { authorization: `Bearer ${key}` });
  assert.equal(declared.status, 200, JSON.stringify(declared.body));

  // Both at once: the one that comes back, and the one that takes over.
  lost.reboot();
  const answers = await Promise.all([
    reports(lost, shared.migrationAddress),
    reports(world.host("host-b"), shared.migrationAddress),
  ]);
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409]);
  const loser = answers[0]?.status === 409 ? lost : world.host("host-b");
  await refused(world, "migration-address-taken", () => reports(loser, shared.migrationAddress));
  assert.equal((await reports(loser, "10.9.0.2")).status, 200);
});

test("a lost host whose address went to another is refused until it has one of its own", async () => {
  const world = await makeCluster(["host-b"]);
  const lost = await world.addHost("host-a", shared);
  world.clock.nowMs += 60_000;
  const loss = { incarnation: lost.incarnation, reason: "power cut", statement: lostStatement };
  const key = await world.makeKey(["read", "force"]);
  await world.request("POST", "/hosts/host-a/declare-lost", loss, { authorization: `Bearer ${key}` });
  assert.equal((await reports(world.host("host-b"), shared.migrationAddress)).status, 200);
  lost.reboot();
  await refused(world, "migration-address-taken", () => reports(lost, shared.migrationAddress));
  assert.equal((await reports(lost, "10.9.0.3")).status, 200);
  const { body } = await world.request("GET", "/hosts/host-b");
  assert.equal(body.facts.migrationAddress, shared.migrationAddress);
});
