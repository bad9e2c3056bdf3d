// Rules 1, 5, 6 and 7 at the destination.
import { abortReport, confirmReport, returnReport, tryToRun } from "../../../agents/domain/destination-steps.ts";
import { atDestination, hears, type Mutant, saying } from "./mutant.ts";

const runs = (fencingToken: number) => ({ kind: "run-copy", fencingToken, paused: false }) as const;

export const destinationMutants: Mutant[] = [
  {
    name: "early-run",
    rule: "1: the destination loads held; nothing executes before the record",
    change: atDestination((_state, event, { state, commands }) =>
      event.kind === "loaded" ? { state, commands: [...commands, runs(state.openToken)] } : null,
    ),
  },
  {
    name: "commits-incomplete",
    rule: "5: only a copy that is loaded completely is committed",
    change: atDestination((_state, event, { state }) =>
      event.kind === "receiving"
        ? { state: { ...state, stage: "intending" }, commands: [{ kind: "journal", what: "commit-sent" }] }
        : null,
    ),
  },
  {
    name: "commit-not-journalled",
    rule: "5: that a commit may be sent is journalled before",
    change: atDestination((_state, event, { state }) =>
      event.kind === "loaded"
        ? { state: { ...state, stage: "committing" }, commands: [saying(state, "destination-commits")] }
        : null,
    ),
  },
  {
    name: "guesses-its-commit",
    rule: "5: an unknown answer is read again, never guessed",
    change: atDestination((state, event) =>
      event.kind === "report-answered" && event.outcome === "unknown" && state.stage === "committing"
        ? tryToRun(state)
        : null,
    ),
    features: ["requests"],
    faults: 1,
  },
  {
    name: "a-dead-source-stops-it",
    rule: "5: a dead source does not stop a destination that has loaded",
    change: atDestination((state, event) =>
      event.kind === "peer-lost" && (state.stage === "intending" || state.stage === "committing")
        ? { state: { ...state, stage: "discarding" }, commands: [{ kind: "destroy-copy" }] }
        : null,
    ),
    features: ["links"],
    faults: 1,
  },
  {
    name: "intent-not-journalled",
    rule: "5: the intent to run is journalled before the guest runs",
    change: atDestination((_state, _event, { state, commands }) => {
      const isIntent = commands.some((command) => command.kind === "journal" && command.what === "run-intent");
      return isIntent ? { state, commands: [runs(state.record?.verdictToken ?? 0)] } : null;
    }),
  },
  {
    name: "abortEnd",
    rule: "5: an incomplete copy is ended before `aborted` is sent",
    change: atDestination((_state, _event, { state }) =>
      state.stage === "discarding" && state.record?.verdict !== "aborted"
        ? { state: { ...state, stage: "aborting" }, commands: [abortReport(state)] }
        : null,
    ),
    features: ["links"],
    faults: 1,
  },
  {
    name: "loaded-aborts",
    rule: "who may abort: a destination whose copy is incomplete, or gone",
    change: atDestination((state, event) =>
      event.kind === "woke" && state.stage === "committing"
        ? { state: { ...state, stage: "discarding" }, commands: [{ kind: "destroy-copy" }] }
        : null,
    ),
    features: ["requests"],
    faults: 1,
  },
  {
    name: "cancel-ends-a-complete-copy",
    rule: "8: a complete copy is ended only by the record",
    change: atDestination((state, event) =>
      event.kind === "record-known" && event.record.cancelRequested && state.stage === "committing"
        ? { state: { ...state, stage: "discarding" }, commands: [{ kind: "destroy-copy" }] }
        : null,
    ),
    features: ["cancel"],
  },
  {
    name: "tryIntent",
    rule: "6: each try to run has its own intent",
    change: atDestination((state, event) =>
      event.kind === "woke" && state.stage === "refused" && state.runRefused === state.runIntent
        ? { state: { ...state, stage: "starting" }, commands: [runs(state.record?.verdictToken ?? 0)] }
        : null,
    ),
    features: ["refusals"],
    faults: 1,
  },
  {
    name: "return-anyway",
    rule: "6: a guest that may have run is never returned",
    change: atDestination((_state, _event, { state }) =>
      state.stage === "lost" ? { state: { ...state, stage: "returning" }, commands: [returnReport(state)] } : null,
    ),
    features: ["reboots"],
    faults: 1,
  },
  {
    name: "retSrc",
    rule: "6: a complete copy is ended only after the source has stated that its own is",
    change: atDestination((_state, event, { state }) =>
      event.kind === "journalled" && event.what === "run-refused"
        ? { state: { ...state, stage: "returning" }, commands: [{ kind: "destroy-copy" }] }
        : null,
    ),
    features: ["refusals", "guests"],
    faults: 2,
  },
  {
    name: "returns-before-the-end",
    rule: "6: `returned` needs the destination's copy to be ended",
    change: atDestination((state, _event, step) =>
      step.state.stage === "returning" && state.stage !== "returning" && !step.state.isGone
        ? { state: step.state, commands: [returnReport(step.state)] }
        : null,
    ),
    features: ["refusals"],
    faults: 1,
  },
  {
    name: "prune",
    rule: "6, 7: a missing journal counts as `may have run` and as `commit sent`",
    change: (rules) => ({ ...rules, worstCase: { ...rules.worstCase, commitSent: false, runIntent: 0 } }),
    features: ["wipes"],
    faults: 1,
  },
  {
    name: "gate-unknown-counts-as-open",
    rule: "2, 6: a source without its journal counts as past its gate",
    change: (rules) => ({ ...rules, worstCase: { ...rules.worstCase, gateUnknown: false } }),
    features: ["wipes"],
    faults: 1,
  },
  {
    name: "ranGone",
    rule: "6: a guest that may have run and is gone is reported lost",
    change: atDestination((_state, _event, { state }) => (state.stage === "lost" ? { state, commands: [] } : null)),
    features: ["guests"],
    faults: 1,
  },
  {
    name: "relinq-unasked",
    rule: "7: only at the source's request, only while cut off",
    change: atDestination((_state, event, { state }) =>
      event.kind === "loaded"
        ? { state: { ...state, stage: "relinquishing" }, commands: [{ kind: "journal", what: "relinquished" }] }
        : null,
    ),
  },
  {
    name: "relinq-after-sent",
    rule: "7: only if no commit was ever sent",
    change: atDestination((state, event) =>
      event.kind === "record-unknown" && state.stage === "committing" && state.nonce
        ? { state: { ...state, stage: "relinquishing" }, commands: [{ kind: "journal", what: "relinquished" }] }
        : null,
    ),
    features: ["cuts", "requests"],
    faults: 2,
  },
  {
    name: "word-before-the-end",
    rule: "7: its copy is ended before the word is given",
    change: atDestination((state, event, step) =>
      event.kind === "record-unknown" && step.state.stage === "relinquishing"
        ? { state, commands: [{ kind: "give-word", nonce: "n" }] }
        : null,
    ),
    features: ["cuts"],
    faults: 2,
  },
  {
    name: "confirms-before-it-runs",
    rule: "8: confirmed is what has reached the wanted run state",
    change: atDestination((_state, event, { state, commands }) =>
      event.kind === "journalled" && event.what === "run-intent"
        ? { state, commands: [...commands, confirmReport(state)] }
        : null,
    ),
  },
  {
    name: "never-confirms",
    rule: "9: the VM takes its next migration when its owner has reported it",
    change: atDestination((_state, _event, step) =>
      hears(step, "report") && step.state.stage === "confirming" ? { state: step.state, commands: [] } : null,
    ),
  },
];
