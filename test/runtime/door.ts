// One suite of requests for every door of the control plane: what is asked and answered must not depend on the platform
// in front. Each door stands before the same kind of table and queues, over the wires of DynamoDB and SQS.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { createSqsDoorbellWait } from "../../agents/adapters/sqs-doorbell-wait.ts";
import { systemClock } from "../../agents/adapters/system-clock.ts";
import { connectDynamo, createDynamoTable } from "../../functions/adapters/dynamodb-table.ts";
import { createFaultyTable } from "../../functions/adapters/faulty-table.ts";
import { createLongPollDoorbell } from "../../functions/adapters/long-poll-doorbell.ts";
import { createApp } from "../../functions/http/app.ts";
import { systemPorts } from "../../functions/runtime/system-ports.ts";
import { ensureDynamoTable, type LocalDynamo, startLocalDynamo, whyNoLocalDynamo } from "../../infra/local/dynamodb.ts";
import { type LocalSqs, startLocalSqs } from "../../infra/local/sqs.ts";
import { DoorbellAddress } from "../../schemas/agent.ts";
import { type ProblemCode, ProblemDetails, problems } from "../../schemas/problems.ts";
import { makeKeyPair } from "../../schemas/signing.ts";
import { FakeHost } from "../functions/support/fake-host.ts";
import { ok, playAll, Stage } from "../functions/support/play.ts";
import { type Answer, answerOf, cluster, runVm } from "../functions/support/world.ts";

export type Variables = { [name: string]: string };

export type Door = {
  fetch(path: string, init: RequestInit): Promise<Response>;
  /** As the platform's timer does; null where the door brings its own. */
  tidy: (() => Promise<void>) | null;
  close(): Promise<void>;
};

const region = "us-east-1";
const tableName = "drover-doors";
const apiKey = "drover_doors_0123456789";
const tableId = "doors";
const never = new AbortController().signal;

export type Secrets = { signingKey: string; apiKey: string };

