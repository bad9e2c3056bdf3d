// What happened, written in the same commit as the change itself. A sequence number per cluster is given afterwards.
import { z } from "zod";
import { ClusterId, Instant } from "./ids.ts";

export const EventKind = z.enum([
  "cluster-created",
  "host-joined",
  "host-incarnated",
  "host-facts-changed",
  "vm-defined",
  "vm-start-requested",
  "vm-stop-requested",
  "vm-delete-requested",
  "vm-deleted",
  "vm-run-state-changed",
  "vm-owner-changed",
  "migration-requested",
  "migration-queued",
  "migration-admitted",
  "migration-claimed",
  "migration-phase-changed",
  "migration-cancel-requested",
  "migration-committed",
  "migration-aborted",
  "migration-returned",
  "migration-confirmed",
  "migration-ended",
  "key-created",
  "join-token-created",
]);
export type EventKind = z.infer<typeof EventKind>;

export const DroverEvent = z
  .object({
    kind: EventKind,
    cluster: ClusterId,
    subject: z.object({ kind: z.enum(["cluster", "host", "vm", "migration", "key"]), id: z.string() }),
    revision: z.int().min(1).meta({ description: "Of the subject's record, as written with this event." }),
    at: Instant,
    by: z.string().meta({ description: "Key or host that caused it." }),
    data: z.record(z.string(), z.json()),
  })
  .meta({ id: "Event" });
export type DroverEvent = z.infer<typeof DroverEvent>;
