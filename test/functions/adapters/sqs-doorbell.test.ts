import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  CreateQueueCommand,
  DeleteQueueCommand,
  GetQueueAttributesCommand,
  ListQueuesCommand,
  ReceiveMessageCommand,
} from "@aws-sdk/client-sqs";
import { createSqsDoorbellWait } from "../../../agents/adapters/sqs-doorbell-wait.ts";
import { systemClock } from "../../../agents/adapters/system-clock.ts";
import type { Clock } from "../../../agents/ports/clock.ts";
import { connectSqs, createSqsDoorbell, queueNameOf } from "../../../functions/adapters/sqs-doorbell.ts";
import { type LocalSqs, startLocalSqs, startLocalSqsProcess } from "../../../infra/local/sqs.ts";
import { doorbellContract, type HostWait } from "../../contract/doorbell.ts";

const region = "eu-west-3";
const never = new AbortController().signal;
let server: LocalSqs;

before(async () => {
  // Where agents find theirs: in the environment.
  process.env["AWS_ACCESS_KEY_ID"] = "local";
  process.env["AWS_SECRET_ACCESS_KEY"] = "local";
  server = await startLocalSqs();
});
after(() => server?.stop());

function openDoorbell(
  endpoint = server.endpoint,
  onFailure: (error: unknown) => void = () => {},
  options: { deadLetters?: string } = {},
) {
  const client = connectSqs({ region, endpoint });
  return createSqsDoorbell({ client, region, endpoint, onFailure: (_, error) => onFailure(error), ...options });
}

doorbellContract("SQS", async () => {
  const doorbell = openDoorbell();
  const ends: { close(): Promise<void> }[] = [];
  return {
    doorbell,
    async waitFor(host): Promise<HostWait> {
      const address = await doorbell.install(host);
      assert.ok(address.kind === "sqs");
      const end = createSqsDoorbellWait({ address, clock: systemClock });
      ends.push(end);
      return (timeoutMs, signal) => end.wait(timeoutMs, signal);
    },
    async close() {
      await Promise.all(ends.map((end) => end.close()));
      await doorbell.close();
    },
  };
});

async function waiterAt(endpoint: string, hostId: string, clock: Clock = systemClock) {
  const doorbell = openDoorbell(endpoint);
  const host = { clusterId: "c", hostId };
  const address = await doorbell.install(host);
  assert.ok(address.kind === "sqs");
  const end = createSqsDoorbellWait({ address, clock, random: () => 0 });
  const close = async () => {
    await end.close();
    await doorbell.close();
  };
  return { doorbell, host, end, address, close };
}

test("a handed-on ring is deleted from the queue", async () => {
  const { doorbell, host, end, address, close } = await waiterAt(server.endpoint, "deleting");
  await doorbell.ring(host);
  assert.equal(await end.wait(20_000, never), true);
  assert.equal(await end.wait(20_000, never), true);
  await new Promise((resolve) => setTimeout(resolve, 1)); // The deletion is begun after the wake-up is handed on.
  await end.close();
  const client = connectSqs({ region, endpoint: server.endpoint });
  const { Attributes } = await client.send(
    new GetQueueAttributesCommand({ QueueUrl: address.queueUrl, AttributeNames: ["All"] }),
  );
  assert.equal(Attributes?.["ApproximateNumberOfMessages"], "0");
  assert.equal(Attributes?.["ApproximateNumberOfMessagesNotVisible"], "0");
  client.destroy();
  await close();
});

test("a queue of other attributes, from another release, is taken over", async () => {
  const client = connectSqs({ region, endpoint: server.endpoint });
  const host = { clusterId: "c", hostId: "older" };
  const created = new CreateQueueCommand({
    QueueName: await queueNameOf(host),
    Attributes: { VisibilityTimeout: "77" },
  });
  const { QueueUrl } = await client.send(created);
  const doorbell = openDoorbell();
  await doorbell.install(host);
  const { Attributes } = await client.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["All"] }));
  assert.equal(Attributes?.["VisibilityTimeout"], "5");
  client.destroy();
  await doorbell.close();
});

