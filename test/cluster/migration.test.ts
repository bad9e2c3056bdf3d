import assert from "node:assert/strict";
import { test } from "node:test";
import { createLongPollDoorbell } from "../../functions/adapters/long-poll-doorbell.ts";
import type { Migration } from "../../schemas/migration.ts";
import type { ClusterOptions, TestCluster } from "../support/cluster.ts";
import { withCluster } from "../support/with-cluster.ts";

/** Slow enough that a test can act while memory is being copied. */
const slowly = { limits: { bandwidthLimitBytesPerSecond: 4_000_000 } };

async function inPrecopy(cluster: TestCluster, id: string): Promise<void> {
  await cluster.until(async () => (await cluster.migration(id)).phase === "precopy");
}

async function slotsAreFree(cluster: TestCluster): Promise<void> {
  await cluster.until(async () => {
    const { items } = await cluster.call<{ items: { migration: string | null }[] }>("GET", cluster.path("hosts"));
    return items.every((host) => host.migration === null);
  });
}

test("a running guest moves to the named host and back, and never executes twice or from old memory", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    const there = await cluster.migrate("vm-1", "host-b");
    assert.deepEqual([there.phase, there.verdict, there.confirmed], ["completed", "committed", true]);
    assert.ok(there.rounds.length >= 1 && there.bytes > 0 && there.timings.downtimeMs !== null, JSON.stringify(there));
    assert.deepEqual(
      there.rounds.map(({ round }) => round),
      there.rounds.map((_, index) => index),
      "no round is missing",
    );
    assert.deepEqual(cluster.executing("vm-1"), ["host-b"]);
    const back = await cluster.migrate("vm-1", "host-a");
    assert.equal(back.phase, "completed");
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
  }));

test("I3: 16 hosts run 8 migrations at once", () =>
  withCluster({ hosts: 16 }, async (cluster) => {
    const vms = cluster.hosts.slice(0, 8).map((host, index) => ({ vm: `vm-${index}`, from: host.hostId }));
    await Promise.all(vms.map(({ vm, from }) => cluster.runVm(vm, from)));
    const requested = await Promise.all(
      vms.map(({ vm }, index) => cluster.request(vm, cluster.hosts[8 + index]?.hostId ?? "", slowly)),
    );
    await cluster.until(async () => {
      const now = await Promise.all(requested.map(({ id }) => cluster.migration(id)));
      return now.every(({ phase }) => phase === "precopy");
    });
    const ended = await Promise.all(requested.map(({ id }) => cluster.ended(id, 60_000)));
    assert.deepEqual(new Set(ended.map(({ phase }) => phase)), new Set(["completed"]));
  }));

test("migrations that need the same hosts queue, and all of them end", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    for (const vm of ["vm-1", "vm-2", "vm-3"]) await cluster.runVm(vm, "host-a");
    const requested = await Promise.all(["vm-1", "vm-2", "vm-3"].map((vm) => cluster.request(vm, "host-b")));
    assert.equal(requested.filter(({ phase }) => phase === "queued").length, 2);
    const ended = await Promise.all(requested.map(({ id }) => cluster.ended(id)));
    assert.deepEqual(
      ended.map(({ phase }) => phase),
      ["completed", "completed", "completed"],
    );
    await slotsAreFree(cluster);
  }));

test("a cancel during the pre-copy leaves the guest running where it was, and it moves afterwards", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.request("vm-1", "host-b", slowly);
    await inPrecopy(cluster, id);
    await cluster.call("POST", cluster.path(`migrations/${id}/cancel`), {});
    const ended = await cluster.ended(id);
    assert.deepEqual([ended.phase, ended.reason, ended.verdict], ["cancelled", "cancelled-by-user", "aborted"]);
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
    assert.equal((await cluster.migrate("vm-1", "host-b")).phase, "completed");
  }));

