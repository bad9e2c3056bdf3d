import { Host } from "../../schemas/host.ts";
import { listOf } from "../../schemas/list.ts";
import { operatorRead } from "../http/operator-route.ts";
import { isProblem } from "../http/problems.ts";
import { listHosts } from "../operations/clusters.ts";

export const listHostsRoute = operatorRead({
  path: "/v1/clusters/:cluster/hosts",
  summary: "The hosts of a cluster.",
  answer: listOf(Host),
  async run(ports, { cluster }) {
    const hosts = await listHosts(ports, cluster);
    return isProblem(hosts) ? hosts : { items: hosts };
  },
});
