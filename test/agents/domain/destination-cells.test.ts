// The destination's machine, cell by cell: each situation it can be in, and what each event does there. The promises that
// the cells keep together are in destination.test.ts; here no cell is left out.
import {
  advanceDestination,
  beginDestination,
  type DestinationEvent,
  type DestinationState,
} from "../../../agents/domain/destination.ts";
import type { MigrationRecord, VerdictKind } from "../../../schemas/migration.ts";
import { type Cells, testCells } from "../../support/cells.ts";

const own = { hostId: "host-b", copyId: "copy_B" };
const peer = { hostId: "host-a", copyId: "copy_A" };
const third = { hostId: "host-c", copyId: "copy_C" };
const begun = beginDestination({ migrationId: "mig_1", vmId: "vm-1", openToken: 7, own, peer }, 0);

function record(verdict: VerdictKind, changes: Partial<MigrationRecord> = {}): MigrationRecord {
  return {
    type: "drover-record-1",
    clusterId: "demo",
    migrationId: "mig_1",
    vmId: "vm-1",
    openedUnderToken: 7,
    source: peer,
    destination: own,
    verdict,
    verdictToken: verdict === "open" ? 7 : 8,
    owner: verdict === "committed" ? own : peer,
    confirmed: false,
    cancelRequested: null,
    issuedAt: 0,
    ...changes,
  };
}
const known = (verdict: VerdictKind, changes: Partial<MigrationRecord> = {}): DestinationEvent => ({
  kind: "record-known",
  record: record(verdict, changes),
});
const cancelled = record("open", { cancelRequested: "cancelled-by-user" });
const paused = record("committed", { arrivesPaused: true });
const returned = record("returned", { verdictToken: 9 });

/** All that happened so far, at one second. */
function after(...happened: DestinationEvent[]): DestinationState {
  return happened.reduce((state, event) => advanceDestination(state, event, 1000).state, begun);
}
const started: DestinationEvent = { kind: "started", isExpired: false };
const endpoint = { address: "127.0.0.12", port: 4000 };
const preparing: DestinationEvent[] = [started, { kind: "launched" }, { kind: "peer-linked" }];
const loading: DestinationEvent[] = [...preparing, { kind: "receiving", endpoint }];
const failed: DestinationEvent = { kind: "stream-failed", detail: "cut" };
const loaded: DestinationEvent[] = [...loading, { kind: "loaded" }];
const committing: DestinationEvent[] = [...loaded, { kind: "journalled", what: "commit-sent" }];
const starting: DestinationEvent[] = [...committing, known("committed")];
const trying: DestinationEvent[] = [...starting, { kind: "journalled", what: "run-intent" }];
const confirming: DestinationEvent[] = [...trying, { kind: "run-answered", answer: "granted", detail: "" }];
const refused: DestinationEvent = { kind: "run-answered", answer: "refused", detail: "lock-held" };
const sourceComplete: DestinationEvent = { kind: "peer-said", message: { kind: "source-complete" } };
const askWord: DestinationEvent = { kind: "peer-said", message: { kind: "ask-relinquish", nonce: "n-1" } };
const unknown: DestinationEvent = { kind: "record-unknown" };
const journalled = (what: "commit-sent" | "run-intent" | "run-refused" | "relinquished"): DestinationEvent => ({
  kind: "journalled",
  what,
});
const destroyed: DestinationEvent = { kind: "destroyed" };
const ended: DestinationEvent = { kind: "guest-ended", how: "killed", detail: "signal 9" };
const incomplete: DestinationEvent[] = [...loading, failed, { kind: "machine-seen", machine: "incomplete" }];
const answered = (
  report: "destination-commits" | "destination-aborts" | "destination-returns" | "guest-confirmed" | "copy-seen",
  outcome: "applied" | "refused" | "later" | "unknown",
  said: MigrationRecord | null = null,
): DestinationEvent => ({ kind: "report-answered", report, outcome, record: said });

/** Refused so often that the guest is to go back. */
const spent = (): DestinationEvent[] => {
  const attempt = [refused, journalled("run-refused"), { kind: "woke" }, journalled("run-intent")] as const;
  return [...trying, ...Array.from({ length: 9 }, () => attempt).flat()];
};
const returning: DestinationEvent[] = [...spent(), sourceComplete, refused, journalled("run-refused")];

