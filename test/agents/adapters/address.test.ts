import assert from "node:assert/strict";
import { test } from "node:test";
import { canonicalAddress, isEveryAddress, isSameAddress } from "../../../agents/adapters/address.ts";

test("one address has one spelling", () => {
  for (const [written, meant] of [
    ["127.0.0.11", "127.0.0.11"],
    ["::ffff:127.0.0.11", "127.0.0.11"],
    ["::FFFF:7f00:000b", "127.0.0.11"],
    ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
    ["2001:db8::0001", "2001:db8::1"],
    ["host-a", "host-a"],
  ] as const)
    assert.equal(canonicalAddress(written), meant);
  assert.ok(isSameAddress("fd00::A", "fd00:0:0::a"));
  assert.equal(isSameAddress("fd00::a", "fd00::b"), false);
  assert.equal(isSameAddress(undefined, "undefined"), false);
});

test("every spelling of the address that means all networks is known", () => {
  for (const address of ["0.0.0.0", "::", "0:0:0:0:0:0:0:0", "::0", "::ffff:0.0.0.0"]) {
    assert.ok(isEveryAddress(address), address);
  }
  assert.equal(isEveryAddress("127.0.0.1"), false);
  assert.equal(isEveryAddress("::1"), false);
});
