// Time: timers, patience that runs out, and rounds of the memory stream.
import { feedDestination, feedSource, setWake } from "../world/agents.ts";
import { copyOf, moveAt } from "../world/world.ts";
import type { Adders } from "./steps.ts";

/** Far beyond every patience of the machines. */
const late = 1e9;

const fittingRound = {
  round: 1,
  bytes: 0,
  durationMs: 1,
  remainingBytes: 0,
  dirtyBytesPerSecond: 0,
  bandwidthBytesPerSecond: 1e9,
  throttlePercent: 0,
};

/** Patience runs out when nothing else is under way; while something is, that is a fault: somebody was slow. */
export function paceSteps({ before, add, fault }: Adders, m: number): void {
  const { source, destination, queue, wire } = moveAt(before, m);
  // A listener that waits for its peer keeps nobody busy.
  const isWaiting = queue.pending.every((one) => one.kind === "command" && one.command.kind === "open-stream");
  const isQuiet = isWaiting && wire.toSource.length === 0 && wire.toDestination.length === 0;
  const wake = (side: "source" | "destination", isPatient: boolean): void => {
    if (!queue.wakes[side]) return;
    const feed = side === "source" ? feedSource : feedDestination;
    add(`M${m} ${side} wakes`, "plain", (world) => {
      setWake(world, m, side, false);
      feed(world, m, { kind: "woke" });
    });
    if (!isPatient) return;
    const lose = (world: Parameters<typeof feed>[0]): void => {
      setWake(world, m, side, false);
      feed(world, m, { kind: "woke" }, late);
    };
    if (isQuiet) add(`M${m} ${side} loses patience`, "plain", lose);
    else fault("impatience", `M${m} ${side} loses patience`, lose);
  };
  if (source) wake("source", ["linking", "copying", "in-doubt"].includes(source.stage));
  if (destination) wake("destination", ["preparing", "loading"].includes(destination.stage));
  const copy = copyOf(before, m, "source");
  // Answers of asks that were given up may still be under way: of two at most.
  const isCopying = wire.stream === "open" && source?.stage === "copying" && !source.ask && source.asks < 2;
  if (isCopying && copy?.machine === "running" && copy.isWatched) {
    add(`M${m} a round fits the pause`, "plain", (world) =>
      feedSource(world, m, { kind: "sampled", round: fittingRound, roundDone: true }),
    );
  }
}