test("a stop during the pre-copy wins: the migration ends, then the guest", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.request("vm-1", "host-b", slowly);
    await inPrecopy(cluster, id);
    await cluster.call("POST", cluster.path("vms/vm-1/stop"), {});
    const ended = await cluster.ended(id);
    assert.deepEqual([ended.phase, ended.reason], ["cancelled", "vm-stopped"]);
    await cluster.until(async () => (await cluster.vm("vm-1")).runState === "stopped");
    assert.deepEqual(cluster.executing("vm-1"), []);
    await slotsAreFree(cluster);
  }));

test("a delete during the pre-copy leaves a tombstone and nothing that executes", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.request("vm-1", "host-b", slowly);
    await inPrecopy(cluster, id);
    await cluster.call("DELETE", cluster.path("vms/vm-1"));
    await cluster.ended(id);
    await cluster.until(async () => (await cluster.tryCall("GET", cluster.path("vms/vm-1"))).status === 410);
    assert.deepEqual(cluster.executing("vm-1"), []);
    await slotsAreFree(cluster);
  }));

test("a guest that powers itself off during the pre-copy ends the migration with that reason", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.request("vm-1", "host-b", slowly);
    await inPrecopy(cluster, id);
    cluster.host("host-a").simulated.processes()[0]?.endGuest("powered-off", "");
    const ended = await cluster.ended(id);
    assert.deepEqual([ended.phase, ended.reason], ["failed", "guest-ended"]);
    await cluster.until(async () => (await cluster.vm("vm-1")).runState === "stopped");
    assert.equal((await cluster.vm("vm-1")).stoppedBecause, "powered-off");
  }));

for (const side of ["host-a", "host-b"]) {
  test(`an agent that dies during the pre-copy (${side}) costs the migration, not the guest`, () =>
    withCluster({ hosts: 2 }, async (cluster) => {
      await cluster.runVm("vm-1", "host-a");
      const { id } = await cluster.request("vm-1", "host-b", slowly);
      await inPrecopy(cluster, id);
      cluster.host(side).killAgent();
      assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
      await cluster.host(side).startAgent();
      const ended = await cluster.ended(id);
      assert.deepEqual([ended.phase, ended.verdict], ["failed", "aborted"]);
      assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
      await slotsAreFree(cluster);
      assert.equal((await cluster.migrate("vm-1", "host-b")).phase, "completed");
    }));
}

/** Answers of one kind of report are lost once, after they were applied or before. */
function losing(
  hostId: string,
  kind: string,
  when: "before" | "after",
): Pick<ClusterOptions, "intercept"> & { lost: number } {
  const injury = {
    lost: 0,
    intercept: async (request: { hostId: string; kind: string; pass(): Promise<Response> }) => {
      if (request.hostId !== hostId || request.kind !== kind || injury.lost > 0) return null;
      injury.lost += 1;
      if (when === "after") await request.pass();
      throw new Error("the connection broke");
    },
  };
  return injury;
}

for (const when of ["before", "after"] as const) {
  for (const [hostId, kind] of [
    ["host-b", "destination-commits"],
    ["host-b", "guest-confirmed"],
    ["host-b", "copy-seen"],
    ["host-a", "copy-seen"],
    ["host-a", "record"],
    ["host-b", "record"],
    ["host-a", "claim"],
    ["host-b", "claim"],
  ] as const) {
    test(`a lost ${kind} of ${hostId} (${when} it was applied) changes nothing but the time`, async () => {
      const injury = losing(hostId, kind, when);
      let isArmed = false;
      const intercept: ClusterOptions["intercept"] = (request) =>
        isArmed ? (injury.intercept?.(request) ?? null) : null;
      await withCluster({ hosts: 2, intercept }, async (cluster) => {
        await cluster.runVm("vm-1", "host-a");
        isArmed = true;
        const ended = await cluster.migrate("vm-1", "host-b");
        assert.equal(injury.lost, 1);
        assert.equal(ended.phase, "completed");
        assert.deepEqual(cluster.executing("vm-1"), ["host-b"]);
        await slotsAreFree(cluster);
      });
    });
  }
}

