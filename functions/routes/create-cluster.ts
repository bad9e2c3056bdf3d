import { z } from "zod";
import { Cluster } from "../../schemas/cluster.ts";
import { ClusterId } from "../../schemas/ids.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { createCluster } from "../operations/clusters.ts";

export const createClusterRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters",
  scope: "administer",
  body: z.strictObject({ cluster: ClusterId }),
  summary: "Makes a cluster.",
  answer: { status: 201, schema: Cluster },
  problems: ["cluster-exists"],
  run: (ports, operator, _params, { cluster }) => createCluster(ports, operator, cluster),
});
