// Which requests of a host are heard: by its incarnation, its counter, and while its cluster recovers from a table that
// went back.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Session } from "../../../functions/domain/records.ts";
import {
  afterHeartbeat,
  afterInventory,
  afterRequest,
  beginRecovery,
  checkSession,
  declareLost,
  endRecovery,
  hostTrouble,
  isAlive,
  isAwaited,
  isDeclaredLost,
  type Manner,
  newSession,
  noticeWentBack,
  requestsPerEpoch,
  settleLoss,
} from "../../../functions/domain/session.ts";
import { highestEpoch } from "../../../functions/operations/restore-table.ts";
import { counterDigits, onlyPage } from "../../../schemas/agent.ts";

const incarnation = "a".repeat(32);
const session: Session = { ...newSession, incarnation, incarnationNumber: 1, counter: 10, leaseExpiresAt: 5000 };
const speaking = { incarnation, counter: 41, acknowledged: 40 };
const heard = (held: Session, manner: Manner, isKnown = true) =>
  checkSession(held, speaking, manner, isKnown)?.code ?? null;

test("a host that was told more than the table knows is refused, and so is every other host from then on", () => {
  assert.equal(heard(session, "heartbeat"), "table-went-back");
  const other = noticeWentBack({ ...session, counter: 40 }, "host-b");
  for (const manner of ["read", "write", "heartbeat", "inventory"] as const) {
    assert.equal(heard(other, manner), "table-went-back", manner);
  }
});

/** The number of a host's nth request since the table was restored. */
const since = (epoch: number, nth: number) => epoch * requestsPerEpoch + nth;

test("while the cluster recovers, heartbeats and inventories alone are heard", () => {
  const recovering = beginRecovery(session, 1);
  const asks = { ...speaking, counter: since(1, 1) };
  const heard = (held: Session, manner: Manner) => checkSession(held, asks, manner, true)?.code ?? null;
  assert.deepEqual([heard(recovering, "read"), heard(recovering, "write")], ["recovering", "recovering"]);
  assert.deepEqual([heard(recovering, "heartbeat"), heard(recovering, "inventory")], [null, null]);
  assert.equal(isAwaited(recovering), true);
  const told = afterInventory(recovering, asks, 7000, onlyPage);
  assert.deepEqual([told.counter, isAwaited(told), heard(told, "write")], [since(1, 1), false, "recovering"]);
  assert.equal(endRecovery(told).recovery, null);
});

test("a restored table numbers a host's requests from above all that it was told before, and so notices the next time", () => {
  const recovering = beginRecovery(session, 1);
  assert.equal(heard(recovering, "heartbeat"), "counter-stale", "the answer tells from where it counts now");
  const told = afterInventory(recovering, { ...speaking, counter: since(1, 2) }, 7000, onlyPage);
  const asks = { incarnation, counter: since(1, 3), acknowledged: since(1, 2) };
  for (const manner of manners) {
    assert.equal(checkSession(recovering, asks, manner, true)?.code, "table-went-back", `back again: ${manner}`);
    assert.notEqual(checkSession(told, asks, manner, true)?.code, "table-went-back");
  }
  const again = beginRecovery({ ...told, counter: since(1, 9) }, 1);
  assert.equal(again.counter, since(1, 9), "never lower than it knows");
  assert.ok(since(highestEpoch + 1, 0) < 10 ** counterDigits, "exact, and within a header, in every epoch");
});

test("a host that tells in pages has told when all of them came, in whatever order and however often", () => {
  const page = (index: number) => ({ index, of: 8 }) as const;
  let told = beginRecovery(session, 1);
  for (const index of [3, 0, 1, 3, 2, 4, 5, 0, 7]) {
    told = afterInventory(told, speaking, 7000, page(index));
    assert.equal(isAwaited(told), true, `page ${index} was not the last`);
  }
  told = afterInventory(told, speaking, 8000, page(6));
  assert.equal(isAwaited(told), false);
  assert.equal(isAwaited(afterInventory(told, speaking, 9000, page(2))), false, "told again");
  const next = { incarnation: "b".repeat(32), counter: 50, acknowledged: 41 };
  const booted = afterHeartbeat(told, next, { at: 0, leaseMs: 9000, alarms: [] });
  assert.equal(isAwaited(afterInventory(booted, next, 9000, page(0))), true, "after a boot all of them count anew");
  const whole = afterInventory(told, speaking, 9000, onlyPage);
  assert.equal(isAwaited(whole), false);
  assert.equal(isAwaited(afterInventory(whole, speaking, 9000, page(0))), true, "one way of paging counts at a time");
});

test("a host that boots again after it told what it has is to tell it again", () => {
  const told = afterInventory(beginRecovery(session, 1), speaking, 7000, onlyPage);
  const next = { incarnation: "b".repeat(32), counter: since(1, 1), acknowledged: 41 };
  assert.equal(checkSession(told, next, "heartbeat", false), null);
  assert.equal(isAwaited(afterHeartbeat(told, next, { at: 0, leaseMs: 9000, alarms: [] })), true);
});

