// The table goes back, on whole clusters: whatever the backup knew and wherever a migration stood, no guest runs twice,
// none is ended, none runs from old memory, and the cluster opens again by itself and moves guests as before.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Host } from "../../schemas/host.ts";
import type { AgentRequest } from "../support/cluster.ts";
import { RestorableCluster, withRestorable } from "../support/restorable-cluster.ts";

test("a backup from before a migration: the guest that has moved runs on where it is, and moves again", () =>
  withRestorable({ hosts: 2 }, async (one) => {
    await one.cluster.runVm("vm-1", "host-a");
    one.backUp();
    await one.cluster.migrate("vm-1", "host-b");
    await one.restore(one.backups[0]);
    await one.opens();
    assert.equal(await one.runsOnce("vm-1"), "host-b");
    await one.migratesAgain("vm-1");
  }));

test("a backup from amid a migration that has ended since: it is over, and its guest runs where it arrived", () =>
  withRestorable({ hosts: 2 }, async (one) => {
    await one.cluster.runVm("vm-1", "host-a");
    const { id } = await one.cluster.request("vm-1", "host-b", {
      limits: { bandwidthLimitBytesPerSecond: 20_000_000 },
    });
    await one.cluster.until(async () => (await one.cluster.migration(id)).phase === "precopy");
    one.backUp();
    await one.cluster.ended(id);
    await one.restore(one.backups[0]);
    await one.opens();
    assert.equal(await one.runsOnce("vm-1"), "host-b");
    const ended = await one.cluster.ended(id);
    assert.deepEqual([ended.verdict, ended.confirmed], ["committed", true]);
    await one.migratesAgain("vm-1");
  }));

/** At each of these instants of a migration the table goes back, to before it was asked for or to where it was open. */
const instants = [
  ["migration-progressed", "before"],
  ["destination-commits", "before"],
  ["destination-commits", "after"],
  ["guest-confirmed", "before"],
  ["guest-confirmed", "after"],
  ["copy-gone", "before"],
  ["copy-running", "before"],
  ["copy-running", "after"],
] as const;

for (const [kind, moment] of instants) {
  for (const known of ["not known to the backup", "open in the backup"] as const) {
    test(`the table goes back ${moment} ${kind} of a migration ${known}: one copy, whole, and it moves again`, async () => {
      const one = new RestorableCluster();
      let isArmed = false;
      let hasGoneBack = false;
      const intercept = async (request: AgentRequest) => {
        if (!isArmed || kindOf(request) !== kind) return null;
        isArmed = false;
        if (moment === "after") await request.pass();
        await one.restore(one.backups.at(-1));
        hasGoneBack = true;
        throw new Error("the connection was reset");
      };
      await one.start({ hosts: 2, intercept });
      const { cluster } = one;
      try {
        await cluster.runVm("vm-1", "host-a");
        one.backUp();
        isArmed = known === "not known to the backup";
        const { id } = await cluster.request("vm-1", "host-b");
        if (known === "open in the backup") {
          one.backUp();
          isArmed = true;
        }
        await cluster.until(
          () => hasGoneBack,
          20_000,
          () => `${kind} did not come`,
        );
        await one.opens();
        await one.runsOnce("vm-1");
        const shown = await cluster.tryCall("GET", cluster.path(`migrations/${id}`));
        if (shown.status === 200) await cluster.ended(id);
        await one.migratesAgain("vm-1");
        assert.deepEqual(cluster.faults, []);
      } finally {
        await cluster.stop();
      }
    });
  }
}

function kindOf({ kind, state }: AgentRequest): string {
  return kind === "copy-seen" ? `copy-${state}` : kind;
}

test("a VM that was made and started since the backup is known again, with its guest", () =>
  withRestorable({ hosts: 2 }, async (one) => {
    one.backUp();
    await one.cluster.runVm("vm-1", "host-a");
    await one.restore(one.backups[0]);
    await one.opens();
    assert.equal(await one.runsOnce("vm-1"), "host-a");
    await one.migratesAgain("vm-1");
  }));

test("a VM that was deleted since the backup is not started again: it is there, stopped", () =>
  withRestorable({ hosts: 2 }, async (one) => {
    const { cluster } = one;
    await cluster.runVm("vm-1", "host-a");
    one.backUp();
    await cluster.call("DELETE", cluster.path("vms/vm-1"));
    await cluster.until(() => cluster.executing("vm-1").length === 0);
    await one.restore(one.backups[0]);
    await one.opens();
    const { runState, stoppedBecause } = await cluster.vm("vm-1");
    assert.deepEqual([runState, stoppedBecause], ["stopped", "table-restored"]);
    assert.deepEqual(cluster.executing("vm-1"), []);
  }));

test("a VM that was stopped and started elsewhere since the backup runs where it was started last", () =>
  withRestorable({ hosts: 2 }, async (one) => {
    const { cluster } = one;
    await cluster.runVm("vm-1", "host-a");
    one.backUp();
    await cluster.call("POST", cluster.path("vms/vm-1/stop"), {});
    await cluster.until(async () => (await cluster.vm("vm-1")).runState === "stopped");
    await cluster.call("POST", cluster.path("vms/vm-1/start"), { host: "host-b" });
    await cluster.until(async () => (await cluster.vm("vm-1")).runState === "running");
    await one.restore(one.backups[0]);
    await one.opens();
    assert.equal(await one.runsOnce("vm-1"), "host-b");
  }));