test("I2: the source's agent and guest die after the destination has loaded, and nothing is lost", async () => {
  let cluster: TestCluster | null = null;
  const intercept: ClusterOptions["intercept"] = ({ kind }) => {
    if (kind === "destination-commits") cluster?.host("host-a").reboot();
    return null;
  };
  await withCluster({ hosts: 2, intercept }, async (started) => {
    cluster = started;
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.request("vm-1", "host-b");
    await cluster.until(() => cluster?.executing("vm-1")[0] === "host-b");
    await cluster.host("host-a").startAgent();
    const ended = await cluster.ended(id);
    assert.deepEqual([ended.phase, ended.timings.downtimeMs], ["completed", null]);
    assert.equal(cluster.executions.intervals.filter((interval) => interval.fresh).length, 1, "it was never restarted");
  });
});

test("the control plane away from the commit on: the guest stands whole, alarmed, and goes on when it is back", async () => {
  let cluster: TestCluster | null = null;
  const intercept: ClusterOptions["intercept"] = ({ kind }) => {
    if (kind === "destination-commits" && cluster) cluster.isControlPlaneAway = true;
    return null;
  };
  await withCluster({ hosts: 2, intercept }, async (started) => {
    cluster = started;
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.request("vm-1", "host-b");
    await cluster.until(() => cluster?.executing("vm-1").length === 0);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    assert.deepEqual(cluster.executing("vm-1"), [], "a commit may have been sent: nobody can know");
    cluster.isControlPlaneAway = false;
    const ended = await cluster.ended(id);
    assert.equal(ended.phase, "completed");
    assert.deepEqual(cluster.executing("vm-1"), ["host-b"]);
  });
});

test("rule 6: a destination that cannot run the guest returns it, nothing lost", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    for (let index = 0; index < 10; index += 1) {
      cluster.host("host-b").simulated.expectFault({ kind: "run-refused", detail: "no such device" });
    }
    const ended = await cluster.migrate("vm-1", "host-b");
    assert.deepEqual([ended.phase, ended.verdict, ended.reason], ["failed", "returned", "run-refused"]);
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
    await slotsAreFree(cluster);
    assert.equal((await cluster.migrate("vm-1", "host-b")).phase, "completed");
  }));

test("I7: with every ring lost, a migration costs a heartbeat more and nothing else", () => {
  const silent = createLongPollDoorbell();
  return withCluster({ hosts: 2, doorbell: () => ({ ...silent, ring: async () => {} }) }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    assert.equal((await cluster.migrate("vm-1", "host-b")).phase, "completed");
  });
});

test("I7: rings repeated and out of season change nothing", () => {
  const bell = createLongPollDoorbell();
  const ring = async (host: Parameters<typeof bell.ring>[0]) => {
    for (let index = 0; index < 10; index += 1) await bell.ring(host);
  };
  return withCluster({ hosts: 2, doorbell: () => ({ ...bell, ring }) }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    const noise = setInterval(() => {
      for (const { hostId } of cluster.hosts) void bell.ring({ clusterId: "test", hostId });
    }, 5);
    try {
      assert.equal((await cluster.migrate("vm-1", "host-b")).phase, "completed");
    } finally {
      clearInterval(noise);
    }
  });
});

test("a host that reboots has lost its guests: named so, and never silently healed", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    cluster.host("host-a").reboot();
    await cluster.host("host-a").startAgent();
    await cluster.until(async () => (await cluster.vm("vm-1")).runState === "guest-lost");
    assert.deepEqual(cluster.executing("vm-1"), []);
    await cluster.call("POST", cluster.path("vms/vm-1/start"), { host: "host-b" });
    await cluster.until(() => cluster.executing("vm-1")[0] === "host-b");
  }));

test("a guest that crashes is stopped, with that reason, and stays so", () =>
  withCluster({ hosts: 1 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    cluster.host("host-a").simulated.processes()[0]?.endGuest("crashed", "");
    await cluster.until(async () => (await cluster.vm("vm-1")).runState === "stopped");
    assert.equal((await cluster.vm("vm-1")).stoppedBecause, "crashed");
  }));

