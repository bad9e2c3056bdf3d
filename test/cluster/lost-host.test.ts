// An operator's way out for a lost host, on whole clusters: nothing is forced over the living, no copy runs twice, and
// what is lost is named.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Host, lostStatement } from "../../schemas/host.ts";
import { unlockStatement } from "../../schemas/vm.ts";
import { type ClusterOptions, startCluster, type TestCluster } from "../support/cluster.ts";
import { withCluster as withAnyCluster } from "../support/with-cluster.ts";

/** Leases lapse soon, so that a lost host can be declared lost soon. */
const settings = { leaseMs: 900 };
const withCluster = (options: ClusterOptions, body: (cluster: TestCluster) => Promise<void>): Promise<void> =>
  withAnyCluster({ settings, ...options }, body);

const hostOf = (cluster: TestCluster, host: string) => cluster.call<Host>("GET", cluster.path(`hosts/${host}`));

/** Waits for the lease to lapse, then says the words. */
async function declareLost(cluster: TestCluster, host: string): Promise<void> {
  await cluster.until(async () => !(await hostOf(cluster, host)).alive);
  const { incarnation } = await hostOf(cluster, host);
  await cluster.call("POST", cluster.path(`hosts/${host}/declare-lost`), {
    incarnation,
    reason: "power cut in rack 7",
    statement: lostStatement,
  });
}

const force = (cluster: TestCluster, vm: string, action: object) =>
  cluster.tryCall("POST", cluster.path(`vms/${vm}/force`), { reason: "power cut in rack 7", action });

async function startsFromDisk(cluster: TestCluster, host: string): Promise<void> {
  assert.equal((await force(cluster, "vm-1", { kind: "start-from-disk", host })).status, 202);
  await cluster.until(() => cluster.executing("vm-1")[0] === host);
}

/** From host-a to host-b, slowly. */
async function beginsToMove(cluster: TestCluster): Promise<string> {
  await cluster.runVm("vm-1", "host-a");
  const { id } = await cluster.request("vm-1", "host-b", { limits: { bandwidthLimitBytesPerSecond: 1_000_000 } });
  await cluster.until(async () => (await cluster.migration(id)).phase === "precopy");
  return id;
}

async function commits(cluster: TestCluster): Promise<string> {
  await cluster.runVm("vm-1", "host-a");
  const { id } = await cluster.request("vm-1", "host-b");
  await cluster.until(async () => (await cluster.migration(id)).verdict === "committed");
  return id;
}

async function comeBack(cluster: TestCluster, hosts: string[]): Promise<void> {
  for (const hostId of hosts) {
    cluster.host(hostId).reboot();
    await cluster.host(hostId).startAgent();
  }
}

async function slotsAreFree(cluster: TestCluster): Promise<void> {
  await cluster.until(async () => {
    const { items } = await cluster.call<{ items: Host[] }>("GET", cluster.path("hosts"));
    return items.every((host) => host.migration === null);
  });
}

/** Ends a host when a report of a kind passes, before it lands or after it has. */
function loses(
  kind: string,
  moment: "before" | "after",
  victims: string[],
): { intercept: NonNullable<ClusterOptions["intercept"]>; begin(cluster: TestCluster): void } {
  let cluster: TestCluster | null = null;
  let isHit = false;
  return {
    begin(started) {
      cluster = started;
    },
    intercept: async (request) => {
      if (request.kind !== kind || !cluster || isHit) return null;
      isHit = true;
      const answer = moment === "after" ? await request.pass() : null;
      for (const victim of victims) cluster.host(victim).losePower();
      if (moment === "before" && victims.includes(request.hostId)) throw new Error("it was never sent");
      return answer;
    },
  };
}

test("a VM at rest on a lost host starts from its disk on a named one, and the host that returns keeps nothing of it", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    cluster.host("host-a").losePower();
    const early = await force(cluster, "vm-1", { kind: "start-from-disk", host: "host-b" });
    assert.equal((early.body as { code: string }).code, "host-not-lost");
    await declareLost(cluster, "host-a");
    await cluster.until(async () => (await cluster.vm("vm-1")).runState === "guest-lost");
    assert.equal((await cluster.vm("vm-1")).stoppedBecause, "host-declared-lost");
    await startsFromDisk(cluster, "host-b");
    await comeBack(cluster, ["host-a"]);
    await cluster.until(async () => (await hostOf(cluster, "host-a")).declaredLost === null);
    assert.equal((await cluster.migrate("vm-1", "host-a")).phase, "completed", "the host serves again");
  }));

