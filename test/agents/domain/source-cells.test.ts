// The source's machine, cell by cell: each situation it can be in, and what each event does there. The promises that the
// cells keep together are in source.test.ts; here no cell is left out.
import { advanceSource, beginSource, type SourceEvent, type SourceState } from "../../../agents/domain/source.ts";
import type { MigrationRecord, VerdictKind } from "../../../schemas/migration.ts";
import { type Cells, testCells } from "../../support/cells.ts";

const own = { hostId: "host-a", copyId: "copy_A" };
const peer = { hostId: "host-b", copyId: "copy_B" };
const third = { hostId: "host-c", copyId: "copy_C" };
const limits = {
  downtimeLimitMs: 100,
  downtimeCeilingMs: 500,
  roundLimit: 30,
  bandwidthLimitBytesPerSecond: null,
  throttleCeilingPercent: 0,
};
const facts = { migrationId: "mig_1", vmId: "vm-1", openToken: 7, own, peer, limits, commitMs: 10 };

/** 35 ms of the downtime are spent on device state and commit: at 1,000 bytes/s 65 bytes fit the rest exactly. */
const fitting = {
  round: 1,
  bytes: 50,
  durationMs: 10,
  remainingBytes: 65,
  dirtyBytesPerSecond: 0,
  bandwidthBytesPerSecond: 1000,
  throttlePercent: 0,
};
const notFitting = { ...fitting, remainingBytes: 66 };

function record(verdict: VerdictKind, changes: Partial<MigrationRecord> = {}): MigrationRecord {
  return {
    type: "drover-record-1",
    clusterId: "demo",
    migrationId: "mig_1",
    vmId: "vm-1",
    openedUnderToken: 7,
    source: own,
    destination: peer,
    verdict,
    verdictToken: verdict === "open" ? 7 : 8,
    owner: verdict === "committed" ? peer : own,
    confirmed: false,
    cancelRequested: null,
    issuedAt: 0,
    ...changes,
  };
}
const known = (verdict: VerdictKind, changes: Partial<MigrationRecord> = {}): SourceEvent => ({
  kind: "record-known",
  record: record(verdict, changes),
});
const cancelled = record("open", { cancelRequested: "cancelled-by-user" });

/** All that happened so far, at one second. */
function after(...happened: SourceEvent[]): SourceState {
  return happened.reduce((state, event) => advanceSource(state, event, 1000).state, beginSource(facts));
}
const started: SourceEvent = { kind: "started", isExpired: false };
const endpoint = { address: "127.0.0.12", port: 4000 };
const copying: SourceEvent[] = [
  started,
  { kind: "permitted" },
  { kind: "peer-linked" },
  { kind: "peer-said", message: { kind: "ready", endpoint } },
  { kind: "streaming" },
];
const asked: SourceEvent[] = [...copying, { kind: "sampled", round: fitting, roundDone: true }];
const ownOpen: SourceEvent = { kind: "gate-read", ask: 1, record: record("open") };
const peerOpen: SourceEvent = { kind: "peer-said", message: { kind: "gate-open", ask: 1 } };
const holding: SourceEvent[] = [...asked, ownOpen, peerOpen];
const failed: SourceEvent = { kind: "stream-failed", detail: "cut" };
const deciding: SourceEvent[] = [...holding, { kind: "held" }];
const doubting: SourceEvent[] = [...deciding, { kind: "gate-stands", decision: "past" }];
const ended: SourceEvent = { kind: "guest-ended", how: "killed", detail: "signal 9" };
const left: SourceEvent[] = [...doubting, known("committed", { confirmed: true })];
const aborted: SourceEvent = { kind: "report-answered", report: "source-aborts", outcome: "applied", record: null };
const reported: SourceEvent = { kind: "report-answered", report: "copy-seen", outcome: "applied", record: null };
const refused: SourceEvent = { kind: "run-answered", isGranted: false, detail: "lock-held" };

const situations: { [name: string]: SourceState } = {
  linking: after(started),
  copying: after(...copying),
  "copying, asked": after(...asked),
  "copying, own answer open": after(...asked, ownOpen),
  "copying, peer's answer open": after(...asked, peerOpen),
  "copying, own answer open, fits no more": after(...asked, ownOpen, {
    kind: "sampled",
    round: notFitting,
    roundDone: true,
  }),
  "copying, shut": after(...asked, { kind: "gate-read", ask: 1, record: null }),
  holding: after(...holding),
  "holding, stream failed": after(...holding, failed),
  deciding: after(...deciding),
  "deciding, stream failed": after(...deciding, failed),
  "in doubt": after(...doubting),
  "in doubt, withdrawn": after(...doubting, failed),
  "in doubt, open for sure": after(...doubting, known("open")),
  "in doubt, stated": after(...doubting, known("committed")),
  "in doubt, connecting": after(...doubting, { kind: "peer-lost" }),
  "in doubt, connecting, committed": after(...doubting, { kind: "peer-lost" }, known("committed")),
  "in doubt, alone": after(...doubting, { kind: "peer-lost" }, { kind: "peer-unreachable", detail: "" }),
  copyless: after(...doubting, ended),
  releasing: after(...holding, failed, { kind: "held" }),
  aborting: after(...copying, failed),
  "aborting, gone": after(...copying, ended),
  resuming: after(...doubting, known("aborted")),
  "resuming, alarmed": after(...doubting, known("aborted"), refused),
  "resuming by word": after(...doubting, { kind: "word-verified" }),
  "resuming by word, aborted since": after(...doubting, { kind: "word-verified" }, known("aborted")),
  ending: after(...left),
  reporting: after(...copying, failed, aborted),
  "reporting, left": after(...left, { kind: "destroyed" }),
  "reporting, gone": after(...copying, ended, aborted),
  over: after(...copying, failed, aborted, reported),
};

