import { VmStart } from "../../schemas/vm.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { startVmOnHost } from "../operations/vms.ts";

export const startVmRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/vms/:vm/start",
  scope: "administer",
  body: VmStart,
  run: (ports, operator, { cluster, vm }, request) => startVmOnHost(ports, operator, cluster, vm, request),
});
