// What every table adapter must do: functions/ports/table.ts, sentence by sentence.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Change, CommitOutcome, Item, Json, Key, RangeQuery, Table } from "../../functions/ports/table.ts";
import { TableThrottled } from "../../functions/ports/table.ts";

type Data = { [name: string]: Json };
export type OpenedTable = { table: Table; close(): Promise<void> };

/** `open` gives a table that may hold other items: every test works in partitions of its own. */
export function tableContract(adapter: string, open: () => Promise<OpenedTable>): void {
  describe(`table: ${adapter}`, () => {
    let opened: OpenedTable;
    let table: Table;
    let partitions = 0;
    const freshPartition = () => `contract#${++partitions}`;

    before(async () => {
      opened = await open();
      table = opened.table;
    });
    after(async () => {
      await opened?.close();
    });

    async function one(key: Key): Promise<Item | null> {
      const [item] = await table.get([key]);
      return item ?? null;
    }

    async function fill(partition: string, sorts: readonly string[]): Promise<void> {
      for (let i = 0; i < sorts.length; i += 100) {
        const part = sorts.slice(i, i + 100);
        assert.deepEqual(await table.commit(part.map((sort) => putNew({ partition, sort }))), committed);
      }
    }

    async function sortsOf(range: RangeQuery): Promise<string[]> {
      const { items } = await table.query(range);
      return items.map((item) => item.sort);
    }

    async function allPages(range: RangeQuery): Promise<string[][]> {
      const pages: string[][] = [];
      let from: string | undefined = range.after;
      for (;;) {
        const { items, next } = await table.query(from === undefined ? range : { ...range, after: from });
        pages.push(items.map((item) => item.sort));
        if (next === null) return pages;
        from = next;
      }
    }

    test("an item comes back as it was put, at revision 1", async () => {
      const key = { partition: freshPartition(), sort: "item" };
      const data = {
        text: 'ü 🜁 \u0000 \ud800 "\\',
        numbers: [0, -1.5, 1e-300, 1.7976931348623157e308, Number.MAX_SAFE_INTEGER],
        nothing: null,
        no: false,
        empty: { list: [], text: "", object: {} },
        deep: nest(40),
      };
      assert.deepEqual(
        await table.commit([{ kind: "put", key, expected: "absent", schemaVersion: 3, data }]),
        committed,
      );
      assert.deepEqual(await one(key), { ...key, revision: 1, schemaVersion: 3, data });
    });

    test("every put raises the revision by one and replaces the whole of the data", async () => {
      const key = { partition: freshPartition(), sort: "item" };
      await table.commit([putNew(key, { a: 1, b: 2 })]);
      assert.deepEqual(await table.commit([{ ...put(key, 1, { c: 3 }), schemaVersion: 2 }]), committed);
      assert.deepEqual(await one(key), { ...key, revision: 2, schemaVersion: 2, data: { c: 3 } });
    });

    test("a deleted item that is put again begins at revision 1", async () => {
      const key = { partition: freshPartition(), sort: "item" };
      await table.commit([putNew(key)]);
      await table.commit([put(key, 1)]);
      assert.deepEqual(await table.commit([{ kind: "delete", key, expected: 2 }]), committed);
      assert.equal(await one(key), null);
      assert.deepEqual(await table.commit([putNew(key)]), committed);
      assert.equal((await one(key))?.revision, 1);
    });

    test("what the caller changes afterwards does not change the table", async () => {
      const key = { partition: freshPartition(), sort: "item" };
      const data = { list: [1] };
      await table.commit([putNew(key, data)]);
      data.list.push(2);
      const read = await one(key);
      assert.deepEqual(read?.data, { list: [1] });
      if (read) read.data["list"] = [];
      assert.deepEqual((await one(key))?.data, { list: [1] });
    });

    test("get answers in the order asked, null for what is not there", async () => {
      const partition = freshPartition();
      await fill(partition, ["a", "b", "c"]);
      const keys = ["c", "missing", "a"].map((sort) => ({ partition, sort }));
      const items = await table.get([...keys, { partition: freshPartition(), sort: "a" }]);
      assert.deepEqual(
        items.map((item) => item?.sort ?? null),
        ["c", null, "a", null],
      );
    });

    test("get and commit take 100 keys at once, in many partitions", async () => {
      const keys = Array.from({ length: 100 }, (_, i) => ({ partition: freshPartition(), sort: `s${i}` }));
      assert.deepEqual(await table.commit(keys.map((key, i) => putNew(key, { i }))), committed);
      const items = await table.get(keys.toReversed());
      assert.deepEqual(
        items.map((item) => item?.data["i"]),
        keys.map((_, i) => 99 - i),
      );
    });

    test("get returns 20 items of 300 KB", async () => {
      const partition = freshPartition();
      const keys = Array.from({ length: 20 }, (_, i) => ({ partition, sort: `s${i}` }));
      for (const key of keys) assert.deepEqual(await table.commit([putNew(key, { text: bigText })]), committed);
      const items = await table.get(keys);
      assert.ok(items.every((item) => item?.data["text"] === bigText));
      // More than one page of a real table.
      const { items: queried, next } = await table.query({ partition, limit: 20 });
      assert.equal(queried.length, 20);
      assert.equal(next, null);
    });

    test("a query gives one partition in the order of its sort keys' UTF-8 bytes, both ways", async () => {
      const partition = freshPartition();
      await fill(partition, shuffledUnicode);
      await fill(freshPartition(), ["elsewhere"]);
      assert.deepEqual(await sortsOf({ partition, limit: 100 }), unicodeOrder);
      assert.deepEqual(await sortsOf({ partition, limit: 100, order: "descending" }), unicodeOrder.toReversed());
    });

    test("a query of an empty partition is empty and at its end", async () => {
      assert.deepEqual(await table.query({ partition: freshPartition(), limit: 1 }), { items: [], next: null });
    });

    test("pages follow each other by `next` without a gap or a double, and end with null", async () => {
      const partition = freshPartition();
      await fill(partition, ["a", "b", "c", "d", "e"]);
      const pages = (more: Partial<RangeQuery>) => allPages({ partition, limit: 2, ...more });
      assert.deepEqual(await pages({}), [["a", "b"], ["c", "d"], ["e"]]);
      assert.deepEqual(await pages({ order: "descending" }), [["e", "d"], ["c", "b"], ["a"]]);
      assert.deepEqual(await pages({ limit: 5 }), [["a", "b", "c", "d", "e"]], "no empty page after a full one");
    });

    test("a cursor need not be there any more", async () => {
      const partition = freshPartition();
      await fill(partition, ["a", "c", "e"]);
      assert.deepEqual(await sortsOf({ partition, after: "b", limit: 10 }), ["c", "e"]);
      assert.deepEqual(await sortsOf({ partition, after: "d", limit: 10, order: "descending" }), ["c", "a"]);
    });

    test("a prefix limits the range, with cursors inside, before and behind it", async () => {
      const partition = freshPartition();
      const inside = ["b", "b\u0000", "b1", "b2", "b\ud7ff", "b\uffff", "b\u{10ffff}", "b\u{10ffff}z"];
      await fill(partition, ["a", "a9", ...inside, "c", "c1"]);
      const within = (more: Partial<RangeQuery>) => sortsOf({ partition, prefix: "b", limit: 100, ...more });
      assert.deepEqual(await within({}), inside);
      assert.deepEqual(await within({ order: "descending" }), inside.toReversed());
      assert.deepEqual(await within({ after: "b1" }), inside.slice(3));
      assert.deepEqual(await within({ after: "b" }), inside.slice(1));
      assert.deepEqual(await within({ after: "b1", order: "descending" }), ["b\u0000", "b"]);
      assert.deepEqual(await within({ after: "b", order: "descending" }), []);
      assert.deepEqual(await within({ after: "a" }), inside);
      assert.deepEqual(await within({ after: "c" }), []);
      assert.deepEqual(await within({ after: "c", order: "descending" }), inside.toReversed());
      assert.deepEqual(await within({ after: "a", order: "descending" }), []);
      assert.deepEqual(await sortsOf({ partition, prefix: "", limit: 1 }), ["a"]);
      const pages = await allPages({ partition, prefix: "b", limit: 3 });
      assert.deepEqual(pages.flat(), inside);
      assert.deepEqual(await sortsOf({ partition, prefix: "zz", limit: 10 }), []);
    });

    test("a prefix that ends in the highest character has an end of its own", async () => {
      const partition = freshPartition();
      await fill(partition, ["x", "x\u{10ffff}", "x\u{10ffff}1", "y", "\u{10ffff}", "\u{10ffff}\u{10ffff}"]);
      assert.deepEqual(await sortsOf({ partition, prefix: "x\u{10ffff}", limit: 10 }), ["x\u{10ffff}", "x\u{10ffff}1"]);
      assert.deepEqual(await sortsOf({ partition, prefix: "\u{10ffff}", limit: 10 }), [
        "\u{10ffff}",
        "\u{10ffff}\u{10ffff}",
      ]);
    });

    test("a query gives up to 1,000 items at once", async () => {
      const partition = freshPartition();
      const sorts = Array.from({ length: 1001 }, (_, i) => String(i).padStart(4, "0"));
      await fill(partition, sorts);
      const { items, next } = await table.query({ partition, limit: 1000 });
      assert.equal(items.length, 1000);
      assert.equal(next, "0999");
    });

    test("a put on another revision, or on what is there or not, is a conflict that shows what stands", async () => {
      const key = { partition: freshPartition(), sort: "item" };
      assert.deepEqual(await table.commit([put(key, 1)]), conflict([key, null]));
      await table.commit([putNew(key, { v: 1 })]);
      const standing = { ...key, revision: 1, schemaVersion: 1, data: { v: 1 } };
      assert.deepEqual(await table.commit([putNew(key)]), conflict([key, standing]));
      assert.deepEqual(await table.commit([put(key, 2)]), conflict([key, standing]));
      assert.deepEqual(await table.commit([{ kind: "delete", key, expected: 2 }]), conflict([key, standing]));
      const gone = { ...key, sort: "gone" };
      assert.deepEqual(await table.commit([{ kind: "delete", key: gone, expected: 1 }]), conflict([gone, null]));
      assert.deepEqual(await one(key), standing);
    });

    test("all or none: one failed condition undoes every change, and only the failed ones are shown", async () => {
      const partition = freshPartition();
      const [a, b, c, d] = [..."abcd"].map((sort) => ({ partition, sort })) as [Key, Key, Key, Key];
      await fill(partition, ["a", "b"]);
      const outcome = await table.commit([put(a, 1), { kind: "delete", key: b, expected: 7 }, putNew(c), put(d, 3)]);
      const standingB = { ...b, revision: 1, schemaVersion: 1, data: {} };
      assert.deepEqual(outcome, conflict([b, standingB], [d, null]));
      assert.deepEqual(
        (await table.get([a, b, c, d])).map((item) => item?.revision ?? null),
        [1, 1, null, null],
      );
    });

    test("puts, deletes and checks that all hold happen together", async () => {
      const partition = freshPartition();
      await fill(partition, ["a", "b", "c"]);
      const key = (sort: string) => ({ partition, sort });
      const outcome = await table.commit([
        put(key("a"), 1, { changed: true }),
        { kind: "delete", key: key("b"), expected: 1 },
        { kind: "check", key: key("c"), expected: 1 },
        { kind: "check", key: key("none"), expected: "absent" },
        putNew(key("d")),
      ]);
      assert.deepEqual(outcome, committed);
      const { items } = await table.query({ partition, limit: 10 });
      assert.deepEqual(
        items.map(({ sort, revision }) => [sort, revision]),
        [
          ["a", 2],
          ["c", 1],
          ["d", 1],
        ],
      );
    });

    test("a check changes nothing, and stops the commit when it does not hold", async () => {
      const partition = freshPartition();
      await fill(partition, ["a"]);
      const [a, b] = [..."ab"].map((sort) => ({ partition, sort })) as [Key, Key];
      const standing = { ...a, revision: 1, schemaVersion: 1, data: {} };
      const check = (key: Key, expected: number | "absent"): Change => ({ kind: "check", key, expected });
      assert.deepEqual(await table.commit([check(a, 1)]), committed);
      assert.deepEqual(await table.commit([check(a, 1), check(b, "absent")]), committed);
      assert.deepEqual(await table.commit([check(a, 2)]), conflict([a, standing]));
      assert.deepEqual(await table.commit([putNew(b), check(a, "absent")]), conflict([a, standing]));
      assert.deepEqual(await one(a), standing);
      assert.equal(await one(b), null);
    });

    test("of 100 that want the same thing at once, one gets it", async () => {
      const key = { partition: freshPartition(), sort: "slot" };
      const outcomes = await Promise.all(
        Array.from({ length: 100 }, (_, i) => persistent(() => table.commit([putNew(key, { holder: i })]))),
      );
      const winners = outcomes.flatMap((outcome, i) => (outcome.kind === "committed" ? [i] : []));
      assert.equal(winners.length, 1);
      assert.deepEqual((await one(key))?.data, { holder: winners[0] });
    });

    test("100 increments of two items at once, in one commit each, are all counted, once", async () => {
      const partition = freshPartition();
      const keys = ["left", "right"].map((sort) => ({ partition, sort }));
      await table.commit(keys.map((key) => putNew(key, { count: 0 })));
      await Promise.all(
        Array.from({ length: 100 }, async (_, writer) => {
          let items = await persistent(() => table.get(keys));
          for (let round = 0; ; round++) {
            const changes = items.map((item) => {
              assert.ok(item);
              return put(item, item.revision, { count: Number(item.data["count"]) + 1 });
            });
            const outcome = await persistent(() => table.commit(changes));
            if (outcome.kind === "committed") return;
            await new Promise((resolve) => setTimeout(resolve, ((writer * 37 + round * 11) % 100) * 3));
            // A get is not a snapshot: two reads of different moments are refused by the conditions.
            items = await persistent(() => table.get(keys));
          }
        }),
      );
      const items = await table.get(keys);
      assert.deepEqual(
        items.map((item) => [item?.revision, item?.data["count"]]),
        [
          [101, 100],
          [101, 100],
        ],
      );
    });

    test("keys of 1,024 bytes are taken, in bytes and not in characters", async () => {
      const key = { partition: `${freshPartition()}#`.padEnd(1024, "p"), sort: "é".repeat(512) };
      assert.deepEqual(await table.commit([putNew(key)]), committed);
      assert.equal((await one(key))?.sort, key.sort);
    });

    test("bad input is refused and leaves nothing behind", async () => {
      const partition = freshPartition();
      const key = { partition, sort: "a" };
      const refusedKeys: Key[] = [
        { partition, sort: "" },
        { partition: "", sort: "a" },
        { partition, sort: "é".repeat(513) },
        { partition: "p".repeat(1025), sort: "a" },
        { partition, sort: "half \ud800" },
      ];
      for (const bad of refusedKeys) {
        await assert.rejects(table.get([bad]), TypeError);
        await assert.rejects(table.commit([putNew(key), putNew(bad)]), TypeError);
      }
      const manyKeys = Array.from({ length: 101 }, (_, i) => ({ partition, sort: `${i}` }));
      await assert.rejects(table.get([]), TypeError);
      await assert.rejects(table.get(manyKeys), TypeError);
      await assert.rejects(table.get([key, { ...key }]), TypeError);
      await assert.rejects(table.commit([]), TypeError);
      await assert.rejects(table.commit(manyKeys.map((many) => putNew(many))), TypeError);
      await assert.rejects(table.commit([putNew(key), { kind: "check", key, expected: "absent" }]), TypeError);
      for (const expected of [0, -1, 1.5, Number.NaN, 2 ** 53]) {
        await assert.rejects(table.commit([put(key, expected)]), TypeError);
        await assert.rejects(table.commit([{ kind: "delete", key, expected }]), TypeError);
      }
      for (const limit of [0, 1001, 1.5]) await assert.rejects(table.query({ partition, limit }), TypeError);
      await assert.rejects(table.query({ partition: "", limit: 1 }), TypeError);
      await assert.rejects(table.query({ partition, after: "\udc00", limit: 1 }), TypeError);
      for (const data of [
        { n: Number.NaN },
        { n: [Number.POSITIVE_INFINITY] },
        { text: `${bigText}${"x".repeat(9000)}` },
      ]) {
        await assert.rejects(table.commit([putNew(key, data)]), TypeError);
      }
      await assert.rejects(table.commit([{ ...putNew(key), schemaVersion: 0 }]), TypeError);
      const tooMuch = manyKeys.slice(0, 11).map((many) => putNew(many, { text: bigText }));
      await assert.rejects(table.commit(tooMuch), TypeError);
      assert.deepEqual(await table.query({ partition, limit: 1 }), { items: [], next: null });
    });

    test("a closed table answers nothing", async () => {
      const other = await open();
      await other.table.close();
      await assert.rejects(other.table.get([{ partition: "p", sort: "s" }]));
      await assert.rejects(other.table.query({ partition: "p", limit: 1 }));
      await assert.rejects(other.table.commit([putNew({ partition: "p", sort: "s" })]));
      await other.table.close();
      await other.close();
    });
  });
}

