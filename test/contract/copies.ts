// What every kind of copies must keep (agents/ports/copies.ts), with two hosts that share a volume. Events are awaited,
// and whatever takes the supervisor a while is polled for.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, test } from "node:test";
import type { Copies, Copy, CopyEvent, CopyRequest, CopyStatus } from "../../agents/ports/copies.ts";
import type { VmSpec } from "../../schemas/vm.ts";
import { ulid } from "../support/assignments.ts";

export type CopiesBench = {
  hosts: [CopiesHost, CopiesHost];
  spec: VmSpec;
  sleep(milliseconds: number): Promise<void>;
  close(): Promise<void>;
};

export type CopiesHost = {
  /** The migration address. */
  address: string;
  /** Begins a life of the agent. */
  openAgent(): Promise<Copies>;
  /** Ends it as kill -9 would. */
  killAgent(): Promise<void>;
  killSupervisor(copyId: string): Promise<void>;
  /** Ends the guest's process as the operating system would. */
  killGuest(copyId: string): Promise<void>;
};

const migrationId = ulid("mig", 1);
const sourceCopy = ulid("copy", 1);
const destinationCopy = ulid("copy", 2);
const token = 5;
const patienceMs = 60_000;

/** What most tests compare of a copy. */
export async function look(copy: Copy | null | undefined) {
  return copy ? outline(await copy.status()) : null;
}

const outline = ({ machine, lock, ended, gate }: CopyStatus) => ({ machine, lock, ended, gate });

