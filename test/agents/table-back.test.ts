// B1–B4 (agents/table-back.ts): a host whose control plane's table went back decides nothing, tells what it has, and goes
// on by the control plane's word.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryJournalDisk, openMemoryJournal } from "../../agents/adapters/memory-journal.ts";
import { createSimulatedClock } from "../../agents/adapters/simulated/clock.ts";
import type { ControlPlane, ProvenRecord } from "../../agents/ports/control-plane.ts";
import type { Copy, CopyAccount } from "../../agents/ports/copies.ts";
import type { MigrationJournal } from "../../agents/ports/journal.ts";
import type { RoleContext } from "../../agents/roles/context.ts";
import { TableBack, watchRefusals } from "../../agents/table-back.ts";
import type { HeartbeatAnswer } from "../../schemas/agent.ts";
import { tokensPerEpoch } from "../../schemas/ids.ts";
import type { InventoryReport } from "../../schemas/inventory.ts";
import { spec, ulid } from "../support/assignments.ts";

type Told = Awaited<ReturnType<ControlPlane["tellInventory"]>>;

const settle = async () => {
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
};

const accountOf = (changes: Partial<CopyAccount> = {}): CopyAccount => ({
  machine: "running",
  lock: "held",
  ended: null,
  gate: null,
  atGate: null,
  resets: 0,
  lockToken: 5,
  lockFile: null,
  wasPaused: false,
  ...changes,
});

function makeBench(disk = new MemoryJournalDisk()) {
  const steps: string[] = [];
  const bench = {
    disk,
    steps,
    told: [] as InventoryReport[],
    logged: [] as { event: string }[],
    answer: (report: InventoryReport): Told => ({
      kind: "answered",
      answer: { restoreEpoch: 1, awaited: [`host-${report.page.index}`] },
    }),
    copies: [] as Copy[],
    halted: Promise.resolve(),
    records: new Map<string, ProvenRecord>(),
  };
  const journal = openMemoryJournal(disk);
  const clock = createSimulatedClock();
  const context = {
    journal: {
      ...journal,
      keepTableStanding: async (standing: { isFrozen: boolean; tokenFloor: number }) => {
        await journal.keepTableStanding(standing);
        steps.push(`kept ${standing.isFrozen ? "frozen" : "free"} ${standing.tokenFloor / tokensPerEpoch}`);
      },
    },
    clock,
    copies: { list: async () => bench.copies },
    controlPlane: {
      tellInventory: async (report: InventoryReport) => {
        steps.push("told");
        bench.told.push(report);
        return bench.answer(report);
      },
    },
    log: (entry: { event: string }) => bench.logged.push(entry),
  } as unknown as RoleContext;
  const tableBack = new TableBack(context, {
    halt: () => {
      steps.push("halted");
      return bench.halted;
    },
    goOn: async () => {
      steps.push(tableBack.isFrozen ? "went on frozen" : "went on");
    },
    records: () => bench.records,
  });
  const beat = (changes: Partial<HeartbeatAnswer>) => {
    tableBack.heartbeatAnswered({ recovering: false, restoreEpoch: 0, ...changes } as HeartbeatAnswer);
    return settle();
  };
  const events = () => bench.logged.map(({ event }) => event);
  return Object.assign(bench, { tableBack, clock, journal, beat, events });
}

test("a host that hears of it halts at once, and keeps that before it tells; another refusal is none of this", async () => {
  for (const code of ["recovering", "table-went-back"]) {
    const bench = makeBench();
    bench.tableBack.hear("not-yours");
    assert.deepEqual([bench.tableBack.isFrozen, bench.steps], [false, []]);
    bench.tableBack.hear(code);
    assert.deepEqual([bench.tableBack.isFrozen, bench.steps], [true, ["halted"]]);
    bench.tableBack.hear(code);
    await settle();
    assert.deepEqual(bench.steps, ["halted", "kept frozen 0", "told"]);
    assert.deepEqual(bench.logged, [
      { event: "frozen", why: code },
      { event: "inventory-told", awaited: ["host-0"] },
    ]);
  }
});

test("B1: a restarted agent is still frozen, and tells with its next heartbeat, and with each one after", async () => {
  const disk = new MemoryJournalDisk();
  makeBench(disk).tableBack.hear("recovering");
  await settle();
  const again = makeBench(disk);
  assert.equal(again.tableBack.isFrozen, true);
  await again.beat({ recovering: true });
  await again.beat({ recovering: true });
  assert.deepEqual(again.steps, ["told", "told"]);
  assert.equal(makeBench().tableBack.isFrozen, false);
});

