import { Vm, VmStart } from "../../schemas/vm.ts";
import { hostObstacleCodes } from "../domain/obstacles.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { startVmOnHost } from "../operations/vms.ts";

export const startVmRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/vms/:vm/start",
  scope: "administer",
  body: VmStart,
  summary: "Starts a stopped VM on the host that is named.",
  answer: { status: 202, schema: Vm },
  problems: [...hostObstacleCodes, "vm-not-stopped", "vm-already-migrating"],
  run: (ports, operator, { cluster, vm }, request) => startVmOnHost(ports, operator, cluster, vm, request),
});