export function suiteThrough(name: string, open: (variables: Variables, secrets: Secrets) => Promise<Door>): void {
  describe(`through ${name}`, { skip: whyNoLocalDynamo() ?? false }, () => {
    let dynamo: LocalDynamo;
    let sqs: LocalSqs;
    let door: Door;
    let signingKey: string;
    const hosts: { [hostId: string]: FakeHost } = {};
    const credentials = { accessKeyId: "local", secretAccessKey: "local" };
    const openClient = () => connectDynamo({ region, endpoint: dynamo.endpoint, credentials });

    before(async () => {
      // Where agents find theirs: in the environment.
      process.env["AWS_ACCESS_KEY_ID"] = credentials.accessKeyId;
      process.env["AWS_SECRET_ACCESS_KEY"] = credentials.secretAccessKey;
      dynamo = await startLocalDynamo();
      sqs = await startLocalSqs();
      const client = openClient();
      await ensureDynamoTable(client, tableName);
      client.destroy();
      signingKey = (await makeKeyPair()).privateKey;
      const variables = {
        AWS_REGION: region,
        AWS_ACCESS_KEY_ID: credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
        DROVER_TABLE: `dynamodb:${tableName}`,
        DROVER_TABLE_ID: tableId,
        DROVER_DOORBELL: "sqs",
        DROVER_DYNAMODB_ENDPOINT: dynamo.endpoint,
        DROVER_SQS_ENDPOINT: sqs.endpoint,
        DROVER_LEASE_MS: "600000",
      };
      door = await open(variables, { signingKey, apiKey });
    });
    after(async () => {
      await door?.close();
      await sqs?.stop();
      await dynamo?.stop();
    });

    const raw = (path: string, init: RequestInit) => door.fetch(path, init);
    const request = async (method: string, path: string, body?: unknown, headers: Variables = {}): Promise<Answer> =>
      answerOf(
        await raw(path.startsWith("/v1") ? path : `/v1/clusters/${cluster}${path}`, {
          method,
          headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json", ...headers },
          ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
        }),
      );
    const clock = {
      get nowMs() {
        return Date.now();
      },
    };
    const host = (hostId: string): FakeHost => {
      const found = hosts[hostId];
      if (!found) throw new Error(`no host ${hostId} in this test`);
      return found;
    };
    const world = { raw, request, clock, hosts, host };
    const phaseOf = async (id: string) => (await request("GET", `/migrations/${id}`)).body.phase;

    function isProblem(answer: Answer, code: ProblemCode): void {
      assert.deepEqual([answer.status, answer.body.code], [problems[code].status, code], JSON.stringify(answer.body));
      assert.equal(answer.headers.get("content-type"), "application/problem+json");
      assert.equal(answer.headers.get("x-request-id"), ProblemDetails.parse(answer.body).requestId);
    }

    test("it answers, and a cluster is made once", async () => {
      const health = await request("GET", "/v1/health", undefined, { authorization: "" });
      assert.deepEqual([health.status, health.body], [200, { status: "ok" }]);
      const made = await request("POST", "/v1/clusters", { cluster });
      assert.equal(made.status, 201, JSON.stringify(made.body));
      isProblem(await request("POST", "/v1/clusters", { cluster }), "cluster-exists");
      assert.equal((await request("GET", "")).status, 200);
    });

    test("hosts join with a token, sign their requests, and get a queue of their own", async () => {
      for (const hostId of ["host-a", "host-b", "host-c"]) {
        const joined = await FakeHost.join(world, hostId);
        assert.equal(
          DoorbellAddress.parse(joined.joined.body.doorbell).kind,
          "sqs",
          JSON.stringify(joined.joined.body),
        );
        ok(await joined.heartbeat());
        hosts[hostId] = joined;
      }
      const { body } = await request("GET", "/hosts");
      assert.deepEqual(body.items.map((each: { id?: string; host?: string }) => each.id ?? each.host).sort(), [
        "host-a",
        "host-b",
        "host-c",
      ]);
      isProblem(await host("host-a").heartbeat({}, { sign: async () => new Uint8Array(64) }), "signature-invalid");
      isProblem(await host("host-a").send("GET", "/v1/agent/doorbell?waitMs=0"), "doorbell-elsewhere");
    });

    test("a migration is requested once however often it is asked, rings both hosts, and is played to its end", async () => {
      await runVm(world, "vm-1", "host-a");
      const wish = { vm: "vm-1", destination: "host-b", ticket: "CHG-1" };
      const asked = await request("POST", "/migrations", wish, { "idempotency-key": "wish 1" });
      assert.equal(asked.status, 202, JSON.stringify(asked.body));
      assert.equal(asked.headers.get("location"), `/v1/clusters/${cluster}/migrations/${asked.body.id}`);
      const again = await request("POST", "/migrations", wish, { "idempotency-key": "wish 1" });
      assert.deepEqual([again.status, again.body.id], [202, asked.body.id]);
      const conflict = await request("POST", "/migrations", { vm: "vm-1", destination: "host-c" });
      isProblem(conflict, "vm-already-migrating");
      assert.equal(conflict.body.holder, asked.body.id);

      for (const hostId of ["host-a", "host-b"]) {
        const address = DoorbellAddress.parse(host(hostId).joined.body.doorbell);
        assert.ok(address.kind === "sqs");
        const end = createSqsDoorbellWait({ address, clock: systemClock });
        assert.equal(await end.wait(20_000, never), true, `${hostId} was rung`);
        await end.close();
      }

      const waiting = request("GET", `/migrations/${asked.body.id}/wait?timeoutMs=25000`);
      await playAll(world);
      const { body: ended } = await waiting;
      assert.deepEqual([ended.phase, ended.verdict], ["completed", "committed"], JSON.stringify(ended));
      const { body: vm } = await request("GET", "/vms/vm-1");
      assert.deepEqual([vm.owner.hostId, vm.runState, vm.migration], ["host-b", "running", null]);
    });

    test("a wait without news ends in time with what stands", async () => {
      const { body: list } = await request("GET", "/migrations?limit=1");
      const { body } = await request("GET", `/migrations/${list.items[0].id}/wait?timeoutMs=0`);
      assert.equal(body.id, list.items[0].id);
    });

    test("a cancel before the gate ends the migration where it began", async () => {
      const { body: asked } = await request("POST", "/migrations", { vm: "vm-1", destination: "host-a" });
      for (const hostId of ["host-a", "host-b"]) ok(await host(hostId).claim());
      const cancelled = await request("POST", `/migrations/${asked.id}/cancel`, {});
      assert.equal(cancelled.status, 202, JSON.stringify(cancelled.body));
      await playAll(world, new Stage());
      assert.equal(await phaseOf(asked.id), "cancelled");
      assert.equal((await request("GET", "/vms/vm-1")).body.owner.hostId, "host-b");
    });

    test("lists are cut into pages, newest first", async () => {
      const { body: first } = await request("GET", "/migrations?limit=1");
      const { body: next } = await request("GET", `/migrations?limit=1&cursor=${encodeURIComponent(first.nextCursor)}`);
      assert.deepEqual(
        [first, next].map(({ items }) => items.map(({ phase }: { phase: string }) => phase)),
        [["cancelled"], ["completed"]],
      );
    });

    test("it tells of itself: the document and its page", async () => {
      const document = await answerOf(await raw("/openapi.json", {}));
      assert.deepEqual([document.status, document.headers.get("content-type")], [200, "application/json"]);
      assert.match(document.body.openapi, /^3\.1/);
      assert.ok(document.body.paths["/v1/clusters/{cluster}/migrations"].post);
      const page = await raw("/docs", {});
      assert.deepEqual([page.status, page.headers.get("content-type")?.split(";")[0]], [200, "text/html"]);
      assert.match(await page.text(), /postMigrations/);
    });

    const refused: [string, ProblemCode, () => Promise<Answer>][] = [
      ["no key", "key-missing", () => request("GET", "/vms", undefined, { authorization: "" })],
      ["an unknown key", "key-unknown", () => request("GET", "/vms", undefined, { authorization: "Bearer drover_x" })],
      ["an address that is not there", "route-unknown", () => request("GET", "/v1/nothing")],
      ["a method that an address does not take", "method-not-allowed", () => request("PUT", "/vms", {})],
      ["what is no JSON", "malformed-json", () => request("POST", "/vms", "{")],
      [
        "another content type",
        "unsupported-media-type",
        () => request("POST", "/vms", {}, { "content-type": "text/plain" }),
      ],
      ["a field that is not there", "invalid-request", () => request("POST", "/vms", { vm: "v", colour: "red" })],
      ["a query given twice", "invalid-request", () => request("GET", "/migrations?limit=1&limit=2")],
      ["a body that is too large", "body-too-large", () => request("POST", "/vms", `"${"x".repeat(256 * 1024)}"`)],
      ["a VM that is not there", "vm-unknown", () => request("GET", "/vms/vm-9")],
      [
        "a move to where it is",
        "same-host",
        () => request("POST", "/migrations", { vm: "vm-1", destination: "host-b" }),
      ],
    ];
    for (const [what, code, ask] of refused) {
      test(`${what} is refused: ${code}`, async () => isProblem(await ask(), code));
    }
    test("a method that is not taken is told with those that are", async () => {
      assert.equal((await request("PUT", "/vms", {})).headers.get("allow"), "GET, POST");
    });

    test("characters of every alphabet arrive as they were sent", async () => {
      const ticket = "Änderung 変更 🚚";
      const asked = await request("POST", "/migrations", { vm: "vm-1", destination: "host-c", ticket });
      assert.equal(asked.body.ticket, ticket);
      await playAll(world);
      assert.equal((await request("GET", `/migrations/${asked.body.id}`)).body.ticket, ticket);
    });

    test("the last net does what was left: a migration that nobody admitted begins", async () => {
      await runVm(world, "vm-2", "host-a");
      const { body: first } = await request("POST", "/migrations", { vm: "vm-1", destination: "host-b" });
      const { body: second } = await request("POST", "/migrations", { vm: "vm-2", destination: "host-b" });
      assert.deepEqual([first.phase, second.phase], ["setup", "queued"]);
      // Another control plane on the same table, which cannot read the queue: it cancels, and admits nobody.
      const table = createDynamoTable({ client: openClient(), tableName });
      const faulty = createFaultyTable(table, (call) =>
        call.kind === "query" && call.range.partition.endsWith("/queue") ? { kind: "request-lost" } : { kind: "none" },
      );
      const doorbell = createLongPollDoorbell();
      const app = createApp(await systemPorts({ table: faulty, doorbell, signingKey, settings: { tableId } }), {
        log: () => {},
      });
      const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };
      const path = `http://drover.test/v1/clusters/${cluster}/migrations/${first.id}/cancel`;
      const cancelled = await app.request(path, { method: "POST", headers, body: "{}" });
      assert.ok(cancelled.ok, await cancelled.text());
      await doorbell.close();
      await table.close();

      await door.tidy?.();
      const until = Date.now() + 30_000;
      while (door.tidy === null && (await phaseOf(second.id)) === "queued" && Date.now() < until) {
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
      assert.equal(await phaseOf(second.id), "setup");
      await playAll(world);
      assert.equal(await phaseOf(second.id), "completed");
    });
  });
}
