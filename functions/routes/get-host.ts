import { Host } from "../../schemas/host.ts";
import { operatorRead } from "../http/operator-route.ts";
import { getHost } from "../operations/clusters.ts";

export const getHostRoute = operatorRead({
  path: "/v1/clusters/:cluster/hosts/:host",
  summary: "A host, as it last reported.",
  answer: Host,
  run: (ports, { cluster, host }) => getHost(ports, cluster, host),
});
