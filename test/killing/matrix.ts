// The matrix: every durable step in the code, before and after, and whom a death there strikes.
import type { Place } from "./scenarios.ts";
import { type Step, scanSteps, sources } from "./steps.ts";

/** Where a step is reached: in which scenario, on whose side. */
type Reached = { scenario: string; place: Place };

const on =
  (scenario: string) =>
  (place: Place): Reached => ({ scenario, place });
const [migrate, start, stop, cancel] = ["migrate", "start", "stop", "cancel"].map(on) as [
  (place: Place) => Reached,
  (place: Place) => Reached,
  (place: Place) => Reached,
  (place: Place) => Reached,
];
const both = (reach: (place: Place) => Reached) => [reach("source"), reach("destination")];
const control = (scenario: string): Reached[] => [{ scenario, place: "control-plane" }];

const gateTakenBack = { scenario: "agent dies at the gate", place: "source" } as const;
const returned = (place: Place) => ({ scenario: "destination's guest dies before it may run", place }) as const;
const destinationBreaks = "destination's guest dies while it loads";
const pausing = "pause, reset and resume";
const wentBack = "table goes back";
const lostHost = "source host is declared lost";

const tableWentBack: { [step: string]: Reached[] } = {
  "table:went-back-noticed": control(wentBack),
  "table:inventory": control(wentBack),
  "journal:table-standing": [
    { scenario: wentBack, place: "source" },
    { scenario: wentBack, place: "destination" },
  ],
  "table:recovery-begun": [{ scenario: wentBack, place: "restore" }],
  "table:table-renamed": [{ scenario: wentBack, place: "restore" }],
  "table:inventories-forgotten": control(wentBack),
  "table:late-host-settled": control("source host is lost while the table goes back"),
  "table:late-host-heard": control("source host is lost while the table goes back"),
  "table:vm-recovered": control(wentBack),
  "table:cluster-reopened": control(wentBack),
};
/** Without it no cluster opens again, and none of these scenarios ends. */
const doAgentsTell = sources("agents").some(([, source]) => source.includes("agent/inventory"));
const notTold = doAgentsTell
  ? {}
  : Object.fromEntries(Object.keys(tableWentBack).map((step) => [step, "no agent tells its inventory yet"]));

/** For each step the scenarios in which it is halted. A step that is missing here fails a test. */
export const reached: { [step: string]: Reached[] } = {
  ...(doAgentsTell ? tableWentBack : {}),
  "journal:begun": both(migrate),
  "journal:token": both(migrate),
  "journal:commit-sent": [migrate("destination")],
  "journal:run-intent": [migrate("destination")],
  "journal:run-refused": [{ scenario: "lock file is held by another", place: "destination" }],
  "journal:word-asked": [{ scenario: "cut off past the gate", place: "source" }],
  "journal:relinquished": [{ scenario: "cut off past the gate", place: "destination" }],
  "journal:over": [...both(migrate), ...both(cancel)],
  "journal:token-of-duty": [start("source"), migrate("destination")],
  "journal:forgotten": both(migrate),
  "gate:forgotten": both(migrate),
  "gate:past": [migrate("source")],
  "gate:cancelled": [gateTakenBack],
  "memo:begun": [migrate("destination"), start("source")],
  "memo:built": [migrate("destination"), start("source")],
  "memo:leaving": [migrate("source")],
  "memo:at-gate": [migrate("source")],
  "memo:permitted": [migrate("destination"), start("source"), returned("source")],
  "memo:refused": [{ scenario: "lock file is held by another", place: "destination" }],
  "memo:taken-back": [gateTakenBack],
  "memo:reset": [{ scenario: pausing, place: "source" }],
  "memo:wish": [{ scenario: "pause after a gate", place: "source" }],
  "memo:ended": [
    { scenario: destinationBreaks, place: "destination" },
    { scenario: "guest dies at rest", place: "source" },
  ],
  "memo:found-ended": [{ scenario: "supervisor and guest die at rest", place: "source" }],
  "lock:next-permitted": [migrate("source")],
  "lock:released": [migrate("source"), stop("source")],
  "lock:taken": [migrate("destination"), start("source"), returned("source")],
  "guest:launched": [migrate("destination"), start("source")],
  "guest:run": [migrate("destination"), start("source"), returned("source"), gateTakenBack],
  "guest:stopped": [migrate("source"), { scenario: pausing, place: "source" }],
  "guest:reset": [{ scenario: pausing, place: "source" }],
  "guest:handed-over": [migrate("source")],
  "guest:destroyed": [migrate("source"), cancel("destination"), stop("source")],
  "copy:folder-made": [migrate("destination"), start("source")],
  "copy:given-up": [migrate("source"), cancel("destination"), stop("source")],
  "copy:removed": [migrate("source"), cancel("destination"), stop("source")],
  "counter:raised": both(migrate),
  "counter:synced": both(migrate),
  "identity:keys-made": [{ scenario: "host joins", place: "new-host" }],
  "identity:joined": [{ scenario: "host joins", place: "new-host" }],
  "incarnation:made": [{ scenario: "host joins", place: "new-host" }],
  "table:opened": [{ scenario: "control plane is set up", place: "new-control-plane" }],
  "table:table-named": [{ scenario: "control plane is set up", place: "new-control-plane" }],
  "table:key-installed": [{ scenario: "control plane is set up", place: "new-control-plane" }],
  "table:key-replaced": [{ scenario: "control plane is set up", place: "new-control-plane" }],
  "table:post-clusters": control("cluster and key are made"),
  "table:post-keys": control("cluster and key are made"),
  "table:delete-keys": control("cluster and key are made"),
  "table:post-join-tokens": control("host joins"),
  "table:join": control("host joins"),
  "table:heartbeat": control("migrate"),
  "table:claim": control("migrate"),
  "table:post-vms": control("define and delete"),
  "table:delete-vms": control("define and delete"),
  "table:post-vms-start": control("start"),
  "table:post-vms-stop": control("stop"),
  "table:post-migrations": control("migrate"),
  "table:post-migrations-cancel": control("cancel"),
  "table:admission": control("two wait for each other"),
  "table:report-migration-progressed": control("migrate"),
  "table:report-gap-measured": control("migrate"),
  "table:report-destination-commits": control("migrate"),
  "table:report-guest-confirmed": control("migrate"),
  "table:report-source-aborts": control("cancel"),
  "table:report-destination-aborts": control(destinationBreaks),
  "table:report-destination-returns": control("destination's guest dies before it may run"),
  "table:report-copy-running": control("start"),
  "table:report-copy-gone": [...control("migrate"), ...control("stop")],
  "table:report-copy-paused": control(pausing),
  "table:post-vms-pause": control(pausing),
  "table:post-vms-reset": control(pausing),
  "table:post-vms-resume": control(pausing),
  "table:post-hosts-declare-lost": control(lostHost),
  "table:guest-lost-with-host": control(lostHost),
  "table:duty-revised": control(lostHost),
  "table:loss-settled": control(lostHost),
  "table:post-vms-force": control(lostHost),
  "table:report-source-takes-back": control("destination host is lost before it may run"),
  "table:report-take-back-refused": control("destination host is lost when it may have run"),
};

