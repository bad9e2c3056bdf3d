import { z } from "zod";
import { ClusterId } from "../../schemas/ids.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { createCluster } from "../operations/clusters.ts";

export const createClusterRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters",
  scope: "administer",
  body: z.strictObject({ cluster: ClusterId }),
  run: (ports, operator, _params, { cluster }) => createCluster(ports, operator, cluster),
});
