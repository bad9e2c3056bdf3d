// The table went back: what is drawn from all that the hosts tell names the copy that ran last, and never one that others
// have left behind.
import assert from "node:assert/strict";
import { test } from "node:test";
import { recoverVm, type VmStanding } from "../../../functions/domain/recovery.ts";
import { firstToken } from "../../../functions/domain/tokens.ts";
import { ownerBy } from "../../../functions/domain/verdict.ts";
import { hasEnded, newVm, startVm } from "../../../functions/domain/vms.ts";
import { makeAssignment, makeAuthority, makeHost } from "../../support/assignments.ts";
import { seededRandom } from "../../support/seeded-random.ts";
import { TrueHistory, vmId } from "../support/true-history.ts";

const context = { clusterId: "test", restoreEpoch: 3, at: 1_000_000 };
/** A mutation run is content with fewer. */
const histories = Number(process.env["DROVER_HISTORIES"] ?? 30_000);

function standingOf(history: TrueHistory, snapshot: number | null, lostHosts: string[] = []): VmStanding {
  const held = snapshot === null ? undefined : history.snapshots[snapshot];
  return {
    vmId,
    vm: held?.vm ?? null,
    migrations: held?.migrations ?? [],
    inventory: history.inventory(lostHosts),
    highestToken: history.highestToken,
  };
}

type Checked = { history: TrueHistory; standing: VmStanding; why: string };

function check({ history, standing, why }: Checked): void {
  const recovered = recoverVm(standing, context);
  if (!recovered) {
    assert.equal(standing.inventory.copies.length, 0, `${why}: a copy is left without a record`);
    return;
  }
  const { vm, migrations, duties } = recovered;
  const running = [...history.copies.values()].filter(({ machine }) => machine === "running");
  const isDeleted = standing.vm?.deleted ?? false;
  const owner = hasEnded(vm) || vm.deleted ? null : vm.owner;
  if (running[0] && !isDeleted) assert.equal(owner?.copyId, running[0].copyId, `${why}: the running copy is the owner`);
  if (owner && history.copyOf(owner.copyId)?.machine !== "held") {
    assert.ok(history.current.has(owner.copyId), `${why}: ${owner.copyId} was left behind`);
  }
  const whole = [...history.current].filter((copyId) => history.copyOf(copyId));
  if (!owner && whole.length > 0 && !isDeleted && !history.isGivenUp) {
    assert.ok(history.mayHaveRun, `${why}: ${whole.join()} has the guest's memory, and nobody may have run it since`);
    assert.equal(history.copyOf(history.mayHaveRun)?.machine ?? "ended", "ended", why);
  }
  assert.ok(vm.fencingToken > Math.max(firstToken(3), standing.highestToken), `${why}: the token outranks all`);
  for (const { verdict, openedUnderToken, ...ends } of migrations) {
    assert.notEqual(verdict.kind, "open", why);
    assert.ok(verdict.token > openedUnderToken && verdict.token <= vm.fencingToken, why);
    const named = ownerBy(verdict, { ...ends, openedUnderToken }).copyId;
    for (const role of ["source", "destination"] as const) {
      const seen = history.copyOf(ends[role].copyId);
      if (seen?.machine === "running" && !isDeleted) assert.equal(named, seen.copyId, `${why}: ${role} runs`);
    }
  }
  for (const { duty } of duties) {
    if (duty.wantedRunState !== "stopped") assert.equal(duty.copyId, vm.owner?.copyId, why);
    else if (!isDeleted && !hasEnded(vm)) assert.notEqual(duty.copyId, vm.owner?.copyId, why);
    assert.equal(duty.fencingToken, vm.fencingToken, why);
  }
  const again = recoverVm({ ...standing, vm, migrations }, context);
  assert.deepEqual(again?.vm.owner, vm.owner, `${why}: a second time`);
  assert.deepEqual(
    again?.duties.map(({ duty }) => duty.copyId),
    duties.map(({ duty }) => duty.copyId),
    why,
  );
}

