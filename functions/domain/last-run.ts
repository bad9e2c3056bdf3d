// Which copy of a guest ran last? Asked when the table went back, of all that the hosts of a cluster tell. Memory and
// disk belong together: a copy that others have left behind must never run again.
//   L1  A guest that executes owns itself.
//   L2  Else the copy that ran, or may have run, under the highest token ran last. Each takeover raised the token.
//   L3  A destination with an intent to run and no refusal of it may have run, whatever became of it.
//   L4  A destination whose source stands past its gate, and of which nobody can tell (no journal, a host declared
//       lost), may have run.
//   L5  A destination that loaded completely and never ran has all that its source had, and stands in for it where
//       that copy is gone and nothing ran after its gate. What ran under no higher token than the migration opened
//       under ran before it.
//   L6  A lock file names who took it last. Where no host tells of that copy and one was declared lost, it is with that one,
//       and ran last.
import type { Assignment } from "../../schemas/agent.ts";
import type { CopyRef } from "../../schemas/ids.ts";
import type { InventoryCopy } from "../../schemas/inventory.ts";
import type { Role } from "./records.ts";

/** A host's journal of a migration, its documents opened. */
export type Part = {
  role: Role;
  assignment: Assignment;
  /** Of the newest record this host knows; 0 where it knows none. */
  recordToken: number;
  commitSent: boolean;
  runIntent: number;
  runRefused: number;
  arrivesPaused: boolean;
  relinquished: boolean;
  over: boolean;
};

export type HostInventory = {
  hostId: string;
  copies: InventoryCopy[];
  parts: Part[];
  tokens: { vmId: string; fencingToken: number }[];
};

export type ToldPart = Part & { hostId: string };

/** All about one VM: what each host that reported has of it. */
export type VmInventory = {
  copies: (InventoryCopy & { hostId: string })[];
  parts: ToldPart[];
  /** Hosts that were declared lost and told nothing. */
  lostHosts: ReadonlySet<string>;
};

export type LastRun =
  /** This copy owns the guest. `state` is what it is in. */
  | { kind: "copy"; copy: CopyRef; state: "running" | "standing" | "loaded" | "held" }
  /** What ran last is no more, or nobody can tell. `of` is null where nothing ever ran, as far as anybody knows. */
  | { kind: "gone"; of: CopyRef | null; how: "powered-off" | "crashed" | "killed" | "may-have-run" | "host-lost" };

type Candidate = { copy: CopyRef; ranToken: number; seen: InventoryCopy | null; how: Gone["how"] };
type Gone = Extract<LastRun, { kind: "gone" }>;

export function findLastRun(vm: VmInventory): LastRun {
  const candidates = [...copiesThatRan(vm), ...destinationsThatMayHave(vm), ...holdersNobodyHas(vm)];
  const running = highest(candidates.filter(({ seen }) => seen?.machine === "running"));
  const last = running ?? highest(candidates);
  if (last?.seen && last.seen.machine !== "ended") {
    return { kind: "copy", copy: last.copy, state: stateOf(vm, last.seen) };
  }
  const heir = findHeir(vm, last);
  if (heir) return { kind: "copy", copy: refOf(heir), state: "loaded" };
  const fresh = vm.copies.find((copy) => copy.machine === "held" && copy.migrationId === null);
  if (fresh) return { kind: "copy", copy: refOf(fresh), state: "held" };
  if (last) return { kind: "gone", of: last.copy, how: last.how };
  return { kind: "gone", of: null, how: vm.lostHosts.size > 0 ? "host-lost" : "killed" };
}

function stateOf({ parts }: VmInventory, { machine, copyId }: InventoryCopy): "running" | "standing" | "loaded" {
  if (machine === "running") return "running";
  if (machine === "stopped") return "standing";
  const arriving = parts.find(({ role, over, assignment }) => {
    return role === "destination" && !over && assignment.destination.copyId === copyId;
  });
  // Its host is done with the migration, or meant it to stand: it arrived paused.
  return arriving && !arriving.arrivesPaused ? "loaded" : "standing";
}

function highest(candidates: Candidate[]): Candidate | null {
  const isThere = ({ seen }: Candidate) => seen !== null && seen.machine !== "ended";
  const isAbove = (one: Candidate, other: Candidate) =>
    one.ranToken > other.ranToken || (one.ranToken === other.ranToken && isThere(one) && !isThere(other));
  let best: Candidate | null = null;
  for (const candidate of candidates) if (!best || isAbove(candidate, best)) best = candidate;
  return best;
}

