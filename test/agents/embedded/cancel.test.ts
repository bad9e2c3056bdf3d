import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Guest } from "../../../agents/adapters/embedded/guest.ts";
import { loadV86Build } from "../../../agents/adapters/embedded/v86-build.ts";
import type { MachineEvent } from "../../../agents/ports/hypervisor.ts";
import { startFaultProxy } from "../../support/fault-proxy.ts";
import { addresses, smallSpec } from "./bench.ts";

const migrationId = "mig_01KB0000000000000000000000";

test("a stream that is cancelled while it is being begun does not go on when the other end answers after all", async () => {
  const build = await loadV86Build();
  const told: MachineEvent["kind"][] = [];
  const tell = (event: MachineEvent) => void told.push(event.kind);
  const source = await Guest.build(smallSpec, false, build, null, tell, () => undefined);
  const failed = Promise.withResolvers<void>();
  const onArrival = (event: MachineEvent) => event.kind === "stream-failed" && failed.resolve();
  const destination = await Guest.build(smallSpec, true, build, null, onArrival, () => undefined);
  const key = randomBytes(32);
  const [from, to, between] = addresses;
  const endpoint = await destination.receive({ address: to, peerAddress: from, key: Buffer.from(key), migrationId });
  const proxy = await startFaultProxy({
    listen: { address: between, port: 0 },
    to: endpoint,
    from,
    fault: { kind: "delay", at: 0, delayMs: 400 },
    direction: "back",
  });
  const sending = source.send({
    endpoint: { address: between, port: proxy.port },
    localAddress: from,
    key,
    migrationId,
    limits: { bandwidthLimitBytesPerSecond: null },
  });
  sending.catch(() => undefined);
  await sleep(100);
  source.cancel();
  await assert.rejects(sending, /cancelled/);
  await failed.promise;
  assert.deepEqual(told, [], "no round was sent");
  await proxy.close();
  destination.cancel();
});
