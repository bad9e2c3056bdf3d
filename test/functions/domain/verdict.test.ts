// The commit rule, cell by cell: every verdict under every event, by the right host, by the wrong one, under a stale token.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decideVerdict,
  isOfHost,
  ownerBy,
  type Verdict,
  type VerdictEvent,
  verdictEventKinds,
  verdictKinds,
} from "../../../functions/domain/verdict.ts";

const ends = {
  source: { hostId: "host-a", copyId: "copy_A" },
  destination: { hostId: "host-b", copyId: "copy_B" },
  openedUnderToken: 7,
};
const third = { hostId: "host-c", copyId: "copy_C" };
const cause = { reason: "stream-failed", detail: "cut" } as const;

const verdicts: { [name: string]: Verdict } = {
  open: { kind: "open", token: 7 },
  committed: { kind: "committed", token: 8, confirmed: null },
  "committed, confirmed": { kind: "committed", token: 8, confirmed: { outcome: "running", detail: "" } },
  "aborted by source": { kind: "aborted", token: 8, by: "source", ...cause },
  "aborted by destination": { kind: "aborted", token: 8, by: "destination", ...cause },
  "aborted by control-plane": { kind: "aborted", token: 8, by: "control-plane", ...cause },
  returned: { kind: "returned", token: 9, ...cause },
  forced: { kind: "forced", token: 8, owner: third, statement: "host-a is off" },
  "forced back": { kind: "forced", token: 9, owner: ends.source, statement: "host-b is off" },
};

const events: { [name: string]: VerdictEvent } = {
  "destination-commits": { kind: "destination-commits", by: "host-b", fencingToken: 7 },
  "source-aborts": { kind: "source-aborts", by: "host-a", fencingToken: 7, ...cause },
  "destination-aborts": { kind: "destination-aborts", by: "host-b", fencingToken: 7, ...cause },
  "control-plane-aborts, unclaimed": { kind: "control-plane-aborts", sourceHasClaimed: false, ...cause },
  "control-plane-aborts, claimed": { kind: "control-plane-aborts", sourceHasClaimed: true, ...cause },
  "destination-returns": { kind: "destination-returns", by: "host-b", fencingToken: 7, ...cause },
  "guest-confirmed": { kind: "guest-confirmed", by: "host-b", fencingToken: 7, outcome: "running", detail: "" },
  "source-takes-back, asked": {
    kind: "source-takes-back",
    by: "host-a",
    fencingToken: 7,
    asked: { statement: "host-b is off", refused: null },
  },
  "source-takes-back, unasked": { kind: "source-takes-back", by: "host-a", fencingToken: 7, asked: null },
  "operator-forces, none lost": forces(false, false),
  "operator-forces, source lost": forces(true, false),
  "operator-forces, destination lost": forces(false, true),
  "operator-forces, both lost": forces(true, true),
};

function forces(source: boolean, destination: boolean): VerdictEvent {
  return { kind: "operator-forces", owner: third, lost: { source, destination }, statement: "both are off" };
}

/** What each cell answers: a verdict with its token and owner, "unchanged", or the problem. */
const table: { [verdict: string]: string[] } = {
  open: [
    "committed 8 b",
    "aborted 8 a",
    "aborted 8 a",
    "aborted 8 a",
    "source-has-claimed",
    "not-committed",
    "not-committed",
    "not-committed",
    "not-committed",
    "host-may-decide",
    "host-may-decide",
    "host-may-decide",
    "forced 8 c",
  ],
  committed: [
    "unchanged",
    ...Array(4).fill("already-committed"),
    "returned 9 a",
    "committed 8 b",
    "forced 9 a",
    "take-back-not-asked",
    "host-may-decide",
    "host-may-decide",
    "forced 9 c",
    "forced 9 c",
  ],
  "committed, confirmed": [
    "unchanged",
    ...Array(4).fill("already-committed"),
    "already-confirmed",
    "unchanged",
    ...Array(6).fill("already-confirmed"),
  ],
  "aborted by source": ["already-aborted", "unchanged", ...Array(11).fill("already-aborted")],
  "aborted by destination": ["already-aborted", "already-aborted", "unchanged", ...Array(10).fill("already-aborted")],
  "aborted by control-plane": [
    ...Array(3).fill("already-aborted"),
    "unchanged",
    "unchanged",
    ...Array(8).fill("already-aborted"),
  ],
  returned: [...Array(5).fill("already-returned"), "unchanged", ...Array(7).fill("already-returned")],
  forced: [...Array(9).fill("already-forced"), ...Array(4).fill("unchanged")],
  "forced back": [...Array(7).fill("already-forced"), "unchanged", "unchanged", ...Array(4).fill("already-forced")],
};

