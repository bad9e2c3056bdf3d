// Rules 4 and 5: a record that a peer hands on counts only with the control plane's signature, and only of this cluster.
import { habit, type Mutant } from "./mutant.ts";

/** A migration whose record is not written yet is not over: what follows is looked at before it is told. */
const without = /source: copy-seen/;

export const relayMutants: Mutant[] = [
  {
    name: "relay-unsigned",
    rule: "4: relayed by the destination, only with the control plane's signature",
    change: habit({ believesUnsigned: "source" }),
    features: ["forgeries"],
    without,
  },
  {
    name: "relay-of-another-cluster",
    rule: "4: relayed by the destination, only what this cluster's control plane has signed",
    change: habit({ believesOtherClusters: "source" }),
    features: ["forgeries"],
    without,
  },
  {
    name: "relay-unsigned-to-the-destination",
    rule: "5: or gets it relayed, signed",
    change: habit({ believesUnsigned: "destination" }),
    features: ["forgeries"],
  },
  {
    name: "relay-of-another-cluster-to-the-destination",
    rule: "5: or gets it relayed, signed by this cluster's control plane",
    change: habit({ believesOtherClusters: "destination" }),
    features: ["forgeries"],
  },
];
