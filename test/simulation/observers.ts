// Counts the rare points where they happen: in what agents log, what is committed, what peers say to each other.
import type { Delivery } from "../../agents/adapters/memory-peer-link.ts";
import type { MigrationJournal } from "../../agents/ports/journal.ts";
import type { MigrationState } from "../../functions/domain/records.ts";
import { restored } from "../../functions/domain/recovery.ts";
import { hostLost } from "../../functions/domain/vms.ts";
import type { Counts, Sometimes } from "./sometimes.ts";

type Entry = { event: string; [detail: string]: unknown };

export class Observers {
  readonly #counts: Counts;
  readonly #journalOf: (hostId: string, migrationId: string) => MigrationJournal | null;
  readonly #wordsHeard = new Set<string>();
  readonly #skewed = new Set<string>();
  /** Migrations whose source stands past its gate. */
  readonly inDoubt = new Set<string>();
  /** Hosts that were declared lost while their cluster recovered, and have not taken up their work since. */
  readonly late = new Set<string>();

  constructor(counts: Counts, journalOf: (hostId: string, migrationId: string) => MigrationJournal | null) {
    this.#counts = counts;
    this.#journalOf = journalOf;
  }

  log(hostId: string, entry: Entry): void {
    const { event } = entry;
    const simple = byEvent[event];
    if (simple) this.#counts.add(simple);
    if (event === "thawed" && this.late.delete(hostId)) {
      this.#counts.add("late host settled");
      if (this.late.size > 0) this.#counts.add("late host settled before another");
    }
    if (event === "report-refused") this.#refused(String(entry["report"]), String(entry["problem"]));
    if (event === "role-recovered") this.#recovered(hostId, entry);
    if (event === "source-stage") {
      const isResuming = entry["from"] === "in-doubt" && entry["to"] === "resuming";
      if (isResuming && this.#wordsHeard.delete(String(entry["migrationId"]))) this.#counts.add("word used");
      if (entry["to"] === "in-doubt") this.inDoubt.add(String(entry["migrationId"]));
      else this.inDoubt.delete(String(entry["migrationId"]));
    }
    if (event === "destination-stage") {
      if (entry["to"] === "relinquished") this.#counts.add("word given");
      if (entry["from"] === "starting" && entry["to"] === "refused") this.#counts.add("run refused at the destination");
    }
    if (event === "run-refused") {
      if (String(entry["detail"]).startsWith("lock-held")) this.#counts.add("lock file held by another");
      if (String(entry["detail"]).startsWith("lock-superseded")) this.#counts.add("lock file superseded");
    }
  }

  /** The control plane's answer to an agent. @param isOlder the host lives under another incarnation by now */
  async answered(hostId: string, response: Response, isOlder: boolean): Promise<void> {
    if (response.status < 300) {
      if (this.#skewed.delete(hostId)) this.#counts.add("clock skew cured");
      return;
    }
    const { code } = (await response.clone().json()) as { code?: string };
    if (code === "clock-skew") this.#skewed.add(hostId);
    if (code === "incarnation-stale" && isOlder) this.#counts.add("older life of a host refused");
  }

  delivered({ migrationId, message }: Delivery): void {
    if (message.kind === "record") this.#counts.add("record relayed");
    if (message.kind === "relinquished") this.#wordsHeard.add(migrationId);
  }

  /** A migration as committed, and as it stood before. */
  migration(before: MigrationState | null, after: MigrationState): void {
    const { verdict } = after;
    if (verdict.kind !== before?.verdict.kind) {
      if (verdict.kind === "committed" || verdict.kind === "returned") this.#counts.add(verdict.kind);
      const isSources = verdict.kind === "forced" && verdict.owner.copyId === after.source.copyId;
      if (isSources) this.#counts.add("taken back by force");
      if (verdict.kind === "aborted") this.#counts.add(`aborted by the ${words[verdict.by]}` as Sometimes);
    }
    this.#forWantOfWord(before, after);
    const wasConfirmed = before?.verdict.kind === "committed" && before.verdict.confirmed !== null;
    if (verdict.kind === "committed" && verdict.confirmed?.outcome === "guest-lost" && !wasConfirmed) {
      this.#counts.add("confirmed as guest-lost");
    }
    if (before?.stage === "queued" && after.stage === "admitted") this.#counts.add("queue admitted after freeing");
  }

  #forWantOfWord(before: MigrationState | null, after: MigrationState): void {
    if (!before || !awaitsWord(before)) {
      if (awaitsWord(after)) this.#counts.add("committed for want of a lost destination's word");
      return;
    }
    const { verdict } = after;
    if (verdict.kind === "committed" && verdict.confirmed?.outcome === "running")
      this.#counts.add("commit for want of a word goes on");
    const isBack = verdict.kind === "forced" && verdict.owner.copyId === after.source.copyId;
    if (verdict.kind === "returned" || isBack) this.#counts.add("commit for want of a word goes back");
  }

  #refused(report: string, problem: string): void {
    if (report === "destination-commits" && problem === "already-aborted")
      this.#counts.add("abort wins against commit");
    if (report === "source-aborts" && problem === "already-committed") this.#counts.add("commit wins against abort");
    if (problem === "stale-fencing-token") this.#counts.add("stale token refused");
  }

  #recovered(hostId: string, entry: Entry): void {
    const { role, machine, gate } = entry;
    const journal = this.#journalOf(hostId, String(entry["migrationId"]));
    if (role === "source") {
      if (machine === "ended") this.#counts.add("source recovered after its guest was gone");
      else if (gate === "past" && machine === "running") this.#counts.add("source recovered, running again");
      else if (gate === "past") this.#counts.add("source recovered past the gate");
      else if (machine === "running") this.#counts.add("source recovered before the gate");
      else this.#counts.add("source recovered at the gate");
      return;
    }
    if (journal?.relinquished) this.#counts.add("destination recovered after the word");
    if (journal?.runRefused) this.#counts.add("destination recovered after a refusal to run");
    if (journal?.runIntent) this.#counts.add("destination recovered with an intent to run");
    else if (journal?.commitSent) this.#counts.add("destination recovered with a commit sent");
    else if (machine === "loaded") this.#counts.add("destination recovered after loading");
    else if (machine === "incoming") this.#counts.add("destination recovered while loading");
    if (machine === "ended") this.#counts.add("destination recovered after its copy was gone");
  }
}

const awaitsWord = ({ verdict, seen: { destination } }: MigrationState): boolean =>
  verdict.kind === "committed" &&
  !verdict.confirmed &&
  destination?.because === hostLost &&
  destination.detail === restored;

const words = { source: "source", destination: "destination", "control-plane": "control plane" };

const byEvent: { [event: string]: Sometimes } = {
  "orphan-removed": "orphan removed",
  "stale-duty": "stale duty or assignment refused",
  "stale-assignment": "stale duty or assignment refused",
  "lock-file-not-held": "guest executes without its lock file",
  "journal-failed": "journal write failed",
};
