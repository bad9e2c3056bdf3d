// Rule 9: nothing is decided because a host was silent for long; and what a host tells that comes back.
import { habit, type Mutant } from "./mutant.ts";

export const silenceMutants: Mutant[] = [
  {
    name: "slot-freed-by-expiry",
    rule: "9: a slot never frees by expiry, for a silent pair may still be streaming",
    change: habit({ leaseDecides: "slot" }),
    features: ["cuts"],
    faults: 1,
    only: /host-a/,
    setting: { hosts: 2, vms: 2, overlaps: true },
  },
  {
    name: "aborted-by-expiry",
    rule: "9: no verdict by expiry: the source may be dead, and the destination loaded",
    change: habit({ leaseDecides: "verdict" }),
    features: ["reboots"],
    faults: 1,
  },
  {
    name: "reboot-tells-nothing",
    rule: "9: a host that comes back under a new incarnation reports what it has, and that frees its slot",
    change: habit({ goesOnAfterReboot: false }),
    features: ["reboots"],
    faults: 1,
  },
];
