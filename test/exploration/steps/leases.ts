// A host that is silent for long: its lease runs out, and by the rules nothing follows (rule 9). What would follow where
// something did is here for the seeded bugs.
import { context, motionOf, putMotion, someReason } from "../world/control-plane.ts";
import { type Host, hostIds, moveAt, putHost, putMove, type World } from "../world/world.ts";
import type { Adders } from "./steps.ts";

export function leaseSteps({ before, add }: Adders): void {
  const { leaseDecides } = before.rules.habits;
  if (leaseDecides === "nothing") return;
  for (const [h, { agent, isAway, slot }] of before.hosts.entries()) {
    if ((agent === "up" && !isAway) || !slot) continue;
    const name = `${hostIds[h]}'s lease runs out`;
    if (leaseDecides === "slot") add(`${name}, and frees its slot`, "plain", (world) => freeSlot(world, h, slot));
    else if (moveAt(before, slot.move).record.verdict.kind === "open")
      add(`${name}, and aborts its migration`, "plain", (world) => abort(world, slot.move));
  }
}

function freeSlot(world: World, h: number, { move, side }: NonNullable<Host["slot"]>): void {
  const { record } = moveAt(world, move);
  putMove(world, move, { record: { ...record, holds: { ...record.holds, [side]: false } } });
  putHost(world, h, { slot: null });
}

function abort(world: World, m: number): void {
  const event = { kind: "control-plane-aborts", sourceHasClaimed: false, ...someReason } as const;
  const decision = world.rules.decideMotion(motionOf(world, m), event, context(null, world));
  if (decision.kind === "move") putMotion(world, m, decision.motion);
}