/** Steps in the code that no scenario can reach, each with the reason. */
export const unreachable: { [step: string]: string } = {
  "table:part-lost-with-host":
    "a host declared lost between the recovery of a VM and the opening of its cluster: test/functions/lost-hosts.test.ts",
  "table:record": "the reading of a record writes nothing",
  "table:report-copy-frozen": "no agent sends it: a frozen guest is told of by the progress of its migration",
  ...notTold,
  "table:report-copy-held": "a guest that may not run yet changes nothing in the record",
};

export const effects = [
  "kill-self",
  "stall-self",
  "kill-control-plane",
  "kill-source-agent",
  "kill-destination-agent",
  "kill-source-supervisor",
  "kill-destination-supervisor",
  "kill-source-guest",
  "kill-destination-guest",
  "kill-source-host",
  "kill-destination-host",
  "stall-source-host",
  "stall-destination-host",
  "kill-everything",
] as const;
export type Effect = (typeof effects)[number];

export type Cell = Reached & { step: string; moment: "before" | "after"; effect: Effect; id: string };

/** From here to there nobody may lose the guest: whoever dies, at each of these instants. */
const switchover = new Set([
  "memo:at-gate",
  "guest:stopped",
  "gate:past",
  "lock:released",
  "guest:handed-over",
  "journal:commit-sent",
  "table:report-destination-commits",
  "journal:run-intent",
  "memo:permitted",
  "lock:taken",
  "guest:run",
  "table:report-guest-confirmed",
  "guest:destroyed",
]);

let made: Cell[] | null = null;

export function allCells(): Cell[] {
  made ??= cellsOf(scanSteps());
  return made;
}

function cellsOf(steps: readonly Step[]): Cell[] {
  return steps.flatMap(({ name, side }) =>
    (reached[name] ?? []).flatMap(({ scenario, place }) =>
      (["before", "after"] as const).flatMap((moment) =>
        effectsAt({ name, side }, { scenario, place }, moment).map((effect) => ({
          scenario,
          place,
          step: name,
          moment,
          effect,
          id: `${scenario.replaceAll(/[^a-z]+/g, "-")}/${name}@${place}/${moment}/${effect}`,
        })),
      ),
    ),
  );
}

function effectsAt(step: Step, { scenario, place }: Reached, moment: "before" | "after"): Effect[] {
  const self: Effect[] = ["kill-self", "stall-self"];
  if (scenario !== "migrate") return self;
  if (!switchover.has(step.name)) {
    return [...self, moment === "after" ? "kill-source-host" : "kill-destination-host"];
  }
  const own = step.side === "control-plane" ? "kill-control-plane" : `kill-${place}-${step.side}`;
  return effects.filter((effect) => effect !== own);
}
