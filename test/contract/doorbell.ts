// What every doorbell must do, from the ring to the agent that waits: functions/ports/doorbell.ts and DoorbellWait.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Doorbell, HostAddress } from "../../functions/ports/doorbell.ts";

/** As the host waits: at the doorbell itself, or at the queue that install() told of. */
export type HostWait = (timeoutMs: number, signal: AbortSignal) => Promise<boolean>;
export type OpenedDoorbell = {
  doorbell: Doorbell;
  /** Installs the host, and gives its end. */
  waitFor(host: HostAddress): Promise<HostWait>;
  close(): Promise<void>;
};

/** Longer than anything that comes takes, also on a busy machine; nothing waits this long. */
const longMs = 20_000;

export function doorbellContract(adapter: string, open: () => Promise<OpenedDoorbell>): void {
  describe(`doorbell: ${adapter}`, { concurrency: true }, () => {
    let opened: OpenedDoorbell;
    let hosts = 0;
    const never = new AbortController().signal;
    const freshHost = (): HostAddress => ({ clusterId: "contract", hostId: `host-${++hosts}` });

    before(async () => {
      opened = await open();
    });
    after(async () => {
      await opened?.close();
    });

    test("a ring wakes the host that waits", async () => {
      const host = freshHost();
      const wait = await opened.waitFor(host);
      const waiting = wait(longMs, never);
      await opened.doorbell.ring(host);
      assert.equal(await waiting, true);
    });

    test("a ring that comes while nobody waits is kept for the next wait", async () => {
      const host = freshHost();
      const wait = await opened.waitFor(host);
      await opened.doorbell.ring(host);
      assert.equal(await wait(longMs, never), true);
    });

    test("a ring comes a second time, 3 s later, by itself", async () => {
      const host = freshHost();
      const wait = await opened.waitFor(host);
      const startedAt = performance.now();
      await opened.doorbell.ring(host);
      assert.equal(await wait(longMs, never), true, "the first");
      assert.equal(await wait(longMs, never), true, "the second");
      assert.ok(performance.now() - startedAt >= 2_500, "the second came too early to make up for anything");
      assert.equal(await wait(1_000, never), false, "there is no third");
    });

    test("without a ring a wait ends by its timeout", async () => {
      const wait = await opened.waitFor(freshHost());
      assert.equal(await wait(1_000, never), false);
    });

    test("an aborted wait ends at once, and eats no ring", async () => {
      const host = freshHost();
      const wait = await opened.waitFor(host);
      const abort = new AbortController();
      const aborted = wait(longMs * 10, abort.signal);
      setTimeout(() => abort.abort(), 50);
      assert.equal(await aborted, false);
      await opened.doorbell.ring(host);
      assert.equal(await wait(longMs, never), true);
    });

    test("a wait that is aborted before it begins eats no ring", async () => {
      const host = freshHost();
      const wait = await opened.waitFor(host);
      await opened.doorbell.ring(host);
      assert.equal(await wait(longMs, AbortSignal.abort()), false);
      assert.equal(await wait(longMs, never), true);
    });

    test("a ring is for one host of one cluster", async () => {
      // Names that would be one, were they only strung together.
      const host = { clusterId: "shop-a", hostId: "b" };
      const others = [
        { clusterId: "shop", hostId: "a-b" },
        { clusterId: "shop-a", hostId: "b-c" },
      ];
      const wait = await opened.waitFor(host);
      const waits = await Promise.all(others.map((other) => opened.waitFor(other)));
      const waiting = Promise.all(waits.map((other) => other(1_000, never)));
      await opened.doorbell.ring(host);
      assert.equal(await wait(longMs, never), true);
      assert.deepEqual(await waiting, [false, false]);
    });

    test("many rings at once wake, and harm nobody", async () => {
      const host = freshHost();
      const wait = await opened.waitFor(host);
      await Promise.all(Array.from({ length: 20 }, () => opened.doorbell.ring(host)));
      assert.equal(await wait(longMs, never), true);
    });

    test("a host may be installed twice, under names of any length", async () => {
      const host = { clusterId: "c".repeat(63), hostId: "h".repeat(63) };
      const address = await opened.doorbell.install(host);
      assert.deepEqual(await opened.doorbell.install(host), address);
      const wait = await opened.waitFor(host);
      await opened.doorbell.ring(host);
      assert.equal(await wait(longMs, never), true);
    });

    test("a ring for a host that was never installed is no fault", async () => {
      await opened.doorbell.ring(freshHost());
    });

    test("a closed doorbell rings for nobody, and throws at nobody", async () => {
      const other = await open();
      const host = freshHost();
      const wait = await other.waitFor(host);
      await other.doorbell.ring(host);
      assert.equal(await wait(longMs, never), true);
      await other.doorbell.close();
      await other.doorbell.ring(host);
      await other.close();
    });
  });
}
