// How the ports answer, by what a trace's machine heard.
import type { SourceEvent } from "../../../agents/domain/source.ts";
import type { ProvenRecord } from "../../../agents/ports/control-plane.ts";
import type { Feed, TraceStep } from "./trace.ts";

/** With these a stream fails by itself, and not by their answer. */
export const enders = new Set(["cancel-stream", "settle-stream", "destroy-copy", "cancel-at-gate"]);

/** What was to end where nothing is has ended at once, with what ordered it. */
export function merged({ name, feeds }: TraceStep): Feed[] {
  const all: Feed[] = [];
  for (const feed of feeds) {
    const before = all.findLast(({ m, side }) => m === feed.m && side === feed.side);
    if (feed.event?.kind !== "destroyed" || !before || name.includes(": destroy-copy")) all.push(feed);
    else all[all.indexOf(before)] = { ...before, commands: [...before.commands, ...feed.commands], state: feed.state };
  }
  return all;
}

const reports = ["source-", "destination-", "guest-confirmed", "copy-seen", "take-back-refused"];
export const isReport = (what: string): boolean => reports.some((kind) => what.startsWith(kind));

export function answerOf(event: SourceEvent | undefined, record: ProvenRecord): unknown {
  const outcome = event?.kind === "report-answered" ? event.outcome : "unknown";
  if (outcome === "unknown") return { kind: "unknown", detail: "" };
  if (outcome === "applied") return { kind: "applied", assignmentsRevision: 0, record };
  return { kind: "refused", problem: { code: "stale-fencing-token", detail: "" }, record };
}

export function settle(call: { answer(result?: unknown): void; fail(): void }, event: SourceEvent | undefined): void {
  const told = event as
    | { kind: string; resets?: number; decision?: string; endpoint?: object; answer?: string; isGranted?: boolean }
    | undefined;
  switch (told?.kind) {
    case "permit-failed":
    case "launch-failed":
    case "stream-failed":
    case "hold-failed":
    case "gate-unknown":
    case "peer-unreachable":
    case "journal-failed":
      call.fail();
      return;
    case "held":
      call.answer({ standsForMs: 0, resets: told.resets });
      return;
    case "gate-stands":
      call.answer(told.decision);
      return;
    case "receiving":
      call.answer(told.endpoint);
      return;
    case "run-answered":
      if (told.answer === "unknown") call.fail();
      else if (told.answer === "granted" || told.isGranted === true) call.answer({ kind: "granted" });
      else call.answer({ kind: "refused", by: "lock-held", detail: "" });
      return;
    default:
      call.answer();
  }
}

/** Signatures are checked outside of this loop. */
export async function untilChecked(isDone: () => boolean): Promise<void> {
  for (let turn = 0; turn < 200 && (turn < 5 || !isDone()); turn += 1) await new Promise((done) => setTimeout(done, 1));
}