export function copiesContract(name: string, makeBench: () => Promise<CopiesBench>): void {
  describe(`copies contract: ${name}`, () => {
    let bench: CopiesBench;
    let here: Copies;
    let there: Copies;
    beforeEach(async () => {
      bench = await makeBench();
      here = await bench.hosts[0].openAgent();
      there = await bench.hosts[1].openAgent();
    });
    afterEach(() => bench.close());

    const request = (copyId: string, changes: Partial<CopyRequest> = {}): CopyRequest => {
      return { vmId: "vm-1", copyId, spec: bench.spec, arriving: false, migrationId: null, ...changes };
    };

    async function running(): Promise<Copy> {
      const copy = await here.launch(request(sourceCopy));
      assert.deepEqual(await copy.run(token), { kind: "granted" });
      return copy;
    }

    /** Connects the stream and waits for a whole round. */
    async function sending(source: Copy): Promise<Copy> {
      const destination = await there.launch(request(destinationCopy, { arriving: true, migrationId }));
      const key = new Uint8Array(randomBytes(32));
      const [from, to] = bench.hosts;
      const endpoint = await destination.receive({
        address: to.address,
        peerAddress: from.address,
        key,
        migrationId,
      });
      await source.permitNext({ copyId: destinationCopy });
      const round = eventOf(source, (event) => event.kind === "sampled" && event.sample.roundDone);
      await source.send({
        endpoint,
        localAddress: from.address,
        key,
        migrationId,
        limits: { bandwidthLimitBytesPerSecond: null },
      });
      await round;
      return destination;
    }

    async function until(copy: Copy, isSo: (status: CopyStatus) => boolean): Promise<CopyStatus> {
      for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += 50) {
        const status = await copy.status().catch(() => null); // Its supervisor may be starting again.
        if (status && isSo(status)) return status;
        await bench.sleep(50);
      }
      throw new Error(`never came true; the status is ${JSON.stringify(await copy.status())}`);
    }

    async function only(copies: Copies): Promise<Copy> {
      const [copy, ...others] = await copies.list();
      assert.ok(copy);
      assert.equal(others.length, 0);
      return copy;
    }

    test("a launched copy executes nothing and holds no lock file; launching it again is the same copy", async () => {
      const copy = await here.launch(request(sourceCopy));
      assert.deepEqual(await look(copy), { machine: "held", lock: "free", ended: null, gate: null });
      const again = await here.launch(request(sourceCopy));
      assert.equal(again.copyId, copy.copyId);
      assert.equal((await here.list()).length, 1);
      assert.equal(copy.vmId, "vm-1");
      assert.deepEqual(copy.spec, bench.spec);
    });

    test("a guest runs under its lock file; asking twice changes nothing", async () => {
      const copy = await running();
      assert.deepEqual(await copy.run(token), { kind: "granted" });
      assert.deepEqual(await look(copy), { machine: "running", lock: "held", ended: null, gate: null });
    });

    test("a token below the one that its lock file bears lets a guest do nothing", async () => {
      const copy = await running();
      await copy.pause();
      for (const permit of [() => copy.run(token - 1), () => copy.resume(token - 1)]) {
        const outcome = await permit();
        assert.equal(outcome.kind === "refused" && outcome.by, "lock-superseded");
      }
      assert.deepEqual(await look(copy), { machine: "stopped", lock: "held", ended: null, gate: null });
    });

    test("a guest that is let run at its gate closes it: nobody passes it afterwards, and nothing arrives", async () => {
      const source = await running();
      const destination = await sending(source);
      await source.holdAtGate(patienceMs);
      assert.deepEqual(await source.run(token + 1), { kind: "granted" });
      assert.deepEqual(await look(source), { machine: "running", lock: "held", ended: null, gate: "cancelled" });
      assert.equal(await source.passGate(), "cancelled");
      assert.equal((await source.status()).machine, "running");
      await until(destination, ({ machine }) => machine === "incoming");
    });

    test("past the gate a source takes the lock file back only where it still names its own copy, and bars the other", async () => {
      const source = await running();
      const destination = await sending(source);
      await assert.rejects(source.takeBackLock(token + 1), /not past its gate/);
      const loaded = eventOf(destination, (event) => event.kind === "loaded");
      await source.holdAtGate(60_000);
      assert.equal(await source.passGate(), "past");
      await loaded;
      assert.deepEqual(await source.takeBackLock(token + 1), { kind: "granted" });
      assert.deepEqual(await source.takeBackLock(token + 1), { kind: "granted" }, "asking again changes nothing");
      const late = await destination.run(token + 1);
      assert.equal(late.kind === "refused" && late.by, "lock-held");
      assert.equal((await source.status()).machine, "stopped", "nothing executes yet");
      await bench.hosts[0].killSupervisor(sourceCopy);
      await until(source, (status) => status.machine === "stopped");
      const still = await destination.run(token + 1);
      assert.equal(still.kind === "refused" && still.by, "lock-superseded", "also when the supervisor has died");
      await source.cancelStream();
      assert.deepEqual(await source.run(token + 2), { kind: "granted" });
    });

    test("a lock file that the destination has taken is never taken back", async () => {
      const source = await running();
      const destination = await sending(source);
      const loaded = eventOf(destination, (event) => event.kind === "loaded");
      await source.holdAtGate(60_000);
      await source.passGate();
      await loaded;
      assert.deepEqual(await destination.run(token + 1), { kind: "granted" });
      const held = await source.takeBackLock(token + 1);
      assert.equal(held.kind === "refused" && held.by, "lock-held");
      await destination.destroy();
      const named = await source.takeBackLock(token + 1);
      assert.equal(named.kind === "refused" && named.by, "lock-superseded", "it may have run");
    });

    test("a supervisor whose lock file was replaced notices when its guest is to run again", async () => {
      const copy = await running();
      const other = await there.launch(request(destinationCopy));
      await copy.pause();
      assert.deepEqual(await other.run(token + 1, true), { kind: "granted" });
      const again = await copy.run(token);
      assert.equal(again.kind === "refused" && again.by, "lock-held");
      assert.equal((await copy.status()).machine, "stopped");
    });

    test("force told a lie: however often a second copy is let run, it never does while the guest that lives holds the lock file", async () => {
      const alive = await running();
      const second = await there.launch(request(destinationCopy));
      for (let attempt = 0; attempt < 30; attempt += 1) {
        const outcome = await second.run(token + 1 + attempt);
        assert.equal(outcome.kind === "refused" && outcome.by, "lock-held");
        assert.equal((await second.status()).machine, "held", "it has executed nothing");
      }
      assert.deepEqual(await look(alive), { machine: "running", lock: "held", ended: null, gate: null });
      await alive.destroy();
      assert.deepEqual(await second.run(token + 40), { kind: "granted" }, "once that guest is ended it may");
    });

    test("an override that comes late replaces nothing of a newer owner", async () => {
      const newer = await there.launch(request(destinationCopy));
      assert.deepEqual(await newer.run(token + 2), { kind: "granted" });
      const late = await here.launch(request(sourceCopy));
      const outcome = await late.run(token + 1, true);
      assert.equal(outcome.kind === "refused" && outcome.by, "lock-superseded");
      assert.equal((await late.status()).machine, "held");
      assert.deepEqual(await look(newer), { machine: "running", lock: "held", ended: null, gate: null });
    });

    test("I1: while one copy holds the lock file no other copy of the VM executes", async () => {
      await running();
      const other = await there.launch(request(destinationCopy));
      const outcome = await other.run(token + 1);
      assert.equal(outcome.kind, "refused");
      assert.equal(outcome.kind === "refused" && outcome.by, "lock-held");
      assert.deepEqual(await look(other), { machine: "held", lock: "free", ended: null, gate: null });
    });

    test("a copy that the lock file does not name is refused as superseded, and its copy stays whole", async () => {
      const copy = await running();
      await copy.destroy();
      const other = await there.launch(request(destinationCopy));
      const outcome = await other.run(token);
      assert.equal(outcome.kind === "refused" && outcome.by, "lock-superseded");
      assert.deepEqual(await other.run(token + 1), { kind: "granted" });
    });

    test("a hypervisor's refusal leaves the lock file free", async () => {
      const copy = await here.launch(request(destinationCopy, { arriving: true, migrationId }));
      const outcome = await copy.run(token);
      assert.equal(outcome.kind === "refused" && outcome.by, "hypervisor");
      assert.deepEqual(await look(copy), { machine: "incoming", lock: "free", ended: null, gate: null });
    });

    test("a paused guest keeps its lock file and runs on", async () => {
      const copy = await running();
      await copy.pause();
      assert.deepEqual(await look(copy), { machine: "stopped", lock: "held", ended: null, gate: null });
      assert.deepEqual(await copy.resume(token), { kind: "granted" });
      assert.deepEqual(await copy.resume(token), { kind: "granted" }, "asking again changes nothing");
      assert.equal((await copy.status()).machine, "running");
    });

    test("a reset is made once, however often it is asked for, and counted before it is made", async () => {
      const copy = await running();
      const first = await bootId(copy);
      for (let again = 0; again < 3; again += 1) await copy.reset(1);
      assert.equal((await copy.status()).resets, 1);
      const second = await bootId(copy, first);
      await bench.hosts[0].killSupervisor(sourceCopy);
      await until(copy, ({ machine, lock }) => machine === "running" && lock === "held");
      await copy.reset(1);
      assert.equal((await copy.status()).resets, 1, "the next supervisor knows of it");
      assert.equal(await bootId(copy), second, "it was not reset again");
      await copy.pause();
      await copy.reset(2);
      assert.equal((await copy.status()).machine, "stopped", "a paused guest stays paused");
      assert.deepEqual(await copy.resume(token), { kind: "granted" });
      await bootId(copy, second);
    });

    test("pause, resume and reset go through while memory is sent, and wait from the gate on", async () => {
      const source = await running();
      await sending(source);
      await source.reset(1);
      await source.pause();
      assert.deepEqual(await source.resume(token), { kind: "granted" });
      assert.equal((await source.holdAtGate(patienceMs)).resets, 1);
      for (const wish of [() => source.pause(), () => source.resume(token), () => source.reset(2)]) {
        await assert.rejects(wish(), /gate/);
      }
      assert.equal(await source.passGate(), "past");
      for (const wish of [() => source.pause(), () => source.resume(token), () => source.reset(2)]) {
        await assert.rejects(wish(), /gate/);
      }
      assert.deepEqual((await source.status()).atGate, { migrationId, isOver: false });
      assert.equal((await source.status()).resets, 1);
    });

    test("a paused guest that is given back past the gate comes back paused, under its lock file", async () => {
      const source = await running();
      await source.pause();
      const destination = await sending(source);
      await source.holdAtGate(patienceMs);
      assert.equal(await source.passGate(), "past");
      await destination.destroy();
      for (let again = 0; again < 2; again += 1) {
        assert.deepEqual(await source.run(token + 2), { kind: "granted" });
        assert.deepEqual(await look(source), { machine: "stopped", lock: "held", ended: null, gate: "past" });
      }
      assert.deepEqual((await source.status()).atGate, { migrationId, isOver: true });
      assert.deepEqual(await source.resume(token + 2), { kind: "granted" });
      assert.equal((await source.status()).machine, "running");
    });

    test("a copy testifies under which token it took its lock file last, and what the file says since", async () => {
      const testimony = async (copy: Copy) => {
        const { lockToken, lockFile, wasPaused } = await copy.account();
        return { lockToken, lockFile, wasPaused };
      };
      const source = await running();
      assert.deepEqual(await testimony(source), { lockToken: token, lockFile: "held", wasPaused: false });
      await source.pause();
      const destination = await sending(source);
      const loaded = eventOf(destination, (event) => event.kind === "loaded");
      await source.holdAtGate(patienceMs);
      assert.equal(await source.passGate(), "past");
      await loaded;
      const stamp = { copyId: sourceCopy, fencingToken: token };
      assert.deepEqual(await testimony(source), { lockToken: token, lockFile: stamp, wasPaused: true });
      assert.deepEqual(await testimony(destination), { lockToken: null, lockFile: stamp, wasPaused: false });
      assert.deepEqual(await destination.arrivePaused(token + 1), { kind: "granted" });
      assert.deepEqual(await testimony(destination), { lockToken: token + 1, lockFile: "held", wasPaused: false });
    });

    test("what its user wished after the gate is not undone by whoever gives the guest back once more", async () => {
      const source = await running();
      await sending(source);
      await source.holdAtGate(patienceMs);
      assert.equal(await source.cancelAtGate(), "cancelled");
      await source.pause();
      assert.deepEqual(await source.run(token), { kind: "granted" });
      assert.equal(await source.cancelAtGate(), "cancelled");
      assert.equal((await source.status()).machine, "stopped");
    });

    test("a guest moves: stopped at the gate, the lock file given up past it and taken at the destination", async () => {
      const source = await running();
      const destination = await sending(source);
      assert.equal(source.migrationId, migrationId);
      await source.holdAtGate(patienceMs);
      assert.deepEqual(await look(source), { machine: "stopped", lock: "held", ended: null, gate: null });
      await assert.rejects(source.pause(), /gate/);

      const loaded = eventOf(destination, (event) => event.kind === "loaded");
      const sent = eventOf(source, (event) => event.kind === "sent");
      assert.equal(await source.passGate(), "past");
      await Promise.all([loaded, sent]);
      assert.equal(await source.passGate(), "past", "asking again after a lost answer");
      assert.deepEqual(await look(source), { machine: "stopped", lock: "free", ended: null, gate: "past" });
      assert.equal(await source.cancelAtGate(), "past");

      assert.deepEqual(await destination.run(token + 1), { kind: "granted" });
      assert.deepEqual(await look(destination), { machine: "running", lock: "held", ended: null, gate: null });
      const outcome = await source.run(token + 2);
      assert.equal(outcome.kind === "refused" && outcome.by, "lock-held");
      assert.equal((await source.status()).machine, "stopped");
      await source.destroy();
      assert.equal((await destination.status()).machine, "running");
    });

    test("a returned guest retakes its lock file past the gate and runs on; the gate is behind it", async () => {
      const source = await running();
      const destination = await sending(source);
      const loaded = eventOf(destination, (event) => event.kind === "loaded");
      await source.holdAtGate(patienceMs);
      assert.equal(await source.passGate(), "past");
      await loaded;
      await destination.destroy();
      assert.deepEqual(await source.run(token + 2), { kind: "granted" });
      assert.equal(await source.passGate(), "past");
      assert.deepEqual(await look(source), { machine: "running", lock: "held", ended: null, gate: "past" });
      await source.pause();
    });

    test("a guest that arrives paused has its lock file and executes nothing until it is let", async () => {
      const source = await running();
      const destination = await sending(source);
      const loaded = eventOf(destination, (event) => event.kind === "loaded");
      await source.holdAtGate(patienceMs);
      await source.passGate();
      await loaded;
      assert.deepEqual(await destination.arrivePaused(token + 1), { kind: "granted" });
      assert.deepEqual(await look(destination), { machine: "loaded", lock: "held", ended: null, gate: null });
      assert.deepEqual(await destination.run(token + 1), { kind: "granted" });
    });

    test("a guest cancelled at the gate runs on, and nothing passes that gate afterwards", async () => {
      const source = await running();
      const destination = await sending(source);
      await source.holdAtGate(patienceMs);
      assert.equal(await source.cancelAtGate(), "cancelled");
      assert.deepEqual(await look(source), { machine: "running", lock: "held", ended: null, gate: "cancelled" });
      assert.equal(await source.passGate(), "cancelled");
      await source.holdAtGate(patienceMs);
      assert.equal((await source.status()).machine, "running", "holding at a gate that is over stops nobody");
      assert.equal(await source.cancelAtGate(), "cancelled");
      assert.equal((await destination.run(token + 1)).kind, "refused", "an incomplete copy never executes");
    });

    test("a cancel before the gate bars it", async () => {
      const source = await running();
      await sending(source);
      assert.equal(await source.cancelAtGate(), "cancelled");
      await source.holdAtGate(patienceMs);
      assert.deepEqual(await look(source), { machine: "running", lock: "held", ended: null, gate: "cancelled" });
    });

    test("a guest paused by its user stays paused when its migration is cancelled at the gate", async () => {
      const source = await running();
      await source.pause();
      await sending(source);
      await source.holdAtGate(patienceMs);
      assert.equal(await source.cancelAtGate(), "cancelled");
      assert.deepEqual(await look(source), { machine: "stopped", lock: "held", ended: null, gate: "cancelled" });
      assert.deepEqual(await source.resume(token), { kind: "granted" });
      assert.equal((await source.status()).machine, "running");
    });

    test("an agent that dies at the gate: its supervisor takes the guest back, and the next agent reads cancelled", async () => {
      const source = await running();
      await sending(source);
      await source.holdAtGate(700);
      await bench.hosts[0].killAgent();
      await bench.sleep(1500);
      const again = await only(await bench.hosts[0].openAgent());
      const status = await until(again, ({ machine }) => machine === "running");
      assert.deepEqual(outline(status), { machine: "running", lock: "held", ended: null, gate: "cancelled" });
      assert.equal(again.migrationId, migrationId);
      assert.equal(await again.passGate(), "cancelled");
    });

    test("an agent that lives keeps the guest at the gate for as long as it likes", async () => {
      const source = await running();
      await sending(source);
      await source.holdAtGate(700);
      await bench.sleep(2000);
      assert.deepEqual(await look(source), { machine: "stopped", lock: "held", ended: null, gate: null });
      assert.equal(await source.cancelAtGate(), "cancelled");
    });

    test("an agent that dies past the gate: nobody resumes the guest, whose lock file stays given up", async () => {
      const source = await running();
      const destination = await sending(source);
      const loaded = eventOf(destination, (event) => event.kind === "loaded");
      await source.holdAtGate(700);
      await source.passGate();
      await loaded;
      await bench.hosts[0].killAgent();
      await bench.sleep(1500);
      const again = await only(await bench.hosts[0].openAgent());
      assert.deepEqual(await look(again), { machine: "stopped", lock: "free", ended: null, gate: "past" });
    });

    test("a guest outlives its agent and is found again by the next one", async () => {
      await running();
      await bench.hosts[0].killAgent();
      const again = await only(await bench.hosts[0].openAgent());
      assert.equal(again.copyId, sourceCopy);
      assert.deepEqual(again.spec, bench.spec);
      assert.deepEqual(await look(again), { machine: "running", lock: "held", ended: null, gate: null });
      await again.pause();
      assert.deepEqual(await again.run(token), { kind: "granted" });
    });

    test("a supervisor that dies is started again and retakes the lock file while the guest runs on", async () => {
      const copy = await running();
      const lost = eventOf(copy, (event) => event.kind === "supervisor-lost");
      await bench.hosts[0].killSupervisor(sourceCopy);
      await lost;
      await until(copy, ({ machine, lock }) => machine === "running" && lock === "held");
      const report = eventOf(copy, (event) => event.kind === "guest-reported");
      await report;
    });

    test("a supervisor that died past the gate does not retake the lock file", async () => {
      const source = await running();
      const destination = await sending(source);
      const loaded = eventOf(destination, (event) => event.kind === "loaded");
      await source.holdAtGate(patienceMs);
      await source.passGate();
      await loaded;
      const lost = eventOf(source, (event) => event.kind === "supervisor-lost");
      await bench.hosts[0].killSupervisor(sourceCopy);
      await lost;
      const status = await until(source, () => true);
      assert.deepEqual(outline(status), { machine: "stopped", lock: "free", ended: null, gate: "past" });
      assert.deepEqual(await destination.run(token + 1), { kind: "granted" });
    });

    test("a supervisor that died at the gate keeps the guest there, under its lock file, until it is decided", async () => {
      const source = await running();
      await sending(source);
      await source.holdAtGate(patienceMs);
      const lost = eventOf(source, (event) => event.kind === "supervisor-lost");
      await bench.hosts[0].killSupervisor(sourceCopy);
      await lost;
      const status = await until(source, ({ lock }) => lock === "held");
      assert.deepEqual(outline(status), { machine: "stopped", lock: "held", ended: null, gate: null });
      assert.equal(await source.cancelAtGate(), "cancelled");
      assert.equal((await source.status()).machine, "running");
    });

    test("supervisor and agent both die at the gate: whoever comes next takes the guest back", async () => {
      const source = await running();
      await sending(source);
      await source.holdAtGate(700);
      await bench.hosts[0].killAgent();
      await bench.hosts[0].killSupervisor(sourceCopy);
      const again = await only(await bench.hosts[0].openAgent());
      const status = await until(again, ({ lock }) => lock === "held");
      assert.deepEqual(outline(status), { machine: "stopped", lock: "held", ended: null, gate: null });
      assert.equal(await again.cancelAtGate(), "cancelled");
      assert.equal((await again.status()).machine, "running");
    });

    test("a guest whose process is killed has ended, and its lock file is free", async () => {
      const copy = await running();
      const ended = eventOf(copy, (event) => event.kind === "ended");
      await bench.hosts[0].killGuest(sourceCopy);
      const event = await ended;
      assert.equal(event.kind === "ended" && event.how, "killed");
      const status = await until(copy, ({ lock }) => lock === "free");
      assert.equal(status.machine, "ended");
      assert.equal(status.ended?.how, "killed");
      assert.equal((await copy.run(token)).kind, "refused");
      await copy.destroy();
    });

    test("a guest that died while nobody watched is found ended", async () => {
      await running();
      await bench.hosts[0].killAgent();
      await bench.hosts[0].killSupervisor(sourceCopy);
      await bench.hosts[0].killGuest(sourceCopy);
      const again = await only(await bench.hosts[0].openAgent());
      const status = await again.status();
      assert.equal(status.machine, "ended");
      assert.equal(status.lock, "free");
      assert.equal(status.ended?.how, "killed");
      await again.destroy();
      assert.deepEqual(await (await bench.hosts[0].openAgent()).list(), []);
    });

    test("a destroyed copy is gone for good, and its lock file is free", async () => {
      const copy = await running();
      await copy.destroy();
      assert.deepEqual(await here.list(), []);
      const other = await there.launch(request(destinationCopy));
      assert.deepEqual(await other.run(token + 1), { kind: "granted" });
      await bench.hosts[0].killAgent();
      assert.deepEqual(await (await bench.hosts[0].openAgent()).list(), []);
    });

    test("what needs a held lock file says so", async () => {
      const copy = await here.launch(request(sourceCopy));
      await assert.rejects(copy.permitNext({ copyId: destinationCopy }), /not held/);
      await assert.rejects(copy.passGate(), /not being sent/);
    });
  });
}

/** As the guest says it next. @param not the boot that is to be over */
async function bootId(copy: Copy, not = ""): Promise<string> {
  const said = await eventOf(copy, (event) => event.kind === "guest-reported" && event.report.bootId !== not);
  return said.kind === "guest-reported" ? said.report.bootId : "";
}

/** The next event that fits. */
export function eventOf(copy: Copy, fits: (event: CopyEvent) => boolean): Promise<CopyEvent> {
  return new Promise((resolve) => {
    const stop = copy.listen((event) => {
      if (!fits(event)) return;
      stop();
      resolve(event);
    });
  });
}
