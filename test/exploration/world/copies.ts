// The copies and their supervisors (agents/supervisor/): lock file, gate, stream, and the guest itself.
import type { TakeManner } from "../../../agents/ports/lock-file.ts";
import { feedDestination, feedSource } from "./agents.ts";
import {
  blame,
  type Copy,
  copyOf,
  guestAt,
  isComplete,
  machineOf,
  moveAt,
  putCopy,
  putGuest,
  putWire,
  type Side,
  vmAt,
  vmOf,
  type World,
} from "./world.ts";

export function releaseLock(world: World, v: number, copyId: string): void {
  const { lock } = guestAt(world, v);
  if (lock.holder === copyId) putGuest(world, v, { lock: { ...lock, holder: null } });
}

/** @returns whether this copy holds its lock file now */
export function takeLock(
  world: World,
  v: number,
  copyId: string,
  fencingToken: number,
  manner: TakeManner = "usual",
): boolean {
  const { lock } = guestAt(world, v);
  if (lock.holder !== null && lock.holder !== copyId) return false;
  const found = { ...lock, next: lock.next ? { copyId: lock.next } : null };
  const stamp = world.rules.stampFor(found, copyId, fencingToken, manner);
  if (!stamp) return false;
  if (stamp.fencingToken < lock.fencingToken) blame(world, "rule 10: the lock file's token falls");
  const next = stamp.next?.copyId ?? null;
  putGuest(world, v, { lock: { holder: copyId, copyId: stamp.copyId, fencingToken: stamp.fencingToken, next } });
  if (world.table) putCopy(world, v, copyId, { lockToken: stamp.fencingToken });
  return true;
}

export function execute(world: World, v: number, copyId: string): void {
  const { copies, lock } = guestAt(world, v);
  const copy = copies.find(({ id }) => id === copyId);
  if (!copy || copy.machine === "running") return;
  if (!copy.isCurrent) blame(world, `I1: ${copyId} executes stale memory`);
  if (lock.holder !== copyId) blame(world, "rule 10: a guest executes without its lock file");
  // From here the other memories are behind the guest.
  putGuest(world, v, {
    copies: copies.map((other) =>
      other.id === copyId ? { ...other, machine: "running", isCurrent: true } : { ...other, isCurrent: false },
    ),
  });
}

export function endCopy(world: World, v: number, copyId: string, how: "destroyed" | "killed" = "destroyed"): void {
  const remains = world.table ? { hasRemains: how === "killed" } : {};
  putCopy(world, v, copyId, { machine: "ended", isCurrent: false, isWatched: true, ...remains });
  releaseLock(world, v, copyId);
}

/** The supervisor's run: the lock file first, then the guest.
 *  @param dies where the supervisor ends on the way */
export function runCopy(
  world: World,
  m: number,
  at: Side,
  fencingToken: number,
  dies: "before" | "between" | "after" | null,
): void {
  const copy = copyOf(world, m, at);
  const v = vmOf(moveAt(world, m));
  if (!copy || copy.machine === "ended") {
    answerRun(world, m, at, "unknown");
    return;
  }
  if (dies === "before" || !copy.isWatched) {
    answerRun(world, m, at, "unknown");
    return;
  }
  const { takesLock, retakesBeforeResuming } = world.rules.habits;
  if (takesLock && (at === "destination" || retakesBeforeResuming) && !takeLock(world, v, copy.id, fencingToken)) {
    const holder = guestAt(world, v).copies.find(({ id }) => id === guestAt(world, v).lock.holder);
    const isBehindGate = moveAt(world, m).wire.gate === "past" && moveAt(world, m).record.source.copyId === holder?.id;
    const isTakenBack = moveAt(world, m).record.takeBack;
    if (at === "destination" && isBehindGate && holder?.machine === "stopped" && !isTakenBack) {
      blame(world, "rule 10: a copy that stands past its gate still holds the lock file");
    }
    answerRun(world, m, at, "refused");
    return;
  }
  if (dies !== "between") execute(world, v, copy.id);
  if (dies) {
    loseSupervisor(world, v, copy);
    answerRun(world, m, at, "unknown");
    return;
  }
  answerRun(world, m, at, "granted");
}

export function answerRun(world: World, m: number, at: Side, answer: "granted" | "refused" | "unknown"): void {
  if (at === "source") feedSource(world, m, { kind: "run-answered", isGranted: answer === "granted", detail: "" });
  else feedDestination(world, m, { kind: "run-answered", answer, detail: "" });
}

/** Past the gate, on an operator's word: held, the lock file bars the destination for good. */
export function takeBackLock(world: World, m: number, fencingToken: number): void {
  const copy = copyOf(world, m, "source");
  // Nobody answers; it is asked again with the next reading of the record.
  if (!copy?.isWatched || copy.machine === "ended" || moveAt(world, m).wire.gate !== "past") return;
  const v = vmOf(moveAt(world, m));
  const { holder } = guestAt(world, v).lock;
  const isTaken = holder === copy.id || takeLock(world, v, copy.id, fencingToken, "own-only");
  const by = holder === null ? "lock-superseded" : "lock-held";
  feedSource(world, m, { kind: "lock-taken-back", refusal: isTaken ? null : { by, detail: "" } });
}

