// A cluster as the API shows it.
import { z } from "zod";
import { ClusterId, HostId } from "./ids.ts";

/** While its table has gone back: nothing is admitted, decided, started, resumed or destroyed; guests run on. */
export const ClusterRecovery = z
  .object({
    state: z.enum(["table-went-back", "recovering"]).meta({
      description:
        "table-went-back: a host has noticed, and an operator is to run `drover restore`. recovering: hosts tell what they have.",
    }),
    since: z.iso.datetime(),
    detail: z.string(),
    restoreEpoch: z.int().min(0).nullable(),
    reported: z.array(HostId),
    awaited: z.array(HostId).meta({ description: "Start their agents, or declare those lost that are off for good." }),
    lost: z.array(HostId).meta({ description: "Declared lost; not waited for." }),
  })
  .meta({ id: "ClusterRecovery" });
export type ClusterRecovery = z.infer<typeof ClusterRecovery>;

export const Cluster = z
  .object({
    cluster: ClusterId,
    hosts: z.array(HostId),
    createdAt: z.iso.datetime(),
    recovery: ClusterRecovery.nullable(),
    revision: z.int(),
  })
  .meta({ id: "Cluster" });
export type Cluster = z.infer<typeof Cluster>;

/** What an operator must say to restore a table, to the letter. */
export const restoreStatement = "no control plane serves the lost table any more";
