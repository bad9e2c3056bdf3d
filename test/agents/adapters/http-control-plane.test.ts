import assert from "node:assert/strict";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join as joinPath } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { memoryCounter, openCounterFile } from "../../../agents/adapters/counter-file.ts";
import { createHttpControlPlane, type HttpControlPlane } from "../../../agents/adapters/http-control-plane.ts";
import { BadIdentity, type Identity, JoinRefused, join, loadIdentity } from "../../../agents/adapters/join.ts";
import { createLongPollDoorbellWait } from "../../../agents/adapters/long-poll-doorbell-wait.ts";
import type { AcknowledgedCounter, Fetch } from "../../../agents/adapters/signed-requests.ts";
import { systemClock } from "../../../agents/adapters/system-clock.ts";
import { createLongPollDoorbell } from "../../../functions/adapters/long-poll-doorbell.ts";
import { createMemoryTable } from "../../../functions/adapters/memory-table.ts";
import { createApp } from "../../../functions/http/app.ts";
import { installKey } from "../../../functions/operations/api-keys.ts";
import { systemPorts } from "../../../functions/runtime/system-ports.ts";
import { agentHeaders, counterDigits, onlyPage, readCounter } from "../../../schemas/agent.ts";
import { allScopes } from "../../../schemas/api-key.ts";
import type { HostFacts } from "../../../schemas/host.ts";
import { makeKeyPair, signDocument, signerFrom } from "../../../schemas/signing.ts";
import { makeAssignment, makeAuthority, makeHost, makeRecord, spec, ulid } from "../../support/assignments.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const url = "http://control-plane.test";
const apiKey = "test-key-0123456789abcdef";
const incarnation = "a".repeat(32);

const factsOf = (address: string): HostFacts => ({
  cpu: { vendor: "v", model: "m", features: [], count: 2 },
  memoryMiB: 1024,
  networks: [],
  migrationAddress: address,
  volumes: [],
  hypervisor: { kind: "simulated", version: "1" },
  agent: { version: "0.1.0", protocol: 1 },
  platform: { name: "p", version: "1", edition: "e" },
});