test("an agent that dies and comes back finds its guests running and leaves them so", () =>
  withCluster({ hosts: 1 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    cluster.host("host-a").killAgent();
    await cluster.host("host-a").startAgent();
    await cluster.until(async () => (await cluster.vm("vm-1")).runState === "running");
    assert.equal(cluster.executions.intervals.length, 1);
  }));

test("a guest that writes faster than the network carries ends in a clean abort with the numbers", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a", { memoryMiB: 64, dirtyMiBPerSecond: 200 });
    const limits = {
      bandwidthLimitBytesPerSecond: 8_000_000,
      downtimeCeilingMs: 100,
      throttleCeilingPercent: 0,
      roundLimit: 3,
    };
    const { id } = await cluster.request("vm-1", "host-b", { limits });
    const ended: Migration = await cluster.ended(id, 60_000);
    assert.deepEqual([ended.phase, ended.reason], ["failed", "not-converging"]);
    assert.match(ended.detail ?? "", /bytes remained/);
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
  }));

test("a destination that has lost its journal ends the attempt, and the guest runs on at its source", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.request("vm-1", "host-b", slowly);
    await inPrecopy(cluster, id);
    cluster.host("host-b").killAgent();
    cluster.host("host-b").disk.entries.clear();
    await cluster.host("host-b").startAgent();
    assert.equal((await cluster.ended(id)).verdict, "aborted");
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
    await slotsAreFree(cluster);
    assert.equal((await cluster.migrate("vm-1", "host-b")).phase, "completed");
  }));

test("rule 6: a committed destination with neither journal nor copy may have run the guest, and names it lost", async () => {
  let cluster: TestCluster | null = null;
  let isHit = false;
  const intercept: ClusterOptions["intercept"] = async ({ kind, pass }) => {
    if (kind !== "destination-commits" || !cluster || isHit) return null;
    isHit = true;
    const answer = await pass();
    const host = cluster.host("host-b");
    host.reboot();
    host.disk.entries.clear();
    await host.startAgent();
    return answer;
  };
  await withCluster({ hosts: 2, intercept }, async (started) => {
    cluster = started;
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.request("vm-1", "host-b");
    const ended = await cluster.ended(id);
    assert.deepEqual([ended.phase, ended.verdict, ended.reason], ["failed", "committed", "guest-lost"]);
    assert.deepEqual(cluster.executing("vm-1"), [], "the source's memory is never resumed");
    assert.equal((await cluster.vm("vm-1")).runState, "guest-lost");
    await slotsAreFree(cluster);
  });
});

test("I2: a destination host that reboots between commit and intent gives the guest back, nothing lost", async () => {
  let cluster: TestCluster | null = null;
  let isHit = false;
  const intercept: ClusterOptions["intercept"] = async ({ kind, pass }) => {
    if (kind !== "destination-commits" || !cluster || isHit) return null;
    isHit = true;
    const answer = await pass();
    const host = cluster.host("host-b");
    host.reboot();
    await host.startAgent();
    return answer;
  };
  await withCluster({ hosts: 2, intercept }, async (started) => {
    cluster = started;
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.request("vm-1", "host-b");
    const ended = await cluster.ended(id);
    assert.deepEqual([ended.phase, ended.verdict], ["failed", "returned"]);
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
    await slotsAreFree(cluster);
  });
});

test("I2: past the gate with the control plane gone for both, the destination's word lets the source resume", async () => {
  let cluster: TestCluster | null = null;
  // Said at the gate, before it is past: what is left of the memory does not get through.
  const carry: ClusterOptions["carry"] = ({ message }, deliver) => {
    if (message.kind === "guest-stands" && cluster) {
      cluster.network.cut("127.0.0.11", "127.0.0.12", { silent: true });
      cluster.isControlPlaneAway = true;
    }
    queueMicrotask(deliver);
  };
  await withCluster({ hosts: 2, carry }, async (started) => {
    cluster = started;
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.request("vm-1", "host-b");
    await cluster.until(() => cluster?.isControlPlaneAway === true);
    await cluster.until(() => cluster?.executing("vm-1").length === 0);
    await cluster.until(() => cluster?.executing("vm-1")[0] === "host-a");
    cluster.isControlPlaneAway = false;
    cluster.network.heal("127.0.0.11", "127.0.0.12");
    const ended = await cluster.ended(id);
    assert.equal(ended.verdict, "aborted");
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
  });
});

