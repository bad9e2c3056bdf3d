// What is seen of a migration by whoever watches it through the API.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Migration } from "../../schemas/migration.ts";
import type { ClusterOptions, TestCluster } from "../support/cluster.ts";
import { withCluster } from "../support/with-cluster.ts";

/** Slow enough to be looked at while memory is being copied. */
const slowly = { limits: { bandwidthLimitBytesPerSecond: 4_000_000 } };

test("a long round tells how it fares while it lasts, and the round with the guest stopped found nothing dirtied", () =>
  withCluster({ hosts: 2 }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.request("vm-1", "host-b", slowly);
    const looks: { bytes: number; left: number; all: number }[] = [];
    await cluster.until(async () => {
      const { currentRound, rounds, bytes } = await cluster.migration(id);
      if (currentRound?.round === 0 && rounds.length === 0 && currentRound.bytes !== looks.at(-1)?.bytes) {
        looks.push({ bytes: currentRound.bytes, left: currentRound.remainingBytes, all: bytes });
      }
      return looks.length === 2 || rounds.length > 0;
    });
    const [first, second] = looks;
    assert.ok(first && second, JSON.stringify(looks));
    assert.ok(first.bytes < second.bytes && first.left > second.left, JSON.stringify(looks));
    assert.deepEqual([first.all, second.all], [first.bytes, second.bytes]);
    const ended = await cluster.ended(id, 60_000);
    assert.equal(ended.currentRound, null);
    assert.deepEqual([ended.rounds.at(-1)?.remainingBytes, ended.rounds.at(-1)?.dirtyBytesPerSecond], [0, 0]);
  }));

test("from the gate to the guest's first instruction there, the migration is in its switchover", async () => {
  let cluster: TestCluster | null = null;
  const phases: string[] = [];
  const intercept: ClusterOptions["intercept"] = async ({ kind, pass }) => {
    if (kind !== "guest-confirmed" || !cluster) return null;
    const look = async () => phases.push((await cluster?.call<Migration>("GET", path))?.phase ?? "");
    await look();
    const answer = await pass();
    await look();
    return answer;
  };
  let path = "";
  await withCluster({ hosts: 2, intercept }, async (started) => {
    cluster = started;
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.request("vm-1", "host-b");
    path = cluster.path(`migrations/${id}`);
    assert.equal((await cluster.ended(id)).phase, "completed");
    assert.deepEqual(phases.slice(0, 2), ["switchover", "cleanup"]);
  });
});

test("the guest's gap is told until it was heard, however often the report is lost", async () => {
  let lost = 0;
  const intercept: ClusterOptions["intercept"] = ({ kind }) => {
    if (kind !== "gap-measured" || lost >= 3) return null;
    lost++;
    throw new Error("it was never sent");
  };
  await withCluster({ hosts: 2, intercept }, async (cluster) => {
    await cluster.runVm("vm-1", "host-a");
    const { id } = await cluster.migrate("vm-1", "host-b");
    await cluster.until(async () => (await cluster.migration(id)).guestGapMs !== null);
    assert.equal(lost, 3);
  });
});
