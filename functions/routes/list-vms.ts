import { operatorRead } from "../http/operator-route.ts";
import { isProblem } from "../http/problems.ts";
import { listVms } from "../operations/vms.ts";

export const listVmsRoute = operatorRead({
  path: "/v1/clusters/:cluster/vms",
  async run(ports, { cluster }) {
    const vms = await listVms(ports, cluster);
    return isProblem(vms) ? vms : { items: vms };
  },
});