test("a host that was declared lost is not waited for, and tells what it has when it comes back, before all else", () => {
  const lost = declareLost(beginRecovery(session, 1), { incarnation, reason: "off", by: "ops", at: 1 });
  assert.equal(isAwaited(lost), false);
  assert.equal(heard(lost, "heartbeat"), "incarnation-ended");
  const back = { incarnation: "b".repeat(32), counter: since(1, 1), acknowledged: 40 };
  const opened = endRecovery(lost);
  assert.equal(checkSession(opened, back, "heartbeat", false), null);
  const again = afterHeartbeat(opened, back, { at: 0, leaseMs: 9000, alarms: [] });
  assert.equal(checkSession(again, { ...back, counter: since(1, 2) }, "write", true)?.code, "recovering");
  assert.equal(checkSession(again, { ...back, counter: since(1, 2) }, "inventory", true), null);
});

test("a loss that was declared before the backup is forgotten with it: the host may have come back since", () => {
  const lost = declareLost(session, { incarnation, reason: "off", by: "ops", at: 1 });
  assert.equal(isAwaited(beginRecovery(lost, 1)), true);
});

const manners = ["read", "write", "heartbeat", "inventory"] as const;
const other = "b".repeat(32);
const off = { incarnation, reason: "off", by: "ops", at: 1 };

test("a request is numbered above those before it, unless it only reads", () => {
  const numbered = (counter: number) =>
    manners.map(
      (manner) => checkSession(session, { incarnation, counter, acknowledged: 10 }, manner, true)?.code ?? null,
    );
  const stale = "counter-stale";
  assert.deepEqual(numbered(9), [null, stale, stale, stale]);
  assert.deepEqual(numbered(10), [null, stale, stale, stale]);
  assert.deepEqual(numbered(11), [null, null, null, null]);
  assert.equal(
    checkSession(session, { incarnation, counter: 11, acknowledged: 11 }, "read", true)?.code,
    "table-went-back",
  );
});

test("the incarnation that speaks is the last one that began, and one begins with a heartbeat that was never heard of", () => {
  const speaks = (held: Session, isKnown: boolean) =>
    manners.map((manner) => {
      const problem = checkSession(held, { incarnation: other, counter: 11, acknowledged: 10 }, manner, isKnown);
      return problem ? `${problem.code}: ${problem.detail.split(";")[0]}` : null;
    });
  const replaced = "incarnation-stale: Another incarnation of this host speaks now";
  const unknown = "incarnation-stale: This incarnation is not known yet";
  assert.deepEqual(speaks(session, true), [replaced, replaced, replaced, replaced]);
  assert.deepEqual(speaks(session, false), [replaced, replaced, null, replaced]);
  const never = { ...newSession, counter: 10 };
  assert.deepEqual(speaks(never, false), [unknown, unknown, null, unknown]);
  assert.deepEqual(speaks(never, true), [replaced, replaced, replaced, replaced]);
});

test("nothing is taken of an incarnation that was declared lost; the host goes on under a new one", () => {
  const lost = declareLost(session, off);
  assert.deepEqual([lost.leaseExpiresAt, lost.lost], [null, off]);
  for (const manner of manners) assert.equal(heard(lost, manner), "incarnation-ended", manner);
  const next = { incarnation: other, counter: 41, acknowledged: 10 };
  assert.equal(checkSession(lost, next, "heartbeat", false), null);
  assert.equal(isDeclaredLost(lost), true);
  const begun = afterHeartbeat(lost, next, { at: 0, leaseMs: 9000, alarms: [] });
  assert.equal(isDeclaredLost(begun), false);
  assert.deepEqual(begun.lost, off, "until it has been told what became of its copies");
  assert.equal(settleLoss(lost), null, "it may not come back at all");
  assert.equal(settleLoss(begun)?.lost, null);
  assert.equal(settleLoss({ ...begun, lost: null }), null);
  assert.deepEqual([isDeclaredLost(session), isDeclaredLost(null)], [false, false]);
});

test("a session is alive until its lease ends, by the control plane's clock", () => {
  assert.deepEqual([isAlive(session, 4999), isAlive(session, 5000)], [true, false]);
  assert.deepEqual([isAlive(null, 0), isAlive({ ...session, leaseExpiresAt: null }, -1)], [false, false]);
});

test("a request that writes counts, and changes nothing else", () => {
  assert.deepEqual(afterRequest(session, speaking), { ...session, counter: 41 });
});

test("a heartbeat renews the lease; the first of an incarnation gives it the next number", () => {
  const beat = { at: 1000, leaseMs: 9000, alarms: [] };
  const { lost: _, ...older } = session;
  const expected = { ...session, counter: 41, leaseExpiresAt: 10_000, lost: null, recovery: null };
  assert.deepEqual(afterHeartbeat(session, speaking, beat), expected);
  assert.deepEqual(afterHeartbeat(older, speaking, beat), expected);
  const next = afterHeartbeat(session, { ...speaking, incarnation: other }, beat);
  assert.deepEqual([next.incarnation, next.incarnationNumber], [other, 2]);
});

