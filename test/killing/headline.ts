// The headline: the source host dies with all that executes on it, after the destination has loaded, and the guest
// carries on, with no byte lost and no reboot. The instant is another one each time.
import { setTimeout as delay } from "node:timers/promises";
import { type CellResult, finishCell, sameGuest } from "./cell.ts";
import { requestMove, untilEnded, untilRuns } from "./guest.ts";
import type { World } from "./world.ts";

/** The first instant at which the destination is known to have loaded, and some after it. */
const instants = [
  ["before", "journal:commit-sent"],
  ["after", "journal:commit-sent"],
  ["before", "journal:run-intent"],
  ["after", "journal:run-intent"],
  ["before", "guest:run"],
] as const;
const restMs = 60_000;

/** @throws with what did not hold */
export async function runHeadline(world: World, number: number): Promise<CellResult> {
  const beganAt = performance.now();
  const before = await untilRuns(world, restMs);
  const source = before.owner?.hostId ?? "";
  const destination = world.hosts.find((host) => host !== source) ?? "";
  const [moment, step] = instants[number % instants.length] ?? instants[0];
  const armed = { place: destination, moment, step };
  world.arm(armed);
  const migration = await requestMove(world, destination);
  const pid = await world.halted(armed, restMs);
  if (pid === null) throw new Error(`the destination did not come to ${moment} ${step}`);
  await world.powerOff(source);
  world.release(destination, pid);
  // The guest is to carry on while its source host is still off.
  const after = await untilRuns(world, restMs, true);
  sameGuest(before, after);
  if (after.owner?.hostId !== destination) throw new Error(`${after.owner?.hostId} owns it, not ${destination}`);
  await delay(500);
  world.letAllUp();
  const ended = await untilEnded(world, migration, restMs);
  if (ended.phase !== "completed") throw new Error(`the migration ended as ${ended.phase}: ${ended.detail}`);
  await finishCell(world);
  return {
    id: `headline ${number}: ${moment} ${step}`,
    ms: Math.round(performance.now() - beganAt),
    ended: "carried on",
    verdict: ended.verdict,
  };
}
