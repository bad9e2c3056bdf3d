// A host that was counted as lost and comes back: which of its duties stay.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { HostInventory } from "../../../functions/domain/last-run.ts";
import { type LateRecovery, staysOwed } from "../../../functions/domain/late-host.ts";
import { spec } from "../../support/assignments.ts";
import { runningVm } from "../support/motions.ts";

const here = { hostId: "host-a", copyId: "copy_A" };
const copy: HostInventory["copies"][number] = {
  vmId: "vm-1",
  copyId: "copy_A",
  spec,
  machine: "running",
  lockToken: 7,
  migrationId: null,
  lockFile: null,
  gate: null,
  isAtGate: false,
  wasPaused: false,
  ended: null,
};
const nothing: LateRecovery = { vm: null, migrations: [], duties: [] };
const owned = (changes: Parameters<typeof runningVm>[0]) => ({ ...nothing, vm: runningVm(changes) });

test("a duty stays where its copy is here, or something is owed to it", () => {
  assert.equal(staysOwed(here, [copy], nothing), true);
  assert.equal(staysOwed(here, [{ ...copy, copyId: "copy_B" }], nothing), false);
  const duty = {
    vmId: "vm-1",
    copyId: "copy_A",
    fencingToken: 7,
    spec,
    wantedRunState: "stopped",
    hasRun: true,
  } as const;
  assert.equal(staysOwed(here, [], { ...nothing, duties: [duty] }), true);
  assert.equal(staysOwed(here, [], nothing), false);
});

test("a duty stays where the guest was started here since the host told what it has", () => {
  assert.equal(staysOwed(here, [], owned({ owner: here })), true);
  assert.equal(staysOwed(here, [], owned({ owner: here, runState: "stopped" })), false);
  assert.equal(staysOwed(here, [], owned({ owner: { ...here, hostId: "host-b" } })), false);
  assert.equal(staysOwed(here, [], owned({ owner: { ...here, copyId: "copy_B" } })), false);
});
