// What every hypervisor must keep, sentence by sentence of agents/ports/hypervisor.ts. Nothing here depends on how fast
// it is: events are awaited, and "nothing happens" is watched for over the bench's own time.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, test } from "node:test";
import type { Hypervisor, Machine, MachineEvent, StreamLimits, StreamSample } from "../../agents/ports/hypervisor.ts";
import type { GuestReport, VmSpec } from "../../schemas/vm.ts";

/** Two hosts that can stream to each other, and what a test may do to them from outside. */
export type HypervisorBench = {
  hosts: [BenchHost, BenchHost];
  spec: VmSpec;
  sleep(milliseconds: number): Promise<void>;
  /** Ends a machine's process as the operating system would, without asking it. */
  kill(machine: Machine): Promise<void>;
  /** Makes the guest switch itself off; absent where the bench cannot. */
  powerOff?(machine: Machine): Promise<void>;
  /** Makes the next launch on the first host fail; absent where the bench cannot. Answers how many processes of
   *  guests that host has. */
  failNextLaunch?(): () => Promise<number>;
  close(): Promise<void>;
};

export type BenchHost = {
  hypervisor: Hypervisor;
  /** The host's migration address. */
  address: string;
  /** A new folder for one copy. */
  makeDirectory(): Promise<string>;
  /** The hypervisor as a restarted caller on the same host makes it anew. */
  again(): Hypervisor;
};

/** A machine with everything it has told since it was made. */
type Watched = { machine: Machine; events: MachineEvent[]; changed: Set<() => void> };

type Ended = Extract<MachineEvent, { kind: "ended" }>;

