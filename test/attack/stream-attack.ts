// One memory stream through a fault proxy: two machines in this process, and what may come of it at each end.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Hello } from "../../agents/adapters/embedded/frames.ts";
import { Incoming } from "../../agents/adapters/embedded/incoming.ts";
import { type Outgoing, startOutgoing } from "../../agents/adapters/embedded/outgoing.ts";
import { pageBytes } from "../../agents/adapters/embedded/vm.ts";
import { messageOf } from "../../agents/message-of.ts";
import { WatchedVm } from "../agents/embedded/vm-bench.ts";
import { type Direction, type Fault, type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { seededRandom } from "../support/seeded-random.ts";

const migrationId = "mig_01KB0000000000000000000000";
const hello: Omit<Hello, "migrationId"> = { protocol: 1, v86: "0", wasmSha256: "0", settings: { memoryMiB: 16 } };
export const addresses = { source: "127.0.0.14", destination: "127.0.0.15", proxy: "127.0.0.16" } as const;

export type StreamEnds = {
  outcome: "loaded" | "failed" | "pending";
  sent: "sent" | "failed" | "pending" | "not-begun";
  /** What the end that failed first says of it. */
  why: string | null;
  seen: { [D in Direction]: number };
  hit: boolean;
  recorded: FaultProxy["recorded"];
  durationMs: number;
};

export class StreamAttack {
  readonly #source: WatchedVm;
  readonly #destination: WatchedVm;

  private constructor(source: WatchedVm, destination: WatchedVm) {
    this.#source = source;
    this.#destination = destination;
  }

  /** Guests that stand, with a few pages that are not empty: a stream of about 1.5 MB. */
  static async build(): Promise<StreamAttack> {
    const [source, destination] = [await WatchedVm.build(), await WatchedVm.build()];
    source.vm.clearMemory();
    const memory = source.vm.memory();
    const random = seededRandom(11);
    for (const page of [0, 1, 2, 77, 78, 1000, 2000, 4095])
      for (let at = 0; at < pageBytes; at++) memory[page * pageBytes + at] = 1 + Math.floor(random() * 255);
    return new StreamAttack(source, destination);
  }

  /** Asserts what must hold whatever was done to the wire.
   *  @param patienceMs after that both ends are cancelled, as their agents would */
  async run(fault: Fault, direction: Direction, patienceMs = 3000, record = false): Promise<StreamEnds> {
    const began = performance.now();
    const { vm: source } = this.#source;
    const { vm: destination } = this.#destination;
    destination.memory().fill(0);
    const before = Buffer.from(source.memory());
    const key = randomBytes(32);
    const ends: StreamEnds = {
      outcome: "pending",
      sent: "pending",
      why: null,
      seen: { forth: 0, back: 0 },
      hit: false,
      recorded: { forth: [], back: [] },
      durationMs: 0,
    };
    const told: string[] = [];
    const over = Promise.withResolvers<void>();
    const left = Promise.withResolvers<void>();

    const incoming = new Incoming({ vm: destination, hello }, migrationId, {
      loaded: () => {
        ends.outcome = "loaded";
        told.push("loaded");
        over.resolve();
      },
      failed: (detail) => {
        ends.outcome = "failed";
        ends.why ??= detail;
        told.push("failed");
        over.resolve();
      },
    });
    const stream = {
      address: addresses.destination,
      peerAddress: addresses.source,
      key: Buffer.from(key),
      migrationId,
    };
    const to = await incoming.listen(stream);
    const proxy = await startFaultProxy({
      listen: { address: addresses.proxy, port: 0 },
      to,
      from: addresses.source,
      fault,
      direction,
      record,
    });
    let outgoing: Outgoing | null = null;
    const rounds = Promise.withResolvers<void>();
    const sending = startOutgoing(
      { vm: () => source, hello, executes: () => false, throttlePercent: () => 0 },
      {
        endpoint: { address: addresses.proxy, port: proxy.port },
        localAddress: addresses.source,
        key: Buffer.from(key),
        migrationId,
        limits: { bandwidthLimitBytesPerSecond: null },
      },
      {
        sampled: (sample) => {
          if (sample.roundDone) rounds.resolve();
        },
        sent: () => {
          ends.sent = "sent";
          left.resolve();
        },
        failed: (detail) => {
          ends.sent = "failed";
          ends.why ??= detail;
          left.resolve();
        },
      },
    ).then(
      (begun) => {
        outgoing = begun;
        void Promise.race([rounds.promise, left.promise]).then(() => begun.finish());
      },
      (error: unknown) => {
        ends.sent = "not-begun";
        ends.why ??= messageOf(error);
        left.resolve();
      },
    );
    const patience = new AbortController();
    // What follows a stream that failed at the source: its agent tells the other end over the peer link.
    const followed = left.promise.then(async () => {
      if (ends.sent === "sent") return over.promise;
      await sleep(30, undefined, { signal: patience.signal }).catch(() => {});
    });
    await Promise.race([
      Promise.all([sending, left.promise, followed]),
      sleep(patienceMs, undefined, { signal: patience.signal }).catch(() => {}),
    ]);
    patience.abort();
    const durationMs = performance.now() - began;
    (outgoing as Outgoing | null)?.cancel();
    incoming.cancel();
    await proxy.close();
    await sending;

    assert.ok(told.length <= 1, `the destination said ${told.join(", ")}`);
    if (ends.sent === "sent") assert.equal(ends.outcome, "loaded", "the source was told that all arrived");
    if (ends.outcome === "loaded") assert.ok(destination.memory().equals(before), "what was loaded is the source's");
    assert.ok(source.memory().equals(before), "the source's guest is as it was");
    return {
      ...ends,
      seen: { ...proxy.seen },
      hit: proxy.hit,
      recorded: proxy.recorded,
      durationMs,
    };
  }

  async close(): Promise<void> {
    await this.#source.vm.dispose();
    await this.#destination.vm.dispose();
  }
}