const answered = (
  report: "source-aborts" | "copy-seen" | "migration-progressed",
  outcome: "applied" | "refused" | "later" | "unknown",
  said: MigrationRecord | null = null,
): SourceEvent => ({ kind: "report-answered", report, outcome, record: said });

/** Where only the event is given, half a second later. */
const events: { [name: string]: SourceEvent | readonly [SourceEvent, number] } = {
  started,
  "started, expired": { kind: "started", isExpired: true },
  permitted: { kind: "permitted" },
  "permit-failed": { kind: "permit-failed", detail: "no volume" },
  "peer-linked": { kind: "peer-linked" },
  "peer-unreachable": { kind: "peer-unreachable", detail: "no route" },
  "peer-refused": { kind: "peer-refused", detail: "no version" },
  "peer-lost": { kind: "peer-lost" },
  ready: { kind: "peer-said", message: { kind: "ready", endpoint } },
  "gate-open": peerOpen,
  "gate-open, just fresh": [peerOpen, 2000],
  "gate-open, too late": [peerOpen, 2001],
  "gate-open to another ask": { kind: "peer-said", message: { kind: "gate-open", ask: 2 } },
  "gate-shut": { kind: "peer-said", message: { kind: "gate-shut", ask: 1 } },
  "gate-shut to another ask": { kind: "peer-said", message: { kind: "gate-shut", ask: 2 } },
  "peer says, failed": {
    kind: "peer-said",
    message: { kind: "failed", reason: "stream-failed", detail: "lost a page" },
  },
  "peer says, loaded": { kind: "peer-said", message: { kind: "loaded" } },
  streaming: { kind: "streaming" },
  "sampled, as before": { kind: "sampled", round: { ...fitting, bytes: 0 }, roundDone: false },
  "sampled, more": { kind: "sampled", round: { ...fitting, bytes: 60 }, roundDone: false },
  "round done, fits": { kind: "sampled", round: fitting, roundDone: true },
  "round done, fits, blocked no more": [{ kind: "sampled", round: fitting, roundDone: true }, 1250],
  "round done, fits, still blocked": [{ kind: "sampled", round: fitting, roundDone: true }, 1249],
  "round done, fits not, it is the first": { kind: "sampled", round: { ...notFitting, round: 0 }, roundDone: true },
  "round done, fits not": { kind: "sampled", round: notFitting, roundDone: true },
  "stream-sent": { kind: "stream-sent" },
  "stream-failed": failed,
  "gate-read, open": ownOpen,
  "gate-read of another ask": { kind: "gate-read", ask: 2, record: record("open") },
  "gate-read, none": { kind: "gate-read", ask: 1, record: null },
  "gate-read, cancelled": { kind: "gate-read", ask: 1, record: cancelled },
  "gate-read, aborted": { kind: "gate-read", ask: 1, record: record("aborted") },
  held: { kind: "held" },
  "held, reset twice before": { kind: "held", resets: 2 },
  "hold-failed": { kind: "hold-failed", detail: "no answer" },
  "gate stands, past": { kind: "gate-stands", decision: "past" },
  "gate stands, cancelled": { kind: "gate-stands", decision: "cancelled" },
  "gate-unknown": { kind: "gate-unknown", detail: "disk full" },
  "gate-unknown, after more than 2 s": [{ kind: "gate-unknown", detail: "disk full" }, 3001],
  "resumed-by-supervisor": { kind: "resumed-by-supervisor" },
  "guest-ended": { kind: "guest-ended", how: "powered-off", detail: "by its user" },
  "record open": known("open"),
  "record open, cancelled": { kind: "record-known", record: cancelled },
  "record committed": known("committed"),
  "record committed, take back": known("committed", { takeBackRequested: true }),
  "record confirmed": known("committed", { confirmed: true }),
  "record confirmed, under the old token": known("committed", { confirmed: true, verdictToken: 7 }),
  "record confirmed, naming this copy": known("committed", { confirmed: true, owner: own }),
  "record aborted": known("aborted"),
  "record aborted, under the old token": known("aborted", { verdictToken: 7 }),
  "record aborted, naming another copy": known("aborted", { owner: third }),
  "record returned": known("returned", { verdictToken: 9 }),
  "record forced, naming this copy": known("forced", { verdictToken: 9 }),
  "record forced, naming another copy": known("forced", { verdictToken: 9, owner: third }),
  "record forced, naming another copy, under the old token": known("forced", { verdictToken: 7, owner: third }),
  "record of another migration": known("aborted", { migrationId: "mig_2" }),
  "record-unknown": { kind: "record-unknown" },
  "record-refused": { kind: "record-refused" },
  "lock-taken-back": { kind: "lock-taken-back", refusal: null },
  "lock held by another": { kind: "lock-taken-back", refusal: { by: "lock-held", detail: "held" } },
  "lock names another": { kind: "lock-taken-back", refusal: { by: "lock-superseded", detail: "names copy_B" } },
  "lock unreachable": { kind: "lock-taken-back", refusal: { by: "lock-unreachable", detail: "no volume" } },
  "abort applied": answered("source-aborts", "applied"),
  "abort applied, with the record": answered("source-aborts", "applied", record("aborted")),
  "abort refused": answered("source-aborts", "refused"),
  "abort refused, committed": answered("source-aborts", "refused", record("committed")),
  "abort unknown": answered("source-aborts", "unknown"),
  "last report applied": answered("copy-seen", "applied"),
  "last report refused": answered("copy-seen", "refused"),
  "last report later": answered("copy-seen", "later"),
  "last report unknown": answered("copy-seen", "unknown"),
  "progress applied": answered("migration-progressed", "applied"),
  "progress applied, with the record": answered("migration-progressed", "applied", record("aborted")),
  "run granted": { kind: "run-answered", isGranted: true, detail: "" },
  "run refused": refused,
  "word-verified": { kind: "word-verified" },
  "superseded, under a higher token": { kind: "superseded", fencingToken: 9 },
  "superseded, under the same token": { kind: "superseded", fencingToken: 8 },
  destroyed: { kind: "destroyed" },
  woke: { kind: "woke" },
  "woke, after 2 s": [{ kind: "woke" }, 3000],
  "woke, after more than 2 s": [{ kind: "woke" }, 3001],
  "woke, after 5 s": [{ kind: "woke" }, 6000],
  "woke, after more than 5 s": [{ kind: "woke" }, 6001],
  "woke, after 30 s": [{ kind: "woke" }, 31_000],
  "woke, after more than 30 s": [{ kind: "woke" }, 31_001],
  "woke, after 40 s": [{ kind: "woke" }, 41_000],
  "woke, after more than 40 s": [{ kind: "woke" }, 41_001],
};