const situations: { [name: string]: DestinationState } = {
  preparing: after(started),
  "preparing, asked for the word": after(...preparing, askWord),
  loading: after(...loading),
  "loading, asked for the word": after(...loading, askWord),
  "loading, unlinked": after(...loading, { kind: "peer-lost" }),
  "loading, cancelled": after(...loading, { kind: "record-known", record: cancelled }),
  "loading, cancelled, seen": after(...loading, { kind: "record-known", record: cancelled }, { kind: "woke" }),
  settling: after(...loading, failed),
  "settling, asked for the word": after(...loading, failed, askWord),
  intending: after(...loaded),
  committing: after(...committing),
  "committing, open for sure": after(...committing, known("open")),
  "committing, asked for the word": after(...committing, askWord),
  starting: after(...starting),
  "starting, let run": after(...trying),
  "starting, let run, paused": after(...committing, { kind: "record-known", record: paused }, journalled("run-intent")),
  "starting, let run again": after(...trying, refused, journalled("run-refused"), { kind: "woke" }),
  refused: after(...trying, refused),
  "refused, journalled": after(...trying, refused, journalled("run-refused")),
  "refused, source complete": after(...trying, sourceComplete, refused, journalled("run-refused")),
  "refused, tries spent": after(...spent(), refused, journalled("run-refused")),
  "refused, tries spent, not journalled": after(...spent(), sourceComplete, refused),
  confirming: after(...confirming),
  "confirming, reset at its source": after(
    { kind: "peer-said", message: { kind: "guest-stands", resets: 3 } },
    ...confirming,
  ),
  "confirming, ended": after(...confirming, ended),
  returning: after(...returning),
  "returning, gone": after(...returning, destroyed),
  discarding: after(...incomplete),
  "discarding, superseded": after(...committing, known("aborted")),
  "discarding, committed": after(...preparing, known("committed")),
  aborting: after(...incomplete, destroyed),
  "aborting, asked for the word": after(...incomplete, destroyed, askWord),
  "aborting, commit sent": after(...committing, ended, askWord),
  relinquishing: after(...loading, askWord, unknown),
  "relinquishing, journalled": after(...loading, askWord, unknown, journalled("relinquished")),
  "relinquishing, gone": after(...incomplete, destroyed, askWord, unknown),
  relinquished: after(...loading, askWord, unknown, journalled("relinquished"), destroyed),
  lost: after(...trying, ended),
  reporting: after(...confirming, answered("guest-confirmed", "applied")),
  "reporting, gone": after(...incomplete, destroyed, answered("destination-aborts", "applied")),
  "reporting, gone since": after(...confirming, answered("guest-confirmed", "applied"), ended),
  over: after(...confirming, answered("guest-confirmed", "applied"), answered("copy-seen", "applied")),
};

/** Where only the event is given, half a second later. */
const events: { [name: string]: DestinationEvent | readonly [DestinationEvent, number] } = {
  started,
  "started, expired": { kind: "started", isExpired: true },
  launched: { kind: "launched" },
  "launch-failed": { kind: "launch-failed", detail: "no image" },
  listening: { kind: "listening" },
  "listen-failed": { kind: "listen-failed", detail: "in use" },
  "listen-failed, just before 3 s": [{ kind: "listen-failed", detail: "in use" }, 3999],
  "listen-failed, after 3 s": [{ kind: "listen-failed", detail: "in use" }, 4000],
  receiving: { kind: "receiving", endpoint },
  "peer-linked": { kind: "peer-linked" },
  "peer-lost": { kind: "peer-lost" },
  "ask-gate": { kind: "peer-said", message: { kind: "ask-gate", ask: 4 } },
  "source-complete": sourceComplete,
  "guest-stands": { kind: "peer-said", message: { kind: "guest-stands", resets: 2 } },
  "ask-relinquish": { kind: "peer-said", message: { kind: "ask-relinquish", nonce: "n-2" } },
  "peer says, failed": { kind: "peer-said", message: { kind: "failed", reason: "guest-ended", detail: "off" } },
  "peer says, loaded": { kind: "peer-said", message: { kind: "loaded" } },
  loaded: { kind: "loaded" },
  "stream-failed": failed,
  "gate-read, open": { kind: "gate-read", ask: 4, record: record("open") },
  "gate-read, none": { kind: "gate-read", ask: 4, record: null },
  "gate-read, cancelled": { kind: "gate-read", ask: 4, record: cancelled },
  "gate-read, aborted": { kind: "gate-read", ask: 4, record: record("aborted") },
  "gate-read, committed": { kind: "gate-read", ask: 4, record: record("committed") },
  "journalled commit-sent": journalled("commit-sent"),
  "journalled run-intent": journalled("run-intent"),
  "journalled run-refused": journalled("run-refused"),
  "journalled relinquished": journalled("relinquished"),
  "journal-failed": { kind: "journal-failed", detail: "disk full" },
  "run granted": { kind: "run-answered", answer: "granted", detail: "" },
  "run refused": refused,
  "run unknown": { kind: "run-answered", answer: "unknown", detail: "" },
  "machine running": { kind: "machine-seen", machine: "running" },
  "machine complete": { kind: "machine-seen", machine: "complete" },
  "machine incomplete": { kind: "machine-seen", machine: "incomplete" },
  "machine ended": { kind: "machine-seen", machine: "ended" },
  "guest killed": { kind: "guest-ended", how: "killed", detail: "signal 9" },
  "guest powered off": { kind: "guest-ended", how: "powered-off", detail: "by its user" },
  "guest crashed": { kind: "guest-ended", how: "crashed", detail: "panic" },
  "record open": known("open"),
  "record open, cancelled": { kind: "record-known", record: cancelled },
  "record committed": known("committed"),
  "record committed, naming another copy": known("committed", { owner: third }),
  "record confirmed": known("committed", { confirmed: true }),
  "record aborted": known("aborted"),
  "record aborted, under the old token": known("aborted", { verdictToken: 7 }),
  "record aborted, naming this copy": known("aborted", { owner: own }),
  "record returned": { kind: "record-known", record: returned },
  "record forced, naming another copy": known("forced", { verdictToken: 9, owner: third }),
  "record forced, naming this copy": known("forced", { verdictToken: 9, owner: own }),
  "record of another migration": known("aborted", { migrationId: "mig_2" }),
  "record-unknown": unknown,
  "record-refused": { kind: "record-refused" },
  "commit applied": answered("destination-commits", "applied", record("committed")),
  "commit refused": answered("destination-commits", "refused"),
  "commit refused, aborted": answered("destination-commits", "refused", record("aborted")),
  "commit later": answered("destination-commits", "later"),
  "commit unknown": answered("destination-commits", "unknown"),
  "abort applied": answered("destination-aborts", "applied"),
  "abort applied, with the record": answered("destination-aborts", "applied", record("aborted")),
  "abort refused": answered("destination-aborts", "refused"),
  "abort refused, committed": answered("destination-aborts", "refused", record("committed")),
  "abort unknown": answered("destination-aborts", "unknown"),
  "return applied": answered("destination-returns", "applied", returned),
  "return refused": answered("destination-returns", "refused"),
  "return refused, confirmed": answered("destination-returns", "refused", record("committed", { confirmed: true })),
  "confirmation applied": answered("guest-confirmed", "applied"),
  "confirmation applied, with the record": answered(
    "guest-confirmed",
    "applied",
    record("committed", { confirmed: true, verdictToken: 9 }),
  ),
  "confirmation refused": answered("guest-confirmed", "refused"),
  "confirmation later": answered("guest-confirmed", "later"),
  "confirmation unknown": answered("guest-confirmed", "unknown"),
  "last report applied": answered("copy-seen", "applied"),
  "last report refused": answered("copy-seen", "refused"),
  "last report later": answered("copy-seen", "later"),
  "last report unknown": answered("copy-seen", "unknown"),
  destroyed,
  woke: { kind: "woke" },
  "woke, after 5 s": [{ kind: "woke" }, 6000],
  "woke, after more than 5 s": [{ kind: "woke" }, 6001],
  "woke, after 10 s": [{ kind: "woke" }, 11_000],
  "woke, after more than 10 s": [{ kind: "woke" }, 11_001],
  "woke, after 30 s": [{ kind: "woke" }, 31_000],
  "woke, after more than 30 s": [{ kind: "woke" }, 31_001],
};