test("an assignment that nobody could begin in time ends the migration with that reason", () =>
  withCluster({ hosts: 2, settings: { assignmentMs: -1 } }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    const ended = await cluster.migrate("vm-1", "host-b");
    assert.deepEqual([ended.phase, ended.reason], ["failed", "preparation-failed"]);
    assert.match(ended.detail ?? "", /expired/);
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
    await slotsAreFree(cluster);
  }));

test("I2: the peer link and the control plane break after the commit; whichever is back first, the guest goes on", async () => {
  let cluster: TestCluster | null = null;
  let isHit = false;
  let isCut = false;
  const intercept: ClusterOptions["intercept"] = async ({ kind, pass }) => {
    if (kind !== "destination-commits" || !cluster || isHit) return null;
    isHit = true;
    await pass();
    cluster.host("host-b").isCutOff = true; // It committed, and cannot read that it did.
    cluster.peerNetwork.cut("127.0.0.11", "127.0.0.12");
    isCut = true;
    throw new Error("the answer was lost");
  };
  await withCluster({ hosts: 2, intercept }, async (started) => {
    cluster = started;
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.request("vm-1", "host-b");
    await cluster.until(() => isCut);
    assert.equal((await cluster.migration(id)).verdict, "committed");
    cluster.peerNetwork.mend("127.0.0.11", "127.0.0.12");
    await cluster.until(
      () => cluster?.executing("vm-1")[0] === "host-b",
      20_000,
      () => "the relayed record is not used",
    );
    cluster.host("host-b").isCutOff = false;
    assert.equal((await cluster.ended(id)).phase, "completed");
  });
});

test("a cancel while the destination builds its copy leaves no copy behind", async () => {
  let cluster: TestCluster | null = null;
  const intercept: ClusterOptions["intercept"] = async ({ hostId, kind, pass }) => {
    if (hostId !== "host-b" || kind !== "claim" || !cluster) return null;
    const [migration] = (await cluster.call<{ items: Migration[] }>("GET", cluster.path("migrations"))).items;
    const answer = await pass();
    if (migration) await cluster.tryCall("POST", cluster.path(`migrations/${migration.id}/cancel`), {});
    return answer;
  };
  await withCluster({ hosts: 2, intercept }, async (started) => {
    cluster = started;
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.request("vm-1", "host-b");
    assert.equal((await cluster.ended(id)).phase, "cancelled");
    await slotsAreFree(cluster);
    await cluster.until(() => cluster?.host("host-b").simulated.processes().length === 0);
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"]);
  });
});

test("what is over on both hosts leaves no journal and no gate behind", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    await cluster.migrate("vm-1", "host-b");
    await cluster.migrate("vm-1", "host-a");
    await cluster.until(() => cluster.hosts.every((host) => host.disk.entries.size === 0));
  }));

test("a guest that executes without its lock file is an alarm in the API until it is held again", () =>
  withCluster({ hosts: 1 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    const copyId = (await cluster.vm("vm-1")).owner?.copyId ?? "";
    cluster.locks.unreachable = true;
    cluster.host("host-a").copyHost.supervisorDied(copyId);
    await cluster.until(async () => (await cluster.vm("vm-1")).alarms[0]?.code === "lock-file-not-held");
    assert.deepEqual(cluster.executing("vm-1"), ["host-a"], "it is never stopped for want of it");
    cluster.locks.unreachable = false;
    await cluster.until(async () => (await cluster.vm("vm-1")).alarms.length === 0);
  }));
