// What happened, written in the same commit as the change itself. A sequence number per cluster is given afterwards.
import { z } from "zod";
import { ClusterId, Instant } from "./ids.ts";

export const EventKind = z.enum([
  "cluster-created",
  "table-went-back",
  "recovery-begun",
  "recovery-ended",
  "host-told-inventory",
  "host-joined",
  "host-incarnated",
  "host-facts-changed",
  "host-declared-lost",
  "vm-defined",
  "vm-start-requested",
  "vm-pause-requested",
  "vm-resume-requested",
  "vm-reset-requested",
  "vm-reset",
  "vm-stop-requested",
  "vm-delete-requested",
  "vm-deleted",
  "vm-run-state-changed",
  "vm-owner-changed",
  "vm-forced",
  "migration-requested",
  "migration-queued",
  "migration-admitted",
  "migration-claimed",
  "migration-phase-changed",
  "migration-cancel-requested",
  "migration-committed",
  "migration-aborted",
  "migration-returned",
  "migration-take-back-requested",
  "migration-take-back-refused",
  "migration-forced",
  "migration-confirmed",
  "migration-ended",
  "key-created",
  "key-revoked",
  "join-token-created",
]);
export type EventKind = z.infer<typeof EventKind>;

export const DroverEvent = z
  .object({
    kind: EventKind,
    cluster: ClusterId.nullable().meta({ description: "null: of the deployment, such as its API keys." }),
    subject: z.object({ kind: z.enum(["cluster", "host", "vm", "migration", "key"]), id: z.string() }),
    item: z.string().meta({
      description:
        "The item of the table whose change this event tells of. A subject has several, each with revisions of its own: `revision` orders the events of one item, `at` those of different ones.",
    }),
    revision: z.int().min(1).meta({ description: "Of that item, as written with this event." }),
    at: Instant,
    by: z.string().meta({ description: "Key or host that caused it." }),
    data: z.record(z.string(), z.json()),
  })
  .meta({ id: "Event" });
export type DroverEvent = z.infer<typeof DroverEvent>;
