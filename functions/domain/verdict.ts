// Who owns the guest: the commit rule as one table. A verdict is written once, on the one before it.
//   V1  What arrives under any other fencing token than the one the migration opened under moves nothing.
//   V2  A host speaks for its own part alone.
//   V3  Ownership moves by the destination's commit alone; after it nobody can abort.
//   V4  The control plane aborts only what the source has not claimed; all else that it wants is an intent.
//   V5  A commit is returned only by the destination, and never once it is confirmed.
//   V6  What arrives twice changes nothing the second time, because networks repeat themselves.
//   V7  Every verdict raises the token by one; nothing ever lowers it.
//   V8  `forced` needs an operator's word that a host is lost, and is never written over a living host that may still
//       decide: an open migration only when both ends are lost, a commit only when its destination is. The source's
//       copy is taken back only by the source itself, which holds the lock file by then.
import type { CopyRef } from "../../schemas/ids.ts";
import type { EndReason } from "../../schemas/migration.ts";
import type { ProblemCode } from "../../schemas/problems.ts";

/** `token`: the VM's fencing token since this verdict; while open, the one the migration opened under. */
export type Verdict = { token: number } & (
  | { kind: "open" }
  | { kind: "committed"; confirmed: Confirmation | null }
  | { kind: "aborted"; by: Aborter; reason: EndReason; detail: string }
  | { kind: "returned"; reason: EndReason; detail: string }
  | { kind: "forced"; owner: CopyRef; statement: string; reason?: EndReason }
);
export type Aborter = "source" | "destination" | "control-plane";
export type Confirmation = {
  outcome: "running" | "paused" | "ended" | "guest-lost";
  detail: string;
  /** Resets that the source had made before the guest left it, where it could say so. */
  resetsAtSource?: number | undefined;
};

export type VerdictEvent =
  | { kind: "destination-commits"; by: string; fencingToken: number } // The guest stands still meanwhile.
  | { kind: "source-aborts"; by: string; fencingToken: number; reason: EndReason; detail: string }
  | { kind: "destination-aborts"; by: string; fencingToken: number; reason: EndReason; detail: string }
  | { kind: "control-plane-aborts"; sourceHasClaimed: boolean; reason: EndReason; detail: string }
  | { kind: "destination-returns"; by: string; fencingToken: number; reason: EndReason; detail: string }
  | ({ kind: "guest-confirmed"; by: string; fencingToken: number } & Confirmation)
  | { kind: "source-takes-back"; by: string; fencingToken: number; asked: TakeBack | null }
  | { kind: "operator-forces"; owner: CopyRef; lost: Lost; statement: string };

/** What a host says, for its own part and under a token. */
export type HostEvent = Exclude<VerdictEvent, { kind: "control-plane-aborts" | "operator-forces" }>;
export const isOfHost = (event: VerdictEvent): event is HostEvent =>
  event.kind !== "control-plane-aborts" && event.kind !== "operator-forces";

/** An operator's wish that the source take its stopped copy back, and why it could not. */
export type TakeBack = { statement: string; refused: string | null };
/** Whose incarnation an operator has declared lost, of those that took part. */
export type Lost = { source: boolean; destination: boolean };

export type VerdictDecision =
  | { kind: "move"; verdict: Verdict }
  | { kind: "unchanged" }
  | { kind: "refuse"; problem: ProblemCode };

/** The two ends of a migration and the token it opened under: they never change. */
export type Ends = { source: CopyRef; destination: CopyRef; openedUnderToken: number };

