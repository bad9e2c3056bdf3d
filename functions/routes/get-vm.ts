import { operatorRead } from "../http/operator-route.ts";
import { getVm } from "../operations/vms.ts";

export const getVmRoute = operatorRead({
  path: "/v1/clusters/:cluster/vms/:vm",
  run: (ports, { cluster, vm }) => getVm(ports, cluster, vm),
});
