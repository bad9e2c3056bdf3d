// All that can happen next in a world.
import type { Step, StepKind } from "../engine/explorer.ts";
import { check } from "../world/checks.ts";
import { tidy } from "../world/tidy.ts";
import { copyWorld, moveAt, type World } from "../world/world.ts";
import { commandSteps } from "./commands.ts";
import { guestSteps } from "./guests.ts";
import { hostSteps } from "./hosts.ts";
import { leaseSteps } from "./leases.ts";
import { messageSteps } from "./messages.ts";
import { operatorSteps } from "./operators.ts";
import { paceSteps } from "./pace.ts";
import { restoreSteps } from "./restores.ts";
import { wishSteps } from "./wishes.ts";

/** What may go wrong or be asked in a scenario, beside what the parts do by themselves. */
export type Feature =
  | "requests" // a request to the control plane gets no answer, or is not heard
  | "late" // a write lands long after its sender gave up; answers come slowly
  | "echoes" // a write lands twice, the second time much later
  | "links" // the peer link or the stream breaks; nobody is found
  | "agents" // an agent dies and comes back
  | "journals" // an agent comes back without its journal
  | "journal-writes" // a journal entry cannot be written
  | "guests" // a guest's process is killed
  | "refusals" // a hypervisor refuses to run a guest
  | "launches" // a guest's process cannot be built
  | "supervisors" // a guest's supervisor dies, also in the midst of its work
  | "reboots" // a host reboots
  | "wipes" // a host reboots and has lost its journals
  | "cuts" // a host is cut off from the control plane for as long as it takes
  | "unplugs" // a host is cut off from the migration network for as long as it takes
  | "impatience" // somebody loses patience while others are at work
  | "losses" // a host is gone, as if for good
  | "returns" // one that was gone comes back
  | "operator" // an operator declares a host lost that is gone, and forces its guests
  | "lies" // and one that is only cut off
  | "restores" // the table goes back to a backup that was made at any time
  | "called-lost" // while the cluster recovers, an operator declares any host lost that has not told yet
  | "volumes" // the shared volume cannot be reached when a lock file is to be taken back
  | "forgets" // hosts forget journal and gate of a migration that both are done with
  | "forgeries" // a peer relays a record that the control plane never signed, or that of another cluster
  | "cancel" // a user cancels
  | "stop" // a user stops a virtual machine
  | "start"; // a user starts a virtual machine again, from its disk, on any host

export type Options = {
  features: ReadonlySet<Feature>;
  movesPerVm: number;
  startsPerVm: number;
  /** A migration may begin while hosts of earlier ones still clear up. */
  overlaps: boolean;
  /** Called before each step is tried. */
  onStep?: () => void;
};
export type Add = (name: string, kind: StepKind, change: (world: World) => void) => void;
/** A fault of one feature. */
export type AddFault = (feature: Feature, name: string, change: (world: World) => void) => void;
export type Adders = { before: World; add: Add; fault: AddFault; options: Options };

export function stepsFrom(before: World, faults: boolean, options: Options): Step<World>[] {
  const steps: Step<World>[] = [];
  const take = (name: string, kind: StepKind, change: (world: World) => void): void => {
    options.onStep?.();
    const world = copyWorld(before);
    change(world);
    tidy(before, world);
    check(before, world, kind === "fault");
    steps.push({ name, kind, world });
  };
  const add: Add = (name, kind, change) => {
    if ((kind === "fault") === faults) take(name, kind, change);
  };
  const fault: AddFault = (feature, name, change) => {
    if (faults && options.features.has(feature)) take(name, "fault", change);
  };
  const adders = { before, add, fault, options };
  for (let m = 0; m < before.moves.length; m += 1) {
    const { source, destination, queue } = moveAt(before, m);
    if (queue.pending.length > 0) commandSteps(adders, m);
    messageSteps(adders, m);
    if (source || destination) paceSteps(adders, m);
  }
  hostSteps(adders);
  guestSteps(adders);
  wishSteps(adders);
  operatorSteps(adders);
  leaseSteps(adders);
  if (before.table) restoreSteps(adders, before.table);
  return steps;
}
