import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentReport } from "../../schemas/agent.ts";
import { isSecure } from "../../schemas/secure-url.ts";

test("what a host says of a failure reaches no terminal as an order, and is heard all the same", () => {
  const report = AgentReport.parse({
    kind: "source-aborts",
    migrationId: `mig_${"0".repeat(26)}`,
    fencingToken: 1,
    vmId: "vm-1",
    peerHostId: "host-b",
    reason: "stream-failed",
    detail: "\u001b[2J\u001b[31mPWNED\u0007\n\u009b1m",
  });
  assert.equal("detail" in report && report.detail, " [2J [31mPWNED 1m");
});

test("keys go over TLS or stay on this machine", () => {
  for (const url of [
    "https://drover.example",
    "http://127.0.0.1:80",
    "http://127.8.9.1/",
    "http://localhost",
    "http://[::1]:1",
  ])
    assert.equal(isSecure(url), true, url);
  for (const url of [
    "http://drover.example",
    "http://10.0.0.1",
    "http://127.0.0.1.example",
    "http://localhost.example",
  ])
    assert.equal(isSecure(url), false, url);
});