test("B1: nothing is told before it is kept that the host is frozen, which is tried until it is", async () => {
  const bench = makeBench();
  bench.disk.failing = true;
  await bench.beat({ recovering: true });
  await bench.beat({ recovering: true });
  assert.deepEqual(bench.steps, ["halted"]);
  assert.deepEqual(bench.events(), ["frozen", "recovery-step-failed"]);
  bench.disk.failing = false;
  assert.equal(bench.clock.nextAtMs(), 1000);
  bench.clock.step();
  await settle();
  assert.deepEqual(bench.steps, ["halted", "kept frozen 0", "told"]);
});

test("B2: what was begun before has come to its end when the host tells", async () => {
  const bench = makeBench();
  const { promise, resolve } = Promise.withResolvers<void>();
  bench.halted = promise;
  await bench.beat({ recovering: true });
  assert.deepEqual(bench.steps, ["halted"]);
  resolve();
  await settle();
  assert.deepEqual(bench.steps, ["halted", "kept frozen 0", "told"]);
});

test("B4: it goes on once it is kept that older tokens count no more", async () => {
  const bench = makeBench();
  await bench.beat({ recovering: true });
  bench.steps.splice(0);
  await bench.beat({ restoreEpoch: 2 });
  assert.deepEqual(bench.steps, ["kept free 2", "went on"]);
  assert.equal(bench.tableBack.isFrozen, false);
  assert.deepEqual(bench.logged.at(-1), { event: "thawed", tokenFloor: 2 * tokensPerEpoch });
  await bench.beat({ restoreEpoch: 2 });
  await bench.beat({ restoreEpoch: 1 });
  assert.deepEqual(bench.steps, ["kept free 2", "went on"], "nothing is new");
});

test("B4: while it cannot be kept the host stays frozen", async () => {
  const bench = makeBench();
  await bench.beat({ recovering: true });
  bench.steps.splice(0);
  bench.disk.failing = true;
  await bench.beat({ restoreEpoch: 2 });
  assert.deepEqual([bench.tableBack.isFrozen, bench.steps], [true, []]);
  bench.disk.failing = false;
  bench.clock.step();
  await settle();
  assert.deepEqual([bench.tableBack.isFrozen, bench.steps], [false, ["kept free 2", "went on"]]);
});

test("B4: a host that was frozen by a mistake goes on under the tokens that it knows", async () => {
  const bench = makeBench();
  await bench.journal.keepTableStanding({ isFrozen: false, tokenFloor: 3 * tokensPerEpoch });
  await bench.beat({ recovering: true });
  await bench.beat({ restoreEpoch: 3 });
  await bench.beat({ recovering: true });
  await bench.beat({ restoreEpoch: 1 });
  assert.deepEqual(
    bench.steps.filter((each) => each.startsWith("kept")),
    ["kept frozen 3", "kept free 3", "kept frozen 3", "kept free 3"],
  );
});

test("a host that missed the whole recovery takes the newer tokens from its next heartbeat, and nothing stops for it", async () => {
  const bench = makeBench();
  await bench.beat({ restoreEpoch: 1 });
  assert.deepEqual(bench.steps, ["kept free 1"]);
  assert.deepEqual(bench.logged, []);
  await bench.beat({ restoreEpoch: 0 });
  assert.deepEqual(bench.steps, ["kept free 1"]);
});

test("what cannot be told is told with the next heartbeat; why it could not is said", async () => {
  const bench = makeBench();
  bench.answer = () => ({ kind: "unknown", detail: "cut off" });
  await bench.beat({ recovering: true });
  assert.deepEqual(bench.logged.at(-1), { event: "inventory-not-taken", detail: "cut off" });
  bench.answer = () => ({ kind: "refused", problem: { code: "not-recovering" }, record: null }) as unknown as Told;
  await bench.beat({ recovering: true });
  assert.deepEqual(bench.logged.at(-1), { event: "inventory-not-taken", detail: "not-recovering" });
  bench.copies = [copyOf("copy_A", accountOf(), { failing: true })];
  await bench.beat({ recovering: true });
  assert.deepEqual(bench.logged.at(-1), { event: "inventory-not-told", error: "its supervisor does not answer" });
  assert.equal(bench.told.length, 2, "what a host has is told whole, or not at all");
  assert.equal(bench.clock.nextAtMs(), null);
});

