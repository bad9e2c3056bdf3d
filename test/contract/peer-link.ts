// What every kind of peer link must keep (agents/ports/peer-link.ts).
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { type PeerIdentity, type PeerLink, type PeerLinks, PeerRefused } from "../../agents/ports/peer-link.ts";
import type { Assignment } from "../../schemas/agent.ts";
import type { PeerMessage } from "../../schemas/peer.ts";
import { ulid } from "../support/assignments.ts";

export type PeerLinkBench = {
  source: PeerLinks;
  destination: PeerLinks;
  /** The same source with only an unknown version of the protocol, and with no feature of it. */
  sourceOfVersion7: PeerLinks;
  sourceWithoutFeatures: PeerLinks;
  identity(changes?: Partial<Assignment>): Promise<PeerIdentity>;
  incarnations: { source: string; destination: string };
  close(): Promise<void>;
};

type Ends = { near: PeerLink; far: PeerLink };

export function peerLinkContract(name: string, makeBench: () => Promise<PeerLinkBench>): void {
  describe(`peer link contract: ${name}`, () => {
    let bench: PeerLinkBench;
    let cleanUp: (() => unknown)[];
    beforeEach(async () => {
      bench = await makeBench();
      cleanUp = [];
    });
    afterEach(async () => {
      for (const act of cleanUp.reverse()) await act();
      await bench.close();
    });

    async function expecting(identity: PeerIdentity): Promise<{ next(): Promise<PeerLink>; stop(): Promise<void> }> {
      const links: PeerLink[] = [];
      const waiting: ((link: PeerLink) => void)[] = [];
      const stop = await bench.destination.expect(identity, (link) => {
        cleanUp.push(() => link.close());
        const first = waiting.shift();
        if (first) first(link);
        else links.push(link);
      });
      cleanUp.push(stop);
      return {
        stop,
        next: () => {
          const link = links.shift();
          return link ? Promise.resolve(link) : new Promise((resolve) => waiting.push(resolve));
        },
      };
    }

    async function linked(): Promise<Ends> {
      const identity = await bench.identity();
      const expected = await expecting(identity);
      const near = await bench.source.connect(identity, 5000);
      cleanUp.push(() => near.close());
      return { near, far: await expected.next() };
    }

    test("both ends have the same stream key, 32 bytes that no other link has", async () => {
      const first = await linked();
      const second = await bench.source.connect(await bench.identity(), 5000);
      cleanUp.push(() => second.close());
      assert.equal(first.near.streamKey.length, 32);
      assert.deepEqual(first.near.streamKey, first.far.streamKey);
      assert.notDeepEqual(first.near.streamKey, second.streamKey);
    });

    test("each end knows the version and the other's incarnation", async () => {
      const { near, far } = await linked();
      assert.equal(near.version, 1);
      assert.equal(far.version, 1);
      assert.equal(near.peerIncarnation, bench.incarnations.destination);
      assert.equal(far.peerIncarnation, bench.incarnations.source);
    });

    test("messages arrive both ways, whole and in order, also those sent before anybody listened", async () => {
      const { near, far } = await linked();
      for (let ask = 1; ask <= 50; ask++) near.send({ kind: "ask-gate", ask });
      far.send({ kind: "ready", endpoint: { address: "127.0.0.12", port: 4000 } });
      const [heardFar, heardNear] = await Promise.all([heard(far, 50), heard(near, 1)]);
      assert.deepEqual(
        heardFar,
        Array.from({ length: 50 }, (_, index) => ({ kind: "ask-gate", ask: index + 1 })),
      );
      assert.deepEqual(heardNear, [{ kind: "ready", endpoint: { address: "127.0.0.12", port: 4000 } }]);
    });

    test("the largest message there is arrives whole", async () => {
      const { near, far } = await linked();
      const record = { payload: "p".repeat(65_536), signature: "s".repeat(128) };
      near.send({ kind: "record", record });
      assert.deepEqual(await heard(far, 1), [{ kind: "record", record }]);
    });

    test("closing one end closes the other, and each hears of it once", async () => {
      const { near, far } = await linked();
      let count = 0;
      const nearClosed = closed(near, () => count++);
      const farClosed = closed(far, () => count++);
      near.close();
      near.close();
      await Promise.all([nearClosed, farClosed]);
      near.send({ kind: "source-complete" });
      far.send({ kind: "loaded" });
      assert.equal(count, 2);
    });

    test("what was sent before closing still arrives", async () => {
      const { near, far } = await linked();
      const message = heard(far, 1);
      near.send({ kind: "source-complete" });
      near.close();
      assert.deepEqual(await message, [{ kind: "source-complete" }]);
    });

    test("a source that connects anew replaces its link", async () => {
      const identity = await bench.identity();
      const expected = await expecting(identity);
      const first = await bench.source.connect(identity, 5000);
      cleanUp.push(() => first.close());
      const farFirst = await expected.next();
      const oldClosed = closed(farFirst);
      const second = await bench.source.connect(identity, 5000);
      cleanUp.push(() => second.close());
      const farSecond = await expected.next();
      await oldClosed;
      farSecond.send({ kind: "loaded" });
      assert.deepEqual(await heard(second, 1), [{ kind: "loaded" }]);
    });

    test("a source waits for a destination that does not listen yet", async () => {
      const identity = await bench.identity();
      const connecting = bench.source.connect(identity, 30_000);
      await new Promise((resolve) => setTimeout(resolve, 30));
      const expected = await expecting(identity);
      const near = await connecting;
      cleanUp.push(() => near.close());
      await expected.next();
    });

    test("nobody listens before it is expected, nor after", async () => {
      const identity = await bench.identity();
      await assert.rejects(bench.source.connect(identity, 50));
      const expected = await expecting(identity);
      await expected.stop();
      await assert.rejects(bench.source.connect(identity, 50), (error) => !(error instanceof PeerRefused));
    });

    test("a peer that holds another assignment is refused, on each of its points", async () => {
      const identity = await bench.identity();
      await expecting(identity);
      const { source, destination } = identity.assignment;
      const others: Partial<Assignment>[] = [
        { migrationId: ulid("mig", 99) },
        { vmId: "vm-2" },
        { fencingToken: 6 },
        { source: { ...source, copyId: ulid("copy", 99) } },
        { destination: { ...destination, copyId: ulid("copy", 99) } },
      ];
      for (const other of others) {
        const outcome = bench.source.connect(await bench.identity(other), 5000);
        await assert.rejects(outcome, PeerRefused, JSON.stringify(other));
      }
    });

    test("the same assignment issued at another time is the same", async () => {
      const expected = await expecting(await bench.identity());
      const near = await bench.source.connect(await bench.identity({ issuedAt: 1, expiresAt: 2 }), 5000);
      cleanUp.push(() => near.close());
      await expected.next();
    });

    for (const [lack, refusal, sourceOf] of [
      ["a version in common", /no-common-version/, () => bench.sourceOfVersion7],
      ["a feature that both rely on", /feature-missing: psk-stream/, () => bench.sourceWithoutFeatures],
    ] as const) {
      test(`a peer without ${lack} is refused by name`, async () => {
        const identity = await bench.identity();
        await expecting(identity);
        const outcome = sourceOf().connect(identity, 5000);
        await assert.rejects(outcome, (error: Error) => error instanceof PeerRefused && refusal.test(error.message));
      });
    }
  });
}

export function heard(link: PeerLink, count: number): Promise<PeerMessage[]> {
  const messages: PeerMessage[] = [];
  return new Promise((resolve, reject) => {
    link.listen({
      message: (message) => {
        messages.push(message);
        if (messages.length === count) resolve(messages);
      },
      closed: (detail) => {
        if (messages.length < count) reject(new Error(detail));
      },
    });
  });
}

export function closed(link: PeerLink, onClosed: () => void = () => {}): Promise<string> {
  return new Promise((resolve) => {
    link.listen({
      message: () => {},
      closed: (detail) => {
        onClosed();
        resolve(detail);
      },
    });
  });
}