/** @param makeBench called before every test; its `close` ends every process that the test made */
export function hypervisorContract(name: string, makeBench: () => Promise<HypervisorBench>): void {
  describe(`hypervisor contract: ${name}`, () => {
    let bench: HypervisorBench;
    let machines: Machine[];
    let copies: number;

    beforeEach(async () => {
      bench = await makeBench();
      machines = [];
      copies = 0;
    });
    afterEach(async () => {
      for (const machine of machines) await machine.destroy();
      await bench.close();
    });

    async function launch(hostIndex: 0 | 1, arriving = false, changes: Partial<VmSpec> = {}): Promise<Watched> {
      const host = bench.hosts[hostIndex];
      const copyId = `copy_01KB${String(++copies).padStart(22, "0")}`;
      const spec = { ...bench.spec, ...changes };
      const directory = await host.makeDirectory();
      const machine = await host.hypervisor.launch({ vmId: "vm-1", copyId, spec, directory, arriving });
      machines.push(machine);
      return watch(machine);
    }

    async function running(hostIndex: 0 | 1, changes: Partial<VmSpec> = {}): Promise<Watched> {
      const guest = await launch(hostIndex, false, changes);
      assert.deepEqual(await guest.machine.run(), { kind: "running" });
      await nextReport(guest);
      return guest;
    }

    type Keys = { sourceKey?: Uint8Array; sourceMigrationId?: string; peerAddress?: string; limits?: StreamLimits };

    /** Connects a stream from a guest on the first host to a new one on the second, or the other way round. */
    async function connect(source: Watched, to: 0 | 1 = 1, changes: Partial<VmSpec> & Keys = {}): Promise<Watched> {
      const { sourceKey, sourceMigrationId, peerAddress, limits, ...specChanges } = changes;
      const from = to === 1 ? 0 : 1;
      const destination = await launch(to, true, specChanges);
      const key = randomBytes(32);
      const migrationId = "mig_01KB0000000000000000000000";
      const endpoint = await destination.machine.receive({
        address: bench.hosts[to].address,
        peerAddress: peerAddress ?? bench.hosts[from].address,
        key,
        migrationId,
      });
      assert.equal(endpoint.address, bench.hosts[to].address, "it listens on the address it was given");
      await source.machine.send({
        endpoint,
        localAddress: bench.hosts[from].address,
        key: sourceKey ?? key,
        migrationId: sourceMigrationId ?? migrationId,
        limits: limits ?? { bandwidthLimitBytesPerSecond: null },
      });
      return destination;
    }

    /** Connects with something wrong; whether `send` or the stream fails, nothing may arrive. */
    async function connectWrongly(changes: Keys): Promise<void> {
      const source = await running(0);
      await assert.rejects(connect(source, 1, changes), "send must not claim to be connected");
      assert.equal(await source.machine.state(), "running", "the guest runs on");
      const destination = machines.at(-1);
      assert.equal(await destination?.state(), "incoming");
      assert.equal((await destination?.run())?.kind, "refused");
      await nextReport(source);
    }

    async function move(source: Watched, to: 0 | 1 = 1): Promise<Watched> {
      const destination = await connect(source, to);
      await doneRounds(source, 2);
      await source.machine.stop();
      const sent = event(source, "sent");
      const loaded = event(destination, "loaded");
      await source.machine.finish();
      await Promise.all([sent, loaded]);
      return destination;
    }

    async function isSilent(guest: Watched): Promise<void> {
      await bench.sleep(150); // What had been said before the stop may still be on its way.
      const before = reports(guest).at(-1)?.heartbeats;
      await bench.sleep(350);
      assert.equal(reports(guest).at(-1)?.heartbeats, before, "the guest executes nothing");
    }

    describe("a guest on one host", () => {
      test("a launched guest is held and executes nothing until it is run", async () => {
        const guest = await launch(0);
        assert.equal(await guest.machine.state(), "held");
        await isSilent(guest);
        assert.equal(reports(guest).length, 0);
        assert.deepEqual(await guest.machine.run(), { kind: "running" });
        assert.equal(await guest.machine.state(), "running");
        const report = await nextReport(guest);
        assert.equal(report.memoryErrors, 0);
        assert.notEqual(report.bootId, "");
      });

      test("warming is repeatable, and the version names the hypervisor", async () => {
        const { hypervisor } = bench.hosts[0];
        await hypervisor.warm();
        await hypervisor.warm();
        const version = await hypervisor.version();
        assert.equal(version.kind, hypervisor.kind);
        assert.notEqual(version.version, "");
        const guest = await running(0);
        assert.equal(await guest.machine.state(), "running");
      });

      test("a stopped guest executes nothing, and goes on where it was when it is run again", async () => {
        const guest = await running(0);
        await guest.machine.stop();
        assert.equal(await guest.machine.state(), "stopped");
        await isSilent(guest);
        const before = reports(guest).at(-1);
        assert.deepEqual(await guest.machine.run(), { kind: "running" });
        const after = await nextReport(guest);
        assert.equal(after.bootId, before?.bootId);
        assert.ok(after.heartbeats >= (before?.heartbeats ?? 0));
        assert.equal(after.memoryErrors, 0);
      });

      test("stopping and running are repeatable", async () => {
        const guest = await running(0);
        assert.deepEqual(await guest.machine.run(), { kind: "running" });
        await guest.machine.stop();
        await guest.machine.stop();
        assert.equal(await guest.machine.state(), "stopped");
      });

      test("stopping a guest that never ran leaves it held", async () => {
        const guest = await launch(0);
        await guest.machine.stop();
        assert.equal(await guest.machine.state(), "held");
      });

      test("a guest awaiting its memory is refused to run, definitely", async () => {
        const guest = await launch(1, true);
        assert.equal(await guest.machine.state(), "incoming");
        assert.equal((await guest.machine.run()).kind, "refused");
        await isSilent(guest);
        assert.equal(await guest.machine.state(), "incoming");
      });

      test("a reset begins the guest anew in the same machine", async () => {
        const guest = await running(0);
        const before = await nextReport(guest);
        await guest.machine.reset();
        const after = await nextReport(guest, (report) => report.bootId !== before.bootId);
        assert.equal(after.memoryErrors, 0);
        assert.equal(await guest.machine.state(), "running");
      });

      test("both ends build a guest with the same settings from the same definition", async () => {
        const source = await launch(0);
        const destination = await launch(1, true);
        const settings = await source.machine.settings();
        assert.ok(Object.keys(settings).length > 0);
        assert.deepEqual(await destination.machine.settings(), settings);
        const other = await launch(1, true, { memoryMiB: bench.spec.memoryMiB * 2 });
        assert.notDeepEqual(await other.machine.settings(), settings);
      });

      test("two guests on one host do not disturb each other", async () => {
        const one = await running(0);
        const two = await running(0);
        const [first, second] = await Promise.all([nextReport(one), nextReport(two)]);
        assert.notEqual(first.bootId, second.bootId);
        await one.machine.destroy();
        assert.equal((await nextReport(two)).memoryErrors, 0);
      });

      test("a restarted caller finds its machine again, and the guest ran on meanwhile", async () => {
        const guest = await running(0);
        const before = await nextReport(guest);
        guest.machine.detach();
        const reference = JSON.parse(JSON.stringify(guest.machine.reference));
        const found = await bench.hosts[0].again().adopt(reference);
        assert.ok(found, "the machine is found by its reference");
        machines.push(found);
        assert.deepEqual(found.reference, reference);
        assert.equal(await found.state(), "running");
        const after = await nextReport(watch(found), (report) => report.heartbeats > before.heartbeats);
        assert.equal(after.bootId, before.bootId);
        await found.stop();
        assert.equal(await found.state(), "stopped");
      });

      test("a machine that was let go of tells its old listener nothing more", async () => {
        const guest = await running(0);
        guest.machine.detach();
        const found = await bench.hosts[0].again().adopt(guest.machine.reference);
        assert.ok(found);
        machines.push(found);
        const told = guest.events.length;
        await nextReport(watch(found));
        assert.equal(guest.events.length, told);
      });

      test("closing the hypervisor leaves launched machines alone", async () => {
        const guest = await running(0);
        const other = bench.hosts[0].again();
        await other.warm();
        await other.close();
        assert.equal((await nextReport(guest)).memoryErrors, 0);
      });

      test("a listener that was taken away hears nothing", async () => {
        const guest = await running(0);
        let heard = 0;
        const stop = guest.machine.listen(() => heard++);
        stop();
        await nextReport(guest);
        assert.equal(heard, 0);
      });

      test("a killed process is told as an end, and is not found again", async () => {
        const guest = await running(0);
        const ended = event(guest, "ended") as Promise<Ended>;
        await bench.kill(guest.machine);
        assert.equal((await ended).how, "killed");
        assert.equal(await guest.machine.state(), "ended");
        assert.equal((await guest.machine.run()).kind, "refused");
        assert.equal(await bench.hosts[0].again().adopt(guest.machine.reference), null);
      });

      test("a reference to a process of another time is not taken for the same machine", async () => {
        const guest = await running(0);
        const reference = { ...guest.machine.reference, startedAt: "1" };
        assert.equal(await bench.hosts[0].again().adopt(reference), null);
        assert.equal(await guest.machine.state(), "running");
      });

      test("a guest that switches itself off is told as powered off", async (context) => {
        if (!bench.powerOff) return context.skip("this bench cannot switch a guest off");
        const guest = await running(0);
        const ended = event(guest, "ended") as Promise<Ended>;
        await bench.powerOff(guest.machine);
        assert.equal((await ended).how, "powered-off");
        assert.equal(await guest.machine.state(), "ended");
        assert.equal((await guest.machine.run()).kind, "refused");
      });

      test("a destroyed machine is gone, and destroying it again is harmless", async () => {
        const guest = await running(0);
        await guest.machine.destroy();
        assert.equal(await guest.machine.state(), "ended");
        assert.equal(await bench.hosts[0].again().adopt(guest.machine.reference), null);
        await guest.machine.destroy();
      });

      test("a launch that fails leaves no process behind", async (context) => {
        const countProcesses = bench.failNextLaunch?.();
        if (!countProcesses) return context.skip("this bench cannot make a launch fail");
        await assert.rejects(launch(0));
        assert.equal(await countProcesses(), 0);
      });
    });

    describe("a guest on its way", () => {
      test("it runs while rounds are sent, and its samples add up", async () => {
        const source = await running(0);
        const before = await nextReport(source);
        const destination = await connect(source);
        await doneRounds(source, 3);
        assert.ok((await nextReport(source)).heartbeats > before.heartbeats, "the guest runs on");
        assert.equal(await source.machine.state(), "running");
        assert.equal(await destination.machine.state(), "incoming");

        const samples = samplesOf(source);
        const done = samples.filter((sample) => sample.roundDone);
        assert.deepEqual(
          done.map((sample) => sample.round),
          done.map((_, index) => index),
          "rounds are counted from 0, each done once",
        );
        assert.ok((done[0]?.bytes ?? 0) >= bench.spec.workingSetMiB * 2 ** 20, "round 0 carries the working set");
        for (const [index, sample] of samples.entries()) {
          assert.ok(sample.totalBytes >= (samples[index - 1]?.totalBytes ?? 0), "the total never falls");
          assert.ok(sample.remainingBytes <= bench.spec.memoryMiB * 2 ** 20);
          assert.equal(sample.encrypted, true);
          assert.equal(sample.throttlePercent, 0);
        }
        const sum = done.reduce((bytes, sample) => bytes + sample.bytes, 0);
        assert.ok((samples.at(-1)?.totalBytes ?? 0) >= sum);
      });

      test("rounds go on until somebody says otherwise", async () => {
        const source = await running(0);
        await connect(source);
        await doneRounds(source, 8);
        assert.equal(await source.machine.state(), "running");
      });

      test("it arrives whole: loaded, executing nothing until it is run, then the same guest with all its memory", async () => {
        const source = await running(0);
        const before = await nextReport(source);
        const destination = await move(source);
        const last = samplesOf(source).at(-1);
        assert.deepEqual([last?.roundDone, last?.remainingBytes, last?.dirtyBytesPerSecond], [true, 0, 0], "it stood");
        assert.equal(await source.machine.state(), "stopped");
        assert.equal(await destination.machine.state(), "loaded");
        await isSilent(destination);
        await isSilent(source);
        assert.equal(reports(destination).length, 0, "it has executed nothing here");

        const gap = event(destination, "gap-measured");
        assert.deepEqual(await destination.machine.run(), { kind: "running" });
        const after = await nextReport(destination);
        assert.equal(after.bootId, before.bootId);
        assert.equal(after.memoryErrors, 0);
        assert.ok(after.heartbeats >= before.heartbeats);
        const measured = await gap;
        assert.ok(measured.kind === "gap-measured" && measured.guestGapMs > 0);
        await source.machine.destroy();
        assert.equal((await nextReport(destination)).memoryErrors, 0, "it needs nothing of its source any more");
      });

      test("it comes back to where it was, twice, without an error", async () => {
        let guest = await running(0);
        const { bootId } = await nextReport(guest);
        for (const to of [1, 0, 1, 0] as const) {
          const arrived = await move(guest, to);
          assert.deepEqual(await arrived.machine.run(), { kind: "running" });
          await guest.machine.destroy();
          const report = await nextReport(arrived);
          assert.deepEqual({ bootId: report.bootId, errors: report.memoryErrors }, { bootId, errors: 0 });
          guest = arrived;
        }
      });

      test("it arrives under another caller's eyes: both machines let go of and found again in the middle", async () => {
        const source = await running(0);
        const destination = await connect(source);
        await doneRounds(source, 1);
        source.machine.detach();
        destination.machine.detach();
        const foundSource = await bench.hosts[0].again().adopt(source.machine.reference);
        const foundDestination = await bench.hosts[1].again().adopt(destination.machine.reference);
        assert.ok(foundSource && foundDestination);
        machines.push(foundSource, foundDestination);
        const watchedSource = watch(foundSource);
        const watchedDestination = watch(foundDestination);
        await event(watchedSource, "sampled");
        await foundSource.stop();
        const arrival = Promise.all([event(watchedSource, "sent"), event(watchedDestination, "loaded")]);
        await foundSource.finish();
        await arrival;
        assert.deepEqual(await foundDestination.run(), { kind: "running" });
        assert.equal((await nextReport(watchedDestination)).memoryErrors, 0);
      });

      test("a guest that stands still is moved as well", async () => {
        const source = await running(0);
        const before = await nextReport(source);
        await source.machine.stop();
        const destination = await connect(source);
        const arrival = Promise.all([event(source, "sent"), event(destination, "loaded")]);
        await source.machine.finish();
        await arrival;
        assert.equal(await destination.machine.state(), "loaded");
        assert.deepEqual(await destination.machine.run(), { kind: "running" });
        const after = await nextReport(destination);
        assert.deepEqual({ bootId: after.bootId, errors: after.memoryErrors }, { bootId: before.bootId, errors: 0 });
      });

      test("a guest that stands still leaves nothing behind after a round, and rounds go on all the same", async () => {
        const source = await running(0);
        await source.machine.stop();
        await connect(source);
        await doneRounds(source, 4);
        const last = samplesOf(source)
          .filter(({ roundDone }) => roundDone)
          .at(-1);
        assert.equal(last?.remainingBytes, 0);
        assert.equal(await source.machine.state(), "stopped");
      });

      test("a guest that arrived and never executed there moves a second time", async () => {
        const source = await running(0);
        const before = await nextReport(source);
        await source.machine.stop();
        const between = await move(source);
        const destination = await move(between, 0);
        assert.equal(await between.machine.state(), "loaded");
        assert.deepEqual(await destination.machine.run(), { kind: "running" });
        const after = await nextReport(destination);
        assert.deepEqual({ bootId: after.bootId, errors: after.memoryErrors }, { bootId: before.bootId, errors: 0 });
      });

      test("a guest that still executes is not finished: it runs on at the source", async () => {
        const source = await running(0);
        const destination = await connect(source);
        await assert.rejects(source.machine.finish());
        await nextReport(source);
        assert.equal(await source.machine.state(), "running");
        assert.equal(await destination.machine.state(), "incoming");
      });

      test("cancelled by the source in mid-copy: the guest runs on, the destination is incomplete for ever", async () => {
        const source = await running(0);
        const destination = await connect(source);
        const failed = event(destination, "stream-failed");
        await source.machine.cancel();
        await failed;
        assert.equal(await source.machine.state(), "running");
        assert.equal((await nextReport(source)).memoryErrors, 0);
        assert.equal(await destination.machine.state(), "incoming");
        assert.equal((await destination.machine.run()).kind, "refused");
      });

      test("cancelled at the gate: the guest stays stopped until it is run, then goes on", async () => {
        const source = await running(0);
        const before = await nextReport(source);
        const destination = await connect(source);
        await doneRounds(source, 1);
        await source.machine.stop();
        const failed = event(destination, "stream-failed");
        await source.machine.cancel();
        await failed;
        assert.equal(await source.machine.state(), "stopped");
        assert.deepEqual(await source.machine.run(), { kind: "running" });
        const after = await nextReport(source);
        assert.deepEqual({ bootId: after.bootId, errors: after.memoryErrors }, { bootId: before.bootId, errors: 0 });
        assert.equal((await destination.machine.run()).kind, "refused");
      });

      test("cancelled by the destination: the guest runs on at the source, which is told", async () => {
        const source = await running(0);
        const destination = await connect(source);
        const failed = event(source, "stream-failed");
        await destination.machine.cancel();
        await failed;
        assert.equal(await source.machine.state(), "running");
        await nextReport(source);
        assert.equal((await destination.machine.run()).kind, "refused");
      });

      test("after an attempt that was cancelled, the next one arrives", async () => {
        const source = await running(0);
        const first = await connect(source);
        await source.machine.cancel();
        await first.machine.destroy();
        const second = await move(source);
        assert.deepEqual(await second.machine.run(), { kind: "running" });
        assert.equal((await nextReport(second)).memoryErrors, 0);
      });

      test("after attempts that failed after any of their rounds, the next one brings every page", async () => {
        const source = await running(0);
        for (const rounds of [1, 2, 3]) {
          const failed = await connect(source);
          await doneRounds(source, rounds);
          await source.machine.cancel();
          await failed.machine.destroy();
        }
        const arrived = await move(source);
        assert.deepEqual(await arrived.machine.run(), { kind: "running" });
        await bench.sleep(2500); // It has looked at all of its memory by then.
        assert.equal((await nextReport(arrived)).memoryErrors, 0);
      });

      test("a destination that is killed in mid-copy: the guest runs on at the source, which is told", async () => {
        const source = await running(0);
        const destination = await connect(source);
        const failed = event(source, "stream-failed");
        await bench.kill(destination.machine);
        await failed;
        assert.equal(await source.machine.state(), "running");
        assert.equal((await nextReport(source)).memoryErrors, 0);
      });

      test("a source that is killed in mid-copy: the destination is told, and stays incomplete", async () => {
        const source = await running(0);
        const destination = await connect(source);
        const failed = event(destination, "stream-failed");
        await bench.kill(source.machine);
        await failed;
        assert.equal(await destination.machine.state(), "incoming");
        assert.equal((await destination.machine.run()).kind, "refused");
      });

      test("a source that is killed once the guest has arrived costs nothing", async () => {
        const source = await running(0);
        const before = await nextReport(source);
        const destination = await move(source);
        await bench.kill(source.machine);
        assert.equal(await destination.machine.state(), "loaded");
        assert.deepEqual(await destination.machine.run(), { kind: "running" });
        const after = await nextReport(destination);
        assert.deepEqual({ bootId: after.bootId, errors: after.memoryErrors }, { bootId: before.bootId, errors: 0 });
      });

      test("a guest that has arrived goes on at the source if it is the source that is run", async () => {
        const source = await running(0);
        const before = await nextReport(source);
        const destination = await move(source);
        await destination.machine.destroy();
        assert.deepEqual(await source.machine.run(), { kind: "running" });
        const after = await nextReport(source);
        assert.deepEqual({ bootId: after.bootId, errors: after.memoryErrors }, { bootId: before.bootId, errors: 0 });
      });

      test("nothing arrives under another key", () => connectWrongly({ sourceKey: randomBytes(32) }));

      test("nothing arrives for another migration", () =>
        connectWrongly({ sourceMigrationId: "mig_01KB0000000000000000000001" }));

      test("nothing arrives from another address", () => connectWrongly({ peerAddress: "127.0.0.99" }));

      test("a stream to nobody is refused, and the guest runs on", async () => {
        const source = await running(0);
        const closed = await launch(1, true);
        const key = randomBytes(32);
        const address = bench.hosts[1].address;
        const migrationId = "mig_01KB0000000000000000000000";
        const endpoint = await closed.machine.receive({
          address,
          peerAddress: bench.hosts[0].address,
          key,
          migrationId,
        });
        await closed.machine.destroy();
        const limits = { bandwidthLimitBytesPerSecond: null };
        await assert.rejects(
          source.machine.send({ endpoint, localAddress: bench.hosts[0].address, key, migrationId, limits }),
        );
        await nextReport(source);
        assert.equal(await source.machine.state(), "running");
      });

      test("throttling shows in the samples, and a cancel lifts it", async () => {
        const source = await running(0);
        const destination = await connect(source);
        await source.machine.throttle(60);
        await event(source, "sampled", (told) => told.kind === "sampled" && told.sample.throttlePercent === 60);
        await source.machine.cancel();
        await destination.machine.destroy();
        const told = source.events.length;
        await connect(source);
        await doneRounds(source, 1, told);
        const later = source.events.slice(told).flatMap((told) => (told.kind === "sampled" ? [told.sample] : []));
        assert.ok(later.every((sample) => sample.throttlePercent === 0));
      });

      test("a stream that breaks lifts the throttle too", async () => {
        const source = await running(0);
        const destination = await connect(source);
        await source.machine.throttle(60);
        const failed = event(source, "stream-failed");
        await bench.kill(destination.machine);
        await failed;
        const told = source.events.length;
        await connect(source);
        await doneRounds(source, 1, told);
        const later = source.events.slice(told).flatMap((told) => (told.kind === "sampled" ? [told.sample] : []));
        assert.ok(later.every((sample) => sample.throttlePercent === 0));
      });

      test("the bandwidth limit is kept, and long rounds are looked into while they last", async () => {
        const source = await running(0);
        const limit = 8_000_000;
        await connect(source, 1, { limits: { bandwidthLimitBytesPerSecond: limit } });
        await doneRounds(source, 1);
        const first = samplesOf(source).filter((sample) => sample.round === 0);
        const done = first.find((sample) => sample.roundDone);
        assert.ok(done);
        assert.ok(done.durationMs >= (done.bytes / limit) * 1000 * 0.8, `${done.bytes} bytes in ${done.durationMs} ms`);
        assert.ok(
          first.filter((sample) => !sample.roundDone).length >= 3,
          "at least every 50 ms in a round of a second",
        );
      });
    });
  });
}

