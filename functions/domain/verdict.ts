// Who owns the guest: the commit rule as one table. A verdict is written once, on the one before it.
//   V1  What arrives under any other fencing token than the one the migration opened under moves nothing.
//   V2  A host speaks for its own part alone.
//   V3  Ownership moves by the destination's commit alone; after it nobody can abort.
//   V4  The control plane aborts only what the source has not claimed; all else that it wants is an intent.
//   V5  A commit is returned only by the destination, and never once it is confirmed.
//   V6  What arrives twice changes nothing the second time, because networks repeat themselves.
//   V7  Every verdict raises the token by one; nothing ever lowers it.
import type { CopyRef } from "../../schemas/ids.ts";
import type { EndReason } from "../../schemas/migration.ts";
import type { ProblemCode } from "../../schemas/problems.ts";

/** `token`: the VM's fencing token since this verdict; while open, the one the migration opened under. */
export type Verdict = { token: number } & (
  | { kind: "open" }
  | { kind: "committed"; confirmed: Confirmation | null }
  | { kind: "aborted"; by: Aborter; reason: EndReason; detail: string }
  | { kind: "returned"; reason: EndReason; detail: string }
  | { kind: "forced"; owner: "source" | "destination"; statement: string }
);
export type Aborter = "source" | "destination" | "control-plane";
export type Confirmation = { outcome: "running" | "paused" | "ended" | "guest-lost"; detail: string };

export type VerdictEvent =
  | { kind: "destination-commits"; by: string; fencingToken: number } // The guest stands still meanwhile.
  | { kind: "source-aborts"; by: string; fencingToken: number; reason: EndReason; detail: string }
  | { kind: "destination-aborts"; by: string; fencingToken: number; reason: EndReason; detail: string }
  | { kind: "control-plane-aborts"; sourceHasClaimed: boolean; reason: EndReason; detail: string }
  | { kind: "destination-returns"; by: string; fencingToken: number; reason: EndReason; detail: string }
  | ({ kind: "guest-confirmed"; by: string; fencingToken: number } & Confirmation);

export type VerdictDecision =
  | { kind: "move"; verdict: Verdict }
  | { kind: "unchanged" }
  | { kind: "refuse"; problem: ProblemCode };

/** The two ends of a migration and the token it opened under: they never change. */
export type Ends = { source: CopyRef; destination: CopyRef; openedUnderToken: number };

type Cell<V extends Verdict["kind"], E extends VerdictEvent["kind"]> = (
  verdict: Extract<Verdict, { kind: V }>,
  event: Extract<VerdictEvent, { kind: E }>,
) => VerdictDecision;
type Transitions = { [V in Verdict["kind"]]: { [E in VerdictEvent["kind"]]: Cell<V, E> } };

const move = (verdict: Verdict): VerdictDecision => ({ kind: "move", verdict });
const unchanged = (): VerdictDecision => ({ kind: "unchanged" });
const refuse = (problem: ProblemCode) => (): VerdictDecision => ({ kind: "refuse", problem });
const abortsBy =
  (by: Aborter) =>
  (verdict: Verdict, { reason, detail }: { reason: EndReason; detail: string }): VerdictDecision =>
    move({ kind: "aborted", token: verdict.token + 1, by, reason, detail });
/** V6: unchanged for whoever made this verdict, refused for anybody else. */
const abortedAlready =
  (by: Aborter) =>
  (verdict: Extract<Verdict, { kind: "aborted" }>): VerdictDecision =>
    verdict.by === by ? unchanged() : { kind: "refuse", problem: "already-aborted" };

const transitions: Transitions = {
  open: {
    "destination-commits": (verdict) => move({ kind: "committed", token: verdict.token + 1, confirmed: null }),
    "source-aborts": abortsBy("source"),
    "destination-aborts": abortsBy("destination"),
    "control-plane-aborts": (verdict, event) =>
      event.sourceHasClaimed
        ? { kind: "refuse", problem: "source-has-claimed" } // V4
        : abortsBy("control-plane")(verdict, event),
    "destination-returns": refuse("not-committed"),
    "guest-confirmed": refuse("not-committed"),
  },
  committed: {
    "destination-commits": unchanged, // V6: the answer to the first one was lost
    "source-aborts": refuse("already-committed"), // V3
    "destination-aborts": refuse("already-committed"),
    "control-plane-aborts": refuse("already-committed"),
    "destination-returns": (verdict, { reason, detail }) =>
      verdict.confirmed
        ? { kind: "refuse", problem: "already-confirmed" } // V5
        : move({ kind: "returned", token: verdict.token + 1, reason, detail }),
    "guest-confirmed": (verdict, { outcome, detail }) =>
      verdict.confirmed ? unchanged() : move({ ...verdict, confirmed: { outcome, detail } }), // No new owner, no new token.
  },
  aborted: {
    "destination-commits": refuse("already-aborted"),
    "source-aborts": abortedAlready("source"),
    "destination-aborts": abortedAlready("destination"),
    "control-plane-aborts": abortedAlready("control-plane"),
    "destination-returns": refuse("already-aborted"),
    "guest-confirmed": refuse("already-aborted"),
  },
  returned: {
    "destination-commits": refuse("already-returned"),
    "source-aborts": refuse("already-returned"),
    "destination-aborts": refuse("already-returned"),
    "control-plane-aborts": refuse("already-returned"),
    "destination-returns": unchanged, // V6
    "guest-confirmed": refuse("already-returned"),
  },
  forced: {
    "destination-commits": refuse("already-forced"),
    "source-aborts": refuse("already-forced"),
    "destination-aborts": refuse("already-forced"),
    "control-plane-aborts": refuse("already-forced"),
    "destination-returns": refuse("already-forced"),
    "guest-confirmed": refuse("already-forced"),
  },
};

/** Whose part an event is. */
const speakers: { [E in VerdictEvent["kind"]]: "source" | "destination" | "control-plane" } = {
  "destination-commits": "destination",
  "source-aborts": "source",
  "destination-aborts": "destination",
  "control-plane-aborts": "control-plane",
  "destination-returns": "destination",
  "guest-confirmed": "destination",
};

export function decideVerdict(verdict: Verdict, event: VerdictEvent, ends: Ends): VerdictDecision {
  if (event.kind !== "control-plane-aborts") {
    const speaker = speakers[event.kind] === "source" ? ends.source : ends.destination;
    if (event.by !== speaker.hostId) return { kind: "refuse", problem: "not-yours" }; // V2
    if (event.fencingToken !== ends.openedUnderToken) return { kind: "refuse", problem: "stale-fencing-token" }; // V1
  }
  // The table is checked cell by cell where it is written; here the cell fits by construction.
  const cell = transitions[verdict.kind][event.kind] as (verdict: Verdict, event: VerdictEvent) => VerdictDecision;
  return cell(verdict, event);
}

/** The copy that a verdict names. */
export function ownerBy(verdict: Verdict, ends: Ends): CopyRef {
  switch (verdict.kind) {
    case "committed":
      return ends.destination;
    case "forced":
      return ends[verdict.owner];
    default:
      return ends.source;
  }
}

export const verdictKinds = Object.keys(transitions) as Verdict["kind"][];
export const verdictEventKinds = Object.keys(speakers) as VerdictEvent["kind"][];
