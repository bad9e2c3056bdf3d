// Read, decide, commit; and when others were quicker, all of it again. A commit whose outcome nobody knows is settled
// by reading again: the decision then finds its own effect, or makes it.
import type { Problem } from "../../schemas/problems.ts";
import type { Ports } from "../ports/ports.ts";
import { type Change, type CommitOutcome, OutcomeUnknown, TableFailing, TableThrottled } from "../ports/table.ts";

const attempts = 12;
const longestPauseMs = 250;

export type Attempt<T> =
  /** Decided, and this is to be committed. */
  | { kind: "commit"; changes: Change[]; result: T }
  /** What was read does not fit together: others wrote meanwhile. */
  | { kind: "again" }
  /** Decided, and there is nothing to write. */
  | { kind: "done"; result: T };

export type Retried<T> = { kind: "done"; result: T; committed: boolean } | { kind: "busy"; problem: Problem };

/** @param step names its durable step
 *  @param attempt reads and decides. `unsure`: an earlier commit of this very request may have happened */
export async function retryConflicts<T>(
  ports: Ports,
  step: string,
  attempt: (state: { unsure: boolean }) => Promise<Attempt<T>>,
): Promise<Retried<T>> {
  let unsure = false;
  let fault: unknown = null;
  for (let number = 0; number < attempts; number++) {
    if (number > 0) await pause(ports, number);
    try {
      const decided = await attempt({ unsure });
      if (decided.kind === "done") return { kind: "done", result: decided.result, committed: false };
      if (decided.kind === "again") continue;
      const outcome = await commitStep(ports, step, decided.changes);
      if (outcome.kind === "committed") return { kind: "done", result: decided.result, committed: true };
      fault = null;
    } catch (error) {
      if (!(error instanceof TableThrottled || error instanceof OutcomeUnknown)) throw error;
      unsure ||= error instanceof OutcomeUnknown;
      fault = error;
    }
  }
  if (fault) ports.onTableFault?.(step, fault);
  return { kind: "busy", problem: isFailing(fault) ? failing(unsure) : busy(unsure) };
}

/** The one door to the table's commits, so that each has a name that a test can halt at (docs/kill-matrix.md).
 *  @throws OutcomeUnknown, TableThrottled */
export async function commitStep(ports: Ports, step: string, changes: Change[]): Promise<CommitOutcome> {
  ports.atStep?.(`table:${step}`, "before");
  const outcome = await ports.table.commit(changes);
  ports.atStep?.(`table:${step}`, "after");
  return outcome;
}

/** What a request is told that the table let down. */
export function tableProblem(fault: unknown): Problem {
  return isFailing(fault) ? failing(false) : busy(false);
}

const isFailing = (fault: unknown): boolean => fault instanceof OutcomeUnknown || fault instanceof TableFailing;
const effectOf = (unsure: boolean): string => (unsure ? "Whether it took effect is not known" : "Nothing was changed");

function busy(unsure: boolean): Problem {
  return { code: "table-busy", detail: `${effectOf(unsure)}; send the same request again in a second.` };
}

function failing(unsure: boolean): Problem {
  const detail = `${effectOf(unsure)}: the table cannot be reached, takes no writes, or does not answer for them. See the control plane's log and the table's disk or service; then send the same request again.`;
  return { code: "table-failing", detail };
}

/** Full jitter, so that those who met do not meet again. */
async function pause(ports: Ports, number: number): Promise<void> {
  const [random = 0] = ports.randomBytes(1);
  const milliseconds = Math.floor((Math.min(longestPauseMs, 2 ** number) * random) / 256);
  if (ports.clock.sleep) await ports.clock.sleep(milliseconds);
  else await new Promise((resolve) => setTimeout(resolve, milliseconds));
}