function watch(machine: Machine): Watched {
  const watched: Watched = { machine, events: [], changed: new Set() };
  machine.listen((told) => {
    watched.events.push(told);
    for (const wake of [...watched.changed]) wake();
  });
  return watched;
}

/** Resolves when `find` finds something among what the machine has told. */
function until<T>(watched: Watched, find: () => T | null): Promise<T> {
  const already = find();
  if (already !== null) return Promise.resolve(already);
  return new Promise((resolve) => {
    const look = () => {
      const found = find();
      if (found === null) return;
      watched.changed.delete(look);
      resolve(found);
    };
    watched.changed.add(look);
  });
}

/** The next event of this kind from now on. */
function event(
  watched: Watched,
  kind: MachineEvent["kind"],
  suits: (told: MachineEvent) => boolean = () => true,
): Promise<MachineEvent> {
  const from = watched.events.length;
  return until(watched, () => watched.events.slice(from).find((told) => told.kind === kind && suits(told)) ?? null);
}

async function nextReport(
  watched: Watched,
  suits: (report: GuestReport) => boolean = () => true,
): Promise<GuestReport> {
  const told = await event(watched, "guest-reported", (one) => one.kind === "guest-reported" && suits(one.report));
  return (told as Extract<MachineEvent, { kind: "guest-reported" }>).report;
}

const reports = (watched: Watched): GuestReport[] =>
  watched.events.flatMap((told) => (told.kind === "guest-reported" ? [told.report] : []));

const samplesOf = (watched: Watched): StreamSample[] =>
  watched.events.flatMap((told) => (told.kind === "sampled" ? [told.sample] : []));

/** Resolves when this many rounds are done, counted over the events from `from` on. */
async function doneRounds(watched: Watched, count: number, from = 0): Promise<void> {
  await until(watched, () => {
    const done = watched.events.slice(from).filter((told) => told.kind === "sampled" && told.sample.roundDone);
    return done.length >= count ? true : null;
  });
}
