import assert from "node:assert/strict";
import { test } from "node:test";
import { isSameAddress } from "../../agents/adapters/address.ts";
import { addressFault, canonicalAddress } from "../../schemas/address.ts";

test("one address has one spelling", () => {
  for (const [written, meant] of [
    ["127.0.0.11", "127.0.0.11"],
    ["::ffff:127.0.0.11", "127.0.0.11"],
    ["::FFFF:7f00:000b", "127.0.0.11"],
    ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
    ["2001:db8::0001", "2001:db8::1"],
    ["::1", "::1"],
    ["host-a", "host-a"],
  ] as const)
    assert.equal(canonicalAddress(written), meant);
  assert.ok(isSameAddress("fd00::A", "fd00:0:0::a"));
  assert.equal(isSameAddress("fd00::a", "fd00::b"), false);
  assert.equal(isSameAddress(undefined, "undefined"), false);
});

test("an address that no single host can have is known in every spelling; loopback is fit", () => {
  for (const [address, fault] of [
    ["0.0.0.0", /every network/],
    ["::", /every network/],
    ["0:0:0:0:0:0:0:0", /every network/],
    ["::ffff:0.0.0.0", /every network/],
    ["224.0.0.1", /multicast/],
    ["239.255.255.255", /multicast/],
    ["::ffff:224.0.0.1", /multicast/],
    ["FF02::1", /multicast/],
    ["255.255.255.255", /broadcast/],
    ["host-a", /not a name/],
    ["", /not a name/],
    ["10.0.0", /not a name/],
    ["010.0.0.1", /not a name/],
    ["10.0.0.1:80", /not a name/],
    ["fe80::1%eth0", /not a name/],
    ["[::1]", /not a name/],
  ] as const)
    assert.match(addressFault(address) ?? "fit", fault, address);
  for (const address of ["127.0.0.1", "127.0.0.11", "10.9.0.255", "223.255.255.255", "::1", "fd00::a"]) {
    assert.equal(addressFault(address), null, address);
  }
});
