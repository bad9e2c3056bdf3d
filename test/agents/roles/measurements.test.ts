// What the source measures: rounds when they are done, the one under way as it stands.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { StreamSample } from "../../../agents/ports/hypervisor.ts";
import { Measurements } from "../../../agents/roles/measurements.ts";

const sampleOf = (fields: Partial<StreamSample>): StreamSample => ({
  round: 0,
  bytes: 1000,
  durationMs: 10,
  remainingBytes: 500,
  dirtyBytesPerSecond: 0,
  bandwidthBytesPerSecond: 100_000,
  throttlePercent: 0,
  roundDone: false,
  totalBytes: 1000,
  encrypted: true,
  ...fields,
});

test("a round under way is told as it stands, and is no more once it is done", () => {
  const measured = new Measurements();
  const current = () => measured.currentRound;
  assert.equal(current(), null);
  measured.sample(sampleOf({ bytes: 1000, remainingBytes: 500 }));
  measured.sample(sampleOf({ bytes: 1400, remainingBytes: 100, totalBytes: 1400 }));
  assert.deepEqual([current()?.bytes, current()?.remainingBytes], [1400, 100]);
  assert.deepEqual(measured.untold(), []);
  measured.sample(sampleOf({ bytes: 1500, remainingBytes: 300, roundDone: true, totalBytes: 1500 }));
  assert.equal(current(), null);
  assert.deepEqual(
    measured.untold().map(({ round, bytes, remainingBytes }) => [round, bytes, remainingBytes]),
    [[0, 1500, 300]],
  );
});
