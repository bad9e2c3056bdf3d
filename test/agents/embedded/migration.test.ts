// Guests between processes: there and back, and what becomes of them when something on the way fails.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, test } from "node:test";
import type { Machine, OutgoingStream } from "../../../agents/ports/hypervisor.ts";
import { addresses, asClient, Ear, type EmbeddedBench, makeBench, smallSpec } from "./bench.ts";

const migrationId = "mig_01KB0000000000000000000000";

let bench: EmbeddedBench;
let machines: Machine[];
beforeEach(() => {
  bench = makeBench();
  machines = [];
});
afterEach(async () => {
  for (const machine of machines) await machine.destroy();
  await bench.close();
});

type Heard = { machine: Machine; ear: Ear };

async function launch(arriving: boolean, changes: Partial<typeof smallSpec> = {}): Promise<Heard> {
  const machine = await bench.hypervisor.launch({
    vmId: "vm-1",
    copyId: "copy_01KB0000000000000000000001",
    spec: { ...smallSpec, ...changes },
    directory: await bench.makeDirectory(),
    arriving,
  });
  machines.push(machine);
  return { machine, ear: new Ear(machine) };
}

async function running(changes: Partial<typeof smallSpec> = {}): Promise<Heard> {
  const guest = await launch(false, changes);
  const report = guest.ear.report();
  await guest.machine.run();
  await report;
  return guest;
}

async function connect(source: Heard, changes: Partial<OutgoingStream> = {}): Promise<Heard> {
  const destination = await launch(true);
  const key = randomBytes(32);
  const endpoint = await destination.machine.receive({
    address: addresses[1],
    peerAddress: addresses[0],
    key,
    migrationId,
  });
  const limits = { bandwidthLimitBytesPerSecond: null };
  await source.machine.send({ endpoint, localAddress: addresses[0], key, migrationId, limits, ...changes });
  return destination;
}

async function handOver(source: Heard, destination: Heard): Promise<void> {
  await source.machine.stop();
  const over = Promise.all([source.ear.kind("sent"), destination.ear.kind("loaded")]);
  await source.machine.finish();
  await over;
}

test("four moves between processes: memory equal each time, the same boot, no error", async () => {
  let guest = await running();
  const { bootId } = await guest.ear.report();
  for (let move = 0; move < 4; move++) {
    const rounds = guest.ear.roundDone(1);
    const destination = await connect(guest);
    await rounds;
    await handOver(guest, destination);
    assert.equal(await asClient(destination.machine).memoryDigest(), await asClient(guest.machine).memoryDigest());
    const gap = destination.ear.kind("gap-measured");
    const report = destination.ear.report();
    await destination.machine.run();
    await guest.machine.destroy();
    const { memoryErrors, bootId: arrivedBootId } = await report;
    assert.deepEqual({ memoryErrors, bootId: arrivedBootId }, { memoryErrors: 0, bootId });
    assert.ok((await gap).guestGapMs > 0);
    guest = destination;
  }
});

test("the guest sees its pause: the gap in its heartbeat is at least as long as it stood", async () => {
  const source = await running();
  const rounds = source.ear.roundDone(0);
  const destination = await connect(source);
  await rounds;
  const stoppedMs = performance.now();
  await handOver(source, destination);
  // Loaded, it waits for a decision; its own clock goes on.
  while (performance.now() - stoppedMs < 300) await destination.machine.state();
  const gap = destination.ear.kind("gap-measured");
  const stoodMs = performance.now() - stoppedMs;
  await destination.machine.run();
  assert.ok((await gap).guestGapMs >= stoodMs - 20);
});

test("a guest is handed over from the middle of round 0 as well", async () => {
  const source = await running();
  const { bootId } = await source.ear.report();
  const looked = source.ear.kind("sampled");
  const destination = await connect(source, { limits: { bandwidthLimitBytesPerSecond: 5_000_000 } });
  await looked;
  await handOver(source, destination);
  const report = destination.ear.report();
  await destination.machine.run();
  const { memoryErrors, bootId: arrivedBootId } = await report;
  assert.deepEqual({ memoryErrors, bootId: arrivedBootId }, { memoryErrors: 0, bootId });
});

test("a destination killed in mid-round costs nothing: the guest runs on, and moves elsewhere afterwards", async () => {
  const source = await running();
  const { bootId } = await source.ear.report();
  const looked = source.ear.kind("sampled");
  const lost = await connect(source, { limits: { bandwidthLimitBytesPerSecond: 5_000_000 } });
  await looked;
  const failed = source.ear.kind("stream-failed");
  await bench.kill(lost.machine);
  await failed;
  assert.equal(await source.machine.state(), "running");
  const rounds = source.ear.roundDone(0);
  const destination = await connect(source);
  await rounds;
  await handOver(source, destination);
  const report = destination.ear.report();
  await destination.machine.run();
  const { memoryErrors, bootId: arrivedBootId } = await report;
  assert.deepEqual({ memoryErrors, bootId: arrivedBootId }, { memoryErrors: 0, bootId });
});

test("a destination killed after the guest's stop: nothing arrived, and the guest goes on where it stands", async () => {
  const source = await running();
  const { bootId } = await source.ear.report();
  const rounds = source.ear.roundDone(0);
  const destination = await connect(source);
  await rounds;
  await source.machine.stop();
  const failed = source.ear.kind("stream-failed");
  await bench.kill(destination.machine);
  await failed;
  await assert.rejects(source.machine.finish());
  assert.equal(await source.machine.state(), "stopped");
  const report = source.ear.report();
  assert.deepEqual(await source.machine.run(), { kind: "running" });
  assert.equal((await report).bootId, bootId);
});

test("a guest whose memory is being handed over is not let run, until the stream is ended", async () => {
  const source = await running();
  const rounds = source.ear.roundDone(0);
  const destination = await connect(source);
  await rounds;
  await source.machine.stop();
  // A destination that stands still cannot answer.
  process.kill(destination.machine.reference.pid, "SIGSTOP");
  await source.machine.finish();
  assert.equal((await source.machine.run()).kind, "refused");
  await source.machine.cancel();
  assert.deepEqual(await source.machine.run(), { kind: "running" });
  process.kill(destination.machine.reference.pid, "SIGCONT");
  await source.ear.report();
});

test("a guest that powers itself off in mid-copy ends the stream, and the destination is told", async () => {
  const source = await running();
  const rounds = source.ear.roundDone(0);
  const destination = await connect(source);
  await rounds;
  const ended = source.ear.kind("ended");
  const failed = destination.ear.kind("stream-failed");
  await asClient(source.machine).type("P");
  assert.equal((await ended).how, "powered-off");
  await failed;
  assert.equal((await destination.machine.run()).kind, "refused");
});

test("ends that are not built alike refuse each other before the first page", async () => {
  const source = await running({ workingSetMiB: 2 });
  await assert.rejects(connect(source), /commandLine/);
  assert.equal(await source.machine.state(), "running");
});

test("a throttled guest writes less, and a cancel lets it write again", async () => {
  const source = await running({ dirtyMiBPerSecond: 40 });
  const freely = await source.ear.report(({ uptimeMs }) => uptimeMs > 1500);
  await source.machine.throttle(99);
  // How much it still gets done in its share depends on the machine.
  const slowed = await source.ear.report(
    ({ dirtyMiBPerSecond }) => dirtyMiBPerSecond < freely.dirtyMiBPerSecond * 0.75,
  );
  await source.machine.cancel();
  await source.ear.report(({ dirtyMiBPerSecond }) => dirtyMiBPerSecond > slowed.dirtyMiBPerSecond * 1.2);
});
