import { operatorRead } from "../http/operator-route.ts";
import { getCluster } from "../operations/clusters.ts";

export const getClusterRoute = operatorRead({
  path: "/v1/clusters/:cluster",
  run: (ports, { cluster }) => getCluster(ports, cluster),
});