for (const [verdictName, verdict] of Object.entries(verdicts)) {
  for (const [index, [eventName, event]] of Object.entries(events).entries()) {
    const expected = table[verdictName]?.[index];
    test(`${verdictName} × ${eventName}: ${expected}`, () => {
      const decision = decideVerdict(verdict, event, ends);
      if (decision.kind === "unchanged") assert.equal("unchanged", expected);
      else if (decision.kind === "refuse") assert.equal(decision.problem, expected);
      else {
        const owner = ownerBy(decision.verdict, ends).hostId.slice(-1);
        assert.equal(`${decision.verdict.kind} ${decision.verdict.token} ${owner}`, expected);
      }
    });
  }
}

test("the table above has every verdict and every event of the machine", () => {
  assert.deepEqual(
    [...new Set(Object.values(verdicts).map((verdict) => verdict.kind))].sort(),
    [...verdictKinds].sort(),
  );
  assert.deepEqual(
    [...new Set(Object.values(events).map((event) => event.kind))].sort(),
    [...verdictEventKinds].sort(),
  );
  for (const cells of Object.values(table)) assert.equal(cells.length, Object.keys(events).length);
});

test("V1: under any other token than the one the migration opened under, nothing moves", () => {
  for (const verdict of Object.values(verdicts)) {
    for (const event of Object.values(events)) {
      if (!isOfHost(event)) continue;
      for (const fencingToken of [0, 6, 8, 9, 100]) {
        const decision = decideVerdict(verdict, { ...event, fencingToken }, ends);
        assert.deepEqual(decision, { kind: "refuse", problem: "stale-fencing-token" });
      }
    }
  }
});

test("V2: a host speaks for its own part alone", () => {
  for (const verdict of Object.values(verdicts)) {
    for (const event of Object.values(events)) {
      if (!isOfHost(event)) continue;
      for (const by of [event.by === "host-a" ? "host-b" : "host-a", "host-c"]) {
        assert.deepEqual(decideVerdict(verdict, { ...event, by }, ends), { kind: "refuse", problem: "not-yours" });
      }
    }
  }
});

test("V7: no event ever lowers the token, and every new verdict raises it by one", () => {
  for (const verdict of Object.values(verdicts)) {
    for (const event of Object.values(events)) {
      const decision = decideVerdict(verdict, event, ends);
      if (decision.kind !== "move") continue;
      const isNew = decision.verdict.kind !== verdict.kind;
      assert.equal(decision.verdict.token, verdict.token + (isNew ? 1 : 0));
    }
  }
});

test("an abort says who made it, and is known again by that one alone", () => {
  const aborts = {
    source: events["source-aborts"],
    destination: events["destination-aborts"],
    "control-plane": events["control-plane-aborts, unclaimed"],
  };
  for (const [by, event] of Object.entries(aborts)) {
    assert.ok(event);
    const made = decideVerdict({ kind: "open", token: 7 }, event, ends);
    assert.ok(made.kind === "move" && made.verdict.kind === "aborted");
    assert.equal(made.verdict.by, by);
    for (const [other, again] of Object.entries(aborts)) {
      assert.ok(again);
      assert.equal(
        decideVerdict(made.verdict, again, ends).kind,
        other === by ? "unchanged" : "refuse",
        `${by}, ${other}`,
      );
    }
  }
});

test("what hosts say is theirs alone and under a token; the control plane and operators have neither", () => {
  const ofHosts = verdictEventKinds.filter((kind) => {
    const event = Object.values(events).find((each) => each.kind === kind);
    return event && isOfHost(event);
  });
  assert.deepEqual(ofHosts, [
    "destination-commits",
    "source-aborts",
    "destination-aborts",
    "destination-returns",
    "guest-confirmed",
    "source-takes-back",
  ]);
});

test("a confirmation carries how often the guest was reset at its source, when it says so", () => {
  const confirmed = (resets: object) => {
    const event = { ...events["guest-confirmed"], ...resets } as VerdictEvent;
    const decision = decideVerdict({ kind: "committed", token: 8, confirmed: null }, event, ends);
    return decision.kind === "move" && decision.verdict.kind === "committed" ? decision.verdict.confirmed : null;
  };
  assert.deepEqual(confirmed({ resetsAtSource: 2 }), { outcome: "running", detail: "", resetsAtSource: 2 });
  assert.deepEqual(confirmed({}), { outcome: "running", detail: "" });
});
