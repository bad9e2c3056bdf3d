// What every kind of journal must keep (agents/ports/journal.ts).
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import type { Journal, MigrationJournal } from "../../agents/ports/journal.ts";
import { signDocument } from "../../schemas/signing.ts";
import { makeAssignment, makeAuthority, makeHost, makeRecord, ulid } from "../support/assignments.ts";

/** `open` opens the same journal as a restarted agent would; `breakDisk` makes writes fail until the end of the test. */
export type JournalBench = { open(): Promise<Journal>; breakDisk(): Promise<void>; close(): Promise<void> };

export async function makeEntry(number = 1): Promise<MigrationJournal> {
  const authority = await makeAuthority();
  const source = await makeHost(authority, "host-a", "127.0.0.11");
  const destination = await makeHost(authority, "host-b", "127.0.0.12");
  const assignment = makeAssignment(source, destination, { migrationId: ulid("mig", number) });
  const record = makeRecord(assignment);
  const claimed = {
    role: "source" as const,
    assignment,
    signed: await signDocument(assignment, authority.sign),
    record: { record, signed: await signDocument(record, authority.sign) },
  };
  return { migrationId: assignment.migrationId, claimed };
}

export function journalContract(name: string, makeBench: () => Promise<JournalBench>): void {
  describe(`journal contract: ${name}`, () => {
    let bench: JournalBench;
    beforeEach(async () => {
      bench = await makeBench();
    });
    afterEach(() => bench.close());

    test("a new journal knows no migration and no token", async () => {
      const journal = await bench.open();
      assert.deepEqual(journal.migrations(), []);
      assert.equal(journal.migration(ulid("mig", 1)), null);
      assert.equal(journal.highestToken("vm-1"), 0);
    });

    test("what was written is there after a restart, every field of it", async () => {
      const journal = await bench.open();
      const entry = await makeEntry();
      const full: MigrationJournal = {
        ...entry,
        commitSent: true,
        runIntent: 2,
        runRefused: 1,
        relinquished: true,
        askedNonce: "nonce",
        over: true,
      };
      await journal.write(entry);
      await journal.write(full);
      assert.deepEqual(journal.migration(entry.migrationId), full);
      assert.deepEqual((await bench.open()).migrations(), [full]);
    });

    test("what a table that went back left is there after a restart, and no token counts as lower than the floor", async () => {
      const journal = await bench.open();
      assert.deepEqual(journal.tableStanding(), { isFrozen: false, tokenFloor: 0 });
      await journal.raiseToken("vm-1", 7);
      await journal.keepTableStanding({ isFrozen: true, tokenFloor: 2 ** 32 });
      const again = await bench.open();
      assert.deepEqual(again.tableStanding(), { isFrozen: true, tokenFloor: 2 ** 32 });
      assert.deepEqual([again.highestToken("vm-1"), again.highestToken("vm-2")], [2 ** 32, 2 ** 32]);
      assert.deepEqual(again.tokens(), [{ vmId: "vm-1", fencingToken: 7 }]);
      assert.deepEqual(again.migrations(), []);
    });

    test("changing what it answered does not change the journal", async () => {
      const journal = await bench.open();
      const entry = await makeEntry();
      await journal.write(entry);
      const answered = journal.migration(entry.migrationId);
      assert.ok(answered);
      answered.commitSent = true;
      assert.deepEqual(journal.migration(entry.migrationId), entry);
    });

    test("a token only rises, also over a restart", async () => {
      const journal = await bench.open();
      await journal.raiseToken("vm-1", 7);
      await journal.raiseToken("vm-1", 5);
      await journal.raiseToken("vm-2", 1);
      assert.equal(journal.highestToken("vm-1"), 7);
      const again = await bench.open();
      assert.equal(again.highestToken("vm-1"), 7);
      assert.equal(again.highestToken("vm-2"), 1);
    });

    test("raising tokens of many VMs at once loses none", async () => {
      const journal = await bench.open();
      await Promise.all(Array.from({ length: 10 }, (_, index) => journal.raiseToken(`vm-${index}`, index + 1)));
      const again = await bench.open();
      for (let index = 0; index < 10; index++) assert.equal(again.highestToken(`vm-${index}`), index + 1);
    });

    test("a forgotten migration stays forgotten; forgetting it twice is fine", async () => {
      const journal = await bench.open();
      const [first, second] = await Promise.all([makeEntry(1), makeEntry(2)]);
      await journal.write(first);
      await journal.write(second);
      await journal.forget(first.migrationId);
      await journal.forget(first.migrationId);
      assert.deepEqual(journal.migrations(), [second]);
      assert.deepEqual((await bench.open()).migrations(), [second]);
    });

    test("a migration of the life before is forgotten as well", async () => {
      const entry = await makeEntry();
      await (await bench.open()).write(entry);
      const journal = await bench.open();
      await journal.forget(entry.migrationId);
      assert.deepEqual((await bench.open()).migrations(), []);
    });

    test("whether its disk takes writes is proven by one that changes nothing", async () => {
      const journal = await bench.open();
      await journal.raiseToken("vm-1", 7);
      await journal.prove();
      assert.equal((await bench.open()).highestToken("vm-1"), 7);
      await bench.breakDisk();
      await assert.rejects(journal.prove());
    });

    test("a write that cannot be made durable is refused and not remembered", async () => {
      const journal = await bench.open();
      const entry = await makeEntry();
      await journal.write(entry);
      await bench.breakDisk();
      await assert.rejects(journal.write({ ...entry, commitSent: true }));
      await assert.rejects(journal.raiseToken("vm-1", 9));
      assert.deepEqual(journal.migration(entry.migrationId), entry);
      assert.equal(journal.highestToken("vm-1"), 0);
    });
  });
}