const committed: CommitOutcome = { kind: "committed" };
const bigText = "x".repeat(300_000);

/** In the order of their UTF-8 bytes; by UTF-16 units the last two would stand before the two before them. */
const unicodeOrder = [
  "\u0000",
  " ",
  "A",
  "B",
  "a",
  "a ",
  "aa",
  "ab",
  "é",
  "ÿ",
  "ࠀ",
  "\ud7ff",
  "\ue000",
  "\uffff",
  "\u{10000}",
  "🜁",
];
const shuffledUnicode = unicodeOrder.map((_, i) => unicodeOrder[(i * 7 + 3) % unicodeOrder.length] ?? "");

function putNew(key: Key, data: Data = {}): Extract<Change, { kind: "put" }> {
  return { kind: "put", key: { partition: key.partition, sort: key.sort }, expected: "absent", schemaVersion: 1, data };
}

function put(key: Key, expected: number, data: Data = {}): Extract<Change, { kind: "put" }> {
  return { ...putNew(key, data), expected };
}

function conflict(...standing: [Key, Item | null][]): CommitOutcome {
  return { kind: "conflict", standing: standing.map(([key, item]) => ({ key, item })) };
}

function nest(depth: number): Json {
  return depth === 0 ? "bottom" : { deeper: nest(depth - 1) };
}

/** Throttled is an answer too: it certainly did not happen. */
async function persistent<T>(act: () => Promise<T>): Promise<T> {
  for (let round = 1; ; round++) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof TableThrottled) || round === 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, round * 5));
    }
  }
}