test("an agent that has ended does nothing more of this, and begins nothing of it", async () => {
  const bench = makeBench();
  bench.disk.failing = true;
  await bench.beat({ recovering: true });
  bench.disk.failing = false;
  bench.tableBack.end();
  bench.clock.step();
  await bench.beat({ recovering: true });
  assert.deepEqual(bench.steps, ["halted"]);
  const late = makeBench();
  late.tableBack.end();
  await late.beat({ recovering: true });
  assert.deepEqual([late.tableBack.isFrozen, late.steps], [false, []]);
});

type Failing = { failing?: boolean; cancelled?: string[] };
function copyOf(copyId: string, account: CopyAccount, { failing = false, cancelled = [] }: Failing = {}): Copy {
  let stands = account;
  return {
    vmId: "vm-1",
    copyId,
    spec,
    migrationId: ulid("mig", 1),
    account: async () => {
      if (failing) throw new Error("its supervisor does not answer");
      return stands;
    },
    cancelAtGate: async () => {
      cancelled.push(copyId);
      const atGate = stands.atGate && { ...stands.atGate, isOver: true };
      stands = { ...stands, machine: "running", gate: "cancelled", atGate };
      return "cancelled";
    },
  } as unknown as Copy;
}

test("of each copy is told what its supervisor says of it", async () => {
  const bench = makeBench();
  const atGate = { migrationId: ulid("mig", 1), isOver: false };
  bench.copies = [
    copyOf("copy_A", accountOf({ machine: "stopped", gate: "past", atGate, wasPaused: true, lockToken: null })),
    copyOf(
      "copy_B",
      accountOf({ machine: "ended", ended: { how: "crashed", detail: "" }, lockFile: "held", lockToken: 9 }),
    ),
  ];
  await bench.beat({ recovering: true });
  const always = { vmId: "vm-1", spec, migrationId: ulid("mig", 1) };
  assert.deepEqual(bench.told[0]?.copies, [
    {
      ...always,
      copyId: "copy_A",
      machine: "stopped",
      lockToken: null,
      lockFile: null,
      gate: "past",
      isAtGate: true,
      wasPaused: true,
      ended: null,
    },
    {
      ...always,
      copyId: "copy_B",
      machine: "ended",
      lockToken: 9,
      lockFile: "held",
      gate: null,
      isAtGate: false,
      wasPaused: false,
      ended: "crashed",
    },
  ]);
});

test("B3: a guest at its gate and not past it is given back, and told of as it is then; no other is touched", async () => {
  const bench = makeBench();
  const cancelled: string[] = [];
  const atGate = { migrationId: ulid("mig", 1), isOver: false };
  const over = { ...atGate, isOver: true };
  const of = (copyId: string, changes: Partial<CopyAccount>) => copyOf(copyId, accountOf(changes), { cancelled });
  bench.copies = [
    of("copy_A", { machine: "stopped", atGate }),
    of("copy_B", { machine: "stopped", atGate, gate: "past" }),
    of("copy_C", { machine: "ended", atGate }),
    of("copy_D", { machine: "running", atGate: over }),
    of("copy_E", { machine: "running" }),
    of("copy_F", { machine: "stopped", atGate, gate: "cancelled" }),
  ];
  await bench.beat({ recovering: true });
  assert.deepEqual(cancelled, ["copy_A", "copy_F"]);
  assert.deepEqual(
    bench.told[0]?.copies.map(({ machine, isAtGate, gate }) => [machine, isAtGate, gate]),
    [
      ["running", false, "cancelled"],
      ["stopped", true, "past"],
      ["ended", true, null],
      ["running", false, null],
      ["running", false, null],
      ["running", false, "cancelled"],
    ],
  );
});

const entryOf = (number: number, changes: Partial<MigrationJournal> = {}): MigrationJournal => ({
  migrationId: ulid("mig", number),
  claimed: { role: "source", signed: signedAs(`assignment ${number}`), record: null } as MigrationJournal["claimed"],
  ...changes,
});
const signedAs = (payload: string) => ({ payload, signature: "" });
const recordAs = (payload: string) => ({ record: {}, signed: signedAs(payload) }) as ProvenRecord;

