// What a host that comes back late is told of its VMs, case by case.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type LateStanding, recoverLate } from "../../../functions/domain/late-host.ts";
import { noCopy, restored } from "../../../functions/domain/recovery.ts";
import { firstToken } from "../../../functions/domain/tokens.ts";
import { spec } from "../../support/assignments.ts";
import { atRest, bare, context, copyOf, gone, lateStanding, partOf } from "../support/inventories.ts";
import { admitted, destination, runningVm, source, third, verdicts } from "../support/motions.ts";

const ranElsewhere = runningVm({ migrationId: null, owner: third, fencingToken: firstToken(3) + 5 });

test("a late host whose guest nobody has is believed: what it has is all there is", () => {
  const lostVm = {
    ...atRest,
    runState: "guest-lost",
    wantedRunState: "stopped",
    stoppedBecause: "host-declared-lost",
    mayBeLate: true,
  } as const;
  const back = recoverLate(lateStanding({ vm: lostVm, copies: [bare(copyOf(source))] }), context);
  assert.deepEqual([back.vm?.owner, back.vm?.runState, back.vm?.fencingToken], [source, "running", firstToken(3) + 1]);
  assert.deepEqual(
    back.duties.map(({ copyId, wantedRunState }) => [copyId, wantedRunState]),
    [["copy_A", "running"]],
  );
  const unknown = recoverLate(
    lateStanding({ vm: null, copies: [bare(copyOf(source, { lockToken: firstToken(3) + 9 }))] }),
    context,
  );
  assert.deepEqual([unknown.vm?.owner, unknown.vm?.fencingToken], [source, firstToken(3) + 10]);
  assert.deepEqual(recoverLate(lateStanding({ vm: null }), context), { vm: null, migrations: [], duties: [] });
  const ended = recoverLate(lateStanding({ vm: lostVm, copies: [bare(copyOf(source, gone))] }), context);
  assert.deepEqual(ended.vm, { ...lostVm, fencingToken: firstToken(3) + 1 }, "lost with its host it stays");
  const forgotten = recoverLate(lateStanding({ vm: null, copies: [bare(copyOf(source, gone))] }), context);
  assert.equal(forgotten.vm?.runState, "stopped");
});

test("a migration that a late host's guest ended in waits for nothing but that host's own report, as its VM waits for none", () => {
  const lostVm = {
    ...atRest,
    owner: destination,
    runState: "guest-lost",
    wantedRunState: "stopped",
    stoppedBecause: "host-declared-lost",
    mayBeLate: true,
  } as const;
  const standing = lateStanding({
    hostId: "host-b",
    vm: lostVm,
    copies: [bare(copyOf(destination, gone))],
    parts: [bare(partOf("destination", { commitSent: true, runIntent: 1 }))],
  });
  const { vm, migrations } = recoverLate(standing, context);
  const token = firstToken(3) + 1;
  assert.deepEqual(vm, { ...lostVm, fencingToken: token });
  assert.equal(migrations.length, 1);
  assert.deepEqual(migrations[0]?.verdict, {
    kind: "committed",
    token,
    confirmed: { outcome: "guest-lost", detail: restored },
  });
  assert.deepEqual(migrations[0].holds, { source: false, destination: true });
});

test("a late host undoes nothing that was decided without it: its copies are told to go", () => {
  const decided = recoverLate(lateStanding({ vm: ranElsewhere, copies: [bare(copyOf(source))] }), context);
  assert.equal(decided.vm, ranElsewhere);
  assert.deepEqual(decided.duties, [
    { vmId: "vm-1", copyId: "copy_A", fencingToken: firstToken(3) + 5, spec, wantedRunState: "stopped", hasRun: true },
  ]);
  for (const vm of [
    { ...atRest, stoppedBecause: "host-declared-lost" },
    { ...atRest, mayBeLate: true, deleted: true },
    { ...atRest, stoppedBecause: "killed", runState: "guest-lost" },
  ] as const) {
    assert.equal(recoverLate(lateStanding({ vm, copies: [bare(copyOf(third))] }), context).vm, vm);
  }
});