test("R1: whatever truly happened, and however far the table went back, the copy that ran last owns the guest, and never a stale one", () => {
  const reached = new Set<string>();
  for (let seed = 1; seed <= histories; seed++) {
    const random = seededRandom(seed);
    const history = new TrueHistory(random);
    reached.add(history.moving?.phase ?? "at rest");
    const snapshot = random() < 0.1 ? null : Math.floor(random() * history.snapshots.length);
    const why = `seed ${seed}, snapshot ${snapshot}: ${history.steps.join(", ")}`;
    check({ history, standing: standingOf(history, snapshot), why });
  }
  const phases = ["at rest", "at-gate", "past", "loaded", "commit-sent", "committed", "intended", "ran", "confirmed"];
  for (const phase of [...phases, "refused", "given-back"]) assert.ok(reached.has(phase), `${phase} was never reached`);
});

test("L4: with a host declared lost, what is left behind still never owns the guest, and a guest that runs still does", () => {
  for (let seed = 1; seed <= histories; seed++) {
    const random = seededRandom(seed);
    const history = new TrueHistory(random);
    const snapshot = Math.floor(random() * history.snapshots.length);
    const lost = history.hosts[Math.floor(random() * history.hosts.length)] ?? "";
    const why = `seed ${seed}, snapshot ${snapshot}, ${lost} lost: ${history.steps.join(", ")}`;
    const standing = standingOf(history, snapshot, [lost]);
    const recovered = recoverVm(standing, context);
    if (!recovered || recovered.vm.deleted) continue;
    const { vm } = recovered;
    const running = standing.inventory.copies.find(({ machine }) => machine === "running");
    const owner = hasEnded(vm) ? null : vm.owner;
    if (running) assert.equal(owner?.copyId, running.copyId, why);
    if (!owner || history.copyOf(owner.copyId)?.machine === "held") continue;
    assert.ok(history.current.has(owner.copyId), `${why}: ${owner.copyId} was left behind`);
    assert.notEqual(owner.hostId, lost, why);
  }
});

test("a guest that arrived paused stays so, also where its host had yet to note that the migration was over", async () => {
  const authority = await makeAuthority();
  const [a, b] = [await makeHost(authority, "host-a", "127.0.0.1"), await makeHost(authority, "host-b", "127.0.0.2")];
  const assignment = makeAssignment(a, b);
  const { spec, source, destination, fencingToken, vmId: movedId } = assignment;
  const definition = { vm: movedId, spec };
  // Backed up while it ran, before the pause and the move; its source has let its copy go since.
  const before = { ...startVm(newVm(definition, "key", 0, 0), source, 0), runState: "running" as const };
  const copy = {
    hostId: "host-b",
    vmId: movedId,
    copyId: destination.copyId,
    spec,
    migrationId: assignment.migrationId,
    machine: "loaded" as const,
    lockToken: fencingToken + 1,
    lockFile: "held" as const,
    gate: null,
    isAtGate: false,
    wasPaused: false,
    ended: null,
  };
  const part = {
    hostId: "host-b",
    role: "destination" as const,
    assignment,
    recordToken: fencingToken,
    commitSent: true,
    runIntent: 1,
    runRefused: 0,
    relinquished: false,
    over: false,
  };
  for (const arrivesPaused of [true, false]) {
    const inventory = { copies: [copy], parts: [{ ...part, arrivesPaused }], lostHosts: new Set<string>() };
    const standing = { vmId: movedId, vm: before, migrations: [], inventory, highestToken: fencingToken + 1 };
    const recovered = recoverVm(standing, context);
    assert.ok(recovered);
    assert.equal(recovered.vm.owner?.hostId, "host-b");
    assert.equal(recovered.vm.wantedRunState, arrivesPaused ? "paused" : "running");
    assert.equal(recovered.migrations[0]?.arrivesPaused, arrivesPaused);
  }
});