export function loseSupervisor(world: World, v: number, copy: Copy): void {
  putCopy(world, v, copy.id, { isWatched: false });
  releaseLock(world, v, copy.id);
}

export function holdAtGate(world: World, m: number): void {
  const copy = copyOf(world, m, "source");
  if (!copy || copy.machine === "ended") {
    feedSource(world, m, { kind: "hold-failed", detail: "" });
    return;
  }
  if (!copy.isWatched) {
    feedSource(world, m, { kind: "hold-failed", detail: "" });
    return;
  }
  if (moveAt(world, m).wire.gate === null) putCopy(world, vmOf(moveAt(world, m)), copy.id, { machine: "stopped" });
  feedSource(world, m, { kind: "held" });
}

export function passGate(world: World, m: number, diesThen = false): void {
  const copy = copyOf(world, m, "source");
  if (!copy?.isWatched) {
    feedSource(world, m, { kind: "gate-unknown", detail: "" });
    return;
  }
  const { rules } = world;
  const v = vmOf(moveAt(world, m));
  // Nothing to hand over once the guest has ended.
  const wanted = copy.machine === "stopped" ? "past" : "cancelled";
  const gate = rules.decideGate(moveAt(world, m).wire.gate, wanted);
  if (rules.habits.journalsPast) putWire(world, m, { gate });
  if (diesThen) {
    loseSupervisor(world, v, copy);
    feedSource(world, m, { kind: "gate-unknown", detail: "" });
    return;
  }
  if (gate === "past") {
    if (rules.habits.yieldsLock) releaseLock(world, v, copy.id);
    if (moveAt(world, m).wire.stream === "open") putWire(world, m, { stream: "finishing" });
  }
  feedSource(world, m, { kind: "gate-stands", decision: gate });
}

export function cancelAtGate(world: World, m: number): void {
  const copy = copyOf(world, m, "source");
  if (copy && !copy.isWatched) {
    feedSource(world, m, { kind: "gate-unknown", detail: "" });
    return;
  }
  const gate = world.rules.decideGate(moveAt(world, m).wire.gate, "cancelled");
  putWire(world, m, { gate });
  if (gate === "cancelled") takeBackAtGate(world, m);
  feedSource(world, m, { kind: "gate-stands", decision: gate });
}

/** The supervisor resumes at the gate: it still holds the lock file, or takes it again under its old token. */
export function takeBackAtGate(world: World, m: number): void {
  breakStream(world, m);
  const copy = copyOf(world, m, "source");
  const v = vmOf(moveAt(world, m));
  if (copy?.machine !== "stopped") return;
  if (
    guestAt(world, v).lock.holder === copy.id ||
    takeLock(world, v, copy.id, moveAt(world, m).record.openedUnderToken)
  ) {
    execute(world, v, copy.id);
  }
}

export function breakStream(world: World, m: number): void {
  const { stream, gate } = moveAt(world, m).wire;
  if (stream !== "open" && stream !== "finishing") return;
  putWire(world, m, { stream: "failed" });
  const source = copyOf(world, m, "source");
  if (!world.rules.habits.staysStopped && gate === "past" && source?.machine === "stopped") {
    execute(world, vmOf(moveAt(world, m)), source.id);
  }
  if (source && source.machine !== "ended") feedSource(world, m, { kind: "stream-failed", detail: "" });
  if (machineOf(world, m, "destination") === "incoming")
    feedDestination(world, m, { kind: "stream-failed", detail: "" });
}

export function destroyCopy(world: World, m: number, at: Side): void {
  const move = moveAt(world, m);
  const copy = copyOf(world, m, at);
  const { verdict } = move.record;
  const vm = vmAt(world, vmOf(move));
  const isNamed = vm.owner?.copyId === move.record[at].copyId;
  // By what was told before the table went back: the guest has run elsewhere since.
  const isBehind = (world.table?.epoch ?? 0) > 0 && copy?.isCurrent === false;
  if (copy && at === "source" && copy.machine === "stopped" && !isBehind) {
    const isOver = verdict.kind === "forced" || (verdict.kind === "committed" && verdict.confirmed !== null);
    // Its host was declared lost, and an operator had the guest started elsewhere after all.
    const isSuperseded = vm.migrationId === null && vm.fencingToken > verdict.token;
    if (!(isOver || isSuperseded) || isNamed)
      blame(world, "rule 8: the source's stopped copy is ended before it may be");
  }
  if (copy?.machine === "loaded" && verdict.kind === "open" && !move.wire.journal.destination?.relinquished) {
    blame(world, "rule 8: a complete copy is ended while nothing is decided");
  }
  if (isComplete(copy) && at === "destination" && verdict.kind === "committed" && copy?.machine === "running") {
    blame(world, "rule 8: the owner's copy is ended");
  }
  if (copy) endCopy(world, vmOf(move), copy.id);
  if (at === "source") feedSource(world, m, { kind: "destroyed" });
  else feedDestination(world, m, { kind: "destroyed" });
  breakStream(world, m);
}

export function look(world: World, m: number): void {
  const seen = {
    none: "ended",
    incoming: "incomplete",
    loaded: "complete",
    running: "running",
    stopped: "running",
    ended: "ended",
  } as const;
  feedDestination(world, m, { kind: "machine-seen", machine: seen[machineOf(world, m, "destination")] });
}