describe("the control plane over HTTP", () => {
  let app: ReturnType<typeof createApp>;
  let fetch: Fetch;
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let intercept: ((path: string, init: RequestInit, pass: () => Promise<Response>) => Promise<Response>) | null;
  const doorbell = createLongPollDoorbell();

  beforeEach(async () => {
    folder = await temporaryFolder();
    intercept = null;
    const signingKey = (await makeKeyPair()).privateKey;
    const settings = { tableId: "test" };
    const ports = await systemPorts({ table: createMemoryTable(), doorbell, signingKey, settings });
    await installKey(ports, apiKey, { keyId: "test", scopes: allScopes });
    app = createApp(ports, { log: () => {} });
    fetch = (address, init) => {
      const pass = async () => app.request(address, init);
      return intercept ? intercept(new URL(address).pathname, init, pass) : pass();
    };
    await operate("/v1/clusters", { cluster: "test-1" });
  });
  afterEach(() => folder.remove());

  async function operate(path: string, body: object): Promise<Record<string, unknown>> {
    const response = await app.request(`${url}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = (await response.json()) as Record<string, unknown>;
    assert.ok(response.ok, JSON.stringify(answer));
    return answer;
  }

  async function joinAs(host: string, address = "127.0.0.11", dataFolder = folder.path): Promise<Identity> {
    const { token } = await operate("/v1/clusters/test-1/join-tokens", { host });
    const facts = factsOf(address);
    return join({ url, cluster: "test-1", host, dataFolder, token: String(token), facts, fetch });
  }

  async function clientOf(
    identity: Identity,
    changes: { acknowledged?: AcknowledgedCounter; wallNowMs?: () => number; verificationKey?: string } = {},
  ): Promise<HttpControlPlane> {
    return createHttpControlPlane({
      url,
      cluster: identity.cluster,
      host: identity.host,
      incarnation,
      sign: await signerFrom(identity.privateKey),
      verificationKey: identity.verificationKey,
      fetch,
      clock: systemClock,
      acknowledged: memoryCounter(),
      wallNowMs: Date.now,
      timeoutMs: 5000,
      ...changes,
    });
  }

  const beat = { page: onlyPage, guests: [] };

  test("a joined host's heartbeat is answered, and its clock is the control plane's from then on", async () => {
    const client = await clientOf(await joinAs("host-a"));
    assert.equal(client.controlPlaneNowMs(), null);
    const outcome = await client.heartbeat(beat);
    assert.equal(outcome.kind, "answered");
    const now = client.controlPlaneNowMs();
    assert.ok(now !== null && Math.abs(now - Date.now()) < 10_000);
  });

  test("the identity is kept for its owner alone and read again; its key pair survives a lost answer", async () => {
    intercept = async (path, _init, pass) => {
      await pass();
      if (path === "/v1/join") throw new Error("cut");
      return pass();
    };
    const { token } = await operate("/v1/clusters/test-1/join-tokens", { host: "host-a" });
    const options = { url, cluster: "test-1", host: "host-a", dataFolder: folder.path, token: String(token) };
    await assert.rejects(join({ ...options, facts: factsOf("127.0.0.11"), fetch }), /cut/);
    assert.equal(await loadIdentity(folder.path, "test-1", "host-a"), null);
    const path = joinPath(folder.path, "identity.json");
    const made = JSON.parse(await readFile(path, "utf8"));

    intercept = null;
    const identity = await join({ ...options, facts: factsOf("127.0.0.11"), fetch });
    assert.equal(identity.publicKey, made.keys.publicKey);
    assert.deepEqual(await loadIdentity(folder.path, "test-1", "host-a"), identity);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal((await (await clientOf(identity)).heartbeat(beat)).kind, "answered");
  });

  test("a wrong token is refused by its code; a damaged or another host's identity by the name of its file", async () => {
    const options = {
      url,
      cluster: "test-1",
      host: "host-a",
      dataFolder: folder.path,
      facts: factsOf("127.0.0.11"),
      fetch,
    };
    await assert.rejects(
      join({ ...options, token: "0".repeat(40) }),
      (error: unknown) => error instanceof JoinRefused && error.code === "join-token-invalid",
    );
    await assert.rejects(loadIdentity(folder.path, "test-1", "host-b"), /identity of host-a/);
    await writeFile(joinPath(folder.path, "identity.json"), '{"keys":{"privateKey":"secret-key"');
    await assert.rejects(
      loadIdentity(folder.path, "test-1", "host-a"),
      (error: Error) => /identity\.json is damaged/.test(error.message) && !/secret-key/.test(error.message),
    );
  });

  test("a folder with a host's counter and no identity is nobody's to join with: the table knows nothing of that counter", async () => {
    const old = await temporaryFolder();
    await writeFile(joinPath(old.path, "acknowledged"), "000000000000120\n");
    await assert.rejects(
      loadIdentity(old.path, "test-1", "host-c"),
      (error: unknown) => error instanceof BadIdentity && /identity file is gone.*empty folder/.test(error.message),
    );
    await old.remove();
  });

  test("a client that starts from a low counter is told the right one and is heard at once", async () => {
    const identity = await joinAs("host-a");
    const first = await clientOf(identity);
    for (let index = 0; index < 5; index++) await first.heartbeat(beat);
    assert.equal((await (await clientOf(identity)).heartbeat(beat)).kind, "answered");
  });

  test("a client whose wall clock is years off is told the time and is heard at once", async () => {
    const identity = await joinAs("host-a");
    const client = await clientOf(identity, { wallNowMs: () => 0 });
    assert.equal((await client.heartbeat(beat)).kind, "answered");
  });

  test("a table that knows less than the host was told is noticed", async () => {
    const identity = await joinAs("host-a");
    const acknowledged = memoryCounter();
    const client = await clientOf(identity, { acknowledged });
    await client.heartbeat(beat);
    assert.ok(acknowledged.value > 0);
    acknowledged.raise(acknowledged.value + 10);
    const outcome = await client.heartbeat(beat);
    assert.equal(outcome.kind === "refused" && outcome.problem.code, "table-went-back");
  });

  test("the acknowledged counter outlives the agent's process; a damaged file is refused by name", async () => {
    const path = joinPath(folder.path, "acknowledged");
    const identity = await joinAs("host-a");
    const file = openCounterFile(path);
    const client = await clientOf(identity, { acknowledged: file });
    await client.heartbeat(beat);
    await client.heartbeat(beat);
    const told = file.value;
    assert.ok(told >= 2);
    const again = openCounterFile(path); // The first was never closed, as after kill -9.
    assert.equal(again.value, told);
    for (const open of [file, again]) open.close();
    await writeFile(path, "12x");
    assert.throws(() => openCounterFile(path), /acknowledged is damaged/);
    await writeFile(path, "");
    const largest = 10 ** counterDigits - 1;
    const full = openCounterFile(path);
    full.raise(largest);
    full.close();
    assert.equal(readCounter((await readFile(path, "utf8")).trim()), largest, "the file keeps what a header can say");
    assert.equal(readCounter(`1${"0".repeat(counterDigits)}`), null);
  });

  test("no answer, half an answer and a fault are unknown, never a refusal", async () => {
    const client = await clientOf(await joinAs("host-a"));
    const answers: (() => Promise<Response>)[] = [
      () => Promise.reject(new Error("connection reset")),
      async () => new Response("{", { status: 200 }),
      async () => new Response('{"surprise":1}', { status: 200 }),
      async () => new Response("<html>", { status: 502 }),
      async () => Response.json({ code: "internal-error" }, { status: 500 }),
    ];
    for (const answer of answers) {
      intercept = answer;
      assert.equal((await client.heartbeat(beat)).kind, "unknown");
    }
    intercept = null;
    assert.equal((await client.heartbeat(beat)).kind, "answered");
  });

  test("an answer that does not come in time is unknown", async () => {
    const client = await createHttpControlPlane({
      ...(await optionsOf(await joinAs("host-a"))),
      timeoutMs: 50,
    });
    intercept = () => new Promise(() => {});
    const outcome = await client.heartbeat(beat);
    assert.equal(outcome.kind === "unknown" && /no answer within 50 ms/.test(outcome.detail), true);
  });

  const optionsOf = async (identity: Identity) => ({
    url,
    cluster: identity.cluster,
    host: identity.host,
    incarnation,
    sign: await signerFrom(identity.privateKey),
    verificationKey: identity.verificationKey,
    fetch,
    clock: systemClock,
    acknowledged: memoryCounter(),
    wallNowMs: Date.now,
  });

  test("requests go out one at a time, verdicts before routine, and a hung heartbeat gives way", async () => {
    const client = await clientOf(await joinAs("host-a"));
    await client.heartbeat(beat);
    const order: string[] = [];
    const begun = Promise.withResolvers<void>();
    let inFlight = 0;
    intercept = async (path, init, pass) => {
      assert.equal(++inFlight, 1, "one at a time");
      order.push(path);
      try {
        if (path === "/v1/agent/heartbeat" && order.length === 1) {
          begun.resolve();
          await new Promise((_, reject) => init.signal?.addEventListener("abort", () => reject(init.signal?.reason)));
        }
        return await pass();
      } finally {
        inFlight--;
      }
    };
    const hung = client.heartbeat(beat);
    await begun.promise;
    const outcomes = await Promise.all([
      hung,
      client.claim(),
      client.readRecord(ulid("mig", 1)),
      client.readRecord(ulid("mig", 2)),
    ]);
    assert.deepEqual(order, ["/v1/agent/heartbeat", "/v1/agent/record", "/v1/agent/record", "/v1/agent/claim"]);
    assert.deepEqual(
      outcomes.map(({ kind }) => kind),
      ["unknown", "answered", "refused", "refused"],
    );
  });

  test("a claimed assignment and its record are verified; both ends hold the same one", async () => {
    const [a, b] = [await makeFolder("a"), await makeFolder("b")];
    const source = await clientOf(await joinAs("host-a", "127.0.0.11", a));
    const destination = await clientOf(await joinAs("host-b", "127.0.0.12", b));
    for (const client of [source, destination]) assert.equal((await client.heartbeat(beat)).kind, "answered");
    await operate("/v1/clusters/test-1/vms", { vm: "vm-1", spec });
    await operate("/v1/clusters/test-1/vms/vm-1/start", { host: "host-a" });
    const started = await source.claim();
    assert.ok(started.kind === "answered" && started.claim.copies[0]);
    const [copy] = started.claim.copies;
    const seen = { kind: "copy-seen" as const, state: "running" as const, because: "ordered" as const, detail: "" };
    const { vmId, copyId, fencingToken } = copy;
    const report = await source.report({ ...seen, vmId, copyId, fencingToken, migrationId: null, summary: null });
    assert.equal(report.kind, "applied");
    await operate("/v1/clusters/test-1/migrations", { vm: "vm-1", destination: "host-b" });

    const [near, far] = [await source.claim(), await destination.claim()];
    assert.ok(near.kind === "answered" && near.claim.assignment);
    assert.ok(far.kind === "answered" && far.claim.assignment);
    assert.equal(near.claim.assignment.role, "source");
    assert.equal(far.claim.assignment.role, "destination");
    assert.equal(near.claim.assignment.assignment.migrationId, far.claim.assignment.assignment.migrationId);

    const { migrationId } = near.claim.assignment.assignment;
    const record = await source.readRecord(migrationId);
    assert.ok(record.kind === "answered");
    assert.equal(record.record.record.verdict, "open");
    assert.deepEqual(await destination.prove(record.record.signed, migrationId), record.record, "relayed");
    assert.equal(await destination.prove(record.record.signed, ulid("mig", 9)), null, "of another migration");
    const forged = { ...record.record.signed, payload: `${record.record.signed.payload.slice(0, -4)}AAAA` };
    assert.equal(await destination.prove(forged, migrationId), null);

    const strangers = await makeKeyPair();
    const deceived = await clientOf(await loadIt(a), { verificationKey: strangers.publicKey });
    const outcome = await deceived.claim();
    assert.equal(outcome.kind === "unknown" && /signature does not hold/.test(outcome.detail), true);

    const refusal = await source.report({
      kind: "destination-commits",
      migrationId,
      fencingToken: 1,
      vmId: "vm-1",
      peerHostId: "host-b",
    });
    assert.equal(refusal.kind, "refused");
  });

  const makeFolder = async (name: string) => {
    const path = joinPath(folder.path, name);
    await mkdir(path);
    return path;
  };
  const loadIt = async (dataFolder: string) => {
    const identity = await loadIdentity(dataFolder, "test-1", "host-a");
    assert.ok(identity);
    return identity;
  };

  test("a refusal brings its record along when the control plane signed it, and not otherwise", async () => {
    const identity = await joinAs("host-a");
    const authority = await makeAuthority();
    const client = await clientOf(identity, { verificationKey: authority.verificationKey });
    const assignment = makeAssignment(
      await makeHost(authority, "host-a", "127.0.0.11"),
      await makeHost(authority, "host-b", "127.0.0.12"),
    );
    const record = makeRecord(assignment, { verdict: "aborted", verdictToken: 6 });
    const strangers = await makeAuthority();
    for (const sign of [authority.sign, strangers.sign]) {
      const signed = await signDocument(record, sign);
      intercept = async () =>
        Response.json(
          {
            type: "about:blank",
            title: "t",
            status: 409,
            code: "already-aborted",
            detail: "d",
            requestId: "r",
            retry: "never",
            record: signed,
          },
          { status: 409, headers: { [agentHeaders.time]: String(Date.now()) } },
        );
      const { migrationId, vmId } = assignment;
      const about = { migrationId, vmId, fencingToken: 5, peerHostId: assignment.source.hostId };
      const report = { kind: "destination-commits" as const, ...about };
      const outcome = await client.report(report);
      assert.ok(outcome.kind === "refused");
      assert.equal(outcome.problem.code, "already-aborted");
      assert.deepEqual(outcome.record, sign === authority.sign ? { record, signed } : null);
    }
  });

  test("the doorbell rings, is silent when nobody rings, and silent when it fails", async () => {
    const identity = await joinAs("host-a");
    const client = await clientOf(identity);
    await client.heartbeat(beat);
    const wait = createLongPollDoorbellWait(client.requests);
    const { signal } = new AbortController();
    const rang = wait.wait(10_000, signal);
    for (const isOver = isSettled(rang); !isOver(); ) {
      await doorbell.ring({ clusterId: "test-1", hostId: "host-a" } as Parameters<typeof doorbell.ring>[0]);
      await systemClock.sleep(10);
    }
    assert.equal(await rang, true);

    const ended = new AbortController();
    const waiting = wait.wait(60_000, ended.signal);
    ended.abort();
    assert.equal(await waiting, false);
    intercept = () => Promise.reject(new Error("away"));
    assert.equal(await wait.wait(30, signal), false);
  });
});

function isSettled(promise: Promise<unknown>): () => boolean {
  let settled = false;
  promise.finally(() => {
    settled = true;
  });
  return () => settled;
}
