// Whether a move or a start can be made, obstacle by obstacle.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  findObstacles,
  guestsPerHost,
  type HostStanding,
  hostObstacles,
  nameObstacles,
} from "../../../functions/domain/obstacles.ts";
import type { Session, VmRecord } from "../../../functions/domain/records.ts";
import { newSession } from "../../../functions/domain/session.ts";
import type { MigrationRequest } from "../../../schemas/migration.ts";
import { spec } from "../../support/assignments.ts";
import { admitted, runningVm } from "../support/motions.ts";

const nowMs = 1000;
const session: Session = { ...newSession, leaseExpiresAt: nowMs + 1 };
const cannotJournal: Session = { ...session, alarms: [{ code: "cannot-journal", detail: "cannot write", since: 1 }] };
type Host = NonNullable<HostStanding>;
const host = (changes: Partial<Host> = {}, facts: object = {}): Host => ({
  hostId: "host-b",
  facts: { hypervisor: { kind: "simulated", version: "1" }, memoryMiB: 100, ...facts } as Host["facts"],
  session,
  guests: 0,
  promisedMiB: 84,
  ...changes,
});
const request = (changes: Partial<MigrationRequest> = {}): MigrationRequest => ({
  vm: "vm-1",
  destination: "host-b",
  mode: "live",
  limits: admitted({}).migration.limits,
  ...changes,
});
const atRest = (changes: Partial<VmRecord> = {}) => runningVm({ migrationId: null, ...changes });
const found = (
  {
    asked = request(),
    vm = atRest(),
    to = host(),
  }: { asked?: MigrationRequest; vm?: VmRecord | null; to?: HostStanding },
  source: Session | null = null,
) => findObstacles(asked, vm, to, nowMs, source).map(({ code, errors }) => `${code} ${errors?.[0]?.pointer}`);

test("a running or paused VM may move to a live host with room for it", () => {
  assert.deepEqual(found({}), []);
  assert.deepEqual(found({ vm: atRest({ runState: "paused", wantedRunState: "paused" }) }), []);
  assert.deepEqual(found({}, session), []);
});

test("what is not offered is said by its place", () => {
  assert.deepEqual(found({ asked: request({ mode: "quick" }) }), ["mode-not-offered /mode"]);
  assert.deepEqual(found({ asked: request({ destination: "auto" }), to: null }), [
    "placement-not-offered /destination",
  ]);
});

test("a VM that is not there, or was deleted, has no other obstacle of its own", () => {
  assert.deepEqual(found({ vm: null }), ["vm-unknown /vm"]);
  const deleted = atRest({ deleted: true, migrationId: "mig_1", runState: "stopped" });
  assert.deepEqual(found({ vm: deleted, to: host({ promisedMiB: 100 }) }, cannotJournal), ["vm-deleted /vm"]);
});

test("a VM in motion, one that does not run or is to stop, and a move to where it is, are refused", () => {
  const held = findObstacles(request(), runningVm(), host(), nowMs);
  assert.deepEqual([held.length, held[0]?.code, held[0]?.holder], [1, "vm-already-migrating", "mig_1"]);
  for (const runState of ["stopped", "starting", "stopping", "frozen", "guest-lost"] as const) {
    assert.deepEqual(found({ vm: atRest({ runState }) }), ["vm-not-running /vm"], runState);
  }
  assert.deepEqual(found({ vm: atRest({ wantedRunState: "stopped" }) }), ["vm-not-running /vm"]);
  const details = (vm: VmRecord) => findObstacles(request(), vm, host(), nowMs)[0]?.detail ?? "";
  assert.match(details(atRest({ runState: "frozen" })), /is frozen; only/);
  assert.match(details(atRest({ wantedRunState: "stopped" })), /is running, wanted stopped; only/);
  const here = request({ destination: "host-a" });
  assert.deepEqual(found({ asked: here, to: host({ promisedMiB: 100 }) }), ["same-host /destination"]);
  assert.deepEqual(found({ vm: atRest({ owner: null }) }), []);
});

test("a host that cannot journal sends and takes nobody", () => {
  assert.deepEqual(found({}, cannotJournal), ["host-cannot-journal /vm"]);
  assert.deepEqual(found({ to: host({ session: cannotJournal }) }), ["host-cannot-journal /destination"]);
  assert.deepEqual(found({ vm: atRest({ owner: null, runState: "stopped" }) }, cannotJournal), ["vm-not-running /vm"]);
});

test("a host that has not joined, is silent, of another kind, full of guests or without room takes nobody", () => {
  const bars = (to: HostStanding, wanted = spec as typeof spec | null) =>
    hostObstacles("host-b", "/at", wanted, to, nowMs).map(({ code, errors }) => `${code} ${errors?.[0]?.pointer}`);
  assert.deepEqual(bars(host()), [], "16 MiB are free, and 16 are needed");
  assert.deepEqual(bars(null), ["host-unknown /at"]);
  assert.deepEqual(bars(host({ session: { ...session, leaseExpiresAt: nowMs } })), ["host-not-alive /at"]);
  assert.deepEqual(bars(host({}, { hypervisor: { kind: "qemu", version: "1" } })), ["hypervisor-mismatch /at"]);
  assert.deepEqual(bars(host({ guests: guestsPerHost - 1 })), []);
  assert.deepEqual(bars(host({ guests: guestsPerHost })), ["too-many-guests /at"]);
  assert.deepEqual(bars(host({ promisedMiB: 85 })), ["destination-full /at"]);
  const full = hostObstacles("host-b", "/at", spec, host({ promisedMiB: 130 }), nowMs)[0];
  assert.match(full?.detail ?? "", /has 0 MiB free of 100; the VM needs 16/);
  const silent = host({ session: { ...cannotJournal, leaseExpiresAt: 0 }, promisedMiB: 100 });
  assert.deepEqual(bars(silent, null), ["host-not-alive /at", "host-cannot-journal /at"], "of no VM");
});

test("a move is barred by what bars a guest of that size from its destination", () => {
  assert.deepEqual(found({ to: host({ promisedMiB: 100 }) }), ["destination-full /destination"]);
  assert.deepEqual(found({ vm: null, to: host({ promisedMiB: 100 }) }), ["vm-unknown /vm"]);
});

test("every obstacle is named at once: the first one's code, all as its errors, and who holds the VM", () => {
  assert.equal(nameObstacles([]), null);
  const [one] = findObstacles(request(), null, host(), nowMs);
  assert.ok(one);
  assert.equal(nameObstacles([one]), one);
  const all = findObstacles(request({ mode: "quick" }), runningVm({ runState: "frozen" }), host(), nowMs);
  const named = nameObstacles(all);
  assert.equal(named?.code, "mode-not-offered");
  assert.equal(named?.holder, "mig_1");
  assert.deepEqual(
    named?.errors?.map(({ pointer, detail }) => `${pointer} ${detail.split(":")[0]}`),
    ["/mode mode-not-offered", "/vm vm-already-migrating", "/vm vm-not-running"],
  );
  assert.equal(named?.detail, all.map(({ detail }) => detail).join(" "));
  const bare = nameObstacles([
    { code: "vm-unknown", detail: "one" },
    { code: "vm-deleted", detail: "two" },
  ]);
  assert.deepEqual(bare, { code: "vm-unknown", detail: "one two", errors: [] });
});