const cells: Cells = {
  linking: {
    started: "lastSampleAtMs=1500: permit-next(copy_B); wake(1000)",
    "started, expired":
      "aborting, withdrawal=(preparation-failed, the assignment had expired before this host could begin it): say failed(preparation-failed, the assignment had expired before this host could begin it); source-aborts(7, preparation-failed, the assignment had expired before this host could begin it)",
    permitted: "connect-peer",
    "permit-failed":
      "aborting, withdrawal=(preparation-failed, no volume): say failed(preparation-failed, no volume); source-aborts(7, preparation-failed, no volume)",
    "peer-linked": "isLinked=true",
    "peer-unreachable":
      "aborting, withdrawal=(peer-unreachable, no route): say failed(peer-unreachable, no route); source-aborts(7, peer-unreachable, no route)",
    "peer-refused":
      "aborting, withdrawal=(peer-refused, no version): say failed(peer-refused, no version); source-aborts(7, peer-refused, no version)",
    "peer-lost":
      "aborting, withdrawal=(peer-unreachable, the peer link broke): say failed(peer-unreachable, the peer link broke); source-aborts(7, peer-unreachable, the peer link broke)",
    ready: "copying, lastSampleAtMs=1500: start-stream((127.0.0.12, 4000)); wake(1000)",
    "peer says, failed":
      "aborting, withdrawal=(stream-failed, lost a page): say failed(stream-failed, lost a page); source-aborts(7, stream-failed, lost a page)",
    "guest-ended":
      "aborting, withdrawal=(guest-ended, powered-off: by its user), ended=(powered-off, by its user): say failed(guest-ended, powered-off: by its user); source-aborts(7, guest-ended, powered-off: by its user)",
    "record open, cancelled":
      "aborting, withdrawal=(cancelled-by-user, asked for by a user): say failed(cancelled-by-user, asked for by a user); source-aborts(7, cancelled-by-user, asked for by a user)",
    "record confirmed | record forced, naming another copy": "ending: destroy-copy",
    "record confirmed, under the old token | record confirmed, naming this copy | record aborted, under the old token | record aborted, naming another copy | record forced, naming another copy, under the old token":
      "nothing",
    "record aborted":
      "reporting, withdrawal=(destination-lost-copy, the destination ended the migration): cancel-stream; permit-next(null); copy-seen(copy_A, 8, running, ordered, , null)",
    "record returned | record forced, naming this copy":
      "reporting, withdrawal=(destination-lost-copy, the destination ended the migration): cancel-stream; permit-next(null); copy-seen(copy_A, 9, running, ordered, , null)",
    woke: "wake(1000)",
    "woke, after more than 30 s | woke, after 40 s | woke, after more than 40 s":
      "aborting, withdrawal=(preparation-failed, the destination was not ready after 30 s): say failed(preparation-failed, the destination was not ready after 30 s); source-aborts(7, preparation-failed, the destination was not ready after 30 s)",
  },
  copying: {
    "peer-lost":
      "aborting, isLinked=false, withdrawal=(peer-unreachable, the peer link broke): cancel-stream; say failed(peer-unreachable, the peer link broke); source-aborts(7, peer-unreachable, the peer link broke)",
    "peer says, failed":
      "aborting, withdrawal=(stream-failed, lost a page): cancel-stream; say failed(stream-failed, lost a page); source-aborts(7, stream-failed, lost a page)",
    streaming: "lastSampleAtMs=1500",
    "sampled, more": "lastSampleAtMs=1500, lastSampleBytes=60",
    "round done, fits":
      "lastSampleAtMs=1500, lastSampleBytes=50, lastRound=(1, 50, 10, 65, 0, 1000, 0), previousRemainingBytes=65, ask=(1, 1500, asked, asked), asks=1: read-gate(1); say ask-gate(1)",
    "round done, fits, blocked no more":
      "lastSampleAtMs=1250, lastSampleBytes=50, lastRound=(1, 50, 10, 65, 0, 1000, 0), previousRemainingBytes=65, ask=(1, 1250, asked, asked), asks=1: read-gate(1); say ask-gate(1)",
    "round done, fits, still blocked":
      "lastSampleAtMs=1249, lastSampleBytes=50, lastRound=(1, 50, 10, 65, 0, 1000, 0), previousRemainingBytes=65, ask=(1, 1249, asked, asked), asks=1: read-gate(1); say ask-gate(1)",
    "round done, fits not, it is the first":
      "lastSampleAtMs=1500, lastSampleBytes=50, lastRound=(0, 50, 10, 66, 0, 1000, 0), previousRemainingBytes=66",
    "round done, fits not":
      "lastSampleAtMs=1500, lastSampleBytes=50, lastRound=(1, 50, 10, 66, 0, 1000, 0), previousRemainingBytes=66, downtimeLimitMs=101",
    "stream-failed":
      "aborting, stream=failed, withdrawal=(stream-failed, cut): cancel-stream; say failed(stream-failed, cut); source-aborts(7, stream-failed, cut)",
    "guest-ended":
      "aborting, withdrawal=(guest-ended, powered-off: by its user), ended=(powered-off, by its user): say failed(guest-ended, powered-off: by its user); source-aborts(7, guest-ended, powered-off: by its user)",
    "record open, cancelled":
      "aborting, withdrawal=(cancelled-by-user, asked for by a user): cancel-stream; say failed(cancelled-by-user, asked for by a user); source-aborts(7, cancelled-by-user, asked for by a user)",
    "record confirmed | record forced, naming another copy": "ending: destroy-copy",
    "record confirmed, under the old token | record confirmed, naming this copy | record aborted, under the old token | record aborted, naming another copy | record forced, naming another copy, under the old token":
      "nothing",
    "record aborted":
      "reporting, withdrawal=(destination-lost-copy, the destination ended the migration): cancel-stream; permit-next(null); copy-seen(copy_A, 8, running, ordered, , null)",
    "record returned | record forced, naming this copy":
      "reporting, withdrawal=(destination-lost-copy, the destination ended the migration): cancel-stream; permit-next(null); copy-seen(copy_A, 9, running, ordered, , null)",
    woke: "wake(1000)",
    "woke, after more than 40 s":
      "aborting, withdrawal=(stream-failed, no progress of the memory stream for 40 s): cancel-stream; say failed(stream-failed, no progress of the memory stream for 40 s); source-aborts(7, stream-failed, no progress of the memory stream for 40 s)",
  },
  "copying, asked": {
    "peer-lost":
      "aborting, isLinked=false, ask=null, withdrawal=(peer-unreachable, the peer link broke): cancel-stream; say failed(peer-unreachable, the peer link broke); source-aborts(7, peer-unreachable, the peer link broke)",
    "gate-open": "ask=(1, 1000, asked, open)",
    "gate-open, too late": "ask=null, blockedUntilMs=2251",
    "gate-shut | gate-read, none": "ask=null, blockedUntilMs=1750",
    "peer says, failed":
      "aborting, ask=null, withdrawal=(stream-failed, lost a page): cancel-stream; say failed(stream-failed, lost a page); source-aborts(7, stream-failed, lost a page)",
    "sampled, as before": "lastSampleAtMs=1500, lastSampleBytes=0",
    "round done, fits": "lastSampleAtMs=1500, excusedRounds=1",
    "round done, fits, blocked no more": "lastSampleAtMs=1250, excusedRounds=1",
    "round done, fits, still blocked": "lastSampleAtMs=1249, excusedRounds=1",
    "round done, fits not, it is the first":
      "lastSampleAtMs=1500, lastRound=(0, 50, 10, 66, 0, 1000, 0), previousRemainingBytes=66, excusedRounds=1",
    "round done, fits not":
      "lastSampleAtMs=1500, lastRound=(1, 50, 10, 66, 0, 1000, 0), previousRemainingBytes=66, excusedRounds=1",
    "stream-failed":
      "aborting, stream=failed, ask=null, withdrawal=(stream-failed, cut): cancel-stream; say failed(stream-failed, cut); source-aborts(7, stream-failed, cut)",
    "gate-read, open": "ask=(1, 1000, open, asked)",
    "gate-read, cancelled | record open, cancelled":
      "aborting, ask=null, withdrawal=(cancelled-by-user, asked for by a user): cancel-stream; say failed(cancelled-by-user, asked for by a user); source-aborts(7, cancelled-by-user, asked for by a user)",
    "gate-read, aborted":
      "reporting, ask=null, withdrawal=(destination-lost-copy, the destination ended the migration): cancel-stream; permit-next(null); copy-seen(copy_A, 8, running, ordered, , null)",
    "guest-ended":
      "aborting, ask=null, withdrawal=(guest-ended, powered-off: by its user), ended=(powered-off, by its user): say failed(guest-ended, powered-off: by its user); source-aborts(7, guest-ended, powered-off: by its user)",
    "woke, after more than 5 s | woke, after 30 s | woke, after more than 30 s | woke, after 40 s":
      "ask=null: wake(1000)",
    "woke, after more than 40 s":
      "aborting, ask=null, withdrawal=(stream-failed, no progress of the memory stream for 40 s): cancel-stream; say failed(stream-failed, no progress of the memory stream for 40 s); source-aborts(7, stream-failed, no progress of the memory stream for 40 s)",
  },
  "copying, own answer open": {
    "peer-lost":
      "aborting, isLinked=false, ask=null, withdrawal=(peer-unreachable, the peer link broke): cancel-stream; say failed(peer-unreachable, the peer link broke); source-aborts(7, peer-unreachable, the peer link broke)",
    "gate-open": "holding, ask=null: hold-at-gate",
    "gate-open, too late": "ask=null, blockedUntilMs=2251",
    "gate-shut | gate-read, none": "ask=null, blockedUntilMs=1750",
    "peer says, failed":
      "aborting, ask=null, withdrawal=(stream-failed, lost a page): cancel-stream; say failed(stream-failed, lost a page); source-aborts(7, stream-failed, lost a page)",
    "sampled, as before": "lastSampleAtMs=1500, lastSampleBytes=0",
    "round done, fits": "lastSampleAtMs=1500, excusedRounds=1",
    "round done, fits, blocked no more": "lastSampleAtMs=1250, excusedRounds=1",
    "round done, fits, still blocked": "lastSampleAtMs=1249, excusedRounds=1",
    "round done, fits not, it is the first":
      "lastSampleAtMs=1500, lastRound=(0, 50, 10, 66, 0, 1000, 0), previousRemainingBytes=66, excusedRounds=1",
    "round done, fits not":
      "lastSampleAtMs=1500, lastRound=(1, 50, 10, 66, 0, 1000, 0), previousRemainingBytes=66, excusedRounds=1",
    "stream-failed":
      "aborting, stream=failed, ask=null, withdrawal=(stream-failed, cut): cancel-stream; say failed(stream-failed, cut); source-aborts(7, stream-failed, cut)",
    "gate-read, cancelled | record open, cancelled":
      "aborting, ask=null, withdrawal=(cancelled-by-user, asked for by a user): cancel-stream; say failed(cancelled-by-user, asked for by a user); source-aborts(7, cancelled-by-user, asked for by a user)",
    "gate-read, aborted":
      "reporting, ask=null, withdrawal=(destination-lost-copy, the destination ended the migration): cancel-stream; permit-next(null); copy-seen(copy_A, 8, running, ordered, , null)",
    "guest-ended":
      "aborting, ask=null, withdrawal=(guest-ended, powered-off: by its user), ended=(powered-off, by its user): say failed(guest-ended, powered-off: by its user); source-aborts(7, guest-ended, powered-off: by its user)",
    "woke, after more than 5 s | woke, after 30 s | woke, after more than 30 s | woke, after 40 s":
      "ask=null: wake(1000)",
    "woke, after more than 40 s":
      "aborting, ask=null, withdrawal=(stream-failed, no progress of the memory stream for 40 s): cancel-stream; say failed(stream-failed, no progress of the memory stream for 40 s); source-aborts(7, stream-failed, no progress of the memory stream for 40 s)",
  },
  "copying, peer's answer open": {
    "peer-lost":
      "aborting, isLinked=false, ask=null, withdrawal=(peer-unreachable, the peer link broke): cancel-stream; say failed(peer-unreachable, the peer link broke); source-aborts(7, peer-unreachable, the peer link broke)",
    "gate-open, too late": "ask=null, blockedUntilMs=2251",
    "gate-shut | gate-read, none": "ask=null, blockedUntilMs=1750",
    "peer says, failed":
      "aborting, ask=null, withdrawal=(stream-failed, lost a page): cancel-stream; say failed(stream-failed, lost a page); source-aborts(7, stream-failed, lost a page)",
    "sampled, as before": "lastSampleAtMs=1500, lastSampleBytes=0",
    "round done, fits": "lastSampleAtMs=1500, excusedRounds=1",
    "round done, fits, blocked no more": "lastSampleAtMs=1250, excusedRounds=1",
    "round done, fits, still blocked": "lastSampleAtMs=1249, excusedRounds=1",
    "round done, fits not, it is the first":
      "lastSampleAtMs=1500, lastRound=(0, 50, 10, 66, 0, 1000, 0), previousRemainingBytes=66, excusedRounds=1",
    "round done, fits not":
      "lastSampleAtMs=1500, lastRound=(1, 50, 10, 66, 0, 1000, 0), previousRemainingBytes=66, excusedRounds=1",
    "stream-failed":
      "aborting, stream=failed, ask=null, withdrawal=(stream-failed, cut): cancel-stream; say failed(stream-failed, cut); source-aborts(7, stream-failed, cut)",
    "gate-read, open": "holding, ask=null: hold-at-gate",
    "gate-read, cancelled | record open, cancelled":
      "aborting, ask=null, withdrawal=(cancelled-by-user, asked for by a user): cancel-stream; say failed(cancelled-by-user, asked for by a user); source-aborts(7, cancelled-by-user, asked for by a user)",
    "gate-read, aborted":
      "reporting, ask=null, withdrawal=(destination-lost-copy, the destination ended the migration): cancel-stream; permit-next(null); copy-seen(copy_A, 8, running, ordered, , null)",
    "guest-ended":
      "aborting, ask=null, withdrawal=(guest-ended, powered-off: by its user), ended=(powered-off, by its user): say failed(guest-ended, powered-off: by its user); source-aborts(7, guest-ended, powered-off: by its user)",
    "woke, after more than 5 s | woke, after 30 s | woke, after more than 30 s | woke, after 40 s":
      "ask=null: wake(1000)",
    "woke, after more than 40 s":
      "aborting, ask=null, withdrawal=(stream-failed, no progress of the memory stream for 40 s): cancel-stream; say failed(stream-failed, no progress of the memory stream for 40 s); source-aborts(7, stream-failed, no progress of the memory stream for 40 s)",
  },
  "copying, own answer open, fits no more": {
    "gate-open": "ask=null, blockedUntilMs=1750",
    "gate-open, just fresh": "ask=null, blockedUntilMs=2250",
    "round done, fits":
      "lastSampleAtMs=1500, lastRound=(1, 50, 10, 65, 0, 1000, 0), previousRemainingBytes=65, excusedRounds=2",
    "round done, fits, blocked no more":
      "lastSampleAtMs=1250, lastRound=(1, 50, 10, 65, 0, 1000, 0), previousRemainingBytes=65, excusedRounds=2",
    "round done, fits, still blocked":
      "lastSampleAtMs=1249, lastRound=(1, 50, 10, 65, 0, 1000, 0), previousRemainingBytes=65, excusedRounds=2",
    "round done, fits not, it is the first":
      "lastSampleAtMs=1500, lastRound=(0, 50, 10, 66, 0, 1000, 0), excusedRounds=2",
    "round done, fits not": "lastSampleAtMs=1500, excusedRounds=2",
  },
  "copying, shut": {
    "sampled, as before": "lastSampleAtMs=1500, lastSampleBytes=0",
    "round done, fits": "lastSampleAtMs=1500, ask=(2, 1500, asked, asked), asks=2: read-gate(2); say ask-gate(2)",
    "round done, fits, blocked no more":
      "lastSampleAtMs=1250, ask=(2, 1250, asked, asked), asks=2: read-gate(2); say ask-gate(2)",
    "round done, fits, still blocked": "lastSampleAtMs=1249, excusedRounds=1",
    "round done, fits not, it is the first":
      "lastSampleAtMs=1500, lastRound=(0, 50, 10, 66, 0, 1000, 0), previousRemainingBytes=66",
    "round done, fits not":
      "lastSampleAtMs=1500, lastRound=(1, 50, 10, 66, 0, 1000, 0), previousRemainingBytes=66, downtimeLimitMs=101",
  },
  holding: {
    "peer-lost": "isLinked=false, withdrawal=(peer-unreachable, the peer link broke)",
    "peer says, failed": "withdrawal=(stream-failed, lost a page)",
    "stream-failed": "stream=failed, withdrawal=(stream-failed, cut)",
    held: "deciding, pastAtMs=1500: pass-gate",
    "held, reset twice before": "deciding, pastAtMs=1500: say guest-stands(2); pass-gate",
    "hold-failed": "releasing, withdrawal=(preparation-failed, no answer): cancel-at-gate",
    "resumed-by-supervisor":
      "releasing, withdrawal=(agent-restarted, the guest's supervisor took it back at the gate): cancel-at-gate",
    "guest-ended":
      "aborting, withdrawal=(guest-ended, powered-off: by its user), ended=(powered-off, by its user): say failed(guest-ended, powered-off: by its user); source-aborts(7, guest-ended, powered-off: by its user)",
    "record open, cancelled": "withdrawal=(cancelled-by-user, asked for by a user)",
    "record confirmed | record forced, naming another copy": "ending: destroy-copy",
    "record confirmed, under the old token | record confirmed, naming this copy | record aborted, under the old token | record aborted, naming another copy | record forced, naming another copy, under the old token":
      "nothing",
    "record aborted | record returned | record forced, naming this copy":
      "withdrawal=(destination-lost-copy, the destination ended the migration)",
  },
  "holding, stream failed": {
    "peer-lost": "isLinked=false",
    "peer says, failed | stream-failed | record open, cancelled | record aborted | record returned | record forced, naming this copy":
      "nothing",
    "held | held, reset twice before | hold-failed | resumed-by-supervisor": "releasing: cancel-at-gate",
    "guest-ended":
      "aborting, ended=(powered-off, by its user): say failed(stream-failed, cut); source-aborts(7, stream-failed, cut)",
  },
  deciding: {
    "peer-lost": "isLinked=false",
    "peer says, failed": "withdrawal=(stream-failed, lost a page)",
    "stream-sent": "stream=sent",
    "stream-failed": "stream=failed, withdrawal=(stream-failed, cut)",
    "gate stands, past": "in-doubt, pastAtMs=1500: wake(300)",
    "gate stands, cancelled":
      "aborting, withdrawal=(agent-restarted, the guest's supervisor took it back at the gate): say failed(agent-restarted, the guest's supervisor took it back at the gate); source-aborts(7, agent-restarted, the guest's supervisor took it back at the gate)",
    "gate-unknown": "wake(300)",
    "gate-unknown, after more than 2 s":
      "frozenReported=true: wake(300); migration-progressed(7, switchover, [], null, null, true)",
    "guest-ended": "copyless, ended=(powered-off, by its user): read-record",
    "record open, cancelled": "withdrawal=(cancelled-by-user, asked for by a user)",
    "record confirmed | record forced, naming another copy": "ending: destroy-copy",
    "record confirmed, under the old token | record confirmed, naming this copy | record forced, naming another copy, under the old token":
      "nothing",
    woke: "pass-gate",
  },
  "deciding, stream failed": {
    "peer says, failed | stream-failed | record open, cancelled": "nothing",
    "gate stands, past": "in-doubt, pastAtMs=1500: source-aborts(7, stream-failed, cut); wake(300)",
    "gate stands, cancelled": "aborting: say failed(stream-failed, cut); source-aborts(7, stream-failed, cut)",
  },
  "in doubt": {
    "peer-lost": "isLinked=false, isConnecting=true: read-record; connect-peer",
    "peer says, failed": "withdrawal=(stream-failed, lost a page): source-aborts(7, stream-failed, lost a page)",
    "stream-sent": "stream=sent",
    "stream-failed": "stream=failed, withdrawal=(stream-failed, cut): source-aborts(7, stream-failed, cut)",
    "guest-ended": "copyless, ended=(powered-off, by its user): read-record",
    "record open, cancelled":
      "withdrawal=(cancelled-by-user, asked for by a user): source-aborts(7, cancelled-by-user, asked for by a user)",
    "record committed | abort refused, committed": "saidComplete=true: relay-record; say source-complete",
    "record committed, take back": "take-back-lock(8)",
    "record confirmed | record forced, naming another copy": "ending: destroy-copy",
    "record confirmed, under the old token | record confirmed, naming this copy | record aborted, under the old token | record aborted, naming another copy | record forced, naming another copy, under the old token":
      "nothing",
    "record aborted | abort applied, with the record | progress applied, with the record":
      "resuming, runToken=8: cancel-stream; run-copy(8)",
    "record returned | record forced, naming this copy": "resuming, runToken=9: cancel-stream; run-copy(9)",
    "record-unknown": "ask-word",
    "lock-taken-back": "source-takes-back(7)",
    "lock held by another": "take-back-refused(7, destination-may-have-run: held)",
    "lock names another": "take-back-refused(7, destination-may-have-run: names copy_B)",
    "abort unknown | last report unknown": "read-record",
    "word-verified": "resuming, runToken=7: cancel-stream; run-copy(7)",
    woke: "read-record; wake(300)",
    "woke, after more than 2 s | woke, after 5 s":
      "frozenReported=true: read-record; wake(300); migration-progressed(7, switchover, [], null, null, true)",
    "woke, after more than 5 s | woke, after 30 s | woke, after more than 30 s | woke, after 40 s | woke, after more than 40 s":
      "withdrawal=(peer-unreachable, the destination did not commit in time), frozenReported=true: source-aborts(7, peer-unreachable, the destination did not commit in time); wake(300); migration-progressed(7, switchover, [], null, null, true)",
  },
  "in doubt, withdrawn": {
    "peer says, failed | stream-failed": "source-aborts(7, stream-failed, cut)",
    "record open, cancelled": "nothing",
    woke: "source-aborts(7, stream-failed, cut); wake(300)",
    "woke, after more than 2 s | woke, after 5 s | woke, after more than 5 s | woke, after 30 s | woke, after more than 30 s | woke, after 40 s | woke, after more than 40 s":
      "frozenReported=true: source-aborts(7, stream-failed, cut); wake(300); migration-progressed(7, switchover, [], null, null, true)",
  },
  "in doubt, open for sure": {},
  "in doubt, stated": {
    "peer-lost": "isLinked=false, isConnecting=true, saidComplete=false: read-record; connect-peer",
    "guest-ended":
      "copyless, ended=(powered-off, by its user): say failed(guest-ended, the source's stopped copy is gone); read-record",
    "record open, cancelled | record committed | abort refused, committed": "nothing",
    "woke, after more than 5 s | woke, after 30 s | woke, after more than 30 s | woke, after 40 s | woke, after more than 40 s":
      "frozenReported=true: read-record; wake(300); migration-progressed(7, switchover, [], null, null, true)",
  },
  "in doubt, connecting": {
    "peer-linked": "isLinked=true, isConnecting=false",
    "peer-unreachable | peer-refused": "isConnecting=false",
    "peer-lost": "read-record; connect-peer",
    "record committed | record-unknown | abort refused, committed": "nothing",
  },
  "in doubt, connecting, committed": {
    "peer-linked": "isLinked=true, isConnecting=false, saidComplete=true: relay-record; say source-complete",
    "record open, cancelled": "nothing",
    "woke, after more than 5 s | woke, after 30 s | woke, after more than 30 s | woke, after 40 s | woke, after more than 40 s":
      "frozenReported=true: read-record; wake(300); migration-progressed(7, switchover, [], null, null, true)",
  },
  "in doubt, alone": {
    "peer-linked": "isLinked=true",
    "peer-lost": "isConnecting=true: read-record; connect-peer",
    "record committed | record-unknown | abort refused, committed": "nothing",
    woke: "isConnecting=true: read-record; wake(300); connect-peer",
    "woke, after more than 2 s | woke, after 5 s":
      "isConnecting=true, frozenReported=true: read-record; wake(300); connect-peer; migration-progressed(7, switchover, [], null, null, true)",
    "woke, after more than 5 s | woke, after 30 s | woke, after more than 30 s | woke, after 40 s | woke, after more than 40 s":
      "isConnecting=true, withdrawal=(peer-unreachable, the destination did not commit in time), frozenReported=true: source-aborts(7, peer-unreachable, the destination did not commit in time); wake(300); connect-peer; migration-progressed(7, switchover, [], null, null, true)",
  },
  copyless: {
    "peer-lost": "isLinked=false",
    "guest-ended": "ended=(powered-off, by its user)",
    "record open | record open, cancelled | record of another migration":
      "copy-seen(copy_A, 7, gone, killed, signal 9, null); wake(1000)",
    "record committed": "wake(1000)",
    "record committed, take back": "take-back-refused(7, its copy is gone as well); wake(1000)",
    "record confirmed | record aborted": "reporting: copy-seen(copy_A, 8, gone, killed, signal 9, null)",
    "record confirmed, under the old token | record confirmed, naming this copy | record aborted, under the old token | record aborted, naming another copy | record forced, naming another copy, under the old token":
      "nothing",
    "record returned | record forced, naming this copy | record forced, naming another copy":
      "reporting: copy-seen(copy_A, 9, gone, killed, signal 9, null)",
    "record-unknown | record-refused": "wake(300)",
    woke: "read-record",
  },
  releasing: {
    "peer-lost": "isLinked=false",
    "gate stands, past": "in-doubt: read-record; wake(300)",
    "gate stands, cancelled": "aborting: say failed(stream-failed, cut); source-aborts(7, stream-failed, cut)",
    "gate-unknown": "wake(300)",
    "guest-ended":
      "aborting, ended=(powered-off, by its user): say failed(stream-failed, cut); source-aborts(7, stream-failed, cut)",
    "record confirmed | record forced, naming another copy": "ending: destroy-copy",
    "record confirmed, under the old token | record confirmed, naming this copy | record forced, naming another copy, under the old token":
      "nothing",
    woke: "cancel-at-gate",
  },
  aborting: {
    "peer-lost": "isLinked=false",
    "guest-ended": "ended=(powered-off, by its user)",
    "record committed | abort refused, committed": "in-doubt: hold-at-gate; wake(300)",
    "record confirmed | record forced, naming another copy": "ending: destroy-copy",
    "record confirmed, under the old token | record confirmed, naming this copy | record aborted, under the old token | record aborted, naming another copy | record forced, naming another copy, under the old token":
      "nothing",
    "record aborted | abort applied, with the record":
      "reporting: permit-next(null); copy-seen(copy_A, 8, running, ordered, , null)",
    "record returned | record forced, naming this copy":
      "reporting: permit-next(null); copy-seen(copy_A, 9, running, ordered, , null)",
    "abort applied": "reporting: permit-next(null); copy-seen(copy_A, 7, running, ordered, , null)",
    "abort refused | abort unknown": "wake(300)",
    woke: "source-aborts(7, stream-failed, cut)",
  },
  "aborting, gone": {
    "record committed | abort refused, committed": "wake(1000)",
    "record aborted | abort applied, with the record": "reporting: copy-seen(copy_A, 8, gone, killed, signal 9, null)",
    "record returned | record forced, naming this copy":
      "reporting: copy-seen(copy_A, 9, gone, killed, signal 9, null)",
    "abort applied": "reporting: copy-seen(copy_A, 7, gone, killed, signal 9, null)",
    woke: "source-aborts(7, guest-ended, killed: signal 9)",
  },
  resuming: {
    "peer-lost": "isLinked=false",
    "guest-ended": "copyless, ended=(powered-off, by its user): read-record",
    "record confirmed | record forced, naming another copy | superseded, under a higher token": "ending: destroy-copy",
    "record confirmed, under the old token | record confirmed, naming this copy | record forced, naming another copy, under the old token":
      "nothing",
    "run granted": "reporting: permit-next(null); copy-seen(copy_A, 8, running, ordered, , null)",
    "run refused": "frozenReported=true: migration-progressed(7, switchover, [], null, null, true); wake(300)",
    woke: "run-copy(8)",
  },
  "resuming, alarmed": {
    "run refused": "wake(300)",
  },
  "resuming by word": {
    "peer-lost": "isLinked=false",
    "guest-ended": "copyless, ended=(powered-off, by its user): read-record",
    "record open, cancelled": "withdrawal=(cancelled-by-user, asked for by a user)",
    "record confirmed | record forced, naming another copy | superseded, under a higher token | superseded, under the same token":
      "ending: destroy-copy",
    "record confirmed, under the old token | record confirmed, naming this copy | record forced, naming another copy, under the old token":
      "nothing",
    "run granted": "aborting: say failed(peer-unreachable, ); source-aborts(7, peer-unreachable, )",
    "run refused": "frozenReported=true: migration-progressed(7, switchover, [], null, null, true); wake(300)",
    woke: "run-copy(7)",
  },
  "resuming by word, aborted since": {
    "record open, cancelled": "nothing",
    "run granted": "reporting: permit-next(null); copy-seen(copy_A, 8, running, ordered, , null)",
  },
  ending: {
    "peer-lost": "isLinked=false",
    "guest-ended": "ended=(powered-off, by its user)",
    destroyed: "reporting, hasLeft=true: copy-seen(copy_A, 8, gone, migration-over, , null)",
  },
  reporting: {
    "peer-lost": "isLinked=false",
    "guest-ended": "ended=(powered-off, by its user)",
    "last report applied | last report refused": "over: finish",
    "last report later | last report unknown": "wake(300)",
    woke: "permit-next(null); copy-seen(copy_A, 7, running, ordered, , null)",
  },
  "reporting, left": {
    woke: "copy-seen(copy_A, 8, gone, migration-over, , null)",
  },
  "reporting, gone": {
    woke: "copy-seen(copy_A, 7, gone, killed, signal 9, null)",
  },
  over: {},
};

testCells(
  "source",
  cells,
  situations,
  Object.fromEntries(
    Object.entries(events).map(([name, event]) => [name, "kind" in event ? ([event, 1500] as const) : event]),
  ),
  advanceSource,
  ["migrationId", "vmId", "peerHostId"],
);
