// What is explored, each to the end of its stated bound. Their union is what docs/exploration.md promises.
import { type Exploration, explore } from "./engine/explorer.ts";
import { modelOf, type Setting } from "./model.ts";
import type { Feature } from "./steps/steps.ts";
import { production, type Rules } from "./world/rules.ts";

export type Scenario = {
  name: string;
  /** For a reader: what may happen, and how often. */
  bound: string;
  setting: Setting;
  faults: number;
  /** Where the production code leaves room, the room that is explored. */
  rules?: (rules: Rules) => Rules;
  /** Small enough for every change to be checked with it. */
  isQuick: boolean;
};

/** Whatever fails by itself, one request, message, process or host at a time. */
export const everyFault: Feature[] = [
  "requests",
  "late",
  "links",
  "agents",
  "journals",
  "journal-writes",
  "guests",
  "refusals",
  "launches",
  "supervisors",
  "reboots",
  "wipes",
  "cuts",
  "unplugs",
  "impatience",
];

const one = (features: Feature[], change: Partial<Setting> = {}): Setting => ({
  hosts: 3,
  vms: 1,
  movesPerVm: 1,
  startsPerVm: 0,
  overlaps: false,
  features: new Set(features),
  ...change,
});

export const scenarios: Scenario[] = [
  {
    name: "one move, one fault of every kind",
    bound: "1 VM, 1 migration, 1 fault of any kind, a cancel at any time",
    setting: one([...everyFault, "cancel"]),
    faults: 1,
    isQuick: false,
  },
  {
    name: "one move, one fault, tokens kept at once",
    bound: "the same without a cancel; every record's token is journalled at once instead of late",
    setting: one(everyFault),
    faults: 1,
    rules: (rules) => ({ ...rules, keepsTokensAtOnce: true }),
    isQuick: true,
  },
  {
    name: "one move, everybody cut off twice",
    bound: "1 VM, 1 migration, 2 faults: cuts of any host from the control plane or the migration network",
    setting: one(["cuts", "unplugs"]),
    faults: 2,
    isQuick: false,
  },
  {
    name: "one move, two deaths",
    bound: "1 VM, 1 migration, 2 faults: guests, agents, hosts with their journal or without",
    setting: one(["guests", "agents", "reboots", "wipes"]),
    faults: 2,
    isQuick: false,
  },
  {
    name: "one move, two refusals",
    bound: "1 VM, 1 migration, 2 faults: hypervisors that refuse, journals that cannot be written, hosts that reboot",
    setting: one(["refusals", "journal-writes", "reboots", "guests"]),
    faults: 2,
    isQuick: true,
  },
  {
    name: "there and back",
    bound: "1 VM, 2 hosts, 2 migrations one after the other, 1 fault: agents, guests, hosts, supervisors",
    setting: one(["agents", "guests", "reboots", "wipes", "supervisors"], { movesPerVm: 2, hosts: 2 }),
    faults: 1,
    isQuick: false,
  },
  {
    name: "there and back with an echo",
    bound: "1 VM, 2 hosts, 2 migrations, 1 fault: any write lands once more, at any time, also in the second migration",
    setting: one(["echoes"], { movesPerVm: 2, hosts: 2 }),
    faults: 1,
    rules: (rules) => ({ ...rules, habits: { ...rules.habits, watchesLateWrites: true } }),
    isQuick: false,
  },
  {
    name: "two VMs",
    bound: "2 VMs on 2 of 3 hosts, 1 migration each to any host, 1 fault: an agent that dies",
    setting: one(["agents"], { vms: 2 }),
    faults: 1,
    isQuick: false,
  },
  {
    name: "two VMs, a host reboots",
    bound: "the same on 3 hosts, 1 fault: a host that reboots",
    setting: one(["reboots"], { vms: 2 }),
    faults: 1,
    isQuick: false,
  },
  {
    name: "two VMs, a host is cut off",
    bound: "the same on 3 hosts, 1 fault: a host cut off from the control plane",
    setting: one(["cuts"], { vms: 2 }),
    faults: 1,
    isQuick: false,
  },
  {
    name: "a host is lost",
    bound:
      "1 VM, 1 migration, 1 host of 3 gone for good or for a while, declared lost, 1 start forced on any host, taking back; false records are relayed",
    setting: one(["losses", "returns", "operator", "forgeries"], { startsPerVm: 1 }),
    faults: 1,
    isQuick: true,
  },
  {
    name: "hosts are lost twice",
    bound: "the same with 2 faults: two hosts, or one of them twice; 1 start forced in all",
    setting: one(["losses", "returns", "operator"], { startsPerVm: 1 }),
    faults: 2,
    isQuick: false,
  },
  {
    name: "a host is called lost that lives",
    bound:
      "2 hosts, one only cut off from the control plane and declared lost all the same, 1 start forced, taking back",
    setting: one(["cuts", "operator", "lies"], { startsPerVm: 1, hosts: 2 }),
    faults: 1,
    isQuick: false,
  },
  {
    name: "the table goes back",
    bound:
      "2 hosts, 1 migration, a backup at any time, restored at any later time; hosts forget what both are done with",
    setting: one(["restores", "forgets"], { hosts: 2 }),
    faults: 0,
    isQuick: true,
  },
  {
    name: "the table goes back, and more fails",
    bound:
      "2 hosts, 1 migration that the backup knows nothing of, restored at any time, and 1 fault before or after: agents, journals, guests, hosts, supervisors, hypervisors that refuse",
    setting: one(["restores", "agents", "journals", "guests", "reboots", "supervisors", "refusals"], {
      hosts: 2,
      isBackedUpAtFirst: true,
    }),
    faults: 1,
    isQuick: false,
  },
  {
    name: "hosts are called lost as the table goes back",
    bound:
      "2 hosts, 1 migration that the backup knows nothing of, restored at any time; either host or both declared lost before they told, back at any time",
    setting: one(["restores", "called-lost"], { hosts: 2, isBackedUpAtFirst: true }),
    faults: 0,
    isQuick: false,
  },
  {
    name: "stopped and started",
    bound: "1 VM, 1 migration, a stop at any time, a start from disk on any host, no fault",
    setting: one(["stop", "start"], { startsPerVm: 1 }),
    faults: 0,
    isQuick: true,
  },
];

export function run(scenario: Scenario, stateLimit: number, rules: Rules = production): Exploration {
  const own = scenario.rules ? scenario.rules(rules) : rules;
  return explore(modelOf(scenario.setting, own), { faults: scenario.faults, states: stateLimit });
}