test("rings that are fetched again and again and never deleted end among the dead letters, also of a queue that was there", async () => {
  const client = connectSqs({ region, endpoint: server.endpoint });
  const { QueueUrl: deadUrl } = await client.send(new CreateQueueCommand({ QueueName: "dead-letters" }));
  const host = { clusterId: "c", hostId: "cannot-delete" };
  const before = openDoorbell();
  await before.install(host);
  await before.close();
  const doorbell = openDoorbell(server.endpoint, undefined, {
    deadLetters: `arn:aws:sqs:${region}:000000000000:dead-letters`,
  });
  const address = await doorbell.install(host);
  assert.ok(address.kind === "sqs");
  const { queueUrl: QueueUrl } = address;
  await doorbell.ring(host);
  const receive = async (url: string | undefined) => {
    const atOnce = { WaitTimeSeconds: 0, VisibilityTimeout: 0, MaxNumberOfMessages: 10 };
    return (await client.send(new ReceiveMessageCommand({ QueueUrl: url, ...atOnce }))).Messages?.length ?? 0;
  };
  for (let receipt = 1; receipt <= 5; receipt++) assert.equal(await receive(QueueUrl), 1, `receipt ${receipt}`);
  assert.equal(await receive(QueueUrl), 0);
  assert.equal(await receive(deadUrl), 1);
  client.destroy();
  await doorbell.close();
});

test("a queue that is gone, or a server that is, silences the ring; only the failure's listener hears", async () => {
  const failures: unknown[] = [];
  const doorbell = openDoorbell(server.endpoint, (error) => failures.push(error));
  const host = { clusterId: "c", hostId: "gone" };
  const address = await doorbell.install(host);
  const client = connectSqs({ region, endpoint: server.endpoint });
  await client.send(new DeleteQueueCommand({ QueueUrl: address.kind === "sqs" ? address.queueUrl : "" }));
  await doorbell.ring(host);
  assert.equal(failures.length, 1);
  await doorbell.install(host);
  await doorbell.ring(host);
  assert.equal(failures.length, 1, "made anew, it rings again");
  client.destroy();
  await doorbell.close();

  const stopped = await startLocalSqs();
  await stopped.stop();
  const unreachable = openDoorbell(stopped.endpoint, (error) => failures.push(error));
  await unreachable.ring(host);
  assert.equal(failures.length, 2);
  await assert.rejects(unreachable.install(host), /making queue drover-c_gone/);
  await unreachable.close();
});

test("a wait at a server that is gone pauses between its tries, ever longer, and ends by timeout or signal", async () => {
  const stopped = await startLocalSqs();
  const pauses: number[] = [];
  let now = 0;
  const clockOfTest: Clock = {
    ...systemClock,
    monotonicMs: () => now,
    async sleep(milliseconds) {
      pauses.push(milliseconds);
      now += milliseconds;
    },
  };
  const { end, close } = await waiterAt(stopped.endpoint, "waiting", clockOfTest);
  await stopped.stop();
  assert.equal(await end.wait(10_000, never), false);
  assert.deepEqual(pauses, [250, 500, 1000, 2000, 4000, 2250]);
  const abort = new AbortController();
  const waiting = end.wait(10_000_000, abort.signal);
  abort.abort();
  assert.equal(await waiting, false);
  await close();
});

test("a wait of no time looks once", async () => {
  const { doorbell, host, end, close } = await waiterAt(server.endpoint, "looking");
  assert.equal(await end.wait(0, never), false);
  await doorbell.ring(host);
  assert.equal(await end.wait(0, never), true);
  await close();
});

test("queue names are SQS's, and differ where hosts differ", async () => {
  const long = "x".repeat(62);
  const hosts = ["a", "b"].flatMap((end) => [
    { clusterId: `${long}${end}`, hostId: `${long}a` },
    { clusterId: `${long}${end}`, hostId: `${long}b` },
    { clusterId: "paris-1", hostId: `host-${end}` },
  ]);
  const names = await Promise.all(hosts.map(queueNameOf));
  assert.equal(names[2], "drover-paris-1_host-a");
  assert.equal(new Set(names).size, hosts.length);
  for (const name of names) assert.match(name, /^[A-Za-z0-9_-]{1,80}$/);
});

test("the server as a process of its own serves, and stops", async () => {
  const own = await startLocalSqsProcess();
  const client = connectSqs({ region, endpoint: own.endpoint });
  assert.deepEqual((await client.send(new ListQueuesCommand({}))).QueueUrls ?? [], []);
  client.destroy();
  await own.stop();
  assert.throws(() => process.kill(own.pid, 0), { code: "ESRCH" });
});
