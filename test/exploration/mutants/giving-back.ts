// More of rules 6 to 8 at the destination: what it takes for a statement, what it owes after a reboot, the word.
import { atDestination, type Mutant } from "./mutant.ts";

export const givingBackMutants: Mutant[] = [
  {
    name: "statement-before-the-commit",
    rule: "6: what the source states of its copy counts only after the commit",
    change: atDestination((_state, event, { state, commands }) =>
      event.kind === "peer-said" && event.message.kind === "ask-gate"
        ? { state: { ...state, sourceIsComplete: true }, commands }
        : null,
    ),
    features: ["refusals", "guests"],
    faults: 2,
  },
  {
    name: "statement-outlives-its-link",
    rule: "6: the statement ends with the link that it came over",
    change: atDestination((before, event, { state, commands }) =>
      event.kind === "peer-lost" && before.stage === "refused" && before.sourceIsComplete
        ? { state: { ...state, sourceIsComplete: true }, commands }
        : null,
    ),
    features: ["refusals", "guests", "links"],
    faults: 3,
  },
  {
    name: "reboot-returns-nothing",
    rule: "6: `returned` also serves after a reboot between commit and intent",
    change: atDestination((before, _event, { state }) =>
      state.stage === "returning" && state.runIntent === 0 ? { state: before, commands: [] } : null,
    ),
    features: ["reboots"],
    faults: 1,
  },
  {
    name: "word-while-connected",
    rule: "7: only while the destination, too, is cut off",
    change: atDestination((state, event) =>
      event.kind === "peer-said" &&
      event.message.kind === "ask-relinquish" &&
      ["loading", "settling", "aborting"].includes(state.stage) &&
      !state.commitSent
        ? {
            state: { ...state, nonce: event.message.nonce, stage: "relinquishing" },
            commands: [{ kind: "journal", what: "relinquished" }],
          }
        : null,
    ),
    features: ["cuts"],
    faults: 1,
  },
  {
    name: "word-not-journalled",
    rule: "7: `relinquished`, which bars any commit, is journalled before its copy is ended",
    change: atDestination((before, _event, { state }) =>
      state.stage === "relinquishing" && before.stage !== "relinquishing"
        ? { state, commands: [{ kind: "destroy-copy" }] }
        : null,
    ),
    features: ["cuts"],
    faults: 2,
  },
  {
    name: "destination-ends-its-own",
    rule: "8: the destination ends no copy that the record names",
    change: atDestination((before, _event, { state }) =>
      state.stage === "confirming" && before.stage === "starting"
        ? { state: { ...state, stage: "discarding" }, commands: [{ kind: "destroy-copy" }] }
        : null,
    ),
  },
];
