// Which requests of a host are heard while its cluster recovers from a table that went back.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Session } from "../../../functions/domain/records.ts";
import {
  afterHeartbeat,
  afterInventory,
  beginRecovery,
  checkSession,
  declareLost,
  endRecovery,
  isAwaited,
  type Manner,
  newSession,
  noticeWentBack,
} from "../../../functions/domain/session.ts";
import { onlyPage } from "../../../schemas/agent.ts";

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

test("while the cluster recovers, heartbeats and inventories alone are heard, and the table takes over the higher counter", () => {
  const recovering = beginRecovery(session, 1);
  assert.deepEqual([heard(recovering, "read"), heard(recovering, "write")], ["recovering", "recovering"]);
  assert.deepEqual([heard(recovering, "heartbeat"), heard(recovering, "inventory")], [null, null]);
  assert.equal(afterHeartbeat(recovering, speaking, { at: 0, leaseMs: 9000, alarms: [] }).counter, 41);
  assert.equal(isAwaited(recovering), true);
  const told = afterInventory(recovering, { ...speaking, counter: 42 }, 7000, onlyPage);
  assert.deepEqual([told.counter, isAwaited(told), heard(told, "write")], [42, false, "recovering"]);
  assert.equal(endRecovery(told).recovery, null);
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
  const next = { incarnation: "b".repeat(32), counter: 50, acknowledged: 41 };
  assert.equal(checkSession(told, next, "heartbeat", false), null);
  assert.equal(isAwaited(afterHeartbeat(told, next, { at: 0, leaseMs: 9000, alarms: [] })), true);
});

test("a host that was declared lost is not waited for, and tells what it has when it comes back, before all else", () => {
  const lost = declareLost(beginRecovery(session, 1), { incarnation, reason: "off", by: "ops", at: 1 });
  assert.equal(isAwaited(lost), false);
  assert.equal(heard(lost, "heartbeat"), "incarnation-ended");
  const back = { incarnation: "b".repeat(32), counter: 50, acknowledged: 40 };
  const opened = endRecovery(lost);
  assert.equal(checkSession(opened, back, "heartbeat", false), null, "its higher counter is no news");
  const again = afterHeartbeat(opened, back, { at: 0, leaseMs: 9000, alarms: [] });
  assert.equal(checkSession(again, { ...back, counter: 51 }, "write", true)?.code, "recovering");
  assert.equal(checkSession(again, { ...back, counter: 51 }, "inventory", true), null);
});

test("a loss that was declared before the backup is forgotten with it: the host may have come back since", () => {
  const lost = declareLost(session, { incarnation, reason: "off", by: "ops", at: 1 });
  assert.equal(isAwaited(beginRecovery(lost, 1)), true);
});
