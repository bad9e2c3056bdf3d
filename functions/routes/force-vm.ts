import { VmForce } from "../../schemas/vm.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { forceVm } from "../operations/force-vm.ts";

export const forceVmRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/vms/:vm/force",
  scope: "force",
  body: VmForce,
  run: (ports, operator, { cluster, vm }, request) => forceVm(ports, operator, cluster, vm, request),
});