test("an alarm of a host stands since it was first told, and as it was told last; one that is not told is over", () => {
  const beat = (held: Session, at: number, ...alarms: Parameters<typeof afterHeartbeat>[2]["alarms"]) =>
    afterHeartbeat(held, speaking, { at, leaseMs: 9000, alarms });
  const cannot = { code: "cannot-journal", detail: "disk full" } as const;
  const first = beat(session, 1000, cannot);
  assert.deepEqual(first.alarms, [{ ...cannot, since: 1000 }]);
  const again = beat(first, 2000, { ...cannot, detail: "read-only" });
  assert.deepEqual(again.alarms, [{ code: "cannot-journal", detail: "read-only", since: 1000 }]);
  assert.equal("alarms" in beat(again, 3000), false);
  const odd = { ...first, alarms: [{ code: "another", detail: "", since: 5 }, ...(first.alarms ?? [])] } as Session;
  assert.equal(beat(odd, 2000, cannot).alarms?.[0]?.since, 1000, "each by its own code");
  const other = { ...session, alarms: [{ code: "another", detail: "", since: 5 }] } as unknown as Session;
  assert.equal(beat(other, 2000, cannot).alarms?.[0]?.since, 2000, "the first of its code");
});

test("a host that cannot journal takes part in no migration; other alarms keep nobody from it", () => {
  const standing = (code: string) => ({ ...session, alarms: [{ code, detail: "disk full", since: 1 }] }) as Session;
  assert.equal(hostTrouble(standing("cannot-journal")), "disk full");
  assert.equal(hostTrouble(standing("another")), null);
  assert.deepEqual([hostTrouble(session), hostTrouble(null)], [null, null]);
});

test("a host notices that the table went back once, also while it recovers from the last time", () => {
  assert.deepEqual(noticeWentBack(session, "host-b").recovery, { kind: "went-back", noticedBy: "host-b" });
  const recovering = beginRecovery(session, 1);
  assert.deepEqual(noticeWentBack(recovering, "host-b").recovery, { kind: "went-back", noticedBy: "host-b" });
  const first = noticeWentBack(session, "host-b");
  assert.equal(noticeWentBack(first, "host-c"), first);
  const noticed = noticeWentBack(session, "host-b");
  const booted = afterHeartbeat(noticed, { ...speaking, incarnation: other }, { at: 0, leaseMs: 1, alarms: [] });
  assert.deepEqual(booted.recovery, noticed.recovery, "a boot does not undo it");
});

test("a restored table awaits every host anew, whatever its lease and its losses were", () => {
  const { recovery, leaseExpiresAt, lost } = beginRecovery(declareLost(session, off), 3);
  assert.deepEqual(recovery, { kind: "recovering", restoreEpoch: 3, reportedAt: null });
  assert.deepEqual([leaseExpiresAt, lost], [null, null]);
  assert.deepEqual([isAwaited(session), isAwaited(noticeWentBack(session, "host-b"))], [false, false]);
});

test("a boot while the cluster recovers keeps its epoch, and a heartbeat of the same life keeps what was told", () => {
  const beat = { at: 0, leaseMs: 1, alarms: [] };
  const told = afterInventory(beginRecovery(session, 3), speaking, 7000, onlyPage);
  assert.deepEqual(afterHeartbeat(told, speaking, beat).recovery, told.recovery);
  const booted = afterHeartbeat(told, { ...speaking, incarnation: other }, beat);
  assert.deepEqual(booted.recovery, { kind: "recovering", restoreEpoch: 3, reportedAt: null });
});

test("when the last page came is when the host has told, however often it tells again", () => {
  const whole = afterInventory(beginRecovery(session, 1), speaking, 7000, onlyPage);
  const again = afterInventory(whole, { ...speaking, counter: 50 }, 9000, onlyPage);
  assert.deepEqual([again.recovery?.kind === "recovering" && again.recovery.reportedAt, again.counter], [7000, 50]);
  const untouched = afterInventory(session, speaking, 7000, onlyPage);
  assert.deepEqual(untouched, afterRequest(session, speaking), "nobody has asked");
  const wentBack = noticeWentBack(session, "host-b");
  assert.deepEqual(afterInventory(wentBack, speaking, 7000, onlyPage), afterRequest(wentBack, speaking));
});

test("a recovery ends for the hosts that have told; who was declared lost or not heard tells when it comes back", () => {
  const recovering = beginRecovery(session, 1);
  const told = afterInventory(recovering, speaking, 7000, onlyPage);
  assert.equal(endRecovery(told).recovery, null);
  assert.equal(endRecovery(recovering), recovering);
  const lost = declareLost(told, off);
  assert.equal(endRecovery(lost), lost);
  assert.equal(endRecovery(session), session);
  const wentBack = noticeWentBack(session, "host-b");
  assert.equal(endRecovery(wentBack), wentBack);
});