const cells: Cells = {
  preparing: {
    started: "startedAtMs=1500: launch-copy; expect-peer; wake(1000)",
    "started, expired":
      "discarding, withdrawal=(preparation-failed, the assignment had expired before this host could begin it): destroy-copy",
    launched: "open-stream",
    "launch-failed": "discarding, withdrawal=(preparation-failed, no image): destroy-copy",
    "listen-failed, after 3 s":
      "discarding, withdrawal=(preparation-failed, the peer link cannot be opened: in use): destroy-copy",
    receiving: "loading, startedAtMs=1500: say ready((127.0.0.12, 4000)); wake(1000)",
    "peer-linked": "isLinked=true",
    "ask-gate": "read-gate(4)",
    "source-complete": "sourceIsComplete=true",
    "guest-stands": "resetsAtSource=2",
    "ask-relinquish": "nonce=n-2: read-record",
    "peer says, failed": "discarding, withdrawal=(guest-ended, off): destroy-copy",
    "gate-read, open | gate-read, none": "say gate-shut(4)",
    "gate-read, cancelled":
      "discarding, withdrawal=(cancelled-by-user, asked for by a user): say gate-shut(4); destroy-copy",
    "gate-read, aborted | gate-read, committed": "discarding: say gate-shut(4); destroy-copy",
    "guest killed":
      "aborting, isGone=true, withdrawal=(destination-lost-copy, killed: signal 9): destination-aborts(7, destination-lost-copy, killed: signal 9)",
    "guest powered off":
      "aborting, isGone=true, withdrawal=(destination-lost-copy, powered-off: by its user): destination-aborts(7, destination-lost-copy, powered-off: by its user)",
    "guest crashed":
      "aborting, isGone=true, withdrawal=(destination-lost-copy, crashed: panic): destination-aborts(7, destination-lost-copy, crashed: panic)",
    "record open, cancelled": "discarding, withdrawal=(cancelled-by-user, asked for by a user): destroy-copy",
    "record committed | record confirmed | record aborted | record returned | record forced, naming another copy":
      "discarding: destroy-copy",
    "record committed, naming another copy | record aborted, under the old token | record aborted, naming this copy":
      "nothing",
    woke: "wake(1000)",
    "woke, after more than 30 s":
      "discarding, withdrawal=(peer-unreachable, the source did not come within 30 s): destroy-copy",
  },
  "preparing, asked for the word": {
    "peer-linked": "nothing",
    "peer-lost": "isLinked=false",
    "record-unknown": "relinquishing: journal(relinquished)",
  },
  loading: {
    "peer-lost": "isLinked=false, startedAtMs=1500",
    "ask-gate": "read-gate(4)",
    "source-complete": "sourceIsComplete=true",
    "guest-stands": "resetsAtSource=2",
    "ask-relinquish": "nonce=n-2: read-record",
    "peer says, failed": "settling, withdrawal=(guest-ended, off): settle-stream",
    loaded: "intending: say loaded; journal(commit-sent)",
    "stream-failed": "settling, withdrawal=(stream-failed, cut): settle-stream",
    "gate-read, open": "say gate-open(4)",
    "gate-read, none | gate-read, cancelled | gate-read, committed": "say gate-shut(4)",
    "gate-read, aborted": "discarding: say gate-shut(4); destroy-copy",
    "guest killed":
      "aborting, isGone=true, withdrawal=(destination-lost-copy, killed: signal 9): destination-aborts(7, destination-lost-copy, killed: signal 9)",
    "guest powered off":
      "aborting, isGone=true, withdrawal=(destination-lost-copy, powered-off: by its user): destination-aborts(7, destination-lost-copy, powered-off: by its user)",
    "guest crashed":
      "aborting, isGone=true, withdrawal=(destination-lost-copy, crashed: panic): destination-aborts(7, destination-lost-copy, crashed: panic)",
    "record aborted | record returned | record forced, naming another copy": "discarding: destroy-copy",
    "record aborted, under the old token | record aborted, naming this copy": "nothing",
    woke: "wake(1000)",
  },
  "loading, asked for the word": {
    "record-unknown": "relinquishing: journal(relinquished)",
  },
  "loading, unlinked": {
    "peer-linked": "isLinked=true",
    "peer-lost": "startedAtMs=1500",
    "woke, after more than 5 s | woke, after 10 s | woke, after more than 10 s | woke, after 30 s | woke, after more than 30 s":
      "settling, withdrawal=(peer-unreachable, the peer link broke before the guest had arrived): settle-stream",
  },
  "loading, cancelled": {
    woke: "cancelKnownAtMs=1500: wake(1000)",
    "woke, after 5 s": "cancelKnownAtMs=6000: wake(1000)",
    "woke, after more than 5 s": "cancelKnownAtMs=6001: wake(1000)",
    "woke, after 10 s": "cancelKnownAtMs=11000: wake(1000)",
    "woke, after more than 10 s": "cancelKnownAtMs=11001: wake(1000)",
    "woke, after 30 s": "cancelKnownAtMs=31000: wake(1000)",
    "woke, after more than 30 s": "cancelKnownAtMs=31001: wake(1000)",
  },
  "loading, cancelled, seen": {
    "woke | woke, after 5 s | woke, after more than 5 s | woke, after 10 s": "wake(1000)",
    "woke, after more than 10 s | woke, after 30 s | woke, after more than 30 s":
      "settling, withdrawal=(cancelled-by-user, asked for by a user; the source did not act on it): settle-stream",
  },
  settling: {
    "peer-lost": "isLinked=false",
    "ask-gate": "read-gate(4)",
    "source-complete": "sourceIsComplete=true",
    "guest-stands": "resetsAtSource=2",
    "ask-relinquish": "nonce=n-2: read-record",
    "gate-read, open | gate-read, none | gate-read, cancelled | gate-read, committed": "say gate-shut(4)",
    "gate-read, aborted": "discarding: say gate-shut(4); destroy-copy",
    "machine running | machine complete": "intending: say loaded; journal(commit-sent)",
    "machine incomplete | record aborted | record returned | record forced, naming another copy":
      "discarding: destroy-copy",
    "machine ended | guest killed | guest powered off | guest crashed":
      "aborting, isGone=true: destination-aborts(7, stream-failed, cut)",
    "record aborted, under the old token | record aborted, naming this copy": "nothing",
    woke: "settle-stream",
  },
  "settling, asked for the word": {
    "record-unknown": "relinquishing: journal(relinquished)",
  },
  intending: {
    "peer-lost": "isLinked=false",
    "ask-gate": "read-gate(4)",
    "source-complete": "sourceIsComplete=true",
    "guest-stands": "resetsAtSource=2",
    "ask-relinquish": "nonce=n-2: read-record",
    "gate-read, open | gate-read, none | gate-read, cancelled": "say gate-shut(4)",
    "gate-read, aborted": "discarding: say gate-shut(4); destroy-copy",
    "gate-read, committed": "starting, runIntent=1: say gate-shut(4); journal(run-intent, 1)",
    "journalled commit-sent": "committing, commitSent=true: destination-commits(7)",
    "journal-failed": "wake(300)",
    "guest killed":
      "aborting, isGone=true, withdrawal=(destination-lost-copy, killed: signal 9): destination-aborts(7, destination-lost-copy, killed: signal 9)",
    "guest powered off":
      "aborting, isGone=true, withdrawal=(destination-lost-copy, powered-off: by its user): destination-aborts(7, destination-lost-copy, powered-off: by its user)",
    "guest crashed":
      "aborting, isGone=true, withdrawal=(destination-lost-copy, crashed: panic): destination-aborts(7, destination-lost-copy, crashed: panic)",
    "record committed | record confirmed": "starting, runIntent=1: journal(run-intent, 1)",
    "record committed, naming another copy | record aborted, under the old token | record aborted, naming this copy":
      "nothing",
    "record aborted | record returned | record forced, naming another copy": "discarding: destroy-copy",
    woke: "journal(commit-sent)",
  },
  committing: {
    "peer-lost": "isLinked=false",
    "ask-gate": "read-gate(4)",
    "source-complete": "sourceIsComplete=true",
    "guest-stands": "resetsAtSource=2",
    "ask-relinquish": "nonce=n-2: read-record",
    "gate-read, open | gate-read, cancelled": "say gate-shut(4); destination-commits(7)",
    "gate-read, none": "say gate-shut(4)",
    "gate-read, aborted": "discarding: say gate-shut(4); destroy-copy",
    "gate-read, committed": "starting, runIntent=1: say gate-shut(4); journal(run-intent, 1)",
    "guest killed":
      "aborting, isGone=true, withdrawal=(destination-lost-copy, killed: signal 9): destination-aborts(7, destination-lost-copy, killed: signal 9)",
    "guest powered off":
      "aborting, isGone=true, withdrawal=(destination-lost-copy, powered-off: by its user): destination-aborts(7, destination-lost-copy, powered-off: by its user)",
    "guest crashed":
      "aborting, isGone=true, withdrawal=(destination-lost-copy, crashed: panic): destination-aborts(7, destination-lost-copy, crashed: panic)",
    "record open": "destination-commits(7)",
    "record committed | record confirmed | commit applied": "starting, runIntent=1: journal(run-intent, 1)",
    "record committed, naming another copy | record aborted, under the old token | record aborted, naming this copy":
      "nothing",
    "record aborted | record returned | record forced, naming another copy | commit refused, aborted":
      "discarding: destroy-copy",
    "commit refused | commit later": "wake(300)",
    "commit unknown": "wake(50)",
    woke: "read-record; wake(1000)",
  },
  "committing, open for sure": {
    "record of another migration": "destination-commits(7)",
  },
  "committing, asked for the word": {},
  starting: {
    "peer-linked": "relay-record",
    "peer-lost": "isLinked=false",
    "ask-gate": "read-gate(4)",
    "source-complete": "sourceIsComplete=true",
    "guest-stands": "resetsAtSource=2",
    "ask-relinquish": "nonce=n-2: read-record",
    "gate-read, open | gate-read, none | gate-read, cancelled | gate-read, committed": "say gate-shut(4)",
    "gate-read, aborted": "discarding: say gate-shut(4); destroy-copy",
    "journalled run-intent": "intentJournalled=1: run-copy(8, false)",
    "journal-failed": "refused: wake(300)",
    "run granted | machine running": "confirming: say arrived(0); guest-confirmed(7, running, )",
    "run refused": "refused, withdrawal=(run-refused, lock-held), triesLeft=9: journal(run-refused, 1)",
    "run unknown | woke": "look-at-machine",
    "machine ended": "lost, isGone=true, outcome=guest-lost: guest-confirmed(7, guest-lost, )",
    "guest killed":
      "lost, isGone=true, withdrawal=(destination-lost-copy, killed: signal 9), outcome=guest-lost: guest-confirmed(7, guest-lost, killed: signal 9)",
    "guest powered off":
      "confirming, isGone=true, withdrawal=(destination-lost-copy, powered-off: by its user), outcome=ended: guest-confirmed(7, ended, powered-off: by its user)",
    "guest crashed":
      "confirming, isGone=true, withdrawal=(destination-lost-copy, crashed: panic), outcome=ended: guest-confirmed(7, ended, crashed: panic)",
    "record aborted | record returned | record forced, naming another copy": "discarding: destroy-copy",
    "record aborted, under the old token | record aborted, naming this copy": "nothing",
  },
  "starting, let run": {
    "journalled run-intent | machine complete | machine incomplete": "run-copy(8, false)",
  },
  "starting, let run, paused": {
    "journalled run-intent | machine complete | machine incomplete": "run-copy(8, true)",
    "run granted": "confirming, outcome=paused: say arrived(0); guest-confirmed(7, paused, )",
  },
  "starting, let run again": {
    "journalled run-intent": "intentJournalled=2: run-copy(8, false)",
    "run refused": "refused, triesLeft=8: journal(run-refused, 2)",
    "machine ended | guest killed": "lost, isGone=true, outcome=guest-lost: guest-confirmed(7, guest-lost, lock-held)",
    "guest powered off | guest crashed": "confirming, isGone=true, outcome=ended: guest-confirmed(7, ended, lock-held)",
  },
  refused: {
    "peer-linked": "relay-record",
    "peer-lost": "isLinked=false",
    "ask-gate": "read-gate(4)",
    "source-complete": "sourceIsComplete=true",
    "guest-stands": "resetsAtSource=2",
    "ask-relinquish": "nonce=n-2: read-record",
    "gate-read, open | gate-read, none | gate-read, cancelled | gate-read, committed": "say gate-shut(4)",
    "gate-read, aborted": "discarding: say gate-shut(4); destroy-copy",
    "journalled run-refused": "runRefused=1: wake(300)",
    "journal-failed": "wake(300)",
    "guest killed | guest powered off | guest crashed":
      "lost, isGone=true, outcome=guest-lost: guest-confirmed(7, guest-lost, lock-held)",
    "record aborted | record returned | record forced, naming another copy": "discarding: destroy-copy",
    "record aborted, under the old token | record aborted, naming this copy": "nothing",
    woke: "journal(run-refused, 1)",
  },
  "refused, journalled": {
    "source-complete": "sourceIsComplete=true: wake(300)",
    "journalled run-refused": "wake(300)",
    "guest killed | guest powered off | guest crashed":
      "returning, isGone=true: destination-returns(7, run-refused, lock-held)",
    woke: "starting, runIntent=2: journal(run-intent, 2)",
  },
  "refused, source complete": {
    "peer-lost": "isLinked=false, sourceIsComplete=false",
    "source-complete | journalled run-refused": "wake(300)",
    "peer says, failed": "sourceIsComplete=false",
    "guest killed | guest powered off | guest crashed":
      "returning, isGone=true: destination-returns(7, run-refused, lock-held)",
    woke: "starting, runIntent=2: journal(run-intent, 2)",
  },
  "refused, tries spent": {
    "source-complete": "returning, sourceIsComplete=true: destroy-copy",
    "journalled run-refused": "wake(300)",
    "guest killed | guest powered off | guest crashed":
      "returning, isGone=true: destination-returns(7, run-refused, lock-held)",
    woke: "starting, runIntent=11: read-record; journal(run-intent, 11)",
  },
  "refused, tries spent, not journalled": {
    "peer-lost": "isLinked=false, sourceIsComplete=false",
    "source-complete": "nothing",
    "peer says, failed": "sourceIsComplete=false",
    "journalled run-refused": "returning, runRefused=10: destroy-copy",
    "guest killed | guest powered off | guest crashed":
      "lost, isGone=true, outcome=guest-lost: guest-confirmed(7, guest-lost, lock-held)",
    woke: "journal(run-refused, 10)",
  },
  confirming: {
    "peer-linked": "relay-record",
    "peer-lost": "isLinked=false",
    "ask-gate": "read-gate(4)",
    "source-complete": "sourceIsComplete=true",
    "guest-stands": "resetsAtSource=2",
    "ask-relinquish": "nonce=n-2: read-record",
    "gate-read, open | gate-read, none | gate-read, cancelled | gate-read, committed": "say gate-shut(4)",
    "gate-read, aborted": "discarding: say gate-shut(4); destroy-copy",
    "guest killed":
      "isGone=true, withdrawal=(destination-lost-copy, killed: signal 9), outcome=guest-lost: guest-confirmed(7, guest-lost, killed: signal 9)",
    "guest powered off":
      "isGone=true, withdrawal=(destination-lost-copy, powered-off: by its user), outcome=ended: guest-confirmed(7, ended, powered-off: by its user)",
    "guest crashed":
      "isGone=true, withdrawal=(destination-lost-copy, crashed: panic), outcome=ended: guest-confirmed(7, ended, crashed: panic)",
    "record aborted | record returned | record forced, naming another copy": "discarding: destroy-copy",
    "record aborted, under the old token | record aborted, naming this copy": "nothing",
    "confirmation applied | confirmation refused":
      "reporting: relay-record; copy-seen(copy_B, 8, running, ordered, , null)",
    "confirmation applied, with the record": "reporting: relay-record; copy-seen(copy_B, 9, running, ordered, , null)",
    "confirmation later | confirmation unknown": "wake(300)",
    woke: "guest-confirmed(7, running, )",
  },
  "confirming, reset at its source": {
    "guest killed":
      "isGone=true, withdrawal=(destination-lost-copy, killed: signal 9), outcome=guest-lost: guest-confirmed(7, guest-lost, killed: signal 9, 3)",
    "guest powered off":
      "isGone=true, withdrawal=(destination-lost-copy, powered-off: by its user), outcome=ended: guest-confirmed(7, ended, powered-off: by its user, 3)",
    "guest crashed":
      "isGone=true, withdrawal=(destination-lost-copy, crashed: panic), outcome=ended: guest-confirmed(7, ended, crashed: panic, 3)",
    woke: "guest-confirmed(7, running, , 3)",
  },
  "confirming, ended": {
    "gate-read, aborted":
      "reporting: say gate-shut(4); relay-record; copy-seen(copy_B, 8, gone, migration-over, , null)",
    "guest killed | guest powered off | guest crashed": "nothing",
    "record aborted | confirmation applied | confirmation refused":
      "reporting: relay-record; copy-seen(copy_B, 8, gone, migration-over, , null)",
    "record returned | record forced, naming another copy | confirmation applied, with the record":
      "reporting: relay-record; copy-seen(copy_B, 9, gone, migration-over, , null)",
    woke: "guest-confirmed(7, guest-lost, killed: signal 9)",
  },
  returning: {
    "peer-linked": "relay-record",
    "peer-lost": "isLinked=false, sourceIsComplete=false",
    "ask-gate": "read-gate(4)",
    "guest-stands": "resetsAtSource=2",
    "ask-relinquish": "nonce=n-2: read-record",
    "peer says, failed": "sourceIsComplete=false",
    "gate-read, open | gate-read, none | gate-read, cancelled | gate-read, committed": "say gate-shut(4)",
    "gate-read, aborted": "discarding: say gate-shut(4); destroy-copy",
    "record aborted | record returned | record forced, naming another copy | return applied":
      "discarding: destroy-copy",
    "record aborted, under the old token | record aborted, naming this copy | return refused, confirmed": "nothing",
    "return refused": "wake(300)",
    destroyed: "isGone=true: destination-returns(7, run-refused, lock-held)",
  },
  "returning, gone": {
    "gate-read, open | gate-read, cancelled | gate-read, committed":
      "say gate-shut(4); destination-returns(7, run-refused, lock-held)",
    "gate-read, aborted":
      "reporting: say gate-shut(4); relay-record; copy-seen(copy_B, 8, gone, migration-over, , null)",
    "record open | record committed | record aborted, under the old token | record of another migration | destroyed | woke":
      "destination-returns(7, run-refused, lock-held)",
    "record committed, naming another copy": "nothing",
    "record confirmed | record aborted | return refused, confirmed":
      "reporting: relay-record; copy-seen(copy_B, 8, gone, migration-over, , null)",
    "record returned | record forced, naming another copy | return applied":
      "reporting: relay-record; copy-seen(copy_B, 9, gone, migration-over, , null)",
  },
  discarding: {
    "peer-lost": "isLinked=false",
    "ask-gate": "read-gate(4)",
    "source-complete": "sourceIsComplete=true",
    "guest-stands": "resetsAtSource=2",
    "ask-relinquish": "nonce=n-2: read-record",
    "gate-read, open | gate-read, none | gate-read, cancelled | gate-read, aborted | gate-read, committed":
      "say gate-shut(4)",
    destroyed: "aborting, isGone=true: destination-aborts(7, stream-failed, cut)",
  },
  "discarding, superseded": {
    "peer-linked": "relay-record",
    destroyed: "reporting, isGone=true: relay-record; copy-seen(copy_B, 8, gone, migration-over, , null)",
  },
  "discarding, committed": {
    "peer-linked": "relay-record",
    destroyed: "returning, isGone=true: destination-returns(7, destination-lost-copy, )",
  },
  aborting: {
    "peer-lost": "isLinked=false",
    "ask-gate": "read-gate(4)",
    "source-complete": "sourceIsComplete=true",
    "guest-stands": "resetsAtSource=2",
    "ask-relinquish": "nonce=n-2: read-record",
    "gate-read, open | gate-read, cancelled": "say gate-shut(4); destination-aborts(7, stream-failed, cut)",
    "gate-read, none": "say gate-shut(4)",
    "gate-read, aborted":
      "reporting: say gate-shut(4); relay-record; copy-seen(copy_B, 8, gone, migration-over, , null)",
    "gate-read, committed": "returning: say gate-shut(4); destination-returns(7, stream-failed, cut)",
    "record open | woke": "destination-aborts(7, stream-failed, cut)",
    "record committed | abort refused, committed": "returning: destination-returns(7, stream-failed, cut)",
    "record committed, naming another copy | record aborted, under the old token | record aborted, naming this copy":
      "nothing",
    "record confirmed | record aborted | abort applied, with the record":
      "reporting: relay-record; copy-seen(copy_B, 8, gone, migration-over, , null)",
    "record returned | record forced, naming another copy":
      "reporting: relay-record; copy-seen(copy_B, 9, gone, migration-over, , null)",
    "abort applied": "reporting: relay-record; copy-seen(copy_B, 7, gone, migration-over, , null)",
    "abort refused | abort unknown": "wake(300)",
  },
  "aborting, asked for the word": {
    "record-unknown": "relinquishing: journal(relinquished)",
  },
  "aborting, commit sent": {
    "gate-read, open | gate-read, cancelled":
      "say gate-shut(4); destination-aborts(7, destination-lost-copy, killed: signal 9)",
    "gate-read, committed":
      "returning: say gate-shut(4); destination-returns(7, destination-lost-copy, killed: signal 9)",
    "record open | woke": "destination-aborts(7, destination-lost-copy, killed: signal 9)",
    "record committed | abort refused, committed":
      "returning: destination-returns(7, destination-lost-copy, killed: signal 9)",
  },
  relinquishing: {
    "peer-lost": "isLinked=false",
    "ask-gate": "read-gate(4)",
    "source-complete": "sourceIsComplete=true",
    "guest-stands": "resetsAtSource=2",
    "ask-relinquish": "nonce=n-2: read-record",
    "gate-read, open | gate-read, none | gate-read, cancelled | gate-read, committed": "say gate-shut(4)",
    "gate-read, aborted": "discarding: say gate-shut(4); destroy-copy",
    "journalled relinquished": "hasRelinquished=true: destroy-copy",
    "journal-failed": "settling: settle-stream",
    "record aborted | record returned | record forced, naming another copy": "discarding: destroy-copy",
    "record aborted, under the old token | record aborted, naming this copy": "nothing",
    destroyed: "relinquished, isGone=true: give-word(n-1); wake(300)",
  },
  "relinquishing, journalled": {
    "journalled relinquished": "destroy-copy",
  },
  "relinquishing, gone": {
    "gate-read, aborted":
      "reporting: say gate-shut(4); relay-record; copy-seen(copy_B, 8, gone, migration-over, , null)",
    "journal-failed": "aborting: wake(300)",
    "record aborted": "reporting: relay-record; copy-seen(copy_B, 8, gone, migration-over, , null)",
    "record returned | record forced, naming another copy":
      "reporting: relay-record; copy-seen(copy_B, 9, gone, migration-over, , null)",
    destroyed: "relinquished: give-word(n-1); wake(300)",
  },
  relinquished: {
    "peer-lost": "isLinked=false",
    "ask-gate": "read-gate(4)",
    "source-complete": "sourceIsComplete=true",
    "guest-stands": "resetsAtSource=2",
    "ask-relinquish": "nonce=n-2: give-word(n-2)",
    "gate-read, open | gate-read, cancelled":
      "aborting: say gate-shut(4); destination-aborts(7, peer-unreachable, relinquished while cut off)",
    "gate-read, none": "say gate-shut(4)",
    "gate-read, aborted":
      "reporting: say gate-shut(4); relay-record; copy-seen(copy_B, 8, gone, migration-over, , null)",
    "gate-read, committed": "say gate-shut(4); read-record; wake(300)",
    "record open": "aborting: destination-aborts(7, peer-unreachable, relinquished while cut off)",
    "record committed | record confirmed": "read-record; wake(300)",
    "record committed, naming another copy | record aborted, under the old token | record aborted, naming this copy":
      "nothing",
    "record aborted": "reporting: relay-record; copy-seen(copy_B, 8, gone, migration-over, , null)",
    "record returned | record forced, naming another copy":
      "reporting: relay-record; copy-seen(copy_B, 9, gone, migration-over, , null)",
    woke: "read-record; wake(1000)",
  },
  lost: {
    "peer-linked": "relay-record",
    "peer-lost": "isLinked=false",
    "ask-gate": "read-gate(4)",
    "source-complete": "sourceIsComplete=true",
    "guest-stands": "resetsAtSource=2",
    "ask-relinquish": "nonce=n-2: read-record",
    "gate-read, open | gate-read, none | gate-read, cancelled | gate-read, committed": "say gate-shut(4)",
    "gate-read, aborted":
      "reporting: say gate-shut(4); relay-record; copy-seen(copy_B, 8, gone, migration-over, , null)",
    "record aborted | confirmation applied | confirmation refused":
      "reporting: relay-record; copy-seen(copy_B, 8, gone, migration-over, , null)",
    "record aborted, under the old token | record aborted, naming this copy": "nothing",
    "record returned | record forced, naming another copy | confirmation applied, with the record":
      "reporting: relay-record; copy-seen(copy_B, 9, gone, migration-over, , null)",
    "confirmation later | confirmation unknown": "wake(300)",
    woke: "guest-confirmed(7, guest-lost, killed: signal 9)",
  },
  reporting: {
    "peer-linked": "relay-record",
    "peer-lost": "isLinked=false",
    "ask-gate": "read-gate(4)",
    "source-complete": "sourceIsComplete=true",
    "guest-stands": "resetsAtSource=2",
    "ask-relinquish": "nonce=n-2: read-record",
    "gate-read, open | gate-read, none | gate-read, cancelled | gate-read, aborted | gate-read, committed":
      "say gate-shut(4)",
    "guest killed": "isGone=true, withdrawal=(destination-lost-copy, killed: signal 9)",
    "guest powered off": "isGone=true, withdrawal=(destination-lost-copy, powered-off: by its user)",
    "guest crashed": "isGone=true, withdrawal=(destination-lost-copy, crashed: panic)",
    "last report applied | last report refused": "over: finish",
    "last report later | last report unknown": "wake(300)",
    woke: "relay-record; copy-seen(copy_B, 8, running, ordered, , null)",
  },
  "reporting, gone": {
    "peer-linked | guest killed | guest powered off | guest crashed": "nothing",
    woke: "relay-record; copy-seen(copy_B, 7, gone, migration-over, , null)",
  },
  "reporting, gone since": {
    "guest killed | guest powered off | guest crashed": "nothing",
    woke: "relay-record; copy-seen(copy_B, 8, gone, migration-over, , null)",
  },
  over: {},
};

testCells(
  "destination",
  cells,
  situations,
  Object.fromEntries(
    Object.entries(events).map(([name, event]) => [name, "kind" in event ? ([event, 1500] as const) : event]),
  ),
  advanceDestination,
  ["migrationId", "vmId", "peerHostId"],
);