test("a source host lost after the destination has loaded costs nothing: the guest carries on, nothing is forced", async () => {
  const loss = loses("destination-commits", "before", ["host-a"]);
  await withCluster({ hosts: 2, intercept: loss.intercept }, async (cluster) => {
    loss.begin(cluster);
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.request("vm-1", "host-b");
    await cluster.until(() => cluster.executing("vm-1")[0] === "host-b");
    await declareLost(cluster, "host-a");
    const ended = await cluster.ended(id);
    assert.deepEqual([ended.phase, ended.verdict], ["completed", "committed"]);
    const forced = await force(cluster, "vm-1", { kind: "start-from-disk", host: "host-b" });
    assert.equal((forced.body as { code: string }).code, "host-not-lost", "its owner lives");
    await slotsAreFree(cluster);
  });
});

test("a source host lost before the destination has loaded: the destination gives up by itself, then the VM starts from disk", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    const id = await beginsToMove(cluster);
    cluster.host("host-a").losePower();
    await declareLost(cluster, "host-a");
    await cluster.until(async () => (await cluster.vm("vm-1")).runState === "guest-lost");
    assert.equal((await cluster.ended(id)).verdict, "aborted");
    await startsFromDisk(cluster, "host-b");
    await slotsAreFree(cluster);
  }));

test("a destination host lost after its commit and before it ran: the source proves it by the lock file and goes on", async () => {
  const loss = loses("destination-commits", "after", ["host-b"]);
  await withCluster({ hosts: 2, intercept: loss.intercept }, async (cluster) => {
    loss.begin(cluster);
    const id = await commits(cluster);
    await declareLost(cluster, "host-b");
    assert.deepEqual(cluster.executing("vm-1"), [], "it stands still until the operator has decided");
    assert.equal((await force(cluster, "vm-1", { kind: "take-back" })).status, 202);
    await cluster.until(() => cluster.executing("vm-1")[0] === "host-a");
    const ended = await cluster.ended(id);
    assert.deepEqual([ended.verdict, ended.reason], ["forced", "host-declared-lost"]);
    assert.equal((await cluster.vm("vm-1")).runState, "running");
    await comeBack(cluster, ["host-b"]);
    await slotsAreFree(cluster);
    assert.equal((await cluster.migrate("vm-1", "host-b")).phase, "completed");
  });
});

test("a destination host lost after it ran the guest: taking back is refused and named, and the VM starts from disk", async () => {
  const loss = loses("guest-confirmed", "before", ["host-b"]);
  await withCluster({ hosts: 3, intercept: loss.intercept }, async (cluster) => {
    loss.begin(cluster);
    const id = await commits(cluster);
    await declareLost(cluster, "host-b");
    assert.equal((await force(cluster, "vm-1", { kind: "take-back" })).status, 202);
    await cluster.until(async () => (await cluster.vm("vm-1")).alarms.some(({ code }) => code === "take-back-refused"));
    assert.deepEqual(cluster.executing("vm-1"), [], "a memory that the disk has left behind never runs");
    await startsFromDisk(cluster, "host-c");
    const ended = await cluster.ended(id);
    assert.deepEqual([ended.phase, ended.verdict, ended.reason], ["failed", "forced", "host-declared-lost"]);
    await cluster.until(() => cluster.host("host-a").simulated.processes().length === 0);
    await comeBack(cluster, ["host-b"]);
    await slotsAreFree(cluster);
  });
});

test("both hosts of an open migration lost: the operator decides, and hosts that return destroy what is stale", async () => {
  await withCluster({ hosts: 3 }, async (cluster) => {
    const id = await beginsToMove(cluster);
    cluster.host("host-a").losePower();
    cluster.host("host-b").losePower();
    await declareLost(cluster, "host-a");
    const early = await force(cluster, "vm-1", { kind: "start-from-disk", host: "host-c" });
    assert.equal((early.body as { code: string }).code, "host-may-decide");
    await declareLost(cluster, "host-b");
    await startsFromDisk(cluster, "host-c");
    assert.equal((await cluster.ended(id)).verdict, "forced");
    await comeBack(cluster, ["host-a", "host-b"]);
    await slotsAreFree(cluster);
    assert.equal((await cluster.migrate("vm-1", "host-a")).phase, "completed");
  });
});

