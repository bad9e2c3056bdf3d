// Rules 2, 3, 4, 7 and 8 at the source.
import { resume } from "../../../agents/domain/source-steps.ts";
import { atSource, habit, hears, type Mutant } from "./mutant.ts";

export const sourceMutants: Mutant[] = [
  {
    name: "stops-unasked",
    rule: "2: both agents read the record freshly before the guest is stopped",
    change: atSource((_state, event, { state }) =>
      event.kind === "sampled" && state.ask
        ? { state: { ...state, stage: "holding", ask: null }, commands: [{ kind: "hold-at-gate" }] }
        : null,
    ),
  },
  {
    name: "one-reading-is-enough",
    rule: "2: both agents, not one of them",
    change: atSource((state, event, step) =>
      event.kind === "gate-read" && event.ask === state.ask?.number && event.record?.verdict === "open"
        ? { state: { ...step.state, stage: "holding", ask: null }, commands: [{ kind: "hold-at-gate" }] }
        : null,
    ),
  },
  {
    name: "cancel-unheeded",
    rule: "2: `open` with no cancel intended",
    change: (rules) => ({
      ...rules,
      advanceSource(state, event, atMs) {
        if (event.kind !== "gate-read" || !event.record) return rules.advanceSource(state, event, atMs);
        const { record } = event;
        const step = rules.advanceSource(state, { ...event, record: { ...record, cancelRequested: null } }, atMs);
        return { ...step, state: { ...step.state, record } };
      },
    }),
    features: ["cancel"],
  },
  {
    name: "ends-untold",
    rule: "2: the source ends the attempt alone, and the record follows",
    change: atSource((state, _event, step) =>
      step.state.stage === "aborting" && state.stage !== "aborting" ? { state: step.state, commands: [] } : null,
    ),
    features: ["cancel"],
  },
  {
    name: "sup",
    rule: "2: `past` and `cancelled` are one exclusive creation",
    change: (rules) => ({ ...rules, decideGate: (_found, wanted) => wanted }),
    features: ["agents"],
    faults: 1,
  },
  {
    name: "past-not-journalled",
    rule: "2: `past` is durable before anything follows from it",
    change: habit({ journalsPast: false }),
    features: ["agents"],
    faults: 1,
  },
  {
    name: "cancel-past-the-gate",
    rule: "2: past the gate the source may not end the attempt alone",
    change: atSource((state, event) =>
      event.kind === "record-known" && event.record.cancelRequested && state.stage === "in-doubt"
        ? resume(state, state.openToken)
        : null,
    ),
    features: ["cancel"],
  },
  {
    name: "hypervisor-resumes",
    rule: "3: no hypervisor resumes the source on its own",
    change: habit({ staysStopped: false }),
    features: ["links"],
    faults: 1,
  },
  {
    name: "timer",
    rule: "4: never on a timer",
    change: atSource((state, event) =>
      event.kind === "woke" && state.stage === "in-doubt" ? resume(state, state.openToken) : null,
    ),
  },
  {
    name: "guesses-an-abort",
    rule: "4: never on a guess",
    change: atSource((state, event) =>
      event.kind === "record-unknown" && state.stage === "in-doubt" ? resume(state, state.openToken) : null,
    ),
    features: ["requests"],
    faults: 1,
  },
  {
    name: "bind",
    rule: "4: only on a record of this migration, above the token it opened under",
    change: (rules) => {
      const hearing = habit({ hearsOthersRecords: true, watchesLateWrites: true })(rules);
      return atSource((state, event) =>
        event.kind === "record-known" && event.record.migrationId !== state.migrationId && state.stage === "in-doubt"
          ? resume(state, state.openToken)
          : null,
      )(hearing);
    },
    features: ["cancel"],
    setting: { movesPerVm: 2 },
  },
  {
    name: "resumes-on-committed",
    rule: "4: only on `aborted` or `returned`, naming its copy",
    change: atSource((state, event) =>
      event.kind === "record-known" && event.record.verdict === "committed" && state.stage === "in-doubt"
        ? resume(state, event.record.verdictToken)
        : null,
    ),
  },
  {
    name: "word-unproved",
    rule: "7: a word is taken only at one's own request, under its nonce",
    change: (rules) =>
      atSource((state, event) =>
        event.kind === "peer-said" && event.message.kind === "loaded" && state.stage === "in-doubt"
          ? resume(state, state.openToken)
          : null,
      )(habit({ provesWord: false })(rules)),
  },
  {
    name: "no-confirm",
    rule: "8: the source keeps its stopped copy until the migration is confirmed",
    change: atSource((state, event) =>
      event.kind === "record-known" && event.record.verdict === "committed" && state.stage === "in-doubt"
        ? { state: { ...state, stage: "ending" }, commands: [{ kind: "destroy-copy" }] }
        : null,
    ),
  },
  {
    name: "destroys-its-own",
    rule: "8: only where the record names another copy",
    change: atSource((state, _event, step) =>
      step.state.stage === "resuming" && state.stage === "in-doubt" && step.state.record?.verdict === "aborted"
        ? { state: { ...step.state, stage: "ending" }, commands: [{ kind: "destroy-copy" }] }
        : null,
    ),
    features: ["cancel"],
  },
  {
    name: "copyless-aborts",
    rule: "who may abort: the source without its copy only where its gate was never passed",
    change: atSource((state, _event, step) =>
      step.state.stage === "copyless" && state.stage !== "copyless"
        ? {
            state: { ...step.state, stage: "aborting" },
            commands: [
              {
                kind: "report",
                report: {
                  kind: "source-aborts",
                  migrationId: state.migrationId,
                  vmId: state.vmId,
                  fencingToken: state.openToken,
                  peerHostId: state.peer.hostId,
                  reason: "guest-ended",
                  detail: "",
                },
              },
            ],
          }
        : null,
    ),
    features: ["guests"],
    faults: 1,
  },
  {
    name: "gone",
    rule: "who may abort: a source without its copy that never passed its gate does so",
    change: (rules) => ({
      ...rules,
      recoverSource: (begun, found, atMs) =>
        rules.recoverSource(begun, found.machine === "ended" ? { ...found, gate: "past" } : found, atMs),
      advanceSource(state, event, atMs) {
        const step = rules.advanceSource(state, event, atMs);
        const isLost = event.kind === "guest-ended" && step.state.stage === "aborting";
        return isLost ? { state: { ...step.state, stage: "copyless" }, commands: [{ kind: "read-record" }] } : step;
      },
      advanceDestination(state, event, atMs) {
        // Nor does the destination end what its source left behind.
        const step = rules.advanceDestination(state, event, atMs);
        return hears(step, "destroy-copy") || hears(step, "settle-stream") ? { state, commands: [] } : step;
      },
    }),
    features: ["guests"],
    faults: 1,
  },
  {
    name: "slot-not-freed",
    rule: "9: each host reports what it has in the end",
    change: atSource((_state, _event, step) =>
      step.state.stage === "reporting" ? { state: step.state, commands: [] } : null,
    ),
  },
];
