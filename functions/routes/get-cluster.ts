import { Cluster } from "../../schemas/cluster.ts";
import { operatorRead } from "../http/operator-route.ts";
import { getCluster } from "../operations/clusters.ts";

export const getClusterRoute = operatorRead({
  path: "/v1/clusters/:cluster",
  summary: "A cluster, and what it recovers from.",
  answer: Cluster,
  run: (ports, { cluster }) => getCluster(ports, cluster),
});