test("a destination host lost before it has committed: the source goes on by itself, nothing is forced or lost", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    const id = await beginsToMove(cluster);
    cluster.host("host-b").losePower();
    await declareLost(cluster, "host-b");
    assert.equal((await cluster.ended(id)).verdict, "aborted");
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
    assert.equal((await cluster.vm("vm-1")).runState, "running");
    const forced = await force(cluster, "vm-1", { kind: "start-from-disk", host: "host-a" });
    assert.equal((forced.body as { code: string }).code, "host-not-lost");
    await slotsAreFree(cluster);
  }));

test("both hosts lost after the commit: nothing is there to take back, and the VM starts from disk", async () => {
  const loss = loses("destination-commits", "after", ["host-a", "host-b"]);
  await withCluster({ hosts: 3, intercept: loss.intercept }, async (cluster) => {
    loss.begin(cluster);
    const id = await commits(cluster);
    await declareLost(cluster, "host-a");
    const early = await force(cluster, "vm-1", { kind: "start-from-disk", host: "host-c" });
    assert.equal((early.body as { code: string }).code, "host-may-decide", "the destination owns it and may come back");
    await declareLost(cluster, "host-b");
    const back = await force(cluster, "vm-1", { kind: "take-back" });
    assert.equal((back.body as { code: string }).code, "destination-may-have-run");
    await startsFromDisk(cluster, "host-c");
    assert.equal((await cluster.ended(id)).verdict, "forced");
    await comeBack(cluster, ["host-a", "host-b"]);
    await slotsAreFree(cluster);
    assert.deepEqual(cluster.executing("vm-1"), ["host-c"]);
  });
});

test("a host declared lost that lives: what was started elsewhere it ends, its other guests run on and are adopted again", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    await cluster.runVm("vm-2", "host-a");
    cluster.host("host-a").isCutOff = true;
    await declareLost(cluster, "host-a");
    await cluster.until(async () => (await cluster.vm("vm-2")).runState === "guest-lost");
    assert.equal((await force(cluster, "vm-1", { kind: "start-from-disk", host: "host-b" })).status, 202);
    cluster.host("host-a").isCutOff = false;
    await cluster.until(() => cluster.executing("vm-1")[0] === "host-b");
    await cluster.until(async () => (await cluster.vm("vm-2")).runState === "running");
    assert.deepEqual(cluster.executing("vm-2"), ["host-a"]);
    const runs = cluster.executions.intervals.filter((interval) => interval.vmId === "vm-2");
    assert.equal(runs.length, 1, "it never stopped");
  }));

test("force told a lie about both ends of a migration: the guest that runs on bars the second, until it is heard of", () =>
  withCluster({ hosts: 3 }, async (cluster) => {
    await beginsToMove(cluster);
    for (const hostId of ["host-a", "host-b"]) cluster.host(hostId).isCutOff = true;
    for (const hostId of ["host-a", "host-b"]) await declareLost(cluster, hostId);
    assert.equal((await force(cluster, "vm-1", { kind: "start-from-disk", host: "host-c" })).status, 202);
    await cluster.until(async () => (await cluster.vm("vm-1")).alarms.some(({ code }) => code === "run-refused"));
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
    for (const hostId of ["host-a", "host-b"]) cluster.host(hostId).isCutOff = false;
    await cluster.until(() => cluster.executing("vm-1")[0] === "host-c");
    await slotsAreFree(cluster);
    for (const hostId of ["host-a", "host-b"]) {
      await cluster.until(() => cluster.host(hostId).simulated.processes().length === 0);
    }
  }));

test("force told a lie, and the VM started again on that very host: its part in the migration ends first, then the copy begins", async () => {
  let isHeldUp = true;
  const intercept: NonNullable<ClusterOptions["intercept"]> = async ({ kind, hostId }) => {
    if (isHeldUp && kind === "source-aborts" && hostId === "host-a") throw new Error("it was never sent");
    return null;
  };
  await withCluster({ hosts: 2, intercept }, async (cluster) => {
    const id = await beginsToMove(cluster);
    await cluster.call("POST", cluster.path(`migrations/${id}/cancel`));
    await cluster.until(async () => (await cluster.migration(id)).verdict === "aborted");
    cluster.host("host-a").isCutOff = true;
    await declareLost(cluster, "host-a");
    await cluster.until(async () => (await cluster.vm("vm-1")).runState === "guest-lost");
    cluster.host("host-a").isCutOff = false;
    await cluster.until(async () => (await hostOf(cluster, "host-a")).alive);
    assert.equal((await force(cluster, "vm-1", { kind: "start-from-disk", host: "host-a" })).status, 202);
    await sleep(1500);
    isHeldUp = false;
    await slotsAreFree(cluster);
    await cluster.until(async () => (await cluster.vm("vm-1")).runState === "running");
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
    assert.equal(cluster.host("host-a").simulated.processes().length, 1, "nothing is left of the copy before");
  });
});