test("a late host goes on with a copy that the record still names", () => {
  const own = recoverLate(lateStanding({ copies: [bare(copyOf(source))] }), context);
  assert.deepEqual(
    own.duties.map(({ copyId, wantedRunState }) => [copyId, wantedRunState]),
    [["copy_A", "running"]],
  );
  const inMotion = recoverLate(
    lateStanding({ copies: [bare(copyOf(source))], parts: [bare(partOf("source"))] }),
    context,
  );
  assert.deepEqual(inMotion.duties, [], "its migration's record tells it");
  const over = bare(partOf("source", { over: true }));
  assert.deepEqual(
    recoverLate(lateStanding({ copies: [bare(copyOf(source))], parts: [over] }), context).duties.length,
    1,
  );
  const stopped = { ...atRest, runState: "stopped" } as const;
  const ended = recoverLate(lateStanding({ vm: stopped, copies: [bare(copyOf(source))] }), context);
  assert.equal(ended.duties[0]?.wantedRunState, "stopped");
  const left = recoverLate(
    lateStanding({ vm: ranElsewhere, copies: [bare(copyOf(source))], parts: [bare(partOf("source"))] }),
    context,
  );
  assert.deepEqual(left.duties, []);
});

test("a migration of a late host gets the verdict that fits who owns the guest now, unless it was decided since", () => {
  const decide = (vm: typeof atRest, changes: Partial<LateStanding> = {}) => {
    const [migration] = recoverLate(
      lateStanding({ vm, parts: [bare(partOf("source"))], ...changes }),
      context,
    ).migrations;
    assert.ok(migration);
    return migration;
  };
  const token = firstToken(3) + 5;
  const back = decide({ ...atRest, fencingToken: token });
  assert.deepEqual(back.verdict, {
    kind: "aborted",
    token,
    by: "control-plane",
    reason: "table-restored",
    detail: restored,
  });
  assert.deepEqual([back.stage, back.holds], ["admitted", { source: true, destination: false }]);
  const elsewhere = decide(ranElsewhere);
  assert.deepEqual(elsewhere.verdict, {
    kind: "forced",
    token,
    owner: third,
    statement: restored,
    reason: "table-restored",
  });
  const arrived = decide({ ...ranElsewhere, owner: destination });
  assert.deepEqual(arrived.verdict, { kind: "committed", token, confirmed: { outcome: "running", detail: restored } });
  const nobody = decide({ ...ranElsewhere, owner: null });
  assert.deepEqual(nobody.verdict.kind === "forced" && nobody.verdict.owner, { hostId: "host-a", copyId: noCopy });
  const asDestination = decide(ranElsewhere, { hostId: "host-b", parts: [bare(partOf("destination"))] });
  assert.deepEqual(asDestination.holds, { source: false, destination: true });

  const known = { ...admitted({}).migration, ticket: "CHG-1" };
  assert.equal(decide(ranElsewhere, { migrations: [known] }).ticket, "CHG-1");
  const since = { ...known, verdict: { ...verdicts.aborted, token: firstToken(3) + 1 } };
  const isSource = { ...ranElsewhere, owner: source };
  assert.equal(decide(isSource, { migrations: [since] }), since);
  assert.equal(decide(ranElsewhere, { migrations: [since] }).verdict.kind, "forced", "or its source would run again");
  const arriving = { hostId: "host-b", parts: [bare(partOf("destination"))], migrations: [since] };
  assert.equal(decide(ranElsewhere, arriving), since);
  const before = { ...known, verdict: { ...verdicts.aborted, token: firstToken(3) } };
  assert.equal(decide(ranElsewhere, { migrations: [before] }).verdict.kind, "forced");
  const other = { ...since, id: "mig_2" };
  assert.equal(decide(ranElsewhere, { migrations: [other] }).id, "mig_1");
});
