// What every kind of lock file must keep (agents/ports/lock-file.ts).
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import type { HeldLock, LockFiles } from "../../agents/ports/lock-file.ts";

/** Two holders (processes, or what stands for them) that see one volume. */
export type LockFileBench = { first: LockFiles; second: LockFiles; close(): Promise<void> };

const one = "copy_01KB0000000000000000000001";
const two = "copy_01KB0000000000000000000002";
const three = "copy_01KB0000000000000000000003";

export function lockFileContract(name: string, makeBench: () => Promise<LockFileBench>): void {
  describe(`lock file contract: ${name}`, () => {
    let bench: LockFileBench;
    beforeEach(async () => {
      bench = await makeBench();
    });
    afterEach(() => bench.close());

    async function taken(locks: LockFiles, copyId: string, fencingToken: number): Promise<HeldLock> {
      const outcome = await locks.take("vm-1", copyId, fencingToken);
      assert.equal(outcome.kind, "taken");
      return (outcome as { lock: HeldLock }).lock;
    }

    test("a VM without a lock file has none to read, and anybody may take it", async () => {
      assert.equal(await bench.first.read("vm-1"), null);
      const lock = await taken(bench.first, one, 3);
      assert.deepEqual(lock.stamp, { copyId: one, fencingToken: 3, next: null });
      await lock.release();
    });

    test("a held lock file is refused to everybody else, whatever their token, and reads as held", async () => {
      const lock = await taken(bench.first, one, 3);
      assert.deepEqual(await bench.second.take("vm-1", two, 9), { kind: "held" });
      assert.deepEqual(await bench.second.take("vm-1", one, 3), { kind: "held" });
      assert.equal(await bench.second.read("vm-1"), "held");
      await lock.release();
    });

    test("a refused take leaves the holder and its stamp as they were", async () => {
      const lock = await taken(bench.first, one, 3);
      await bench.second.take("vm-1", two, 9);
      await lock.release();
      assert.deepEqual(await bench.second.read("vm-1"), { copyId: one, fencingToken: 3, next: null });
    });

    test("a released lock file keeps its stamp, and bars another copy under the same token", async () => {
      await (await taken(bench.first, one, 3)).release();
      const outcome = await bench.second.take("vm-1", two, 3);
      assert.deepEqual(outcome, { kind: "superseded", stamp: { copyId: one, fencingToken: 3, next: null } });
    });

    test("a superseded take holds nothing", async () => {
      await (await taken(bench.first, one, 3)).release();
      await bench.second.take("vm-1", two, 3);
      await (await taken(bench.first, one, 3)).release();
    });

    test("no copy takes it under a token lower than the file's, not even the one it names", async () => {
      await (await taken(bench.first, one, 3)).release();
      assert.equal((await bench.second.take("vm-1", one, 2)).kind, "superseded");
      assert.equal((await bench.second.take("vm-1", two, 2)).kind, "superseded");
    });

    test("a higher token takes it over from another copy", async () => {
      await (await taken(bench.first, one, 3)).release();
      const lock = await taken(bench.second, two, 4);
      assert.deepEqual(lock.stamp, { copyId: two, fencingToken: 4, next: null });
      await lock.release();
    });

    test("the copy permitted next, and no third one, takes it under the same token", async () => {
      const lock = await taken(bench.first, one, 3);
      await lock.permitNext({ copyId: two });
      assert.equal((await bench.second.take("vm-1", two, 3)).kind, "held", "it stays held while it permits");
      await lock.release();
      assert.equal((await bench.second.take("vm-1", three, 3)).kind, "superseded");
      await (await taken(bench.second, two, 3)).release();
      assert.equal((await bench.first.take("vm-1", one, 3)).kind, "superseded", "the one before is barred now");
    });

    test("a permission can be taken back", async () => {
      const lock = await taken(bench.first, one, 3);
      await lock.permitNext({ copyId: two });
      await lock.permitNext(null);
      await lock.release();
      assert.equal((await bench.second.take("vm-1", two, 3)).kind, "superseded");
    });

    test("the copy that takes its own file again keeps the permission it gave, under the same token only", async () => {
      const lock = await taken(bench.first, one, 3);
      await lock.permitNext({ copyId: two });
      await lock.release();
      const again = await taken(bench.first, one, 3);
      assert.deepEqual(again.stamp.next, { copyId: two });
      await again.release();
      const raised = await taken(bench.first, one, 4);
      assert.equal(raised.stamp.next, null);
      await raised.release();
    });

    test("who may only take its own takes nothing that names another copy, or nobody", async () => {
      const ownOnly = (locks: LockFiles, copyId: string, token: number) =>
        locks.take("vm-1", copyId, token, "own-only");
      assert.deepEqual(await ownOnly(bench.first, one, 3), { kind: "superseded", stamp: null });
      const lock = await taken(bench.first, one, 3);
      await lock.permitNext({ copyId: two });
      await lock.release();
      assert.equal((await ownOnly(bench.second, two, 4)).kind, "superseded", "not even the one permitted next");
      const own = await ownOnly(bench.first, one, 4);
      assert.equal(own.kind, "taken");
      if (own.kind !== "taken") return;
      assert.deepEqual(own.lock.stamp, { copyId: one, fencingToken: 4, next: null });
      await own.lock.release();
      assert.equal((await bench.second.take("vm-1", two, 4)).kind, "superseded", "from then on the other is barred");
    });

    test("a lock file that looks held is replaced on an operator's word; who held it notices, and is barred", async () => {
      const lost = await taken(bench.first, one, 3);
      assert.equal(lost.isInPlace(), true);
      const outcome = await bench.second.take("vm-1", two, 4, "replace");
      assert.equal(outcome.kind, "taken");
      if (outcome.kind !== "taken") return;
      assert.deepEqual(outcome.lock.stamp, { copyId: two, fencingToken: 4, next: null });
      assert.equal(lost.isInPlace(), false);
      assert.equal(outcome.lock.isInPlace(), true);
      await lost.release();
      assert.deepEqual(await bench.first.take("vm-1", one, 3), { kind: "held" }, "the new one is held");
      await outcome.lock.permitNext({ copyId: three });
      await outcome.lock.release();
      assert.equal((await bench.first.take("vm-1", one, 3)).kind, "superseded");
    });

    test("replacing a lock file that nobody holds is taking it, and never under a lower token", async () => {
      await (await taken(bench.first, one, 3)).release();
      assert.equal((await bench.second.take("vm-1", two, 2, "replace")).kind, "superseded");
      const outcome = await bench.second.take("vm-1", two, 4, "replace");
      assert.equal(outcome.kind, "taken");
      if (outcome.kind === "taken") await outcome.lock.release();
    });

    test("a late word replaces nothing of a newer owner: never under a lower token, nor under the same one", async () => {
      const lock = await taken(bench.first, one, 5);
      const stamp = { copyId: one, fencingToken: 5, next: null };
      assert.deepEqual(await bench.second.take("vm-1", two, 4, "replace"), { kind: "superseded", stamp });
      assert.deepEqual(await bench.second.take("vm-1", two, 5, "replace"), { kind: "superseded", stamp });
      assert.equal(lock.isInPlace(), true);
      assert.deepEqual(await bench.second.take("vm-1", two, 6), { kind: "held" }, "and it is held as before");
      await lock.permitNext({ copyId: two });
      await lock.release();
    });

    test("two that replace one lock file at the same time: the higher token has it, whoever came first", async () => {
      const replaceAs = (locks: LockFiles, vm: string, which: "low" | "high") =>
        which === "low" ? locks.take(vm, two, 6, "replace") : locks.take(vm, three, 7, "replace");
      for (const order of [["low", "high"] as const, ["high", "low"] as const]) {
        const vm = `vm-${order[0]}`;
        const lost = await bench.first.take(vm, one, 5);
        const outcomes = await Promise.all([
          replaceAs(bench.first, vm, order[0]),
          replaceAs(bench.second, vm, order[1]),
        ]);
        const inPlace = outcomes.filter((outcome) => outcome.kind === "taken" && outcome.lock.isInPlace());
        assert.ok(inPlace.length <= 1, "no two hold what stands");
        // Whoever was refused because the other was at it asks again, as supervisors do.
        const high = outcomes[order.indexOf("high")];
        const winner = high?.kind === "taken" ? high : await replaceAs(bench.second, vm, "high");
        assert.equal(winner.kind === "taken" && winner.lock.isInPlace(), true);
        assert.equal((await replaceAs(bench.first, vm, "low")).kind, "superseded");
        for (const outcome of [lost, ...outcomes, winner]) if (outcome.kind === "taken") await outcome.lock.release();
      }
    });

    test("VMs have lock files of their own", async () => {
      const lock = await taken(bench.first, one, 3);
      const other = await bench.second.take("vm-2", two, 1);
      assert.equal(other.kind, "taken");
      if (other.kind === "taken") await other.lock.release();
      await lock.release();
    });

    test("releasing twice changes nothing for the next holder", async () => {
      const lock = await taken(bench.first, one, 3);
      await lock.release();
      const next = await taken(bench.second, two, 4);
      await lock.release();
      assert.equal(await bench.first.read("vm-1"), "held");
      await next.release();
    });
  });
}