test("of each migration is told what the journal says, and the newest record that is known", async () => {
  const bench = makeBench();
  await bench.journal.write(entryOf(1));
  const claimed = { ...entryOf(2).claimed, role: "destination", record: recordAs("as claimed") } as const;
  const facts = { commitSent: true, runIntent: 3, runRefused: 2, arrivesPaused: true, relinquished: true } as const;
  await bench.journal.write(entryOf(2, { claimed, ...facts }));
  await bench.journal.write(entryOf(3, { claimed: { ...claimed, signed: signedAs("assignment 3") } }));
  await bench.journal.raiseToken("vm-1", 9);
  bench.records.set(ulid("mig", 3), recordAs("as read since"));
  await bench.beat({ recovering: true });
  const nothing = { commitSent: false, runIntent: 0, runRefused: 0, arrivesPaused: false, relinquished: false };
  const open = { ...nothing, over: false };
  assert.deepEqual(bench.told[0]?.migrations, [
    { role: "destination", assignment: signedAs("assignment 3"), record: signedAs("as read since"), ...open },
    {
      role: "destination",
      assignment: signedAs("assignment 2"),
      record: signedAs("as claimed"),
      ...facts,
      over: false,
    },
    { role: "source", assignment: signedAs("assignment 1"), record: null, ...open },
  ]);
  assert.deepEqual(bench.told[0]?.tokens, [{ vmId: "vm-1", fencingToken: 9 }]);
});

test("where there are too many migrations to tell, those that are not over come first, and then the newest", async () => {
  const bench = makeBench();
  for (let written = 0; written < 30; written++) {
    const number = ((written * 7) % 30) + 1;
    await bench.journal.write(entryOf(number, number <= 2 ? {} : { over: true }));
  }
  await bench.beat({ recovering: true });
  const numbers = [2, 1, ...Array.from({ length: 22 }, (_, index) => 30 - index)];
  assert.deepEqual(
    bench.told[0]?.migrations.map(({ assignment }) => assignment.payload),
    numbers.map((number) => `assignment ${number}`),
  );
});

test("a host with much to tell does so in pages, and ends where one is not taken", async () => {
  const bench = makeBench();
  bench.copies = Array.from({ length: 200 }, (_, index) => copyOf(ulid("copy", index), accountOf()));
  await bench.beat({ recovering: true });
  const pages = bench.told[0]?.page.of ?? 0;
  assert.ok(pages > 1);
  assert.equal(bench.told.length, pages);
  assert.deepEqual(bench.logged.at(-1), { event: "inventory-told", awaited: [`host-${pages - 1}`] });
  bench.told.splice(0);
  bench.answer = () => ({ kind: "unknown", detail: "cut off" });
  await bench.beat({ recovering: true });
  assert.equal(bench.told.length, 1);
});

test("every answer is handed on, and a refusal's code is told; not that of what is told while all is frozen", async () => {
  const heard: string[] = [];
  const asked: unknown[] = [];
  let answer: unknown = { kind: "answered" };
  const answering = async (argument?: unknown) => {
    asked.push(argument);
    return answer;
  };
  const plain = {
    heartbeat: answering,
    claim: answering,
    readRecord: answering,
    report: answering,
    tellInventory: answering,
    prove: async (...given: unknown[]) => given,
    controlPlaneNowMs: () => 77,
  } as unknown as ControlPlane;
  const watched = watchRefusals(plain, (code) => heard.push(code)) as unknown as {
    [name: string]: (...given: unknown[]) => unknown;
  };
  for (const name of ["heartbeat", "claim", "readRecord", "report", "tellInventory"]) {
    answer = { kind: "answered" };
    asked.splice(0);
    assert.equal(await watched[name]?.(name), answer);
    assert.deepEqual(asked, name === "claim" ? [undefined] : [name]);
    answer = { kind: "unknown", detail: "" };
    assert.equal(await watched[name]?.(name), answer);
    answer = { kind: "refused", problem: { code: name } };
    assert.equal(await watched[name]?.(name), answer);
  }
  assert.deepEqual(heard, ["heartbeat", "claim", "readRecord", "report"]);
  assert.deepEqual(await watched["prove"]?.("signed", "mig_1"), ["signed", "mig_1"]);
  assert.equal(watched["controlPlaneNowMs"]?.(), 77);
});