type Cell<V extends Verdict["kind"], E extends VerdictEvent["kind"]> = (
  verdict: Extract<Verdict, { kind: V }>,
  event: Extract<VerdictEvent, { kind: E }>,
  ends: Ends,
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

const forcedAlready = (standing: CopyRef, asked: CopyRef): VerdictDecision =>
  standing.copyId === asked.copyId ? unchanged() : { kind: "refuse", problem: "already-forced" };

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
    "source-takes-back": refuse("not-committed"),
    "operator-forces": (verdict, { owner, lost, statement }) =>
      lost.source && lost.destination
        ? move({ kind: "forced", token: verdict.token + 1, owner, statement })
        : { kind: "refuse", problem: "host-may-decide" }, // V8
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
    "guest-confirmed": (verdict, { outcome, detail, resetsAtSource }) => {
      if (verdict.confirmed) return unchanged();
      const told = resetsAtSource === undefined ? {} : { resetsAtSource };
      return move({ ...verdict, confirmed: { outcome, detail, ...told } }); // No new owner, no new token.
    },
    "source-takes-back": (verdict, { asked }, ends) => {
      if (verdict.confirmed) return { kind: "refuse", problem: "already-confirmed" };
      if (!asked) return { kind: "refuse", problem: "take-back-not-asked" }; // V8
      return move({ kind: "forced", token: verdict.token + 1, owner: ends.source, statement: asked.statement });
    },
    "operator-forces": (verdict, { owner, lost, statement }) => {
      if (verdict.confirmed) return { kind: "refuse", problem: "already-confirmed" };
      return lost.destination
        ? move({ kind: "forced", token: verdict.token + 1, owner, statement })
        : { kind: "refuse", problem: "host-may-decide" }; // V8
    },
  },
  aborted: {
    "destination-commits": refuse("already-aborted"),
    "source-aborts": abortedAlready("source"),
    "destination-aborts": abortedAlready("destination"),
    "control-plane-aborts": abortedAlready("control-plane"),
    "destination-returns": refuse("already-aborted"),
    "guest-confirmed": refuse("already-aborted"),
    "source-takes-back": refuse("already-aborted"),
    "operator-forces": refuse("already-aborted"),
  },
  returned: {
    "destination-commits": refuse("already-returned"),
    "source-aborts": refuse("already-returned"),
    "destination-aborts": refuse("already-returned"),
    "control-plane-aborts": refuse("already-returned"),
    "destination-returns": unchanged, // V6
    "guest-confirmed": refuse("already-returned"),
    "source-takes-back": refuse("already-returned"),
    "operator-forces": refuse("already-returned"),
  },
  forced: {
    "destination-commits": refuse("already-forced"),
    "source-aborts": refuse("already-forced"),
    "destination-aborts": refuse("already-forced"),
    "control-plane-aborts": refuse("already-forced"),
    "destination-returns": refuse("already-forced"),
    "guest-confirmed": refuse("already-forced"),
    // V6: it finds its own effect.
    "source-takes-back": (verdict, _event, ends) => forcedAlready(verdict.owner, ends.source),
    "operator-forces": (verdict, { owner }) => forcedAlready(verdict.owner, owner),
  },
};

/** Whose part an event is. */
const speakers: { [E in VerdictEvent["kind"]]: "source" | "destination" | "control-plane" | "operator" } = {
  "destination-commits": "destination",
  "source-aborts": "source",
  "destination-aborts": "destination",
  "control-plane-aborts": "control-plane",
  "destination-returns": "destination",
  "guest-confirmed": "destination",
  "source-takes-back": "source",
  "operator-forces": "operator",
};

export function decideVerdict(verdict: Verdict, event: VerdictEvent, ends: Ends): VerdictDecision {
  if (isOfHost(event)) {
    const speaker = speakers[event.kind] === "source" ? ends.source : ends.destination;
    if (event.by !== speaker.hostId) return { kind: "refuse", problem: "not-yours" }; // V2
    if (event.fencingToken !== ends.openedUnderToken) return { kind: "refuse", problem: "stale-fencing-token" }; // V1
  }
  // The table is checked cell by cell where it is written; here the cell fits by construction.
  const cell = transitions[verdict.kind][event.kind] as Cell<Verdict["kind"], VerdictEvent["kind"]>;
  return cell(verdict as never, event as never, ends);
}

/** The copy that a verdict names. */
export function ownerBy(verdict: Verdict, ends: Ends): CopyRef {
  switch (verdict.kind) {
    case "committed":
      return ends.destination;
    case "forced":
      return verdict.owner;
    default:
      return ends.source;
  }
}

export const verdictKinds = Object.keys(transitions) as Verdict["kind"][];
export const verdictEventKinds = Object.keys(speakers) as VerdictEvent["kind"][];
