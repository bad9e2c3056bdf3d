import assert from "node:assert/strict";
import { test } from "node:test";
import { repeatedName } from "../../../functions/http/repeated-name.ts";

for (const [json, pointer] of [
  ['{"a":1,"a":2}', "/a"],
  ['{"a":{"b":"a"},"b":["a","a",{"a":"a"}]}', null],
  ['[{"a":1},{"a":1,"b":{"c/~":1,"c/~":1}}]', "/1/b/c~1~0"],
  [String.raw`{"a\"":1,"a\u0022":"{\"a\":1,\"a\":1}"}`, '/a"'],
  [String.raw`{"x":"\\","y":"\\\"","x":0}`, "/x"],
  ['"a"', null],
  ["{}", null],
] as const) {
  test(`${json} names ${pointer ?? "nothing"} twice`, () => {
    JSON.parse(json);
    assert.equal(repeatedName(json), pointer);
  });
}
