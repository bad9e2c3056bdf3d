// What the source measures of one migration, on its own monotonic clock.
import type { MigrationTimings, Round } from "../../schemas/migration.ts";
import type { StreamSample } from "../ports/hypervisor.ts";

const roundsPerReport = 100;

export class Measurements {
  readonly rounds: Round[] = [];
  /** The one under way, as it stands: its remaining bytes are those it has yet to send. */
  currentRound: Round | null = null;
  bytes = 0;
  encrypted: boolean | null = null;
  #told = 0;
  readonly #marks: { [M in Mark]?: number } = {};
  #commitMs: number | null = null;
  #isPaused = false;

  mark(mark: Mark, atMs: number): void {
    // A gate is asked for more than once; the last ask is the one that counts. All else happens once.
    if (mark === "gate-asked" || this.#marks[mark] === undefined) this.#marks[mark] = atMs;
  }

  /** @returns the round that it is of, as it stands */
  sample(sample: StreamSample): Round {
    this.bytes = Math.max(this.bytes, sample.totalBytes);
    this.encrypted = sample.encrypted;
    const { roundDone, totalBytes: _total, encrypted: _encrypted, ...round } = sample;
    this.currentRound = roundDone ? null : round;
    if (roundDone) this.rounds.push(round);
    return round;
  }

  /** Nothing stood still that would have gone on: there is no downtime to tell. */
  guestIsPaused(): void {
    this.#isPaused = true;
  }

  commitTook(milliseconds: number): void {
    this.#commitMs = milliseconds;
  }

  /** Rounds that no answered report has carried yet, the oldest first; a report takes this many at most. */
  untold(): Round[] {
    return this.rounds.slice(this.#told, this.#told + roundsPerReport);
  }

  /** The control plane has these. */
  told(rounds: readonly Round[]): void {
    this.#told = Math.max(this.#told, this.rounds.indexOf(rounds.at(-1) as Round) + 1);
  }

  timings(): MigrationTimings {
    const between = (from: Mark, to: Mark): number | null => {
      const [start, end] = [this.#marks[from], this.#marks[to]];
      return start === undefined || end === undefined ? null : Math.max(0, Math.round((end - start) * 1000) / 1000);
    };
    return {
      setupMs: between("claimed", "streaming"),
      precopyMs: between("streaming", "stopping"),
      downtimeMs: this.#isPaused ? null : between("stopping", "arrived"),
      totalMs: between("claimed", "arrived"),
      gateCheckMs: between("gate-asked", "stopping"),
      commitMs: this.#commitMs,
      loadMs: between("stopping", "loaded"),
    };
  }

  summary() {
    return { timings: this.timings(), bytes: this.bytes, rounds: this.untold(), encrypted: this.encrypted };
  }
}

export type Mark = "claimed" | "streaming" | "gate-asked" | "stopping" | "loaded" | "arrived";
