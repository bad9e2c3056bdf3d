// What both roles share: which records are remembered, and which may be acted on.
import assert from "node:assert/strict";
import { test } from "node:test";
import { intend, learn, mayActOn, namesThis } from "../../../agents/domain/role.ts";
import type { MigrationRecord } from "../../../schemas/migration.ts";

const own = { hostId: "host-a", copyId: "copy_A" };
const peer = { hostId: "host-b", copyId: "copy_B" };

const recordWith = (changes: Partial<MigrationRecord>): MigrationRecord => ({
  type: "drover-record-1",
  clusterId: "demo",
  migrationId: "mig_1",
  vmId: "vm-1",
  openedUnderToken: 7,
  source: own,
  destination: peer,
  verdict: "committed",
  verdictToken: 8,
  owner: peer,
  confirmed: false,
  cancelRequested: null,
  issuedAt: 0,
  ...changes,
});

test("a copy is named by its host and its id, never by one of them alone", () => {
  assert.equal(namesThis({ ...own }, own), true);
  assert.equal(namesThis({ ...own, hostId: "host-c" }, own), false);
  assert.equal(namesThis({ ...own, copyId: "copy_OLD" }, own), false);
});

test("I9: a record replaces the one that is known unless it is of another migration, older, or not confirmed any more", () => {
  const known = recordWith({ confirmed: true });
  const after = (before: MigrationRecord | null, record: MigrationRecord) => {
    const state = { migrationId: "mig_1", record: before };
    const learnt = learn(state, record);
    assert.ok(learnt.record === record || learnt === state);
    return learnt.record === record;
  };
  assert.equal(after(null, recordWith({})), true);
  assert.equal(after(null, recordWith({ migrationId: "mig_2" })), false);
  assert.equal(after(known, recordWith({ migrationId: "mig_2", verdictToken: 9 })), false);
  assert.equal(after(known, recordWith({ verdictToken: 7, confirmed: true })), false, "under a lower token");
  assert.equal(after(known, recordWith({ confirmed: true })), true, "under the same token");
  assert.equal(after(known, recordWith({ verdictToken: 9, confirmed: true })), true, "under a higher token");
  assert.equal(after(known, recordWith({})), false, "read before it was confirmed");
  assert.equal(after(recordWith({}), recordWith({})), true, "not confirmed, now as before");
  assert.equal(after(recordWith({}), recordWith({ confirmed: true })), true, "confirmed since");
});

test("the first reason to give a migration up stands", () => {
  const state: Parameters<typeof intend>[0] = { withdrawal: null };
  const first = intend(state, "stream-failed", "cut");
  assert.deepEqual(first, { withdrawal: { reason: "stream-failed", detail: "cut" } });
  assert.equal(intend(first, "peer-unreachable", "gone"), first);
});

test("I9: under a lower token than a host has seen, a record may say that another copy owns the guest, and nothing else", () => {
  const may = (record: Partial<MigrationRecord>, highestToken: number) =>
    mayActOn(recordWith(record), highestToken, own.copyId);
  const kinds: { [name: string]: Partial<MigrationRecord> } = {
    "open, owned here": { verdict: "open", owner: own },
    "open, owned there": { verdict: "open", owner: peer },
    "decided, owned here": { verdict: "aborted", owner: own },
    "decided, owned there": { verdict: "committed", owner: peer },
  };
  for (const [name, record] of Object.entries(kinds)) {
    assert.equal(may(record, 7), true, `${name}, newer`);
    assert.equal(may(record, 8), true, `${name}, under the token seen`);
    assert.equal(may(record, 9), name === "decided, owned there", `${name}, older`);
  }
});
