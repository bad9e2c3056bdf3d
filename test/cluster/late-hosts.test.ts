// Hosts that were declared lost while the cluster recovered from a table that went back, and that come back after all:
// what they have is judged by what all of them tell, and nothing runs from old memory or is ended that is the last.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { AgentRequest, TestHost } from "../support/cluster.ts";
import { RestorableCluster } from "../support/restorable-cluster.ts";

const backups = ["from before the migration", "from amid the migration"] as const;

/** vm-1 is moved from host-a to host-b, and `atCommit` is done when the destination commits; then the table is restored,
 *  and both hosts are declared lost. */
async function bothLost(
  backup: (typeof backups)[number],
  atCommit: (one: RestorableCluster, request: AgentRequest) => Promise<void>,
  body: (one: RestorableCluster) => Promise<void>,
): Promise<void> {
  const one = new RestorableCluster();
  let isHit = false;
  const intercept = async (request: AgentRequest) => {
    if (request.kind === "inventory") await one.tells(request.hostId);
    if (request.kind !== "destination-commits" || isHit) return null;
    isHit = true;
    await atCommit(one, request);
    throw new Error("the connection was reset");
  };
  await one.start({ hosts: 3, intercept });
  const { cluster } = one;
  try {
    await cluster.runVm("vm-1", "host-a");
    one.backUp();
    await cluster.request("vm-1", "host-b");
    if (backup === "from amid the migration") one.backUp();
    await until(one, "the destination commits", () => isHit);
    await body(one);
    assert.deepEqual(cluster.faults, [], "a guest executed twice, from old memory, or with damaged memory");
  } finally {
    await cluster.stop();
  }
}

async function restoreWithout(one: RestorableCluster, hosts: readonly string[]): Promise<void> {
  await one.restore(one.backups.at(-1));
  for (const hostId of hosts) await one.declareLost(hostId);
  await one.opens();
  assert.equal((await one.cluster.vm("vm-1")).runState, "guest-lost");
}

function cutOff(one: RestorableCluster): void {
  const { cluster } = one;
  cluster.host("host-a").isCutOff = true;
  cluster.network.cut("127.0.0.11", "127.0.0.12");
  cluster.peerNetwork.cut("127.0.0.11", "127.0.0.12");
}

async function bothCutOff(one: RestorableCluster): Promise<void> {
  cutOff(one);
  one.cluster.host("host-b").isCutOff = true;
}

function heal({ cluster }: RestorableCluster): void {
  cluster.network.heal("127.0.0.11", "127.0.0.12");
  cluster.peerNetwork.mend("127.0.0.11", "127.0.0.12");
  for (const host of cluster.hosts) host.isCutOff = false;
}

const until = ({ cluster }: RestorableCluster, what: string, holds: () => Promise<boolean> | boolean) =>
  cluster.until(holds, 30_000, () => what);
const isTrue = () => true;
const has = async (one: RestorableCluster, alarm: string): Promise<boolean> =>
  (await one.cluster.vm("vm-1")).alarms.some(({ code }) => code === alarm);
const start = { kind: "start-from-disk", host: "host-c" } as const;
const reason = "for a test";

for (const backup of backups) {
  test(`a source that stood past its gate does not run what its lost destination has run since: a backup ${backup}`, () =>
    bothLost(
      backup,
      async (one, request) => {
        await request.pass();
        cutOff(one);
      },
      async (one) => {
        const { cluster } = one;
        await until(one, "it runs on host-b", () => cluster.executing("vm-1").join() === "host-b");
        await until(one, "host-b has said so", async () => (await cluster.vm("vm-1")).runState === "running");
        cluster.host("host-b").losePower();
        await restoreWithout(one, ["host-a", "host-b"]);
        heal(one);
        const force = (action: object) => cluster.call("POST", cluster.path("vms/vm-1/force"), { reason, action });
        await until(one, "host-a has told, and is asked", () => force({ kind: "take-back" }).then(isTrue, () => false));
        await until(one, "the lock file refuses", () => has(one, "take-back-refused"));
        assert.deepEqual(cluster.executing("vm-1"), [], "the lock file proves that it ran elsewhere");
        await force(start);
        one.vms = 2; // What is left on the host that is off.
        assert.equal(await one.runsOnce("vm-1"), "host-c");
        cluster.host("host-b").reboot();
        await cluster.host("host-b").startAgent();
        one.vms = 1;
        assert.equal(await one.runsOnce("vm-1"), "host-c");
      },
    ));

  test(`a destination that has all and never ran goes on where its source is lost: a backup ${backup}`, () =>
    bothLost(
      backup,
      async (one) => {
        one.cluster.host("host-a").losePower();
        one.cluster.host("host-b").isCutOff = true;
      },
      async (one) => {
        const { cluster } = one;
        await restoreWithout(one, ["host-a", "host-b"]);
        heal(one);
        await until(one, "it goes on on host-b", () => cluster.executing("vm-1").join() === "host-b");
        cluster.host("host-a").reboot();
        await cluster.host("host-a").startAgent();
        assert.equal(await one.runsOnce("vm-1"), "host-b");
      },
    ));

  test(`both come back, one with a stopped copy and one with all of it loaded: one goes on: a backup ${backup}`, () =>
    bothLost(backup, bothCutOff, async (one) => {
      await restoreWithout(one, ["host-a", "host-b"]);
      heal(one);
      await one.runsOnce("vm-1");
    }));

  const oneAfterTheOther = (what: string, losePower: (hostB: TestHost) => void, runsOn: string) =>
    test(`${what}: a backup ${backup}`, () =>
      bothLost(backup, bothCutOff, async (one) => {
        const hostB = one.cluster.host("host-b");
        losePower(hostB);
        await restoreWithout(one, ["host-a", "host-b"]);
        const isSettled = () => one.cluster.logLines.some((line) => /host-a .*"thawed"/.test(line));
        one.tells = async (hostId) => {
          if (hostId === "host-b") await until(one, "host-a is settled", isSettled);
        };
        heal(one);
        if (runsOn === "host-a") await hostB.openAgent();
        assert.equal(await one.runsOnce("vm-1"), runsOn);
        await one.migratesAgain("vm-1");
      }));

  oneAfterTheOther(
    "a source has told, and its destination, which has all, tells later: it goes on there",
    () => {},
    "host-b",
  );
  oneAfterTheOther(
    "a source has told, and its destination, which lost what it had, tells later: the guest goes back",
    (hostB) => hostB.reboot(),
    "host-a",
  );
}