test("force told a lie: the lock file keeps the second copy from running, until the guest that lives is ended", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    cluster.host("host-a").isCutOff = true; // It lives, and its guest runs.
    await declareLost(cluster, "host-a");
    assert.equal((await force(cluster, "vm-1", { kind: "start-from-disk", host: "host-b" })).status, 202);
    await cluster.until(async () => (await cluster.vm("vm-1")).alarms.some(({ code }) => code === "run-refused"));
    assert.match((await cluster.vm("vm-1")).alarms[0]?.detail ?? "", /lock-held/);
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
    // The host is heard again, under a new incarnation: the record names another copy, so it ends its own.
    cluster.host("host-a").isCutOff = false;
    await cluster.until(() => cluster.executing("vm-1")[0] === "host-b");
    assert.equal(cluster.host("host-a").simulated.processes().length, 0);
  }));

test("a lock file that a lost host still seems to hold: the start waits, may be stopped and begun elsewhere, and runs on the words", () =>
  withCluster({ hosts: 3 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    const { owner, fencingToken } = await cluster.vm("vm-1");
    cluster.host("host-a").losePower();
    // The storage never heard that the host is gone.
    const ghost = await cluster.locks.as({}).take("vm-1", owner?.copyId ?? "", fencingToken);
    assert.equal(ghost.kind, "taken");
    await declareLost(cluster, "host-a");
    const isRefused = async () => (await cluster.vm("vm-1")).alarms.some(({ code }) => code === "run-refused");
    assert.equal((await force(cluster, "vm-1", { kind: "start-from-disk", host: "host-b" })).status, 202);
    await cluster.until(isRefused);
    await cluster.call("POST", cluster.path("vms/vm-1/stop"), {});
    await cluster.until(async () => (await cluster.vm("vm-1")).runState === "stopped");
    await cluster.call("POST", cluster.path("vms/vm-1/start"), { host: "host-c" });
    await cluster.until(isRefused);
    assert.deepEqual(cluster.executing("vm-1"), []);
    const said = { kind: "start-from-disk", host: "host-c", overrideLockFile: unlockStatement };
    assert.equal((await force(cluster, "vm-1", said)).status, 202);
    await cluster.until(() => cluster.executing("vm-1")[0] === "host-c");
    await cluster.until(async () => {
      const vm = await cluster.vm("vm-1"); // The alarm ends with its host's next heartbeat.
      return vm.runState === "running" && vm.alarms.length === 0;
    });
    assert.equal((await cluster.migrate("vm-1", "host-b")).phase, "completed");
  }));

test("a host declared lost that lives and returns before anything was started elsewhere keeps its guest", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    cluster.host("host-a").isCutOff = true;
    await declareLost(cluster, "host-a");
    await cluster.until(async () => (await cluster.vm("vm-1")).runState === "guest-lost");
    cluster.host("host-a").isCutOff = false;
    await cluster.until(async () => (await cluster.vm("vm-1")).runState === "running");
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
    assert.equal((await cluster.migrate("vm-1", "host-b")).phase, "completed");
  }));

test("both barriers overridden by a lie: two copies run, and the execution log says so", async () => {
  const cluster = await startCluster({ hosts: 2, settings });
  try {
    await cluster.runVm("vm-1", "host-a");
    cluster.host("host-a").isCutOff = true;
    await declareLost(cluster, "host-a");
    const action = { kind: "start-from-disk", host: "host-b", overrideLockFile: unlockStatement };
    assert.equal((await force(cluster, "vm-1", action)).status, 202);
    await cluster.until(() => cluster.faults.length > 0);
    assert.match(cluster.faults[0] ?? "", /two|twice|at once/i);
  } finally {
    await cluster.stop();
  }
});