/** A copy takes its lock file before it executes or arrives paused; one that is loaded and never did has only arrived. */
function copiesThatRan({ copies }: VmInventory): Candidate[] {
  return copies
    .filter(({ machine, lockToken }) =>
      machine === "ended" || machine === "loaded" ? lockToken !== null : machine === "running" || machine === "stopped",
    )
    .map((seen) => ({ copy: refOf(seen), ranToken: seen.lockToken ?? 0, seen, how: seen.ended ?? "killed" }));
}

/** L3, L4 */
function destinationsThatMayHave(vm: VmInventory): Candidate[] {
  const candidates: Candidate[] = [];
  const add = (part: Part, how: Gone["how"]) => {
    const copy = endOf(part.assignment, "destination");
    const seen = vm.copies.find((one) => one.copyId === copy.copyId) ?? null;
    if (seen?.machine === "incoming" || seen?.machine === "held") return; // It never had the guest's memory.
    const ranToken = Math.max(part.assignment.fencingToken + 1, seen?.lockToken ?? 0);
    candidates.push({ copy, ranToken, seen, how: seen?.ended ?? how });
  };
  for (const part of vm.parts) {
    if (part.role === "destination") {
      if (part.runRefused !== part.runIntent) add(part, "may-have-run");
      continue;
    }
    if (part.over || !isPastAndStanding(vm, part)) continue;
    const { hostId } = part.assignment.destination;
    if (vm.lostHosts.has(hostId)) add(part, "host-lost");
    else if (!vm.parts.some((other) => other.hostId === hostId && isSameMigration(other, part))) {
      add(part, "may-have-run");
    }
  }
  return candidates;
}

/** L6 */
function holdersNobodyHas({ copies, parts, lostHosts }: VmInventory): Candidate[] {
  return copies.flatMap(({ lockFile }): Candidate[] => {
    if (lockFile === null || lockFile === "held") return [];
    const { copyId, fencingToken } = lockFile;
    if (copies.some((told) => told.copyId === copyId)) return [];
    const arrival = parts.find(({ assignment }) => assignment.destination.copyId === copyId);
    const hostId = arrival?.assignment.destination.hostId ?? [...lostHosts].sort()[0];
    if (hostId === undefined || !lostHosts.has(hostId)) return [];
    return [{ copy: { hostId, copyId }, ranToken: fencingToken, seen: null, how: "host-lost" }];
  });
}

/** The source's copy is past the gate of this very migration, and was not let run since. */
export function isPastAndStanding({ copies }: VmInventory, part: Part): boolean {
  const source = copies.find(({ copyId }) => copyId === part.assignment.source.copyId);
  const isOfThis = source?.migrationId === part.assignment.migrationId;
  return isOfThis && source.machine === "stopped" && source.gate === "past" && source.isAtGate;
}

/** L5 */
function findHeir(vm: VmInventory, last: Candidate | null): (InventoryCopy & { hostId: string }) | null {
  for (const part of vm.parts) {
    if (part.role !== "destination" || part.over || part.relinquished) continue;
    const { source, destination, fencingToken } = part.assignment;
    const copy = vm.copies.find(({ copyId }) => copyId === destination.copyId);
    if (copy?.machine !== "loaded") continue;
    // The source was let run again, or another copy ran after this memory was taken.
    if (last && last.ranToken > fencingToken) continue;
    const { lockFile } = copy;
    // The source gave the lock file up at its gate; whoever took it since executes, or has executed.
    if (lockFile === "held") continue;
    if (lockFile && lockFile.fencingToken > fencingToken && lockFile.copyId !== copy.copyId) continue;
    const ofSource = vm.parts.find((other) => other.role === "source" && isSameMigration(other, part));
    // A source that is done with it has seen it decided for another.
    if ((!ofSource || ofSource.over) && !vm.lostHosts.has(source.hostId)) continue;
    return copy;
  }
  return null;
}

export function endOf(assignment: Assignment, role: Role): CopyRef {
  const { hostId, copyId } = assignment[role];
  return { hostId, copyId };
}

const refOf = ({ hostId, copyId }: { hostId: string; copyId: string }): CopyRef => ({ hostId, copyId });
const isSameMigration = (one: Part, other: Part): boolean =>
  one.assignment.migrationId === other.assignment.migrationId;
