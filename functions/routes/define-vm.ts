import { Vm, VmDefinition } from "../../schemas/vm.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { defineVm } from "../operations/vms.ts";

export const defineVmRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/vms",
  scope: "administer",
  body: VmDefinition,
  summary: "Defines a VM; it is not started.",
  answer: { status: 201, schema: Vm },
  problems: ["vm-exists"],
  run: (ports, operator, { cluster }, definition) => defineVm(ports, operator, cluster, definition),
});
