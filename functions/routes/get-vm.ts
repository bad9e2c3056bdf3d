import { Vm } from "../../schemas/vm.ts";
import { operatorRead } from "../http/operator-route.ts";
import { getVm } from "../operations/vms.ts";

export const getVmRoute = operatorRead({
  path: "/v1/clusters/:cluster/vms/:vm",
  summary: "A VM, as it stands.",
  answer: Vm,
  run: (ports, { cluster, vm }) => getVm(ports, cluster, vm),
});