test("a paused guest that has moved stays paused where it is, and goes on when it is told to", () =>
  withRestorable({ hosts: 2 }, async (one) => {
    const { cluster } = one;
    await cluster.runVm("vm-1", "host-a");
    one.backUp();
    await cluster.call("POST", cluster.path("vms/vm-1/pause"), {});
    await cluster.until(async () => (await cluster.vm("vm-1")).runState === "paused");
    assert.equal((await cluster.migrate("vm-1", "host-b")).phase, "completed");
    await one.restore(one.backups[0]);
    await one.opens();
    const { runState, owner } = await cluster.vm("vm-1");
    assert.deepEqual([runState, owner?.hostId], ["paused", "host-b"]);
    assert.deepEqual(cluster.executing("vm-1"), []);
    await cluster.call("POST", cluster.path("vms/vm-1/resume"), {});
    assert.equal(await one.runsOnce("vm-1"), "host-b");
  }));

test("hosts that are late are waited for, by name, and nothing is decided without them", () =>
  withRestorable({ hosts: 4 }, async (one) => {
    const { cluster } = one;
    one.vms = 2;
    await cluster.runVm("vm-1", "host-a");
    await cluster.runVm("vm-2", "host-c");
    one.backUp();
    await cluster.migrate("vm-1", "host-b");
    await cluster.migrate("vm-2", "host-d");
    for (const late of ["host-b", "host-d"]) cluster.host(late).killAgent();
    await one.restore(one.backups[0]);
    await cluster.until(async () => (await one.recovery())?.reported.join() === "host-a,host-c");
    assert.deepEqual((await one.recovery())?.awaited, ["host-b", "host-d"]);
    const asked = await cluster.tryCall("POST", cluster.path("migrations"), { vm: "vm-1", destination: "host-c" });
    assert.equal((asked.body as { code: string }).code, "recovering");
    assert.deepEqual([cluster.executing("vm-1"), cluster.executing("vm-2")], [["host-b"], ["host-d"]]);
    for (const late of ["host-b", "host-d"]) await cluster.host(late).openAgent();
    await one.opens();
    assert.equal(await one.runsOnce("vm-1"), "host-b");
    assert.equal(await one.runsOnce("vm-2"), "host-d");
    await one.migratesAgain("vm-1");
  }));

test("a host that is lost meanwhile is declared lost; its guest is lost with it, and can be started elsewhere", () =>
  withRestorable({ hosts: 3 }, async (one) => {
    const { cluster } = one;
    one.vms = 2;
    await cluster.runVm("vm-1", "host-a");
    await cluster.runVm("vm-2", "host-c");
    one.backUp();
    await cluster.migrate("vm-1", "host-b");
    cluster.host("host-b").losePower();
    await one.restore(one.backups[0]);
    await cluster.until(async () => (await one.recovery())?.awaited.join() === "host-b");
    await one.declareLost("host-b");
    await one.opens();
    assert.equal((await cluster.vm("vm-1")).runState, "guest-lost");
    // Where host-a had not yet noted that the migration is over, it does so first.
    await cluster.until(async () => (await cluster.vm("vm-1")).migration === null);
    await cluster.call("POST", cluster.path("vms/vm-1/start"), { host: "host-a" });
    await cluster.until(() => cluster.executing("vm-1").join() === "host-a");
    const back = cluster.host("host-b");
    back.reboot();
    await back.startAgent();
    await cluster.until(
      async () => (await cluster.call<Host>("GET", cluster.path("hosts/host-b"))).declaredLost === null,
    );
    assert.equal(await one.runsOnce("vm-1"), "host-a");
    assert.equal((await cluster.migrate("vm-1", "host-b")).phase, "completed", "the host serves again");
  }));

test("an agent that is started again while its cluster recovers is still frozen, and its guests run on", () =>
  withRestorable({ hosts: 2 }, async (one) => {
    const { cluster } = one;
    await cluster.runVm("vm-1", "host-a");
    one.backUp();
    await cluster.migrate("vm-1", "host-b");
    cluster.host("host-a").killAgent();
    await one.restore(one.backups[0]);
    await cluster.until(async () => (await one.recovery())?.reported.join() === "host-b");
    cluster.host("host-b").killAgent();
    await cluster.host("host-b").openAgent();
    assert.deepEqual(cluster.host("host-b").disk.tableStanding.isFrozen, true);
    await cluster.host("host-a").openAgent();
    await one.opens();
    assert.equal(await one.runsOnce("vm-1"), "host-b");
    await cluster.until(() => cluster.host("host-b").disk.tableStanding.tokenFloor === 2 ** 32);
    await one.migratesAgain("vm-1");
  }));

test("nobody has run restore: hosts notice, the cluster's view says so, nothing is decided; restored, it opens", () =>
  withRestorable({ hosts: 2 }, async (one) => {
    const { cluster } = one;
    await cluster.runVm("vm-1", "host-a");
    one.backUp();
    await cluster.migrate("vm-1", "host-b");
    await one.goBack();
    await cluster.until(async () => (await one.recovery())?.state === "table-went-back");
    const asked = await cluster.tryCall("POST", cluster.path("vms/vm-1/stop"), {});
    assert.equal((asked.body as { code: string }).code, "table-went-back");
    assert.deepEqual(cluster.executing("vm-1"), ["host-b"]);
    await one.restore();
    await one.opens();
    assert.equal(await one.runsOnce("vm-1"), "host-b");
    await one.migratesAgain("vm-1");
  }));

test("a host with more guests than one inventory holds tells them in pages: all run on as its own", () => {
  const guests = 140;
  return withRestorable({ hosts: 2, memoryMiB: guests * 16, settings: { leaseMs: 10_000 } }, async (one) => {
    const { cluster } = one;
    const names = Array.from({ length: guests }, (_, index) => `vm-${index}`);
    one.vms = guests;
    for (const vm of names) await cluster.runVm(vm, "host-a");
    one.backUp();
    await one.restore(one.backups.at(-1));
    await one.opens();
    for (const vm of names) assert.equal(await one.runsOnce(vm), "host-a");
  });
});
