import assert from "node:assert/strict";
import { test } from "node:test";
import { Interner } from "./interner.ts";

test("two parts have one number only when they have the same fields with the same values", () => {
  const interner = new Interner();
  const different: object[] = [
    {},
    [],
    { a: 1 },
    { a: "1" },
    { a: true },
    { a: null },
    { a: 0 },
    { a: 2 ** 40 + 1 },
    { a: 2 ** 40 + 2 },
    { b: 1 },
    { a: 1, b: 1 },
    { a: { b: 1 } },
    { a: [1] },
    { a: [[1]] },
    { a: ["a", "b"] },
    { a: ["ab"] },
    { a: { b: 1 }, b: { a: 1 } },
    [{ a: 1 }],
    [1, 2],
    [2, 1],
  ];
  const numbers = different.map((part) => interner.partIdOf(part));
  assert.equal(new Set(numbers).size, different.length);
  assert.ok(!numbers.includes(interner.partIdOf(null)));
  for (const [index, part] of different.entries()) {
    assert.equal(interner.partIdOf(structuredClone(part)), numbers[index]);
    assert.deepEqual(interner.valueOf(numbers[index] as number), part);
  }
  assert.equal(
    interner.partIdOf({ a: 1, b: undefined }),
    interner.partIdOf({ a: 1 }),
    "what is not there says nothing",
  );
});

test("numbers stay what they are while the table of them grows", () => {
  const interner = new Interner();
  const numbers = Array.from({ length: 100_000 }, (_, n) => interner.partIdOf({ n, of: { n } }));
  for (let n = 0; n < numbers.length; n += 997) assert.equal(interner.partIdOf({ n, of: { n } }), numbers[n]);
  assert.equal(new Set(numbers).size, numbers.length);
});
