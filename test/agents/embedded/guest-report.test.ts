import assert from "node:assert/strict";
import { test } from "node:test";
import { readStatusLine, StatusReader } from "../../../agents/adapters/embedded/guest-report.ts";
import type { GuestReport } from "../../../schemas/vm.ts";

const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, "0");
const line = (tick: number, { gap = 10_000, errors = 0, bootId = "00000000000000aa" } = {}): string =>
  `S ${bootId} ${hex(tick * 10)} ${hex(errors)} ${hex(0)} ${hex(gap)} ${hex(tick * 100)} ${hex(tick * 256)}`;

function reader(): { status: StatusReader; reports: GuestReport[]; gaps: number[] } {
  const reports: GuestReport[] = [];
  const gaps: number[] = [];
  const status = new StatusReader(
    (report) => reports.push(report),
    (gapMs) => gaps.push(gapMs),
  );
  return { status, reports, gaps };
}

test("anything but a whole status line is no status", () => {
  for (const text of ["", "OFF", "S", line(1).slice(1), line(1).slice(0, -1), `${line(1)} `, "F 0000000e"])
    assert.equal(readStatusLine(text), null);
  assert.equal(readStatusLine(line(3))?.heartbeats, 30);
});

test("the first report comes with the second line, the next one every ten lines", () => {
  const { status, reports } = reader();
  for (let tick = 1; tick <= 32; tick++) status.read(line(tick));
  assert.deepEqual(
    reports.map(({ heartbeats }) => heartbeats),
    [20, 120, 220, 320],
  );
  assert.ok(reports.every((report) => Math.abs(report.dirtyMiBPerSecond - 1 / 0.1048576) < 0.01));
});

test("a report holds the longest gap of its lines", () => {
  const { status, reports } = reader();
  for (let tick = 1; tick <= 12; tick++) status.read(line(tick, { gap: tick === 7 ? 50_000 : 10_000 }));
  assert.equal(reports[1]?.longestGapMs, 51.2);
});

test("the gap around an arrival is told once, a second after it", () => {
  const { status, gaps } = reader();
  status.arrived();
  status.read("2 0000 tail of a line that began elsewhere");
  for (let tick = 1; tick <= 40; tick++)
    status.read(line(tick, { gap: tick === 1 ? 60_000 : tick === 20 ? 90_000 : 10_000 }));
  assert.deepEqual(gaps, [61.44]);
});
